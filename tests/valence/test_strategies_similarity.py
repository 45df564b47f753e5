"""Losses of representational similarity against scipy and closed forms, and what they must not depend on."""

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.stats import ortho_group, pearsonr

from tests.valence import training_world as world
from valence.errors import BadInput
from valence.polar import LEAST_SINGULAR_VALUE, polar_factor
from valence.similarity import linear_cka, procrustes_distance
from valence.strategies import STRATEGIES, Batch
from valence.targets import Target

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("rsa", "rsa_strong", "cka", "procrustes")
ALL = tuple(range(world.N_CLASSES))
WIDTHS = (3, 8, 64, 200)
"""below the class count, below, at and above the width of prototypes"""


def prepared(name: str, n_features: int = 8, *, target: Target | None = None):
    strategy = STRATEGIES[name]()
    strategy.prepare(torch.nn.Identity(), world.spec("de"), n_features, target or world.target())
    return strategy.double()


def batch_of(labels: np.ndarray) -> Batch:
    labels = torch.as_tensor(labels)
    return Batch(x=labels[:, None], labels=labels, clips=labels * 3, subjects=labels * 0, rows=labels)


def sample(n_features: int = 8, *, n: int = 60, seed: int = 0, classes=ALL):
    rng = np.random.default_rng(seed)
    labels = np.resize(np.asarray(classes), n)
    return labels, rng.standard_normal((n, n_features)) + 2 * rng.standard_normal((world.N_CLASSES, n_features))[labels]


def loss_of(strategy, labels, features) -> torch.Tensor:
    features = torch.as_tensor(features)
    return strategy.loss(batch_of(labels), features.new_zeros(len(features), world.N_CLASSES), features)


def means_of(labels, features) -> np.ndarray:
    return np.stack([features[labels == label].mean(0) for label in np.unique(labels)])


def prototypes() -> np.ndarray:
    return world.target().prototypes


def reference(name: str, means: np.ndarray, classes=ALL) -> float:
    """The loss of class means of these classes, by other means than the code's."""
    classes = list(classes)
    if name.startswith("rsa"):
        wanted = world.target().dissimilarity[np.ix_(classes, classes)]
        return 1 - pearsonr(pdist(means), squareform(wanted, checks=False))[0]
    x, y = means - means.mean(0), prototypes()[classes] - prototypes()[classes].mean(0)
    if name == "cka":
        return 1 - np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(rows / np.linalg.norm(rows), ((0, 0), (0, width - rows.shape[1]))) for rows in (x, y))
    return np.square(x @ orthogonal_procrustes(x, y)[0] - y).sum()


def test_strengths_and_families():
    assert [STRATEGIES[name].lambda_ for name in NAMES] == [1.0, 5.0, 0.1, 0.05]
    assert {STRATEGIES[name].family for name in NAMES} == {"representational similarity"}


@pytest.mark.parametrize("n_features", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_against_scipy(name, n_features):
    strategy, (labels, features) = prepared(name, n_features), sample(n_features)
    got = loss_of(strategy, labels, features).item()
    assert got == pytest.approx(reference(name, means_of(labels, features)), rel=1e-6)  # targets are held in float32
    assert got > 0.01


@pytest.mark.parametrize("n_features", WIDTHS)
def test_procrustes_against_another_form(n_features):
    """scipy.spatial.procrustes scales as well: with a best scale s its disparity is 1 - s², and ours 2 - 2·s."""
    x, y = (np.random.default_rng(seed).standard_normal((9, width)) for seed, width in enumerate((n_features, 64)))
    width = max(n_features, 64)
    padded = [np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in (x, y)]
    expected = 2 - 2 * np.sqrt(1 - procrustes(*padded)[2])
    got = procrustes_distance(torch.tensor(x), torch.tensor(y), torch.ones(9, dtype=torch.float64))
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_the_rotation_of_procrustes_moves_along():
    """With R constant the gradient is that of 2 - 2·‖X̂ᵀ·Ŷ‖_* by torch's own singular values."""
    rng = np.random.default_rng(3)
    y = torch.tensor(rng.standard_normal((9, 5)))
    found = []
    for own in (True, False):
        x = torch.tensor(np.random.default_rng(4).standard_normal((9, 7)), requires_grad=True)
        if own:
            loss = procrustes_distance(x, y, torch.ones(9, dtype=torch.float64))
        else:
            centred = [rows - rows.mean(0) for rows in (x, y)]
            cross = (centred[0] / centred[0].norm()).T @ (centred[1] / centred[1].norm())
            loss = 2 - 2 * torch.linalg.svdvals(cross).sum()
        loss.backward()
        found.append((loss.item(), x.grad))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)


def test_cka_of_one_shared_dimension_of_two():
    """Means along one direction, prototypes along it and an orthogonal one, equally: 1/√2."""
    basis = np.linalg.qr(np.column_stack([np.ones(6), np.random.default_rng(0).standard_normal((6, 2))]))[0][:, 1:]
    weights = torch.ones(6, dtype=torch.float64)
    one, both = torch.tensor(basis[:, :1] * 7), torch.tensor(basis + 3.0)
    assert linear_cka(one, both, weights).item() == pytest.approx(1 / np.sqrt(2), rel=1e-12)
    assert linear_cka(one, torch.tensor(basis[:, 1:]), weights).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_neither_rotation_nor_shift_nor_scale_counts(name):
    labels, features = sample()
    rotation = ortho_group.rvs(8, random_state=0)
    expected = loss_of(prepared(name), labels, features).item()
    for changed in (features @ rotation, features + 5, features * 1e-3, features * 1e3):
        assert loss_of(prepared(name), labels, changed).item() == pytest.approx(expected, rel=1e-6)
    skewed = loss_of(prepared(name), labels, features * np.linspace(0.2, 2, 8)).item()
    assert abs(skewed - expected) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_least_at_the_planted_geometry(name):
    """Means that are the target itself, turned, moved and scaled; another order of classes is worse."""
    planted = world.target().class_values[:, None] if name.startswith("rsa") else prototypes()
    turned = 3 * np.pad(planted, ((0, 0), (0, 64 - planted.shape[1]))) @ ortho_group.rvs(64, random_state=1) + 2
    labels = np.repeat(np.arange(world.N_CLASSES), 4)
    noise = np.random.default_rng(0).standard_normal((9, 2, 64))
    within = np.concatenate([noise, -noise], axis=1).reshape(-1, 64)  # of mean 0 in each class
    assert loss_of(prepared(name, 64), labels, turned[labels] + within).item() == pytest.approx(0, abs=1e-6)
    assert loss_of(prepared(name, 64), labels, turned[(labels + 1) % 9] + within).item() > 0.05


@pytest.mark.parametrize("name", NAMES)
def test_absent_classes_stand_in_and_unseen_ones_are_left_out(name):
    strategy = prepared(name)
    labels, features = sample(classes=range(6))
    loss_of(strategy, labels, features)
    now, moved = labels < 4, features + np.random.default_rng(9).standard_normal(features.shape)
    means = np.concatenate([means_of(labels[now], moved[now]), means_of(labels, features)[4:]])
    got = loss_of(strategy, labels[now], moved[now]).item()
    assert got == pytest.approx(reference(name, means, range(6)), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_two_classes_say_nothing(name):
    labels, features = sample(classes=(2, 5))
    leaf = torch.tensor(features, requires_grad=True)
    loss = loss_of(prepared(name), labels, leaf)
    loss.backward()
    assert loss.item() == 0
    assert not leaf.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_equal_features_pull_nowhere(name):
    """In float32, where the means of equal features differ by rounding."""
    labels = np.resize(np.arange(9), 70)
    for seed in range(10):
        row = torch.randn(1, 8, generator=torch.Generator().manual_seed(seed))
        leaf = row.repeat(70, 1).requires_grad_()
        loss = loss_of(prepared(name).float(), labels, leaf)
        loss.backward()
        assert loss.item() == (2 if name == "procrustes" else 1)
        assert not leaf.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_enough(name):
    """Also where features lie a thousand times as far from 0 as from each other."""
    labels, features = sample(64)
    expected = loss_of(prepared(name, 64), labels, features).item()
    got = loss_of(prepared(name, 64).float(), labels, torch.tensor(features + 1000).float()).item()
    assert got == pytest.approx(expected, abs=1e-3)
    got = loss_of(prepared(name, 64).float(), labels, torch.tensor(features).float()).item()
    assert got == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_free_features_reach_the_minimum(name):
    strategy, labels = prepared(name, 16), np.repeat(np.arange(9), 2)
    features = torch.tensor(np.random.default_rng(0).standard_normal((18, 16)), requires_grad=True)
    optimizer = torch.optim.Adam([features], lr=0.05)
    for _ in range(200):
        loss = loss_of(strategy, labels, features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_features_narrower_than_the_classes_are_noted():
    for name in NAMES:
        assert "width 8 give the means of 9 classes" in prepared(name, 8).notes[0]
        assert prepared(name, 9).notes == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_target_without_differences_is_refused(name):
    target = world.target()
    flat = Target(
        "flat", target.class_values, target.clip_values, target.prototypes[:1].repeat(9, 0), target.dissimilarity * 0
    )
    with pytest.raises(BadInput, match=f"'{name}' with a target whose .* are all equal"):
        prepared(name, target=flat)
    with pytest.raises(BadInput, match=f"'{name}' without a target"):
        STRATEGIES[name]().prepare(torch.nn.Identity(), world.spec("de"), 8, None)


def test_polar_factor_against_singular_vectors():
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((n, 7)))[0] for n in (9, 30))
    values = np.array([1, 0.9, 0.3, 1e-2, 1e-4, LEAST_SINGULAR_VALUE, 0])
    factor = polar_factor(torch.tensor((u * values) @ v.T)).numpy()
    np.testing.assert_allclose(factor, u[:, :6] @ v[:, :6].T, atol=1e-8)
    small = polar_factor(torch.tensor((u[:, :5] * values[:5] / 100) @ v[:, :5].T)).numpy()  # the largest need not be 1
    np.testing.assert_allclose(small, u[:, :5] @ v[:, :5].T, atol=1e-8)
    empty = polar_factor(torch.zeros(3, 4, requires_grad=True))
    assert not empty.any()
    assert not empty.requires_grad
