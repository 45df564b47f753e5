"""Strategies that regress on target values: against numpy, their gradients, and the truth where they are least."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest

from tests.valence import training_world as world
from tests.valence.losses import N_FEATURES, check_gradients, least, prepared, sample
from valence.classifiers import CLASSIFIERS
from valence.errors import BadInput
from valence.optimisation import make_optimizer
from valence.resident import resident
from valence.stories import EMOTIONS
from valence.strategies import STRATEGIES, Circumstances
from valence.strategies.aux_mse import N_HASHES, hashed
from valence.training import CellRun

pytestmark = pytest.mark.usefixtures("one_thread")
REGRESSING = ["aux_mse", "aux_mse_strong", "anger_weighted", "uncertainty", "cosine_curriculum", "pretrain_finetune"]
SEED_V = ("disgust", "fear", "sadness", "neutral", "joy")


def squared_errors(strategy, made) -> np.ndarray:
    """(w·h_i + b - a_{s_i})², sample by sample."""
    weight, bias = strategy.head.weight.detach().numpy()[0], strategy.head.bias.item()
    wanted = world.target().clip_values
    pairs = zip(made.features.detach().numpy(), made.batch.clips.tolist(), strict=True)
    return np.array([(features @ weight + bias - wanted[clip]) ** 2 for features, clip in pairs])


def about(**fields) -> Circumstances:
    given = {"classifier": CLASSIFIERS["de_mlp"], "spec": world.spec("de"), "classes": EMOTIONS, "n_axes": 1}
    return Circumstances(**(given | fields))


@pytest.mark.parametrize("name", [name for name in REGRESSING if name != "anger_weighted"])
def test_mean_squared_error_against_numpy(name):
    strategy, made = prepared(name), sample()
    assert made.loss(strategy).item() == pytest.approx(squared_errors(strategy, made).mean(), rel=1e-6)


@pytest.mark.parametrize("name", [*REGRESSING, "multi_llm"])
def test_gradients(name):
    check_gradients(prepared(name, world.target(n_axes=3)), sample(12))


@pytest.mark.parametrize("name", [*REGRESSING, "multi_llm"])
def test_alone_it_fits_the_values(name):
    first, last = least(prepared(name, world.target(n_axes=2)), sample(20))
    assert last < 1e-4 < 0.1 < first


@pytest.mark.parametrize(("name", "lambda_"), [("aux_mse", 0.1), ("aux_mse_strong", 0.5), ("anger_weighted", 0.5)])
def test_default_strengths_are_the_studys(name, lambda_):
    assert STRATEGIES[name].lambda_ == lambda_


def test_the_strong_one_differs_from_aux_mse_in_strength_alone():
    weak, strong, made = prepared("aux_mse"), prepared("aux_mse_strong"), sample()
    assert weak.state_dict().keys() == strong.state_dict().keys()
    assert made.loss(weak).item() == made.loss(strong).item()


# anger_weighted


def test_anger_weights_against_a_loop():
    strategy, made = prepared("anger_weighted"), sample()
    study = [{"anger": 5, "amusement": 3, "tenderness": 3}.get(name, 1) for name in EMOTIONS]
    errors, labels = squared_errors(strategy, made), made.batch.labels.numpy()
    expected = sum(error * study[label] * 9 / sum(study) for error, label in zip(errors, labels, strict=True)) / 40
    assert made.loss(strategy).item() == pytest.approx(expected, rel=1e-6)


def test_anger_weights_follow_the_names_of_the_classes():
    target = world.target()
    turned = dataclasses.replace(target, classes=target.classes[::-1])
    weights = prepared("anger_weighted", turned).class_weights
    assert weights.argmax() == EMOTIONS[::-1].index("anger") == 8
    assert weights.mean().item() == pytest.approx(1)
    torch.testing.assert_close(weights, prepared("anger_weighted").class_weights.flip(0))


def test_without_a_class_to_weight_it_is_left_out():
    strategy = STRATEGIES["anger_weighted"]()
    assert strategy.unfit(about()) is None
    assert "anger, amusement or tenderness" in strategy.unfit(about(classes=SEED_V))
    assert strategy.unfit(about(classes=(*SEED_V, "anger"))) is None
    with pytest.raises(BadInput, match="none of its classes"):
        prepared("anger_weighted", dataclasses.replace(world.target(), classes=tuple("abcdefghi")))


# aux_mse: share


def mixed_by_hand(number: int) -> int:
    value = number + 1
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        value = ((value ^ (value >> shift)) * factor) % 2**31
    return value ^ (value >> 16)


def test_the_hash_against_whole_numbers_of_any_size():
    numbers = [0, 1, 2, 27, 28, 3443, 10**6, 2**31 - 2]
    assert hashed(torch.tensor(numbers)).tolist() == [mixed_by_hand(number) for number in numbers]


def test_the_hash_is_even_over_pairs_clips_and_subjects():
    """FACED: 123 subjects, 28 clips. A share of any clip and any subject lies where drawing would put it."""
    values = hashed(torch.arange(123 * 28)).double().numpy().reshape(123, 28) / N_HASHES
    assert kstest(values.ravel(), "uniform").pvalue > 0.05
    for share in (0.1, 0.25, 0.5):
        chosen = values < share
        for counts, of in ((chosen.sum(0), 123), (chosen.sum(1), 28)):
            low, high = binom.ppf([0.0005, 0.9995], of, share)
            assert low <= counts.min() <= counts.max() <= high
            assert 0.6 < counts.var() / (of * share * (1 - share)) < 1.6


def test_share_against_a_loop():
    for share in (0.1, 0.25, 0.5):
        strategy, made = prepared("aux_mse", share=share), sample(200)
        pairs = zip(made.batch.subjects.tolist(), made.batch.clips.tolist(), strict=True)
        chosen = [mixed_by_hand(subject * world.N_CLIPS + clip) < share * 2**31 for subject, clip in pairs]
        assert 0.5 * share < np.mean(chosen) < 1.6 * share
        expected = squared_errors(strategy, made)[chosen].mean()
        assert made.loss(strategy).item() == pytest.approx(expected, rel=1e-6)


def gradient_rows(share: float, made) -> torch.Tensor:
    """Which samples the loss pulls."""
    gradient = torch.autograd.grad(made.loss(prepared("aux_mse", share=share)), made.features)[0]
    return gradient.abs().sum(1) > 0


def test_larger_shares_hold_the_smaller_and_all_is_all():
    made = sample(300)
    tenth, quarter, half, all_ = (gradient_rows(share, made) for share in (0.1, 0.25, 0.5, 1.0))
    assert (tenth <= quarter).all()
    assert (quarter <= half).all()
    assert 0 < tenth.sum() < quarter.sum() < half.sum() < 300
    assert all_.all()


def test_all_windows_of_a_clip_of_a_subject_are_chosen_together():
    made = sample(300)
    made.batch.clips, made.batch.subjects = torch.arange(300) // 3 % 28, torch.arange(300) // 84
    chosen = gradient_rows(0.5, made).view(100, 3)
    assert torch.equal(chosen.all(1), chosen.any(1))


def test_a_batch_without_a_chosen_sample_pulls_nothing():
    made = sample(60)
    left = ~gradient_rows(0.25, made)
    made.batch = dataclasses.replace(made.batch, clips=made.batch.clips[left], subjects=made.batch.subjects[left])
    made.features = made.features.detach()[left].requires_grad_()
    loss = made.loss(prepared("aux_mse", share=0.25))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, made.features)[0].any()


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(BadInput, match="share="):
        STRATEGIES["aux_mse"](share=share)


# uncertainty


def test_uncertainty_weighs_by_the_formula():
    strategy = prepared("uncertainty")
    entropy, error = torch.tensor(1.7, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    assert [term.item() for term in strategy.weigh(entropy, error, 9.0)] == pytest.approx([1.7, 0.4])
    with torch.no_grad():
        strategy.log_variance_of_entropy.fill_(0.3)
        strategy.log_variance_of_values.fill_(-1.2)
    expected = [np.exp(-0.3) * 1.7 + 0.3, np.exp(1.2) * 0.4 - 1.2]
    assert [term.item() for term in strategy.weigh(entropy, error, 9.0)] == pytest.approx(expected)


def test_uncertainty_comes_to_rest_at_the_logarithm_of_each_loss():
    """d/ds (e^{-s} L + s) = 0 at s = log L."""
    strategy = prepared("uncertainty")
    scalars = [strategy.log_variance_of_entropy, strategy.log_variance_of_values]
    optimizer = torch.optim.Adam(scalars, lr=0.02)
    for _ in range(600):
        optimizer.zero_grad()
        sum(strategy.weigh(torch.tensor(1.7), torch.tensor(0.4), 1.0)).backward()
        optimizer.step()
    assert [scalar.item() for scalar in scalars] == pytest.approx([np.log(1.7), np.log(0.4)], abs=1e-3)


def test_uncertainty_is_learned_in_training_and_does_not_decay():
    recipe, data = world.recipe(epochs=8, learning_rate=1e-2), world.dataset()
    held = resident(data, world.split(), de_normalisation=recipe.de_normalisation, device="cpu")
    run = CellRun(world.cell("de_mlp", "uncertainty", about=recipe, lambda_=1.0), data, recipe, world.target(), held)
    scalars = [run.strategy.log_variance_of_entropy, run.strategy.log_variance_of_values]
    assert [scalar.item() for scalar in scalars] == [0.0, 0.0]
    (without,) = [group for group in run.optimizer.param_groups if not group["weight_decay"]]
    assert {id(scalar) for scalar in scalars} == {id(parameter) for parameter in without["params"]}
    while run.advance():
        pass
    assert run.strategy.log_variance_of_values.item() < -0.01  # the planted values are learned: their error is below 1
    assert scalars[0].item() != 0
    assert run.result().metrics["gradient_ratio"] > 0


def test_uncertainty_has_no_strength():
    assert not STRATEGIES["uncertainty"].weighted
    optimizer = make_optimizer(torch.nn.Linear(2, 2), prepared("uncertainty"), world.recipe())
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 2]


# multi_llm


def test_several_axes_against_a_loop():
    target = world.target(n_axes=3)
    strategy, made = prepared("multi_llm", target), sample(30)
    weights, biases = (part.detach().numpy() for part in (strategy.heads.weight, strategy.heads.bias))
    assert weights.shape == (3, N_FEATURES)
    errors = [
        (features @ weights[axis] + biases[axis] - target.several[axis, label]) ** 2
        for features, label in zip(made.features.detach().numpy(), made.batch.labels.tolist(), strict=True)
        for axis in range(3)
    ]
    assert made.loss(strategy).item() == pytest.approx(np.mean(errors), rel=1e-6)


def test_several_equal_axes_are_one():
    """λ has one meaning for any number of axes."""
    one, made = world.target(), sample(30)
    strategy = prepared("multi_llm", dataclasses.replace(one, several=np.stack([one.class_values] * 4)))
    with torch.no_grad():
        strategy.heads.weight.copy_(strategy.heads.weight[:1].expand(4, -1))
        strategy.heads.bias.copy_(strategy.heads.bias[:1].expand(4))
    weight, bias = strategy.heads.weight[0].detach().numpy(), strategy.heads.bias[0].item()
    wanted = one.class_values[made.batch.labels.numpy()]
    expected = np.mean((made.features.detach().numpy() @ weight + bias - wanted) ** 2)
    assert made.loss(strategy).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n_axes", [0, 1])
def test_one_axis_is_not_several(n_axes):
    reason = STRATEGIES["multi_llm"]().unfit(about(n_axes=n_axes))
    assert "two LLMs or more" in reason
    assert "--axis" in reason
    assert STRATEGIES["multi_llm"]().unfit(about(n_axes=2)) is None
    with pytest.raises(BadInput, match="one axis at most"):
        prepared("multi_llm", world.target())


@pytest.mark.parametrize("name", [*REGRESSING, "multi_llm"])
def test_without_a_target(name):
    with pytest.raises(BadInput, match="without a target"):
        STRATEGIES[name]().prepare(torch.nn.Identity(), world.spec("de"), N_FEATURES, None)
