"""Strategies that distil: against loops and scipy, their gradients, and what they must find."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy, special_ortho_group
from torch.nn import functional

from tests.valence import training_world as world
from tests.valence.losses import N_FEATURES, Sample, check_gradients, least, prepared, sample
from valence.assembly import assemble
from valence.classifiers import tapped
from valence.errors import BadInput
from valence.kept_weights import weights_bytes
from valence.resident import resident
from valence.results import predict
from valence.strategies import STRATEGIES
from valence.strategies.relational_kd import relations
from valence.training import CellRun

pytestmark = pytest.mark.usefixtures("one_thread")
DISTILLING = ["kd_soft", "distance_ce", "axis_teacher", "relational_kd"]
CLASSES = range(world.N_CLASSES)


def rows_of(made: Sample):
    """Label and logits of each sample, in numpy."""
    return list(zip(made.batch.labels.tolist(), made.logits.detach().numpy(), strict=True))


@pytest.mark.parametrize("name", [*DISTILLING, "kd_prototypes"])
def test_family(name):
    assert STRATEGIES[name].family == "distillation"


@pytest.mark.parametrize("name", DISTILLING)
def test_gradients(name):
    check_gradients(prepared(name), sample(12))


@pytest.mark.parametrize("name", DISTILLING)
def test_without_a_target(name):
    with pytest.raises(BadInput, match="without a target"):
        STRATEGIES[name]().prepare(torch.nn.Identity(), world.spec("de"), N_FEATURES, None)


@pytest.mark.parametrize(("name", "option"), [(name, "temperature") for name in ("kd_soft", "axis_teacher")])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_are_above_zero(name, option, value):
    with pytest.raises(BadInput, match=option):
        STRATEGIES[name](**{option: value})
    with pytest.raises(BadInput, match="tau="):
        STRATEGIES["distance_ce"](tau=value)


# kd_soft


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_kd_soft_against_scipy(temperature):
    strategy, made, a = prepared("kd_soft", temperature=temperature), sample(), world.target().class_values
    terms = []
    for label, logits in rows_of(made):
        q = np.array([np.exp(-abs(a[label] - a[k]) / temperature) for k in CLASSES])
        terms.append(temperature**2 * entropy(q, softmax(logits / temperature)))
    assert made.loss(strategy).item() == pytest.approx(np.mean(terms), rel=1e-6)


def test_kd_soft_at_a_high_temperature_is_a_match_of_logits():
    """Hinton et al.: ∂L/∂z = (z - v)/K where T is large, logits z and v = -|a_y - a_k| each of mean 0."""
    strategy, made, a = prepared("kd_soft", temperature=1e4), sample(), world.target().class_values
    z, v = made.logits.detach().numpy(), -abs(a[made.batch.labels.numpy()][:, None] - a)
    expected = ((z - z.mean(1, keepdims=True)) - (v - v.mean(1, keepdims=True))) / world.N_CLASSES / len(z)
    gradient = torch.autograd.grad(made.loss(strategy), made.logits)[0]
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=2e-2, atol=1e-5)


def test_kd_soft_alone_gives_the_soft_labels():
    strategy, made, a = prepared("kd_soft"), sample(), world.target().class_values
    first, last = least(strategy, made)
    assert last < 1e-6 < 0.1 < first
    for label, logits in rows_of(made):
        expected = softmax([-abs(a[label] - a[k]) / 2 for k in CLASSES])
        np.testing.assert_allclose(softmax(logits / 2), expected, atol=2e-3)


# distance_ce


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0, 5.0])
def test_distance_ce_against_numpy(tau):
    strategy, made, a = prepared("distance_ce", tau=tau), sample(), world.target().class_values
    terms = []
    for label, logits in rows_of(made):
        q = np.array([np.exp(-((a[label] - a[k]) ** 2) / tau) for k in CLASSES])
        terms.append(-sum(q / q.sum() * log_softmax(logits)))
    assert made.loss(strategy).item() == pytest.approx(np.mean(terms), rel=1e-6)


def test_distance_ce_of_narrow_labels_is_cross_entropy():
    strategy, made = prepared("distance_ce", tau=1e-4), sample()
    assert made.loss(strategy).item() == pytest.approx(
        functional.cross_entropy(made.logits, made.batch.labels).item(), rel=1e-6
    )


def test_distance_ce_is_least_at_the_entropy_of_its_labels():
    strategy, made = prepared("distance_ce"), sample()
    _, last = least(strategy, made)
    expected = entropy(strategy.soft_labels[made.batch.labels].numpy(), axis=1).mean()
    assert last == pytest.approx(expected, abs=1e-6)


def test_distance_ce_stands_in_place_of_cross_entropy():
    """Also where nothing is left to train."""
    strategy, made = prepared("distance_ce"), sample()
    plain = functional.cross_entropy(made.logits, made.batch.labels)
    loss = made.loss(strategy)
    alone = torch.autograd.grad(loss, made.logits, retain_graph=True)[0]
    both = torch.autograd.grad(sum(strategy.weigh(plain, loss, 7.0)), made.logits)[0]
    assert torch.equal(alone, both)
    detached = Sample(made.batch, made.logits.detach(), made.features.detach()).loss(strategy)
    plain = functional.cross_entropy(made.logits, made.batch.labels)
    assert not torch.autograd.grad(sum(strategy.weigh(plain, detached, 7.0)), made.logits)[0].any()
    assert STRATEGIES["distance_ce"].replaces_entropy
    assert not STRATEGIES["distance_ce"].weighted


# axis_teacher


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_axis_teacher_against_scipy(temperature):
    strategy, made = prepared("axis_teacher", temperature=temperature), sample()
    teacher = strategy.earlier_logits.numpy()
    rows = zip(made.batch.rows.tolist(), made.logits.detach().numpy(), strict=True)
    terms = [
        temperature**2 * entropy(softmax(teacher[row] / temperature), softmax(logits / temperature))
        for row, logits in rows
    ]
    assert made.loss(strategy).item() == pytest.approx(np.mean(terms), rel=1e-6)


def test_axis_teacher_alone_gives_the_answers_of_the_teacher():
    strategy, made = prepared("axis_teacher"), sample()
    first, last = least(strategy, made)
    assert last < 1e-6 < 0.1 < first
    known = functional.softmax(strategy.earlier_logits[made.batch.rows], 1)
    torch.testing.assert_close(functional.softmax(made.logits, 1), known, atol=2e-3, rtol=0)


def run_of(name: str, recipe, *, lambda_: float, earlier=None) -> CellRun:
    data = world.dataset()
    held = resident(data, world.split(), de_normalisation=recipe.de_normalisation, device="cpu")
    cell = world.cell("de_mlp", name, about=recipe, lambda_=lambda_)
    return CellRun(cell, data, recipe, None if name == "none" else world.target(), held, earlier=earlier)


def answers(run: CellRun) -> torch.Tensor:
    """Log probabilities of the training samples, in evaluation mode."""
    with tapped(run.model, run.classifier) as forward:
        return functional.log_softmax(predict(run.model, forward, run.data, run.data.train)[0], 1)


def test_the_teacher_is_the_trained_cell_and_the_student_comes_to_answer_as_it_does(tmp_path):
    assert STRATEGIES["axis_teacher"].earlier.strategy == "aux_mse_strong"
    recipe, path = world.recipe(epochs=8), tmp_path / "teacher.safetensors"
    teacher = run_of("aux_mse_strong", recipe, lambda_=0.5)
    while teacher.advance():
        pass
    path.write_bytes(weights_bytes(teacher.result().weights))
    wanted = answers(teacher)  # result() has put the best weights in
    apart = {}
    for name, lambda_ in (("none", 0.0), ("axis_teacher", 100.0)):
        student = run_of(name, recipe, lambda_=lambda_, earlier=path if lambda_ else None)
        if lambda_:
            held = student.strategy.earlier_logits[torch.from_numpy(student.data.train)]
            torch.testing.assert_close(functional.log_softmax(held, 1), wanted)
            assert "earlier_logits" not in student.strategy.state_dict()
        while student.advance():
            pass
        apart[name] = functional.kl_div(answers(student), wanted, reduction="batchmean", log_target=True).item()
    assert apart["axis_teacher"] < 0.5 * apart["none"]


def test_a_student_without_its_teacher_is_refused():
    recipe, data = world.recipe(), world.dataset()
    held = resident(data, world.split(), de_normalisation=recipe.de_normalisation, device="cpu")
    cell = world.cell("de_mlp", "axis_teacher", about=recipe, lambda_=0.5)
    with pytest.raises(BadInput, match="aux_mse_strong"):
        assemble(cell, data, recipe, world.target(), held, rewrites=False, weights=None, earlier=None)


# relational_kd


def huber(x: float) -> float:
    return 0.5 * x**2 if abs(x) < 1 else abs(x) - 0.5


def relational_by_loops(means: np.ndarray, prototypes: np.ndarray) -> float:
    """Over points, all of which are known."""
    n = len(means)
    pairs, sides = list(itertools.combinations(range(n), 2)), (means, prototypes)
    distances = [np.array([np.linalg.norm(side[k] - side[m]) for k, m in pairs]) for side in sides]
    got, wanted = (each / each.mean() for each in distances)
    pull = np.mean([huber(one - other) for one, other in zip(got, wanted, strict=True)])
    angles = []
    for vertex, (k, m) in itertools.product(range(n), pairs):
        if vertex not in (k, m):
            lines = [(side[k] - side[vertex], side[m] - side[vertex]) for side in sides]
            cosines = [u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in lines]
            angles.append(huber(cosines[0] - cosines[1]))
    return pull + 2 * np.mean(angles)


def class_means(made: Sample, labels) -> np.ndarray:
    features, own = made.features.detach().numpy(), made.batch.labels.numpy()
    return np.stack([features[own == label].mean(0) for label in labels])


def test_relational_kd_against_loops():
    strategy, made = prepared("relational_kd"), sample(60)
    expected = relational_by_loops(class_means(made, CLASSES), world.target().prototypes)
    assert made.loss(strategy).item() == pytest.approx(expected, rel=1e-5)


def test_relational_kd_of_large_differences_against_loops():
    """Beyond the width of the Huber loss: one class far from all others."""
    strategy, made = prepared("relational_kd"), sample(60)
    made.features = (made.features.detach() + 40 * (made.batch.labels == 2)[:, None]).requires_grad_()
    expected = relational_by_loops(class_means(made, CLASSES), world.target().prototypes)
    assert made.loss(strategy).item() == pytest.approx(expected, rel=1e-5)


def test_relational_kd_leaves_out_what_it_has_not_seen():
    seen = [0, 2, 3, 7]
    strategy, made = prepared("relational_kd"), sample(labels=seen * 3)
    expected = relational_by_loops(class_means(made, seen), world.target().prototypes[seen])
    assert made.loss(strategy).item() == pytest.approx(expected, rel=1e-5)


def test_relational_kd_holds_an_absent_class_at_its_running_mean():
    strategy, first, then = prepared("relational_kd"), sample(60), sample(labels=[0, 1, 2, 3] * 5, seed=3)
    first.loss(strategy)
    means = np.concatenate([class_means(then, range(4)), class_means(first, range(4, 9))])
    expected = relational_by_loops(means, world.target().prototypes)
    assert then.loss(strategy).item() == pytest.approx(expected, rel=1e-5)
    again = sample(labels=[0, 1, 2, 3] * 5, seed=3)
    check_gradients(copy.deepcopy(strategy).eval(), again)


@pytest.mark.parametrize("labels", [[4], [4, 4, 4], [0, 4, 4]])
def test_relational_kd_of_fewer_than_three_classes_is_nothing(labels):
    strategy, made = prepared("relational_kd"), sample(labels=labels)
    loss = made.loss(strategy)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.grad(loss, made.features)[0].abs().max() < 1e-6


def placed(points: np.ndarray) -> Sample:
    """Samples of all classes whose features lie at these points."""
    made = sample(labels=CLASSES, n_features=points.shape[1])
    made.features = torch.tensor(points).requires_grad_()
    return made


def test_relational_kd_is_zero_at_the_prototypes_however_turned_scaled_and_shifted():
    prototypes = world.target().prototypes
    strategy = prepared("relational_kd", n_features=prototypes.shape[1])
    turned = 7.3 * prototypes @ special_ortho_group.rvs(prototypes.shape[1], random_state=0) + 2.5
    loss = placed(turned).loss(strategy)
    assert loss.item() == pytest.approx(0, abs=1e-9)
    order = np.roll(np.arange(world.N_CLASSES), 1)
    assert placed(turned[order]).loss(strategy).item() > 0.01


def test_relational_kd_alone_finds_the_angles_of_the_prototypes():
    made = sample(labels=list(CLASSES) * 2, n_features=16)
    strategy = prepared("relational_kd", n_features=16)
    first, last = least(strategy, made)
    assert last < 1e-5 < 0.05 < first
    got = relations(torch.tensor(class_means(made, CLASSES)))[1]
    torch.testing.assert_close(got, relations(torch.tensor(world.target().prototypes))[1], atol=2e-2, rtol=0)


def test_relational_kd_of_equal_prototypes_is_refused():
    target = world.target()
    flat = dataclasses.replace(target, prototypes=np.repeat(target.prototypes[:1], world.N_CLASSES, axis=0))
    with pytest.raises(BadInput, match="all equal"):
        prepared("relational_kd", flat)


@pytest.mark.parametrize("name", DISTILLING)
@pytest.mark.parametrize("scale", [0.0, 1e-8, 1e4])
def test_extreme_features_and_logits_give_finite_gradients(name, scale):
    made = sample(labels=[0, 0, 1, 2, 2])
    made.logits, made.features = ((scale * part.detach()).requires_grad_() for part in (made.logits, made.features))
    loss = made.loss(prepared(name))
    assert torch.isfinite(loss)
    for gradient in torch.autograd.grad(loss, (made.logits, made.features), allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()
