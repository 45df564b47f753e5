"""Adapters: what is frozen stays, what is added starts as nothing, and both are what Hugging Face's peft makes."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.valence import training_world as world
from tests.valence.signal_specs import DE_SMALL, SMALL, noise
from tests.valence.traced_run import TracedRun
from valence.adapters import adaptable, add_low_rank, add_scales, freeze
from valence.classifiers import CLASSIFIERS, build_classifier, tap_paths, tapped
from valence.errors import BadInput
from valence.kept_weights import load_weights, weights_bytes
from valence.objective import Objective
from valence.resident import resident
from valence.rewrites import fixed_front, rewrite
from valence.stories import EMOTIONS
from valence.strategies import STRATEGIES, Batch, Circumstances
from valence.training import CellRun

pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = {"windows": SMALL, "de": DE_SMALL}
ADAPTERS, HEADS = ("lora", "ia3"), ("full_head", "full_head_aux")
UNADAPTED = {"de_gru", "de_logistic", "EEGMiner", "SyncNet"}
"""recurrent, one linear map that is the last, and two of filters with parameters of their own"""
UNUSED = {"MSVTNet": r"branch_head\..*"}
"""layers of a loss that is not used here: no gradient reaches them, adapted or not"""
ONE_TOKEN = {"MEDFormer": r".*\.(query|key)_projection\..*"}
"""attention to one token alone, of windows this short: its gradient is zero"""
NAMES = [name for name, row in CLASSIFIERS.items() if row.group != "variant"]
FIT = [(strategy, name) for strategy in ADAPTERS for name in NAMES if name not in UNADAPTED]
FIT += [("full_head", name) for name in NAMES if name != "de_logistic"]
SEVERAL = ("ATCNet", "BDTCN", "LUNA", "de_mlp")
"""several last layers, one that runs at every step, one inside another layer, and a plain one"""
_trained: dict[str, nn.Module] = {}


def trained(name: str) -> nn.Module:
    """A copy of a classifier with statistics and weights away from their start."""
    if name not in _trained:
        _trained[name] = _train(name)
    return copy.deepcopy(_trained[name])


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    _trained.clear()


def _train(name: str) -> nn.Module:
    torch.manual_seed(0)
    classifier = CLASSIFIERS[name]
    module = build_classifier(classifier, SPECS[classifier.input])
    x = noise(SPECS[classifier.input], 8)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    for _ in range(2):
        functional.cross_entropy(module(x), torch.arange(8) % 4).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        module.eval()(x)  # EEGMiner clamps its parameters whenever it runs
    return module.train()


def wrapped(strategy: str, name: str, module: nn.Module, **options):
    """A strategy that has wrapped a classifier, and the classifier, at the begin of an epoch."""
    made = STRATEGIES[strategy](**options)
    made.tap_paths = tap_paths(module, CLASSIFIERS[name])
    model = made.wrap(module)
    model.train()
    made.on_epoch(0, 1)
    return made, model


def in_training(module: nn.Module, taps: tuple[str, ...]) -> nn.Module:
    """In training mode, with statistics before the last layers standing still; found by their buffers."""
    module.train()
    for path, part in module.named_modules():
        if getattr(part, "running_var", None) is not None and not path.startswith(taps):
            part.eval()
    return module


def seeded(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    return module(x)


@pytest.mark.parametrize(("strategy", "name"), [*FIT, *(("full_head_aux", name) for name in SEVERAL)])
def test_what_is_added_starts_as_nothing_and_what_is_frozen_stays(strategy, name):
    module = trained(name)
    taps, x = tap_paths(module, CLASSIFIERS[name]), noise(SPECS[CLASSIFIERS[name].input], 6, seed=5)
    plain, before = copy.deepcopy(module), copy.deepcopy(module.state_dict())
    made, model = wrapped(strategy, name, module)
    with torch.no_grad():
        torch.testing.assert_close(seeded(model, x), seeded(in_training(plain, taps), x), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=1e-6, atol=1e-6)
    model.train()
    made.on_epoch(1, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), torch.arange(6) % 4).backward()
        optimizer.step()
    check_gradients(strategy, name, model, taps)
    check_unmoved(before, model, taps)


def check_gradients(strategy: str, name: str, model: nn.Module, taps: tuple[str, ...]) -> None:
    """Adapters and last layers have a gradient, and nothing else."""
    n_added = 0
    for key, parameter in model.named_parameters():
        own = bool(re.fullmatch(r".*parametrizations\.\w+\.\d+\.(A|B|scale)", key))
        n_added += own
        assert parameter.requires_grad == (own or key.startswith(taps)), key
        if not parameter.requires_grad or re.match(UNUSED.get(name, "(?!)"), key):
            assert parameter.grad is None, key
        else:
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
            assert parameter.grad.any() or not own or re.match(ONE_TOKEN.get(name, "(?!)"), key), key
    assert (n_added > 0) == (strategy in ADAPTERS)


def check_unmoved(before: dict[str, torch.Tensor], model: nn.Module, taps: tuple[str, ...]) -> None:
    """Every tensor of the backbone is what it was; under a parametrisation it is called the original."""
    plain = {re.sub(r"parametrizations\.(\w+)\.original$", r"\1", key): key for key in model.state_dict()}
    state = model.state_dict()
    now = {key: state[key] if key in state else state[plain[key]] for key in before}
    moved = {key for key in before if not torch.equal(before[key], now[key])}
    assert moved, "the last layer has not learned"
    assert all(key.startswith(taps) for key in moved), moved


@pytest.mark.parametrize(("strategy", "name"), FIT)
def test_a_faster_order_computes_the_same(strategy, name):
    """Outputs, and gradients of all that is trained; filters applied once are those of the classifier itself."""
    spec = SPECS[CLASSIFIERS[name].input]
    made, model = wrapped(strategy, name, trained(name))
    with torch.no_grad():
        torch.manual_seed(4)
        for parameter in model.parameters():  # B away from zero
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    x, fast = noise(spec, 4, seed=6), copy.deepcopy(model)
    front = None if spec.n_bands or made.reads_input else fixed_front(fast, x)
    rewrite(fast, x if front is None else front(x))
    results = []
    for each, given in ((model, x), (fast, x if front is None else front(x))):
        logits = seeded(each, given)
        functional.cross_entropy(logits, torch.arange(4)).backward()
        results.append((logits.detach(), [p.grad for p in each.parameters() if p.grad is not None]))
    (logits, gradients), (again, others) = results
    scale = float(logits.abs().max())
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-5 * scale)
    assert len(gradients) == len(others)
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4 * largest)


def about(name: str) -> Circumstances:
    classifier = CLASSIFIERS[name]
    return Circumstances(classifier=classifier, spec=SPECS[classifier.input], classes=EMOTIONS, n_axes=1)


def test_what_cannot_be_adapted_is_told():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    reasons = {(s, name): STRATEGIES[s]().unfit(about(name)) for s in (*ADAPTERS, *HEADS) for name in NAMES}
    assert torch.equal(before, torch.get_rng_state())
    fit = {pair for pair, reason in reasons.items() if reason is None and pair[0] != "full_head_aux"}
    assert fit == set(FIT)
    assert all(reasons["full_head", name] == reasons["full_head_aux", name] for name in NAMES)
    assert reasons["lora", "SyncNet"] == "SyncNet has no linear map, convolution or attention before its last layer"
    assert reasons["ia3", "de_logistic"] == reasons["full_head", "de_logistic"]
    assert reasons["full_head", "de_logistic"].startswith("de_logistic has no weights in its last layer")
    for strategy in (*ADAPTERS, "full_head"):
        with pytest.raises(BadInput, match="has no weights"):
            wrapped(strategy, "de_logistic", build_classifier(CLASSIFIERS["de_logistic"], DE_SMALL))
    with pytest.raises(BadInput, match="no linear map, convolution or attention"):
        wrapped("lora", "SyncNet", build_classifier(CLASSIFIERS["SyncNet"], SMALL))


class Net(nn.Module):
    """A convolution, a linear map and attention behind each other, and a last layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, (2, 5), stride=(1, 2), padding=(0, 2))
        self.linear = nn.Linear(6 * 3 * 10, 16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.final_layer = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.gelu(self.linear(functional.gelu(self.conv(x)).flatten(1)))
        return self.final_layer(hidden + self.attention(hidden[:, None], hidden[:, None], hidden[:, None])[0][:, 0])


def peers(kind: str) -> tuple[nn.Module, nn.Module]:
    """The same net adapted here and by peft."""
    import peft

    torch.manual_seed(0)
    ours = Net().double()
    theirs = copy.deepcopy(ours)
    freeze(ours, ("final_layer",))
    if kind == "lora":
        add_low_rank(ours, ("final_layer",), rank=3, alpha=5.0)
        targets = ["conv", "linear", "attention"]
        config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, modules_to_save=["final_layer"])
    else:
        add_scales(ours, ("final_layer",))
        config = peft.IA3Config(
            target_modules=["conv", "linear"], feedforward_modules=[], modules_to_save=["final_layer"]
        )
    return ours, peft.get_peft_model(theirs, config)


def copied(kind: str, ours: nn.Module, theirs: nn.Module) -> list[tuple[str, nn.Parameter, nn.Parameter]]:
    """Draw our added parameters, give them to peft; pairs of parameters that mean the same.

    The output map of attention stays as it is: peft 0.21 adds its change twice.
    """
    inner = theirs.base_model.model
    heads = (ours.final_layer, inner.final_layer.modules_to_save["default"])
    pairs = [(name, getattr(heads[0], name), getattr(heads[1], name)) for name in ("weight", "bias")]
    for layer, weight in (("conv", "weight"), ("linear", "weight"), ("attention", "in_proj_weight")):
        peer = getattr(inner, layer)
        if kind == "ia3" and layer == "attention":  # peft has no such scaling of attention
            continue
        added = getattr(ours, layer).parametrizations[weight][0]
        if kind == "ia3":
            pairs.append((layer, added.scale, peer.ia3_l["default"]))
        else:
            pairs += [(f"{layer} {m}", getattr(added, m), getattr(peer, f"lora_{m}")["default"].weight) for m in "AB"]
    with torch.no_grad():
        for _, own, other in pairs:
            own += 0.3 * torch.randn_like(own)
            other.copy_(own.view_as(other))
    return pairs


@pytest.mark.parametrize("kind", ADAPTERS)
def test_same_as_peft(kind):
    ours, theirs = peers(kind)
    pairs = copied(kind, ours, theirs)
    x, labels = torch.randn(5, 3, 4, 20, dtype=torch.float64), torch.arange(5) % 4
    one, other = ours(x), theirs(x)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    functional.cross_entropy(one, labels).backward()
    functional.cross_entropy(other, labels).backward()
    for name, own, peer in pairs:
        assert own.grad.any(), name
        torch.testing.assert_close(own.grad, peer.grad.view_as(own), rtol=1e-8, atol=1e-12, msg=name)
    counts = [sum(p.numel() for p in net.parameters() if p.requires_grad) for net in (ours, theirs)]
    attention = sum(len(p) for p in (ours.attention.in_proj_bias, ours.attention.out_proj.bias)) * (kind == "ia3")
    assert counts[0] - attention == counts[1]


def test_low_rank_starts_as_in_peft():
    """A by its spread: U(-1/√n_in, 1/√n_in) has the standard deviation 1/√(3 n_in); B is zero."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 300, (3, 25)), nn.Flatten(), nn.Linear(10, 4))
    add_low_rank(net, ("2",), rank=200, alpha=16.0)
    added = net[0].parametrizations.weight[0]
    assert added.A.shape == (200, 300)
    assert added.A.std().item() == pytest.approx(1 / np.sqrt(3 * 300), rel=0.02)
    assert added.A.abs().max().item() <= 1 / np.sqrt(300)
    assert not added.B.any()


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_weights_in_groups_against_numpy(groups):
    torch.manual_seed(0)
    conv = nn.Conv1d(6, 12, 7, groups=groups)
    weight, bias = conv.weight.detach().numpy().copy(), conv.bias.detach().numpy().copy()
    net = nn.Sequential(conv, nn.Linear(3, 3))
    add_low_rank(net, ("1",), rank=2, alpha=3.0)
    added = conv.parametrizations.weight[0]
    nn.init.normal_(added.B)
    product = added.B.detach().numpy() @ added.A.detach().numpy()
    np.testing.assert_allclose(conv.weight.detach(), weight + 1.5 * product.reshape(weight.shape), rtol=1e-6)
    add_scales(net, ("1",))  # on top of the other
    scale = conv.parametrizations.weight[1].scale
    nn.init.normal_(scale)
    factor = scale.detach().numpy()
    scaled = (weight + 1.5 * product.reshape(weight.shape)) * factor[:, None, None]
    np.testing.assert_allclose(conv.weight.detach(), scaled, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(conv.bias.detach(), bias * factor, rtol=1e-6)


def test_options():
    for options in ({"rank": 0}, {"alpha": 0.0}, {"alpha": float("nan")}):
        with pytest.raises(BadInput, match=next(iter(options))):
            STRATEGIES["lora"](**options)
    sizes = {}
    for rank in (2, 8):
        _, model = wrapped("lora", "de_mlp", trained("de_mlp"), rank=rank)
        first = model.hidden[0].parametrizations.weight[0]
        sizes[rank] = first.A.shape[0], first.B.shape[1], first.scaling
    assert sizes == {2: (2, 2, 8.0), 8: (8, 8, 2.0)}


# one cell after another, through the training loop

RECIPE = world.recipe(epochs=2)


def run_of(strategy: str, classifier: str, earlier=None, *, target: str = "vaxis", make=CellRun) -> CellRun:
    data = world.dataset(CLASSIFIERS[classifier].input)
    cell = world.cell(classifier, strategy, about=RECIPE, lambda_=STRATEGIES[strategy].lambda_)
    held = resident(data, world.split(), de_normalisation=RECIPE.de_normalisation, device="cpu")
    aligned = None if STRATEGIES[strategy].kind == "none" else world.target(target)
    return make(cell, data, RECIPE, aligned, held, earlier=earlier)


def finished(run: CellRun):
    while run.advance():
        pass
    return run.result()


@pytest.fixture(scope="module")
def task_only(tmp_path_factory):
    """Results and files of weights of the task-only cell of two classifiers."""
    made = {}
    for classifier in ("EEGNet", "de_mlp"):
        result = finished(run_of("none", classifier))
        path = tmp_path_factory.mktemp(classifier) / "weights.safetensors"
        path.write_bytes(weights_bytes(result.weights))
        made[classifier] = result, path
    return made


@pytest.mark.parametrize("classifier", ["EEGNet", "de_mlp"])
@pytest.mark.parametrize("strategy", [*ADAPTERS, *HEADS])
def test_a_cell_from_task_only_weights(strategy, classifier, task_only):
    result, path = task_only[classifier]
    run = run_of(strategy, classifier, path)
    logits = run.validation_logits()
    plain = build_classifier(CLASSIFIERS[classifier], run.prepared.spec)
    load_weights(plain, path)
    with torch.no_grad():
        wanted = plain.eval()(run.data.x[torch.from_numpy(run.data.validation)])
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    ended = finished(run)
    check_unmoved(dict(result.weights), run.model, run.strategy.tap_paths)
    ratio = ended.metrics["gradient_ratio"]
    assert ratio is None if strategy == "full_head" else ratio > 0
    again = finished(run_of(strategy, classifier, path))
    np.testing.assert_array_equal(ended.test_logits, again.test_logits)


@pytest.mark.parametrize("strategy", [*ADAPTERS, *HEADS])
def test_a_captured_step_gives_the_same(strategy, task_only, monkeypatch):
    monkeypatch.setattr(TracedRun, "n_captured", 0)
    path = task_only["de_mlp"][1]
    one, other = (finished(run_of(strategy, "de_mlp", path, make=make)) for make in (CellRun, TracedRun))
    assert TracedRun.n_captured == 1
    np.testing.assert_allclose(one.test_logits, other.test_logits, atol=1e-4)


def test_adapters_learn_more_of_the_task_than_the_head_alone():
    """Planted classes, and a backbone of chance: what is behind it cannot fit them as well as what is inside it."""
    losses = {}
    for strategy in ("full_head", *ADAPTERS):
        module, x = trained("de_mlp"), noise(DE_SMALL, 64, seed=9)
        _, model = wrapped(strategy, "de_mlp", module)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), torch.arange(64) % 4)
            loss.backward()
            optimizer.step()
        losses[strategy] = functional.cross_entropy(model.eval()(x), torch.arange(64) % 4).item()
    assert losses["lora"] < 0.5 * losses["full_head"]
    assert losses["ia3"] < 0.9 * losses["full_head"]


@pytest.mark.parametrize("strategy", [*ADAPTERS, "full_head_aux"])
def test_a_stopped_target_trains_as_the_head_alone_would(strategy, task_only):
    """With its gradient stopped the loss trains its own read-out: the classifier learns by cross-entropy alone."""
    path = task_only["EEGNet"][1]
    stopped = finished(run_of(strategy, "EEGNet", path, target="detached"))
    assert stopped.metrics["gradient_ratio"] == 0 or stopped.metrics["gradient_ratio"] is None
    if strategy == "full_head_aux":
        alone = finished(run_of("full_head", "EEGNet", path))
        np.testing.assert_array_equal(stopped.test_logits, alone.test_logits)


def test_regression_from_logits_against_numpy():
    made, model = wrapped("full_head_aux", "de_mlp", trained("de_mlp"))
    made.prepare(model, DE_SMALL, 64, world.target())
    with tapped(model, CLASSIFIERS["de_mlp"]) as forward:
        out = forward(noise(DE_SMALL, 12))
    clips = torch.arange(12)
    batch = Batch(x=None, labels=clips % 4, clips=clips, subjects=clips * 0, rows=clips)
    objective = Objective(made, world.target(), 0.1, 0.0, 0.1, None)
    _, auxiliary = objective.terms(batch, out, measure=True)
    weight, bias = made.head.weight.detach().numpy()[0], made.head.bias.item()
    read = out.logits.detach().numpy() @ weight + bias
    wanted = 0.1 * np.mean((read - world.target().clip_values[:12]) ** 2)
    assert auxiliary.item() == pytest.approx(wanted, rel=1e-5)
    assert objective.ratios[0] > 0
    auxiliary.backward()
    assert model.final_layer.weight.grad.any()
    assert all(p.grad is None for key, p in model.named_parameters() if not key.startswith("final_layer"))


def test_layers_of_the_last_part_are_not_adapted():
    module = build_classifier(CLASSIFIERS["LUNA"], SMALL)
    last = tap_paths(module, CLASSIFIERS["LUNA"])
    names = {path for path, part in module.named_modules() if part in {found for found, *_ in adaptable(module, last)}}
    assert not any(path.startswith(last) for path in names)
    assert any(path.startswith("final_layer.") for path in names)  # the last layer is the last map alone
