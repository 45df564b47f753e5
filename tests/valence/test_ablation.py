"""Ablations against features changed by hand, matched directions against their covariance, planted truths and nulls."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from tests.valence import planted_cells as planted
from valence.ablation import Tally, ablate
from valence.brain.rows import NotPossible
from valence.cell_ablations import DIRECTIONS, ablations, over_cells, rows
from valence.matched_directions import matched_directions


def parts(cell, direction):
    """Arguments of `ablate` for a cell."""
    own = cell.part == "test"
    centre = cell.features[~own].mean(axis=0)
    return (*(getattr(cell, name)[own] for name in ("features", "logits", "labels", "subjects")), cell.head[0],
            direction, centre)  # fmt: skip


def test_ablation_is_the_last_layer_applied_to_changed_features():
    cell = planted.cell(planted.target(), width=24)
    direction = np.random.default_rng(0).normal(size=24)
    features, logits, labels, _, weight, _, centre = parts(cell, direction)
    unit = direction / np.linalg.norm(direction)
    before = balanced_accuracy_score(labels, logits.argmax(axis=1))
    found = ablate(*parts(cell, direction), factors=(0, 0.5, 1, 3), n_random=20)
    for one in found:
        changed = features + (one.factor - 1) * np.outer((features - centre) @ unit, unit)
        after = balanced_accuracy_score(labels, (changed @ weight.T + cell.head[1]).argmax(axis=1))
        assert one.balanced_accuracy == pytest.approx(before)
        assert one.delta == pytest.approx(after - before, abs=2e-4)  # logits are float32
    assert found[2].delta == found[2].random_mean == 0
    assert np.isnan(found[2].z)
    assert found[0].delta != found[3].delta


def test_random_directions_have_the_same_variance_to_within_rounding_and_are_others():
    rng = np.random.default_rng(1)
    turned = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    features = rng.normal(size=(400, 60)) * np.geomspace(10, 0.01, 60) @ turned
    covariance = np.cov(features, rowvar=False)
    vectors = np.linalg.eigh(covariance)[1]
    for mixture in ([-2, 0], [20, -1], [30, 40, -5], [3, 4], [1, -1]):
        direction = vectors[:, mixture].sum(axis=1) / np.sqrt(len(mixture))
        drawn = matched_directions(covariance, direction, 50, rng)
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-12)
        variance = (features @ direction).var(ddof=1)
        np.testing.assert_allclose((features @ drawn.T).var(axis=0, ddof=1), variance, rtol=1e-8)
        np.testing.assert_allclose(drawn @ direction, 0, atol=1e-9)
        assert np.unique(np.round(drawn, 6), axis=0).shape == (50, 60)


@pytest.mark.parametrize("variance", [0.5, 1.15, 2.0])
def test_directions_are_those_of_a_uniform_sphere_that_have_the_variance(variance):
    """Against rejection: uniform directions within 2 % of the variance."""
    rng = np.random.default_rng(2)
    values = np.geomspace(0.05, 5, 20)
    uniform = rng.normal(size=(1_000_000, 20))
    uniform /= np.linalg.norm(uniform, axis=1, keepdims=True)
    reference = uniform[np.abs(uniform**2 @ values - variance) < 0.02 * variance]
    assert len(reference) > 2_000
    drawn = matched_directions(np.diag([*values, variance]), np.eye(21)[20], 5_000, rng)
    np.testing.assert_allclose(drawn[:, :20] ** 2 @ values, variance, rtol=1e-10)
    np.testing.assert_allclose((drawn[:, :20] ** 2).mean(axis=0), (reference**2).mean(axis=0), rtol=0.12)
    for place in (0, 10, 19):
        assert stats.ks_2samp(drawn[:, place], reference[:, place]).pvalue > 0.001


def test_directions_of_a_variance_that_uniform_ones_never_have_are_uniform_too():
    """Three variances: the squared lengths in their spaces are Dirichlet's where they give the variance."""
    values, sizes, variance = np.array([1.0, 2.0, 8.0]), np.array([90, 25, 12]), 5.0
    covariance = np.diag([*np.repeat(values, sizes), variance])
    drawn = matched_directions(covariance, np.eye(128)[127], 2_000, np.random.default_rng(3))
    lengths = np.stack([(part**2).sum(axis=1) for part in np.split(drawn[:, :127], sizes.cumsum()[:-1], axis=1)])

    def density(second):
        third = (variance - 1 - second) / 7  # of Σ r = 1 and Σ λ r = v
        shares = np.array([1 - second - third, second, third])
        return np.exp(((sizes / 2 - 1) * np.log(shares)).sum()) if shares.min() > 0 else 0.0

    grid = np.linspace(0, 1, 4_001)
    weights = np.array([density(second) for second in grid])
    mean = (grid * weights).sum() / weights.sum()
    spread = np.sqrt(((grid - mean) ** 2 * weights).sum() / weights.sum())
    assert lengths[1].mean() == pytest.approx(mean, rel=0.03)
    assert lengths[1].std() == pytest.approx(spread, rel=0.08)


def test_a_direction_without_another_of_its_variance_has_a_change_and_no_z():
    covariance = np.diag([3.0, 1, 0.5, 0])
    for direction in np.eye(4)[[0, 2, 3]]:
        with pytest.raises(NotPossible, match="none matches"):
            matched_directions(covariance, direction, 5, np.random.default_rng(0))
    drawn = matched_directions(covariance, np.eye(4)[1], 50, np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:, [1, 3]], 0, atol=1e-12)  # features do not vary in the last
    target = planted.target()
    cell = planted.cell(target, used=5.0, residual=10.0)
    found = rows(cell, target, n_random=20)[:3]
    assert found[0].value < found[0].ci_high < 0
    assert found[0].p is None
    assert all(row.value is None and "none matches" in row.reason for row in found[1:])


def test_a_residual_that_the_head_reads_is_found_and_its_ablation_hurts_more_than_matched_directions():
    target, z = planted.target(), []
    for seed in range(4):
        cell = planted.cell(target, seed=seed, residual=3.0, used=1.5)
        direction = DIRECTIONS["residual"](cell, target)
        assert abs(direction @ planted.residual_direction(seed=seed)) > 0.6
        one = ablations(cell, planted.residual_direction(seed=seed))[0]
        z.append(one.z)
        assert one.delta < one.ci_high < 0
        assert one.excess < one.excess_high < 0
        assert one.p < 0.05
    assert np.mean(z) < -3


def test_a_direction_that_the_head_does_not_read_changes_nothing():
    target = planted.target()
    cell = planted.cell(target, residual=3.0, used=0.0)
    one = ablations(cell, planted.residual_direction())[0]
    assert abs(one.delta) < 0.005
    assert one.ci_low <= 0 <= one.ci_high


def test_a_random_direction_of_the_same_variance_is_no_finding():
    """Level of p: directions drawn as the null draws them."""
    cell = planted.cell(planted.target(), width=32, noise=1.5)
    own = cell.part == "test"
    covariance = np.cov(cell.features[own], rowvar=False, dtype=np.float64)
    first = np.linalg.eigh(covariance)[1].sum(axis=1) / np.sqrt(32)
    drawn = matched_directions(covariance, first, 150, np.random.default_rng(3))
    p = [ablations(cell, direction, n_random=60, seed=seed)[0].p for seed, direction in enumerate(drawn)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.07)
    assert np.mean(p) == pytest.approx(0.5, abs=0.08)


def test_intervals_are_those_of_resampled_subjects_by_hand():
    rng = np.random.default_rng(5)
    labels, subjects = rng.integers(0, 4, 300), rng.choice(["a", "b", "c", "d", "e", "f"], 300)
    before = np.where(rng.random(300) < 0.6, labels, rng.integers(0, 4, 300))
    after = np.where(rng.random(300) < 0.7, before, rng.integers(0, 4, 300))
    tally = Tally(labels, subjects, n_classes=4)
    hits = tally.hits(np.stack([before, after]))
    for predicted, found in zip((before, after), tally.balanced_accuracy(hits)):
        assert found == pytest.approx(balanced_accuracy_score(labels, predicted))
    drawn = tally.resamples(3_000, rng)
    low, high = tally.interval(hits[1] - hits[0], drawn)
    names, changes = np.unique(subjects), []
    for counts in drawn[:600]:
        chosen = np.concatenate([np.tile(np.flatnonzero(subjects == n), int(k)) for n, k in zip(names, counts)])
        scores = [balanced_accuracy_score(labels[chosen], predicted[chosen]) for predicted in (before, after)]
        changes.append(scores[1] - scores[0])
    np.testing.assert_allclose([low, high], np.quantile(changes, [0.025, 0.975]), atol=0.01)


def test_directions_are_estimated_on_validation_subjects_alone():
    target = planted.target()
    cell = planted.cell(target)
    features = cell.features.copy()
    features[cell.part == "test"] = np.random.default_rng(6).normal(size=features[cell.part == "test"].shape)
    for estimate in DIRECTIONS.values():
        np.testing.assert_array_equal(estimate(replace(cell, features=features), target), estimate(cell, target))


def test_cells_that_cannot_be_ablated_say_why():
    target = planted.target()
    cell = planted.cell(target, width=24)
    reasons = {
        "not one linear map": planted.without(cell, "head"),
        "not kept": planted.without(cell, "features"),
        "validation": replace(cell, part=np.full(len(cell.part), "test")),
    }
    for word, other in reasons.items():
        found = rows(other, target, factors=(0, 2))
        assert len(found) == 6
        assert all(row.value is None and word in row.reason for row in found)
    of_classes = replace(target, clip_values=target.class_values[planted.CLASS_OF_CLIP])
    found = rows(cell, of_classes, n_random=20)
    assert "one value a class" in found[0].reason
    assert all(row.value is not None for row in found[1:])


def test_rows_hold_change_excess_and_z_at_every_factor():
    target = planted.target()
    found = rows(planted.cell(target, width=24), target, factors=(0.0, 2.0), n_random=30)
    assert len(found) == 3 * 2 * 3
    change, excess, z = found[:3]
    assert change.reference == -0.0157
    assert excess.ci_low < excess.value < excess.ci_high
    assert z.reference == -7.7
    assert all(row.reference is None for row in found[3:])
    assert {row.protocol for row in found} == {"taken out", "times 2"}


def test_over_cells_is_a_t_interval_and_a_sign_test():
    target = planted.target()
    cells = [planted.cell(target, seed=seed, width=32, residual=3.0, used=1.5) for seed in range(6)]
    found = [ablations(cell, DIRECTIONS["class PC1"](cell, target), n_random=30)[0] for cell in cells]
    row = over_cells(found, "class PC1, planted")
    deltas = [one.delta for one in found]
    assert (row.ci_low, row.ci_high) == pytest.approx(stats.t.interval(0.95, 5, np.mean(deltas), stats.sem(deltas)))
    assert row.p == pytest.approx(2 * 0.5**6)
    assert "6 of 6" in row.null
    with pytest.raises(NotPossible):
        over_cells(found[:2], "class PC1, planted")
