"""Residuals against regression on class dummies; nulls against permutations by hand, their level, planted truths."""

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from tests.valence import planted_cells as planted
from tests.valence.training_world import CLASS_OF_CLIP, N_CLIPS
from valence.brain.rows import NotPossible
from valence.probes import unit
from valence.residual_held_out import held_out_residual, residual_interval
from valence.residual_probes import residual_basis, residual_components, residual_encoding, residual_target


def by_regression(values: np.ndarray) -> np.ndarray:
    dummies = np.eye(9)[CLASS_OF_CLIP]
    return values - LinearRegression(fit_intercept=False).fit(dummies, values).predict(dummies)


def test_residuals_are_those_of_a_regression_on_classes():
    rng = np.random.default_rng(0)
    values, features = rng.normal(size=N_CLIPS), rng.normal(size=(N_CLIPS, 12))
    basis = residual_basis(CLASS_OF_CLIP)
    assert basis.shape == (28, 19)
    np.testing.assert_allclose(basis.T @ basis, np.eye(19), atol=1e-12)
    np.testing.assert_allclose(basis @ residual_target(values, basis), unit(by_regression(values)), atol=1e-12)
    scores, directions = residual_components(features, basis, n_components=3)
    reference = PCA(3).fit(by_regression(features))
    np.testing.assert_allclose(np.abs(directions @ reference.components_.T), np.eye(3), atol=1e-10)
    own = unit(reference.transform(by_regression(features)).T)
    np.testing.assert_allclose(np.abs((basis @ scores).T @ own.T), np.eye(3), atol=1e-10)


def test_the_strength_is_the_largest_correlation_by_hand():
    rng = np.random.default_rng(1)
    values, features = rng.normal(size=N_CLIPS), rng.normal(size=(N_CLIPS, 30))
    scores = PCA(5).fit_transform(by_regression(features))
    r = [abs(stats.pearsonr(score, by_regression(values))[0]) for score in scores.T]
    found = residual_encoding(features, values, CLASS_OF_CLIP, n_permutations=200)
    assert (found.strength, found.component) == (pytest.approx(max(r)), int(np.argmax(r)))
    null, residual = [], by_regression(values)
    for _ in range(3_000):
        mixed = residual.copy()
        for label in range(9):
            own = np.flatnonzero(label == CLASS_OF_CLIP)
            mixed[own] = mixed[rng.permutation(own)]
        null.append(np.abs(np.corrcoef(mixed, scores.T)[0, 1:]).max())
    found = residual_encoding(features, values, CLASS_OF_CLIP)
    assert found.p == pytest.approx(np.mean(np.array(null) >= max(r)), abs=0.03)
    assert found.null_mean == pytest.approx(np.mean(null), abs=0.01)


def test_the_choice_of_a_component_is_paid_for():
    rng = np.random.default_rng(2)
    p, naive = [], []
    for _ in range(400):
        found = residual_encoding(
            rng.normal(size=(N_CLIPS, 40)), rng.normal(size=N_CLIPS), CLASS_OF_CLIP, n_permutations=400
        )
        p.append(found.p)
        naive.append(_naive(found.strength))
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(naive) <= 0.05) > 0.12  # what a best component looks like when nothing is paid


def _naive(r: float, degrees: int = 19) -> float:
    return float(2 * stats.t.sf(r * np.sqrt((degrees - 1) / (1 - r**2)), degrees - 1))


def test_a_planted_residual_is_found_and_class_differences_are_not_taken_for_one():
    target = planted.target()
    cell = planted.cell(target, residual=4.0)
    found = residual_encoding(cell.clip_features, target.clip_values, CLASS_OF_CLIP)
    assert found.strength > 0.95
    assert found.p < 0.001
    rng = np.random.default_rng(3)
    only_classes = 5 * np.outer(target.class_values[CLASS_OF_CLIP], rng.normal(size=20))
    nothing = residual_encoding(only_classes + rng.normal(size=(N_CLIPS, 20)), target.clip_values, CLASS_OF_CLIP)
    assert nothing.p > 0.05
    low, high = _interval(cell, target)
    assert low < found.strength + 0.02
    assert 0.9 < low < high <= 1


def _interval(cell, target, **options) -> tuple[float, float]:
    own = cell.part == "test"
    return residual_interval(
        cell.features[own], cell.subjects[own], cell.clips[own], target.clip_values, CLASS_OF_CLIP, **options
    )


def test_the_interval_is_that_of_resampled_subjects_by_hand():
    target = planted.target()
    cell = planted.cell(target, residual=1.0, noise=2.0, width=24)
    own, rng = cell.part == "test", np.random.default_rng(7)
    names, strengths = np.unique(cell.subjects[own]), []
    for _ in range(150):
        rows = np.concatenate([np.flatnonzero(own & (cell.subjects == name)) for name in rng.choice(names, len(names))])
        means = np.stack([cell.features[rows][cell.clips[rows] == clip].mean(axis=0) for clip in range(N_CLIPS)])
        strengths.append(residual_encoding(means, target.clip_values, CLASS_OF_CLIP, n_permutations=1).strength)
    low, high = _interval(cell, target, n_resamples=1_000)
    assert (low, high) == (
        pytest.approx(np.quantile(strengths, 0.025), abs=0.05),
        pytest.approx(np.quantile(strengths, 0.975), abs=0.05),
    )


def test_a_component_of_other_people_needs_a_null_that_chooses_too():
    """Everybody's clips differ alike, and no target is in them: the chosen r is high in other people all the same."""
    rng = np.random.default_rng(4)
    p, r = [], []
    for _ in range(300):
        shared = 3 * rng.normal(size=(N_CLIPS, 20))
        groups = [shared + 0.3 * rng.normal(size=(N_CLIPS, 20)) for _ in range(2)]
        found = held_out_residual(*groups, rng.normal(size=N_CLIPS), CLASS_OF_CLIP, n_permutations=300)
        p.append(found.p)
        r.append(found.r)
    assert np.mean(r) > 0.2
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.035)


def test_a_planted_residual_is_found_in_other_people():
    target = planted.target()
    cell = planted.cell(target, residual=8.0)
    groups = []
    for part in ("validation", "test"):
        own = cell.part == part
        groups.append(np.stack([cell.features[own & (cell.clips == clip)].mean(axis=0) for clip in range(N_CLIPS)]))
    found = held_out_residual(*groups, target.clip_values, CLASS_OF_CLIP)
    assert found.r > 0.95
    assert found.p < 0.001
    assert abs(found.direction @ planted.residual_direction()) > 0.9


def test_what_has_no_residual_says_so():
    values = np.random.default_rng(5).normal(size=9)[CLASS_OF_CLIP]
    features = np.random.default_rng(6).normal(size=(N_CLIPS, 8))
    with pytest.raises(NotPossible, match="one value a class"):
        residual_encoding(features, values, CLASS_OF_CLIP)
    with pytest.raises(NotPossible, match="do not differ"):
        residual_encoding(features[CLASS_OF_CLIP], features[:, 0], CLASS_OF_CLIP)
    with pytest.raises(NotPossible, match="degrees of freedom"):
        residual_encoding(features[:10], features[:10, 0], np.arange(10) % 9)


def test_clips_without_samples_are_left_out():
    rng = np.random.default_rng(8)
    features, values = rng.normal(size=(N_CLIPS, 12)), rng.normal(size=N_CLIPS)
    there = np.ones(N_CLIPS, dtype=bool)
    there[[0, 5]] = False
    expected = residual_encoding(features[there], values[there], CLASS_OF_CLIP[there])
    features[~there] = np.nan
    assert residual_encoding(features, values, CLASS_OF_CLIP) == expected
    assert expected.degrees == 17
