"""The loop: identical to the last bit, common random numbers, no leak from test subjects, learning what is planted."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.valence import training_world as world
from valence import assembly, metrics, results
from valence.classifiers import CLASSIFIERS, tapped
from valence.datasets.base import Part
from valence.errors import BadInput
from valence.optimisation import gradient_norm, learning_rate, make_optimizer, shuffled
from valence.prepared import rows_of
from valence.resident import normalise_de, resident
from valence.strategies import STRATEGIES
from valence.training import CellRun, train_cell

pytestmark = pytest.mark.usefixtures("one_thread")
SOME = ("EEGNet", "ShallowFBCSPNet", "BDTCN", "de_logistic", "de_mlp")
"""contracts of all are in test_classifiers"""
ALIGNING = ["aux_mse", "kd_prototypes", "rsa", "supcon_clip"]


def train(classifier: str = "de_mlp", strategy: str = "none", *, lambda_: float = 0.0, data=None, about=None, seed=42):
    about = about or world.recipe()
    data = data or world.dataset(CLASSIFIERS[classifier].input)
    cell = world.cell(classifier, strategy, about=about, lambda_=lambda_, seed=seed)
    target = None if strategy == "none" else world.target(seed=seed)
    return train_cell(cell, data, world.split(), about, target)


def same(one, other) -> bool:
    return (
        one.metrics == other.metrics
        and np.array_equal(one.test_logits, other.test_logits)
        and np.array_equal(one.clip_features, other.clip_features)
    )


@pytest.mark.parametrize("classifier", SOME)
def test_result_is_complete_and_agrees_with_its_logits(classifier):
    result = train(classifier, "aux_mse", lambda_=0.1)
    data = world.dataset(CLASSIFIERS[classifier].input)
    rows = np.flatnonzero(data.subjects == 5)
    np.testing.assert_array_equal(result.test_index, rows)
    assert result.test_index.dtype == np.int64
    assert result.test_logits.shape == (len(rows), world.N_CLASSES)
    assert result.test_logits.dtype == result.clip_features.dtype == np.float32
    assert result.clip_features.shape[0] == world.N_CLIPS
    for name, value in metrics.scores(result.test_logits, data.labels[rows]).items():
        assert result.metrics[name] == value
    assert result.subject_balanced_accuracy == {"sub005": pytest.approx(result.metrics["balanced_accuracy"])}
    assert np.nanmean(result.recall) == pytest.approx(result.metrics["balanced_accuracy"])
    assert result.metrics["gradient_ratio"] > 0
    assert 0 <= result.metrics["axis_encoding"] <= 1
    assert 0 <= result.metrics["best_epoch"] < 3


def test_baseline_has_no_target_and_no_ratio():
    result = train()
    assert result.metrics["gradient_ratio"] is None
    assert result.metrics["axis_encoding"] is None


@pytest.mark.parametrize("classifier", SOME)
def test_identical_whatever_ran_before(classifier):
    first = train(classifier, "kd_prototypes", lambda_=0.1)
    train("de_logistic", "rsa", lambda_=1.0, seed=7)
    torch.rand(11)
    np.random.default_rng()
    second = train(classifier, "kd_prototypes", lambda_=0.1)
    assert same(first, second)
    assert not same(first, train(classifier, "kd_prototypes", lambda_=0.1, seed=43))


def test_callers_random_state_is_untouched():
    torch.manual_seed(9)
    before = torch.get_rng_state()
    train("de_mlp", "aux_mse", lambda_=0.1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("classifier", ["de_mlp", "EEGNet"])
@pytest.mark.parametrize("strategy", ALIGNING)
def test_strategy_and_baseline_share_weights_order_and_dropout(classifier, strategy):
    """With strength 0 any strategy is the baseline, to the last bit."""
    np.testing.assert_array_equal(train(classifier).test_logits, train(classifier, strategy).test_logits)


def test_a_strategy_draws_its_own_parameters_from_the_cell():
    """Of two cells that differ in strength alone, the classifiers start alike and the heads do not."""
    about, data = world.recipe(), world.dataset()
    held = resident(data, world.split(), de_normalisation="subject", device="cpu")
    runs = [
        CellRun(world.cell("de_mlp", "aux_mse", about=about, lambda_=x), data, about, world.target(), held)
        for x in (0.1, 0.1, 0.2)
    ]
    weights = [run.model.final_layer.weight for run in runs]
    heads = [run.strategy.head.weight for run in runs]
    assert torch.equal(weights[0], weights[2])
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize("strategy", ALIGNING)
@pytest.mark.parametrize("classifier", SOME)
def test_every_strategy_changes_every_classifier(classifier, strategy):
    baseline, aligned = train(classifier), train(classifier, strategy, lambda_=1.0)
    assert not np.array_equal(baseline.test_logits, aligned.test_logits)
    assert np.isfinite(aligned.test_logits).all()


@pytest.mark.parametrize("classifier", ["de_logistic", "de_mlp", "ShallowFBCSPNet"])
def test_learns_a_planted_class(classifier):
    result = train(classifier, data=None, about=world.recipe(epochs=20))
    assert result.metrics["balanced_accuracy"] > 0.6
    noise = train(
        classifier, data=world.dataset(CLASSIFIERS[classifier].input, signal=0), about=world.recipe(epochs=20)
    )
    assert noise.metrics["balanced_accuracy"] < 0.35


@pytest.mark.parametrize("strategy", ["aux_mse", "rsa"])
def test_a_strong_strategy_aligns_features_with_its_target(strategy):
    about = world.recipe(epochs=20)
    weak = train("de_mlp", strategy, lambda_=1e-6, about=about).metrics["axis_encoding"]
    strong = train("de_mlp", strategy, lambda_=20.0, about=about).metrics["axis_encoding"]
    assert strong > 0.9
    assert strong > weak


def test_test_subjects_do_not_take_part():
    """Their labels change nothing that was learned; with statistics of the training subjects, neither do their data."""
    data, other = world.dataset(), world.dataset()
    tested = data.subjects == 5
    other.labels = np.where(tested, 0, data.labels)
    other.hash = "labels"
    np.testing.assert_array_equal(train(data=data).test_logits, train(data=other).test_logits)
    other = world.dataset()
    other.x[tested] = 100.0
    other.hash = "values"
    changed, kept = train(data=other).metrics, train(data=data).metrics
    for name in ("validation_balanced_accuracy", "best_epoch"):
        assert changed[name] == kept[name]


def test_best_epoch_by_accuracy_then_entropy_then_the_earlier(monkeypatch):
    scripted = [(0.3, 1.0), (0.5, 2.0), (0.5, 1.5), (0.5, 1.5), (0.4, 0.1)]
    seen = iter(scripted)
    real = metrics.scores

    def scores(logits, labels):
        found = next(seen, None)
        return (
            {"balanced_accuracy": found[0], "cross_entropy": found[1], "kappa": None} if found else real(logits, labels)
        )

    monkeypatch.setattr(metrics, "scores", scores)
    result = train(about=world.recipe(epochs=5))
    assert (result.metrics["best_epoch"], result.metrics["validation_balanced_accuracy"]) == (2, 0.5)


def test_the_weights_of_the_best_epoch_are_tested(monkeypatch):
    """Best at epoch 0 of a constant learning rate: the same as training one epoch."""
    about = world.recipe(epochs=3, final_learning_rate=3e-3)
    real, calls = metrics.scores, []

    def scores(logits, labels):
        calls.append(0)
        return real(logits, labels) | ({"balanced_accuracy": 1.0 / len(calls)} if len(calls) <= 3 else {})

    monkeypatch.setattr(metrics, "scores", scores)
    several = train(about=about)
    monkeypatch.undo()
    cell = world.cell("de_mlp", about=about)
    once = dataclasses.replace(about, epochs=1)
    alone = train_cell(cell, world.dataset(), world.split(), once, None)
    np.testing.assert_array_equal(several.test_logits, alone.test_logits)


def test_divergence_is_an_error_that_says_what_to_do():
    with pytest.raises(FloatingPointError, match="lower the recipe's learning rate"):
        train("de_mlp", about=world.recipe(learning_rate=1e30, clip_norm=1e30))
    data = world.dataset()
    data.x[0, 0, 0, 0] = np.nan
    data.hash = "nan"
    with pytest.raises(FloatingPointError, match="de_logistic with aux_mse"):
        train("de_logistic", "aux_mse", lambda_=0.1, data=data)


def test_learning_rate_against_torch():
    about = world.recipe(epochs=10, warmup_epochs=2, learning_rate=1e-2, final_learning_rate=1e-5)
    rates = [learning_rate(about, step=step, steps_per_epoch=7) for step in range(70)]
    np.testing.assert_allclose(rates[:14], 1e-2 * np.arange(1, 15) / 14)
    held = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(held, T_max=55, eta_min=1e-5)
    for rate in rates[14:]:
        assert rate == pytest.approx(held.param_groups[0]["lr"], rel=1e-6)
        held.step()
        schedule.step()
    assert rates[-1] == pytest.approx(1e-5)


def test_batches_hold_every_row_once():
    rows = np.arange(100, 165)
    order = torch.Generator().manual_seed(1)
    first, second = shuffled(rows, 16, order), shuffled(rows, 16, order)
    assert [len(batch) for batch in first] == [16, 16, 16, 16]  # the 65th alone has no variance
    assert len(set(torch.cat(first).tolist())) == 64
    assert not torch.equal(torch.cat(first), torch.cat(second))
    assert sorted(torch.cat(shuffled(rows[:60], 16, order)).tolist()) == rows[:60].tolist()


def test_strategy_parameters_are_trained_and_scalars_do_not_decay():
    strategy = STRATEGIES["kd_prototypes"]()
    strategy.prepare(torch.nn.Identity(), world.spec("de"), 4, world.target())
    made = make_optimizer(torch.nn.Linear(2, 2), strategy, world.recipe(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    assert decay[id(strategy.log_temperature)] == 0
    assert decay[id(strategy.head.out.weight)] == 0.1
    assert len(decay) == 2 + len(list(strategy.parameters()))


def test_gradient_ratio():
    tap = torch.randn(3, 4, requires_grad=True)
    ratio = gradient_norm((6 * tap).sum(), [tap]) / gradient_norm((2 * tap).sum(), [tap])
    assert float(ratio) == pytest.approx(3)


def test_gradient_ratio_grows_with_lambda(monkeypatch):
    monkeypatch.setattr(assembly, "derive_seed", lambda identity, stage: len(stage))  # the same head for both
    weak, strong = (train("de_logistic", "aux_mse", lambda_=x, about=world.recipe(epochs=1)) for x in (0.1, 0.2))
    assert strong.metrics["gradient_ratio"] == pytest.approx(2 * weak.metrics["gradient_ratio"], rel=1e-4)


@pytest.mark.parametrize("how", ["train", "subject"])
def test_de_normalisation(how):
    data = world.dataset()
    train_rows = np.flatnonzero(data.subjects < 4)
    got = normalise_de(data.x, subjects=data.subjects, train=train_rows, how=how)
    groups = [train_rows] if how == "train" else [np.flatnonzero(data.subjects == subject) for subject in range(6)]
    for rows in groups:
        np.testing.assert_allclose(got[rows].mean((0, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(got[rows].std((0, 2)), 1, atol=1e-4)
    if how == "train":
        one = (data.x[-1] - data.x[train_rows].mean((0, 2))[:, None]) / data.x[train_rows].std((0, 2))[:, None]
        np.testing.assert_allclose(got[-1], one, rtol=1e-3, atol=1e-4)


def test_a_channel_that_never_varies_becomes_zero():
    data = world.dataset()
    data.x[:, 2, :, 1] = 7.0
    got = normalise_de(data.x, subjects=data.subjects, train=np.arange(50), how="train")
    assert (got[:, 2, :, 1] == 0).all()


def test_windows_are_not_copied():
    data = world.dataset("windows")
    held = resident(data, world.split(), de_normalisation="train", device="cpu")
    assert held.x.data_ptr() == data.x.ctypes.data
    assert held is resident(data, world.split(), de_normalisation="train", device="cpu")


def test_a_split_of_other_subjects_is_refused():
    with pytest.raises(BadInput, match="sub777"):
        rows_of(world.dataset(), Part(("sub000", "sub777")))


@pytest.mark.parametrize("classifier", ["EEGNet", "ShallowFBCSPNet"])
def test_acceleration_changes_a_step_by_rounding_only(classifier):
    about, data = world.recipe(epochs=1, batch_size=200), world.dataset("windows")
    cell = world.cell(classifier, about=about)
    fast, plain = (train_cell(cell, data, world.split(), about, None, rewrites=x) for x in (True, False))
    assert not np.array_equal(fast.test_logits, plain.test_logits)
    np.testing.assert_allclose(fast.test_logits, plain.test_logits, atol=2e-2)


def test_predictions_in_batches_are_predictions_at_once(monkeypatch):
    data = resident(world.dataset(), world.split(), de_normalisation="train", device="cpu")
    torch.manual_seed(0)
    module = CLASSIFIERS["de_mlp"].build(world.spec("de"))
    with tapped(module, CLASSIFIERS["de_mlp"]) as forward:
        whole = results.predict(module, forward, data, data.train)
        monkeypatch.setattr(results, "EVALUATION_BATCH", 10)
        parts = results.predict(module, forward, data, data.train)
    for one, other in zip(whole, parts, strict=True):
        assert len(one) == len(data.train)
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_filters_that_are_put_back_by_the_classifier_itself_go_on_learning():
    """EEGMiner clamps its parameters in its forward pass; a validation must not cut them off from the next epoch."""
    data, about = world.dataset("windows"), world.recipe(epochs=2, batch_size=64)
    held = resident(data, world.split(), de_normalisation="train", device="cpu")
    run = CellRun(world.cell("EEGMiner", about=about), data, about, None, held, rewrites=False)
    seen = [{name: value.detach().clone() for name, value in run.model.named_parameters()}]
    while run.advance():
        if run.epochs_done == len(seen):
            seen.append({name: value.detach().clone() for name, value in run.model.named_parameters()})
    assert len(seen) == 3
    for name in seen[0]:
        if run.model.get_parameter(name).requires_grad:
            assert not torch.equal(seen[1][name], seen[2][name]), name
