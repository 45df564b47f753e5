"""Nested ridge as linear maps of the target: against scikit-learn, fold by fold."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.valence.scalp_cohorts import FIVE, RATED, clip_target, faced_cohort, noise, scalp_cohort
from valence.brain.leave_out import rows
from valence.brain.ridge import (
    CLASS_OUT,
    CLIP_OUT,
    FILM_OUT,
    LAMBDAS,
    SESSION_OUT,
    flat,
    linear_folds,
    predicted,
    protocols,
    ridge_r,
    row_correlations,
)

N_CLIPS, N_FEATURES = 14, 30
GROUPS = {
    "a clip": np.arange(N_CLIPS),
    "a class": np.repeat(range(5), [3, 3, 2, 3, 3]),
    "films of one and two clips": np.array([0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11]),
}


def world(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features on very different scales, of which some carry the target."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=N_CLIPS)
    x = rng.normal(size=(N_CLIPS, N_FEATURES)) + np.outer(y, rng.normal(size=N_FEATURES) * 0.4)
    return x * np.logspace(-3, 3, N_FEATURES) + 100 * rng.normal(size=N_FEATURES), y


def by_scikit_learn(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Predictions in the order of clips, and the penalty that each fold chose."""
    predictions, chosen = np.full(len(y), np.nan), []
    for train, test in LeaveOneGroupOut().split(x, groups=groups):
        fitted = make_pipeline(StandardScaler(), RidgeCV(alphas=LAMBDAS)).fit(x[train], y[train])
        predictions[test] = fitted.predict(x[test])
        chosen.append(fitted[-1].alpha_)
    return predictions, chosen


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("seed", range(3))
def test_predictions_and_penalties_are_those_of_scikit_learn(name, seed):
    x, y = world(seed)
    predictions, clips, chosen = predicted(linear_folds(x, GROUPS[name]), y)
    expected, penalties = by_scikit_learn(x, y, GROUPS[name])
    np.testing.assert_allclose(predictions[np.argsort(clips)], expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(LAMBDAS[chosen], penalties)
    r = ridge_r(linear_folds(x, GROUPS[name]), y)
    assert r == pytest.approx(np.corrcoef(expected, y)[0, 1], abs=1e-9)


def test_no_clip_that_is_left_out_has_a_part_in_its_prediction():
    x, y = world(0)
    groups = GROUPS["a class"]
    before = linear_folds(x, groups)
    for name in range(5):
        other, target = x.copy(), y.copy()
        other[groups == name] += 1e3
        target[groups == name] = 1e3
        after = linear_folds(other, groups)[name]
        np.testing.assert_allclose(after.inner, before[name].inner, atol=1e-12)
        assert np.argmin(((after.inner @ target[after.train]) ** 2).sum(axis=1)) == np.argmin(
            ((before[name].inner @ y[after.train]) ** 2).sum(axis=1)
        )


def test_a_feature_that_is_the_same_in_training_changes_nothing():
    x, y = world(1)
    constant = np.column_stack([x, np.full(N_CLIPS, 7.0)])
    np.testing.assert_allclose(*(predicted(linear_folds(one, GROUPS["a clip"]), y)[0] for one in (x, constant)))


def test_new_subjects_are_centred_by_their_training_clips_and_missing_clips_have_no_prediction():
    x, y = world(2)
    rng = np.random.default_rng(3)
    # another level of everything, of which a prediction must know nothing
    others = x + rng.normal(size=(3, 1, N_FEATURES)) * 50 + 0.1 * x.std(axis=0) * rng.normal(size=(3, *x.shape))
    groups = GROUPS["a class"]
    folds = linear_folds(x, groups, tested=others)
    predictions, clips, _ = predicted(folds, y)
    expected = []
    for train, test in LeaveOneGroupOut().split(x, groups=groups):
        fitted = make_pipeline(StandardScaler(), RidgeCV(alphas=LAMBDAS)).fit(x[train], y[train])
        moved = others - others[:, train].mean(axis=1, keepdims=True) + x[train].mean(axis=0)
        expected.append(fitted.predict(moved[:, test].reshape(-1, N_FEATURES)))
    np.testing.assert_allclose(predictions, np.concatenate(expected), rtol=1e-7, atol=1e-9)
    assert len(clips) == 3 * N_CLIPS
    others[1, 4] = np.nan
    there, clips, _ = predicted(linear_folds(x, groups, tested=others), y)
    assert len(there) == 3 * N_CLIPS - 1
    assert np.bincount(clips)[4] == 2
    assert np.isfinite(there).all()


def test_without_groups_every_clip_is_trained_and_tested_on():
    x, y = world(0)
    (fold,) = linear_folds(x, np.zeros(N_CLIPS), tested=x[None])
    assert list(fold.train) == list(fold.test) == list(range(N_CLIPS))
    expected = make_pipeline(StandardScaler(), RidgeCV(alphas=LAMBDAS)).fit(x, y).predict(x)
    np.testing.assert_allclose(predicted([fold], y)[0], expected, rtol=1e-7, atol=1e-9)


def test_rows_correlate_as_numpy_does_and_a_constant_row_with_nothing():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 9))
    a[2] = 3.0
    expected = [0.0 if number == 2 else np.corrcoef(one, two)[0, 1] for number, (one, two) in enumerate(zip(a, b))]
    np.testing.assert_allclose(row_correlations(a, b), expected, atol=1e-12)


def test_a_ridge_that_learns_nothing_is_below_zero():
    """What the note says: the training mean lies on the other side of the clip that is left out."""
    rng = np.random.default_rng(5)
    y = rng.normal(size=N_CLIPS)
    folds = linear_folds(rng.normal(size=(N_CLIPS, 200)), GROUPS["a clip"], lambdas=np.array([1e12]))
    assert ridge_r(folds, y) == pytest.approx(-1, abs=1e-3)


def test_protocols_leave_films_and_sessions_out_where_there_are_some():
    cohort = scalp_cohort(noise(0))
    assert set(protocols(cohort)) == {CLIP_OUT, CLASS_OUT, FILM_OUT}
    sessions = np.arange(28) // 14
    given = type(cohort)(**{**vars(cohort), "sessions": sessions, "films": ("one",) * 3 + cohort.films[3:]})
    np.testing.assert_array_equal(protocols(given)[SESSION_OUT], sessions)
    assert len(linear_folds(flat(given.clip_means()), protocols(given)[FILM_OUT])) == 26
    assert len(linear_folds(flat(given.clip_means()), protocols(given)[SESSION_OUT])) == 2


def test_real_data_leaving_a_class_out_takes_most_of_it(shared_data):
    cohort = faced_cohort(shared_data)
    x, given = flat(cohort.clip_means()), protocols(cohort)
    for target in (RATED.clip_values, cohort.signs[cohort.class_of_clip].astype(float)):
        r = {name: ridge_r(linear_folds(x, given[name]), target) for name in (CLIP_OUT, CLASS_OUT)}
        expected = {name: by_scikit_learn(x, target, given[name])[0] for name in r}
        assert r[CLIP_OUT] > r[CLASS_OUT] + 0.1
        for name in r:
            assert r[name] == pytest.approx(np.corrcoef(expected[name], target)[0, 1], abs=1e-6)


def test_the_table_has_each_protocol_with_its_null_and_its_interval():
    cohort = scalp_cohort(noise(1, n_subjects=5, labels=FIVE), labels=FIVE)
    target = clip_target(np.random.default_rng(2).normal(size=len(FIVE)), FIVE)
    found = rows(cohort, target)
    ridge = {row.protocol: row for row in found if row.analysis == "ridge"}
    null = {row.protocol: row for row in found if row.analysis == "ridge null"}
    assert set(ridge) == set(null) == set(protocols(cohort))
    for name, row in ridge.items():
        assert row.value == ridge_r(
            linear_folds(flat(cohort.clip_means()), protocols(cohort)[name]), target.clip_values
        )
        assert row.ci_low <= row.ci_high
        assert 0 < row.p <= 1
        assert "all 120 class permutations" in row.null
        assert "p cannot be below 0.0083" in row.null
        assert "within a class stay" in row.null
        assert null[name].n == 120
        assert null[name].ci_low < null[name].value < null[name].ci_high
        bins = [one.value for one in found if one.analysis == "ridge null histogram" and one.protocol == name]
        assert sum(bins) == pytest.approx(1)
