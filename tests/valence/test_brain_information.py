"""Mutual information against sklearn's estimator and the closed form of Gaussians, and planted dependences."""

import numpy as np
import pytest
from scipy import stats
from sklearn.feature_selection import mutual_info_regression

from tests.valence.hand_cohorts import LABELS, N_CELLS, cohort_of, target_of
from valence.brain import information
from valence.brain.correlations import class_orders
from valence.brain.information import KSG, LINEAR, equivalent_r, information_of_r, mutual_information
from valence.brain.rows import NotPossible

TARGET = target_of()
Y = TARGET.clip_values


def row_of(rows, protocol, item=None):
    fit = [row for row in rows if row.protocol == protocol and item in (None, row.item)]
    assert len(fit) == 1, [row.protocol for row in rows]
    return fit[0]


@pytest.mark.parametrize("k", [2, 3, 5])
def test_it_is_the_estimate_of_sklearn_but_for_its_floor(k):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 60))
    x = values[0][:, None] * np.array([2.0, 0.5, 0.0, -1.0]) + rng.normal(size=(60, 4))
    found = mutual_information(x, values, n_neighbours=k)
    expected = [mutual_info_regression(x, of, n_neighbors=k, random_state=0) for of in values]
    np.testing.assert_allclose(np.maximum(found, 0), expected, atol=1e-6)
    assert (found < 0).any()


def test_many_gaussian_points_have_the_information_of_their_r():
    rng = np.random.default_rng(1)
    y = rng.normal(size=1_000)
    x = np.stack([0.8 * y + 0.6 * rng.normal(size=1_000), rng.normal(size=1_000)], axis=1)
    found = mutual_information(x, y[None])[0]
    assert found[0] == pytest.approx(-0.5 * np.log(1 - 0.64), abs=0.06)
    assert found[1] == pytest.approx(0, abs=0.05)


def test_the_scale_of_r_goes_forth_and_back():
    r = np.array([0.0, 0.1, -0.5, 0.99])
    np.testing.assert_allclose(equivalent_r(information_of_r(r)), np.abs(r), atol=1e-12)
    assert equivalent_r(np.array(-0.2)) == 0
    assert information_of_r(np.array(0.5)) == pytest.approx(0.1438410362)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    x, values = rng.normal(size=(28, 3)), rng.normal(size=(60, 28))
    whole = mutual_information(x, values)
    monkeypatch.setattr(information, "_BLOCK", 7)
    np.testing.assert_array_equal(mutual_information(x, values), whole)
    np.testing.assert_allclose(mutual_information(x, values[41:42])[0], whole[41])


def test_a_bent_dependence_is_found_by_information_and_not_by_r():
    labels = np.repeat(range(30), 2)
    target = target_of(np.linspace(-1.5, 1.5, 30), labels)
    x = 0.1 * np.random.default_rng(3).normal(size=(4, 60, N_CELLS)) + np.square(target.clip_values)[:, None]
    rows = information.rows(cohort_of(x, labels=labels, classes=tuple(map(str, range(30)))), target)
    bent, straight = (
        row_of(rows, f"{name}, nats, {information.MINUS_BIAS}", "mean over cells") for name in (KSG, LINEAR)
    )
    assert bent.value > 0.25
    assert bent.p < 0.01
    assert straight.value < 0
    beyond = [row for row in rows if "less that of r" in row.protocol]
    assert beyond[0].value == pytest.approx(bent.value - straight.value)
    assert beyond[0].p < 0.01


def test_classes_that_merely_differ_leave_nothing_once_permuted_classes_are_taken_off():
    """Features that tell classes apart share information with every order of them."""
    rng = np.random.default_rng(5)
    levels = rng.permuted(np.tile(np.arange(9.0), (N_CELLS, 1)), axis=1).T
    x = 0.01 * rng.normal(size=(2, 28, N_CELLS)) + levels[LABELS]
    rows = information.rows(cohort_of(x), TARGET)
    assert row_of(rows, f"{KSG}, nats", "mean over cells").value > 0.4
    assert abs(row_of(rows, f"{KSG}, nats, {information.MINUS_BIAS}", "mean over cells").value) < 0.1


def test_a_straight_dependence_is_as_large_by_both_measures():
    x = np.random.default_rng(4).normal(size=(6, 28, N_CELLS))
    x[..., 2] += 3 * Y
    rows = information.rows(cohort_of(x), TARGET)
    for name in (KSG, LINEAR):
        best = row_of(rows, f"{name}, as r, {information.MINUS_BIAS}, best of all cells")
        assert best.item == "PO3 gamma"
        assert best.p < 0.02
        assert "classes of as many clips" in best.null
        assert best.value > 0.75


def test_without_an_effect_the_bias_is_gone_and_p_is_uniform(monkeypatch):
    monkeypatch.setattr(information, "N_ORDERS", 99)
    p, left = [], []
    for world in range(200):
        x = np.random.default_rng(10_000 + world).normal(size=(2, 28, N_CELLS))
        rows = information.rows(cohort_of(x), TARGET, seed=world)
        p.append([row.p for row in rows if row.p is not None and "best" in row.protocol and "nats" in row.protocol])
        left.append(row_of(rows, f"{KSG}, nats, {information.MINUS_BIAS}", "mean over cells").value)
    for several in np.array(p).T:
        dither = np.random.default_rng(0).uniform(0, 0.01, 200)
        assert stats.kstest(several - dither, "uniform").pvalue > 0.01
    assert stats.ttest_1samp(left, 0).pvalue > 0.01
    raw = mutual_information(np.random.default_rng(0).normal(size=(28, 200)), class_orders(Y, LABELS, n_orders=20)[0])
    assert abs(raw.mean()) > 0.02, "there is a bias to take off"


def test_too_few_clips_are_refused():
    labels = np.array([0, 0, 1, 1, 2, 2])
    with pytest.raises(NotPossible, match="6 clips"):
        information.rows(cohort_of(np.zeros((2, 6, N_CELLS)), labels=labels), TARGET)
