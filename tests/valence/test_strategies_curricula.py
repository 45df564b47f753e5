"""Strategies whose weights change over training: schedules, stages, and what stands still while frozen."""

import copy
import dataclasses
import io

import numpy as np
import pytest
import torch

from tests.valence import training_world as world
from tests.valence.losses import prepared
from tests.valence.traced_run import TracedRun
from valence.batched import BatchedRuns, CannotBatch
from valence.classifiers import CLASSIFIERS, Classifier, tap_paths, tapped
from valence.errors import BadInput
from valence.resident import resident
from valence.stories import EMOTIONS
from valence.strategies import STRATEGIES, Circumstances
from valence.strategies.pretrain_finetune import epochs_of_first_stage
from valence.training import CellRun

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSIFIERS_OF_ALL_TAPS = ["de_mlp", "de_gru", "EEGNet", "ATCNet", "BDTCN", "AttentionBaseNet", "ShallowFBCSPNet"]


def begun(strategy: str, options: str = "", *, classifier="de_mlp", epochs=4, lambda_=0.5, kind=CellRun, **about):
    """A cell before its first step; `none` has no target."""
    recipe = world.recipe(epochs=epochs, **about)
    data = world.dataset(CLASSIFIERS[classifier].input)
    held = resident(data, world.split(), de_normalisation=recipe.de_normalisation, device="cpu")
    aligned = strategy != "none"
    cell = world.cell(classifier, strategy, about=recipe, lambda_=lambda_ if aligned else 0.0)
    cell = dataclasses.replace(cell, options=options)
    return kind(cell, data, recipe, world.target() if aligned else None, held)


def to_epoch(run: CellRun, epoch: int) -> CellRun:
    """Train until so many epochs are done."""
    while run.epochs_done < epoch and run.advance():
        pass
    assert run.epochs_done == epoch
    return run


def state_of(run: CellRun) -> dict[str, torch.Tensor]:
    return copy.deepcopy(run.model.state_dict())


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if torch.equal(one[name], other[name])]


def gradients(run: CellRun, epoch: int) -> dict[str, torch.Tensor | None]:
    """Of the classifier, in the first batch, as if so many epochs had gone."""
    run.begin_epoch(epoch)
    with run.random, tapped(run.model, run.classifier) as forward:
        run.backward(forward, run.batches()[0], measure=True)
    return {name: parameter.grad for name, parameter in run.model.named_parameters()}


# cosine_curriculum

SCHEDULES = {
    "cosine": [1.0, (2 + np.sqrt(2)) / 4, 0.5, (2 - np.sqrt(2)) / 4],
    "warmup": [0.0, 0.5, 1.0, 1.0],
    "delayed": [0.0, 0.0, 1.0, 1.0],
}
"""λ_t/λ in four epochs"""


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(schedule):
    strategy = prepared("cosine_curriculum", schedule=schedule)
    entropy, auxiliary = torch.tensor(2.0, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)
    buffer, seen = strategy.strength, []
    for epoch in range(4):
        strategy.on_epoch(epoch, 4)
        task, weighed = strategy.weigh(entropy, auxiliary, 0.5)
        assert task is entropy
        seen.append(weighed.item() / 1.5)
    assert strategy.strength is buffer  # a captured step goes on reading it
    assert seen == pytest.approx(SCHEDULES[schedule])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_before_training_it_stands_where_epoch_0_does(schedule):
    strategy = prepared("cosine_curriculum", schedule=schedule)
    assert strategy.strength.item() == SCHEDULES[schedule][0]
    strategy.on_epoch(0, 7)
    assert strategy.strength.item() == SCHEDULES[schedule][0]


def test_an_unknown_schedule_is_refused():
    with pytest.raises(BadInput, match="cosine, warmup, delayed"):
        STRATEGIES["cosine_curriculum"](schedule="linear")


def test_a_delayed_loss_leaves_the_first_half_alone():
    """Weights are those of task-only training to the last bit, and go apart afterwards."""
    plain, delayed = begun("none"), begun("cosine_curriculum", "schedule=delayed")
    for run in (plain, delayed):
        to_epoch(run, 2)
    assert len(equal(state_of(plain), state_of(delayed))) == len(state_of(plain))
    for run in (plain, delayed):
        to_epoch(run, 3)
    assert len(equal(state_of(plain), state_of(delayed))) < len(state_of(plain))


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_the_gradient_in_training_is_that_of_the_scheduled_strength(epoch):
    """The gradient is linear in λ: what is added to the one of cross-entropy, at a λ of .5 and at a constant one."""
    plain, given = gradients(begun("none"), epoch), gradients(begun("cosine_curriculum"), epoch)
    whole = begun("cosine_curriculum")
    whole.strategy.on_epoch = lambda epoch, n_epochs: None  # stays at 1
    whole = gradients(whole, epoch)
    expected = SCHEDULES["cosine"][epoch]
    for name, gradient in plain.items():
        torch.testing.assert_close(given[name] - gradient, expected * (whole[name] - gradient), atol=1e-6, rtol=1e-4)
    assert any((whole[name] - plain[name]).abs().max() > 1e-3 for name in plain)


def test_a_matched_gradient_keeps_the_schedule():
    run = begun("cosine_curriculum", "schedule=warmup", lambda_=0.0)
    run.objective.gradient_match = 0.3
    for epoch in range(4):
        gradients(run, epoch)
    assert [float(ratio) for ratio in run.objective.ratios] == pytest.approx([0.0, 0.15, 0.3, 0.3], rel=1e-4)


# pretrain_finetune


@pytest.mark.parametrize(
    ("share", "n_epochs", "expected"),
    [(0.5, 1, 0), (0.5, 2, 1), (0.5, 3, 1), (0.5, 100, 50), (0.1, 4, 1), (0.99, 4, 3), (0.29, 100, 29), (0.3, 10, 3)],
)
def test_both_stages_have_an_epoch(share, n_epochs, expected):
    assert epochs_of_first_stage(share, n_epochs) == expected
    strategy = prepared("pretrain_finetune", share=share)
    stages = []
    for epoch in range(n_epochs):
        strategy.on_epoch(epoch, n_epochs)
        stages.append(strategy.stage)
    assert stages == [1] * expected + [2] * (n_epochs - expected)


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5, float("nan")])
def test_a_share_that_leaves_no_stage_is_refused(share):
    with pytest.raises(BadInput, match="share="):
        STRATEGIES["pretrain_finetune"](share=share)


def test_each_stage_minimises_one_of_the_two():
    """Stage 1: the gradient of the regression alone; stage 2: that of cross-entropy alone."""
    plain, second = gradients(begun("none"), 0), gradients(begun("pretrain_finetune"), 2)
    for name in plain:
        assert torch.equal(second[name], plain[name])
        assert plain[name].any()
    # with the same parameters of the head, regression and cross-entropy add up to aux_mse at λ = 1
    staged, summed = begun("pretrain_finetune"), begun("aux_mse", lambda_=1.0)
    staged.strategy.load_state_dict(summed.strategy.state_dict())
    first, both = gradients(staged, 0), gradients(summed, 0)
    for name in plain:
        torch.testing.assert_close(first[name] + plain[name], both[name], atol=1e-6, rtol=1e-4)
        assert first[name].any() != name.startswith("final_layer")


def test_labels_are_not_seen_in_stage_1():
    """The backbone after stage 1 depends on clips and their values alone."""
    known, turned = begun("pretrain_finetune"), begun("pretrain_finetune")
    turned.data.labels.copy_((turned.data.labels + 1) % world.N_CLASSES)
    try:
        for run in (known, turned):
            to_epoch(run, 2)
        assert len(equal(state_of(known), state_of(turned))) == len(state_of(known))
    finally:
        turned.data.labels.copy_((turned.data.labels - 1) % world.N_CLASSES)


def test_it_trains_as_many_steps_as_its_baseline_and_ends_with_the_task():
    assert STRATEGIES["pretrain_finetune"].baseline == "none"
    runs = [begun(name, epochs=8) for name in ("none", "pretrain_finetune")]
    for run in runs:
        to_epoch(run, 8)
    plain, staged = (run.result().metrics for run in runs)
    assert plain["windows"] == staged["windows"]
    assert staged["best_epoch"] >= 4
    assert staged["balanced_accuracy"] > 0.5  # the planted classes are learned in stage 2


def before_features(run: CellRun) -> set[str]:
    """Names of weights and statistics of all layers before the last ones."""
    last = tuple(f"{path}." for path in tap_paths(run.model, run.classifier))
    return {name for name in run.model.state_dict() if not name.startswith(last)}


@pytest.mark.parametrize("classifier", CLASSIFIERS_OF_ALL_TAPS)
def test_frozen_nothing_before_the_features_moves_in_stage_2(classifier):
    run = to_epoch(begun("pretrain_finetune", "frozen=true", classifier=classifier, epochs=3), 1)
    initial = state_of(begun("pretrain_finetune", "frozen=true", classifier=classifier, epochs=3))
    first = state_of(run)
    before = before_features(run)
    assert any(not torch.equal(initial[name], first[name]) for name in before)  # stage 1 trains them
    second = state_of(to_epoch(run, 3))
    assert set(equal(first, second)) == before
    assert all(ratio.isnan() for ratio in run.objective.ratios), "one loss acts alone in each stage"
    assert run.result().metrics["gradient_ratio"] is None


class NormalisesLast(torch.nn.Module):
    """One normalisation before the features, and one that belongs to the last layer."""

    def __init__(self, spec):
        super().__init__()
        n_inputs = spec.n_chans * spec.n_times * spec.n_bands
        self.first = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_inputs, 8), torch.nn.BatchNorm1d(8))
        self.final_layer = torch.nn.Sequential(torch.nn.BatchNorm1d(8), torch.nn.Linear(8, spec.n_outputs))

    def forward(self, x):
        return self.final_layer(self.first(x))


def test_frozen_the_last_layers_own_normalisation_goes_on(monkeypatch):
    row = Classifier(name="normalises_last", family="test", input="de", build=NormalisesLast)
    monkeypatch.setitem(CLASSIFIERS._entries, "normalises_last", row)
    run = to_epoch(begun("pretrain_finetune", "frozen=true", classifier="normalises_last", epochs=3), 1)
    first = state_of(run)
    second = state_of(to_epoch(run, 3))
    assert "first.2.running_mean" in first
    assert set(equal(first, second)) == before_features(run)


@pytest.mark.parametrize("classifier", ["de_mlp", "EEGNet"])
def test_unfrozen_everything_moves_in_stage_2(classifier):
    run = to_epoch(begun("pretrain_finetune", classifier=classifier, epochs=3), 1)
    first = state_of(run)
    second = state_of(to_epoch(run, 3))
    moving = {name for name, _ in run.model.named_parameters()} | {name for name in first if "running" in name}
    assert not moving & set(equal(first, second))


def test_frozen_the_last_layer_learns_what_logistic_regression_would():
    """The gradient of the last layer is that of the whole classifier, and of nothing else."""
    frozen, plain = gradients(begun("pretrain_finetune", "frozen=true"), 2), gradients(begun("none"), 2)
    for name, gradient in plain.items():
        if name.startswith("final_layer"):
            torch.testing.assert_close(frozen[name], gradient)
        else:
            assert frozen[name] is None


def test_frozen_a_classifier_without_a_last_layer_of_its_own_is_left_out():
    def unfit(classifier, **options):
        about = Circumstances(classifier=CLASSIFIERS[classifier], spec=world.spec("de"), classes=EMOTIONS, n_axes=1)
        return STRATEGIES["pretrain_finetune"](**options).unfit(about)

    assert "no weights in its last layer" in unfit("de_logistic", frozen=True)
    assert unfit("de_logistic") is None
    assert unfit("de_mlp", frozen=True) is None
    with pytest.raises(BadInput, match="no weights to train"):
        begun("pretrain_finetune", "frozen=true", classifier="de_logistic")


@pytest.mark.parametrize("frozen", ["", "frozen=true"])
@pytest.mark.parametrize("classifier", ["de_mlp", "EEGNet"])
def test_a_captured_step_changes_with_the_stage(monkeypatch, frozen, classifier):
    monkeypatch.setattr(TracedRun, "n_captured", 0)
    runs = [
        begun("pretrain_finetune", frozen, classifier=classifier, kind=kind, batch_size=8)
        for kind in (CellRun, TracedRun)
    ]
    for run in runs:
        to_epoch(run, 4)
    assert TracedRun.n_captured == 2
    eager, captured = (run.result() for run in runs)
    assert captured.mode == "graph"
    np.testing.assert_allclose(captured.test_logits, eager.test_logits, atol=2e-2)


@pytest.mark.parametrize("name", ["pretrain_finetune", "cosine_curriculum"])
def test_stacked_cells_go_through_the_stages_together(name):
    stacked = [begun(name), begun("none"), begun(name)]
    alone = to_epoch(begun(name), 4).result()
    group = BatchedRuns(stacked)
    while group.advance():
        pass
    for position in (0, 2):
        np.testing.assert_allclose(stacked[position].result().test_logits, alone.test_logits, atol=1e-4)


def test_frozen_cells_are_not_stacked():
    with pytest.raises(CannotBatch, match="inside the classifier"):
        BatchedRuns([begun("pretrain_finetune", "frozen=true")])


@pytest.mark.parametrize(
    ("name", "options"),
    [("pretrain_finetune", ""), ("pretrain_finetune", "frozen=true"), ("cosine_curriculum", "schedule=warmup")],
)
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_stopped_and_gone_on_it_is_the_same(name, options, epoch):
    whole = to_epoch(begun(name, options, classifier="EEGNet"), 4).result()
    buffer = io.BytesIO()
    torch.save(to_epoch(begun(name, options, classifier="EEGNet"), epoch).state(), buffer)
    run = begun(name, options, classifier="EEGNet")
    run.restore(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    np.testing.assert_array_equal(to_epoch(run, 4).result().test_logits, whole.test_logits)


def test_patience_counts_from_the_first_epoch_that_trains_the_task():
    about = world.recipe(epochs=8, patience_epochs=1)
    run = CellRun(
        world.cell("de_mlp", "pretrain_finetune", about=about, lambda_=1.0),
        world.dataset(),
        about,
        world.target(),
        resident(world.dataset(), world.split(), de_normalisation="train", device="cpu"),
    )
    worse = torch.zeros(len(run.data.validation), world.N_CLASSES)
    ended = []
    for epoch in range(6):
        run.begin_epoch(epoch)
        ended.append(run.end_epoch(epoch, worse))
    assert ended == [False] * 5 + [True], "stage 1 is four epochs long"
