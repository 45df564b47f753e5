"""Every strategy against an independent reference, its gradients, and the edges of a batch."""

import copy

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.special import softmax
from scipy.stats import entropy, pearsonr

from tests.valence import training_world as world
from valence.errors import BadInput
from valence.feature_heads import EMA_DECAY, ClassMeans, ProjectionHead
from valence.strategies import STRATEGIES, Batch
from valence.targets import Target

N_FEATURES = 6
ALIGNING = ["aux_mse", "kd_prototypes", "rsa", "supcon_clip"]
pytestmark = pytest.mark.usefixtures("one_thread")


def prepared(name: str, target: Target | None = None, *, double: bool = True, n_features: int = N_FEATURES):
    torch.manual_seed(0)
    strategy = STRATEGIES[name]()
    strategy.prepare(torch.nn.Identity(), world.spec("de"), n_features, target or world.target())
    return strategy.double() if double else strategy


def batch_of(clips: np.ndarray | list[int]) -> Batch:
    clips = np.asarray(clips)
    labels = torch.as_tensor(world.CLASS_OF_CLIP[clips])
    rows = torch.arange(len(clips))
    return Batch(
        x=torch.zeros(len(clips), 1), labels=labels, clips=torch.as_tensor(clips), subjects=labels * 0, rows=rows
    )


def sample(n: int = 40, *, seed: int = 0) -> tuple[Batch, torch.Tensor]:
    rng = np.random.default_rng(seed)
    batch = batch_of(rng.integers(0, world.N_CLIPS, n))
    return batch, torch.tensor(rng.standard_normal((n, N_FEATURES)), requires_grad=True)


def loss_of(strategy, batch: Batch, features: torch.Tensor) -> torch.Tensor:
    return strategy.loss(batch, features.new_zeros(len(features), world.N_CLASSES), features)


def value_of(strategy, batch: Batch, features: torch.Tensor) -> float:
    return loss_of(strategy, batch, features).item()


def test_registered():
    assert {"none", "aux_mse", "rsa", "kd_prototypes", "supcon_clip"} <= set(STRATEGIES)
    assert [STRATEGIES[name].lambda_ for name in ("none", "aux_mse", "rsa", "kd_prototypes", "supcon_clip")] == [
        0.0,
        0.1,
        1.0,
        0.1,
        0.5,
    ]


def test_aux_mse_against_numpy():
    strategy, (batch, features) = prepared("aux_mse"), sample()
    weight, bias = strategy.head.weight.detach().numpy()[0], strategy.head.bias.item()
    wanted = world.target().clip_values[batch.clips.numpy()]
    expected = np.mean((features.detach().numpy() @ weight + bias - wanted) ** 2)
    assert value_of(strategy, batch, features) == pytest.approx(expected, rel=1e-6)


def test_aux_mse_is_least_at_the_regression():
    strategy, (batch, features) = prepared("aux_mse"), sample(200)
    design = np.column_stack([features.detach().numpy(), np.ones(200)])
    wanted = world.target().clip_values[batch.clips.numpy()]
    solution, residual, *_ = np.linalg.lstsq(design, wanted, rcond=None)
    with torch.no_grad():
        strategy.head.weight.copy_(torch.tensor(solution[None, :-1]))
        strategy.head.bias.copy_(torch.tensor(solution[-1:]))
    assert value_of(strategy, batch, features) == pytest.approx(residual[0] / 200, rel=1e-6)


def test_rsa_against_scipy():
    strategy, (batch, features) = prepared("rsa"), sample(60)
    labels, values = batch.labels.numpy(), features.detach().numpy()
    assert len(set(labels)) == world.N_CLASSES
    means = np.stack([values[labels == label].mean(0) for label in range(world.N_CLASSES)])
    expected = 1 - pearsonr(pdist(means), squareform(world.target().dissimilarity, checks=False))[0]
    assert value_of(strategy, batch, features) == pytest.approx(expected, rel=1e-6)


def test_rsa_of_absent_classes_against_scipy():
    """Absent classes come from the running mean; classes never seen are left out."""
    strategy, (first, features) = prepared("rsa"), sample(60)
    early = first.labels < 6
    loss_of(strategy, batch_of(first.clips[early].numpy()), features[early])
    now = early & (first.labels < 4)
    shifted = features.detach() + torch.randn(60, N_FEATURES, dtype=torch.float64)
    got = value_of(strategy, batch_of(first.clips[now].numpy()), shifted[now])
    labels = first.labels.numpy()
    means = [shifted[labels == label].mean(0).numpy() for label in range(4)]
    means += [features.detach()[labels == label].mean(0).numpy() for label in (4, 5)]
    wanted = squareform(world.target().dissimilarity[:6, :6], checks=False)
    assert got == pytest.approx(1 - pearsonr(pdist(np.stack(means)), wanted)[0], rel=1e-6)


def test_running_means():
    means = ClassMeans(3, 2).double()
    first, second = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, 6.0]]).double()
    means(first, torch.tensor([1]))
    means(second, torch.tensor([1]))
    torch.testing.assert_close(means.mean[1], EMA_DECAY * first[0] + (1 - EMA_DECAY) * second[0])
    assert means.seen.tolist() == [False, True, False]
    means.eval()(second, torch.tensor([0]))
    assert means.seen.tolist() == [False, True, False]


def test_kd_against_numpy():
    target = world.target()
    strategy, (batch, features) = prepared("kd_prototypes", target), sample()
    with torch.no_grad():
        strategy.log_temperature.fill_(np.log(0.3))
    got = value_of(strategy, batch, features)
    projected = copy.deepcopy(strategy.head)(features).detach().numpy()
    prototypes = target.prototypes.astype(np.float32).astype(float)
    teacher = softmax(prototypes @ prototypes.T / 0.1, axis=1)[batch.labels.numpy()]
    student = softmax(projected @ prototypes.T / 0.3, axis=1)
    expected = np.mean([entropy(q, p) for q, p in zip(teacher, student, strict=True)])
    assert got == pytest.approx(expected, rel=1e-5)


def test_kd_starts_alike_with_every_target():
    """A control is the same loss: as many parameters, and initial logits of the same scale, for an LLM of any width.

    Expected: z is a direction without preference in 64 dimensions, so that z·c has variance 1/64 for any unit row c.
    """
    features = torch.randn(128, N_FEATURES, generator=torch.Generator().manual_seed(0))
    scales, sizes = {}, set()
    for name in ("vaxis", "permuted_1", "random_1"):
        strategy, squares = STRATEGIES["kd_prototypes"](), []
        target = world.target(name, width=576)
        for seed in range(60):
            torch.manual_seed(seed)
            strategy.prepare(torch.nn.Identity(), world.spec("de"), N_FEATURES, target)
            squares.append(((strategy.head(features) @ strategy.prototypes.T) ** 2).mean().item())
        scales[name] = np.mean(squares) * 64
        sizes.add(sum(parameter.numel() for parameter in strategy.parameters()))
    assert len(sizes) == 1
    for name, scale in scales.items():
        assert 0.75 < scale < 1.33, (name, scales)


def test_kd_temperature_is_learned_and_bounded():
    strategy, (batch, features) = prepared("kd_prototypes"), sample()
    loss_of(strategy, batch, features).backward()
    assert strategy.log_temperature.grad != 0
    values = []
    for log_temperature in (-50.0, np.log(0.01)):
        with torch.no_grad():
            strategy.log_temperature.fill_(log_temperature)
        values.append(value_of(strategy, batch, features))
    assert values[0] == pytest.approx(values[1])


def test_supcon_against_a_double_loop():
    """Without the classes at both ends: the largest difference is that of the data set, not of the batch."""
    target = world.target()
    strategy, (batch, features) = prepared("supcon_clip", target), sample(20)
    ends = {int(target.class_values.argmin()), int(target.class_values.argmax())}
    inner = [clip for clip in range(world.N_CLIPS) if world.CLASS_OF_CLIP[clip] not in ends]
    batch = batch_of(np.resize(inner, 20))
    got = value_of(strategy, batch, features)
    z = copy.deepcopy(strategy.head)(features).detach().numpy()
    values = target.clip_values[batch.clips.numpy()]
    largest = target.clip_values.max() - target.clip_values.min()
    terms = []
    for i in range(20):
        others = [j for j in range(20) if j != i]
        total = sum(np.exp(z[i] @ z[a] / 0.07) for a in others)
        weights = [max(0, 1 - abs(values[i] - values[j]) / largest) for j in others]
        logs = [np.log(np.exp(z[i] @ z[j] / 0.07) / total) for j in others]
        if sum(weights) > 1e-6:
            terms.append(-sum(w * value for w, value in zip(weights, logs, strict=True)) / sum(weights))
    assert got == pytest.approx(np.mean(terms), rel=1e-6)


def test_projection_is_of_length_one_and_takes_a_batch_of_one():
    head = ProjectionHead(N_FEATURES, 16)
    for rows in (1, 5):
        z = head(torch.randn(rows, N_FEATURES))
        torch.testing.assert_close(z.norm(dim=1), torch.ones(rows))


@pytest.mark.parametrize("name", ALIGNING)
@pytest.mark.parametrize("case", ["one sample", "one class", "two classes", "equal features", "zero features"])
def test_poor_batches_give_finite_losses_and_gradients(name, case):
    strategy = prepared(name, double=False)
    clips = {"one sample": [4], "one class": [0, 1, 2], "two classes": [0, 1, 3, 4]}.get(case, list(range(28)))
    torch.manual_seed(1)
    features = torch.randn(len(clips), N_FEATURES)
    features = {"equal features": features[:1].expand_as(features), "zero features": features * 0}.get(case, features)
    features = features.clone().requires_grad_()
    loss = loss_of(strategy, batch_of(clips), features)
    assert torch.isfinite(loss)
    loss.backward()
    assert torch.isfinite(features.grad).all()
    for parameter in strategy.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", ALIGNING)
def test_gradient_by_finite_differences(name):
    strategy, (batch, features) = prepared(name), sample(24)
    assert torch.autograd.gradcheck(lambda h: loss_of(strategy, batch, h), (features,), eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ALIGNING)
def test_gradient_of_own_parameters_by_finite_differences(name):
    strategy, (batch, features) = prepared(name), sample(24)
    loss_of(strategy, batch, features).backward()
    for parameter in strategy.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        at = int(gradient.abs().argmax())
        values = []
        for step in (1e-5, -2e-5):
            flat[at] += step
            values.append(value_of(strategy, batch, features))
        flat[at] += 1e-5
        assert float(gradient[at]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("name", ALIGNING)
def test_trained_alone_each_loss_decreases(name):
    strategy, (batch, inputs) = prepared(name, double=False), sample(56)
    model = torch.nn.Sequential(torch.nn.Linear(N_FEATURES, 32), torch.nn.Tanh(), torch.nn.Linear(32, N_FEATURES))
    optimizer = torch.optim.Adam([*model.parameters(), *strategy.parameters()], lr=1e-2)
    losses = []
    for _ in range(60):
        loss = loss_of(strategy, batch, model(inputs.detach().float()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", ALIGNING)
def test_the_loss_draws_no_random_numbers(name):
    """It would shift the dropout masks of the classifier away from those of the baseline."""
    strategy, (batch, features) = prepared(name), sample()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    loss_of(strategy, batch, features).backward()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ALIGNING)
def test_without_a_target(name):
    with pytest.raises(BadInput, match="without a target"):
        STRATEGIES[name]().prepare(torch.nn.Identity(), world.spec("de"), N_FEATURES, None)


@pytest.mark.parametrize("name", ["rsa", "supcon_clip"])
def test_a_target_without_differences_is_refused(name):
    target = world.target()
    flat = Target("flat", target.class_values * 0, target.clip_values * 0, target.prototypes, target.dissimilarity * 0)
    with pytest.raises(BadInput, match="all equal"):
        prepared(name, flat)


def test_every_strategy_says_what_it_is():
    for name, strategy in STRATEGIES.items():
        assert strategy.kind in ("none", "values", "several", "prototypes", "dissimilarity"), name
        assert strategy.formula, name
        assert strategy.source, name
