"""Other targets with the same ridge: what each null keeps, and that p is the share of it that is as large."""

from dataclasses import replace

import numpy as np
import pytest

from tests.valence.hand_cohorts import blocked_orders
from tests.valence.scalp_cohorts import LABELS, RATED, cohort_of_world, noise, scalp_cohort, world_target
from tests.valence.test_brain_cohort import axis_of
from valence.brain import nulls
from valence.brain.permutations import refitted
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, flat, linear_folds, protocols, ridge_r
from valence.brain.rows import NotPossible
from valence.brain.targets import brain_target
from valence.worlds import World


def ordered(n_subjects: int = 6, seed: int = 0, **facts):
    """A cohort without a target, shown in blocks as FACED's was."""
    cohort = scalp_cohort(noise(seed, n_subjects))
    return replace(cohort, presentation=blocked_orders(n_subjects), block_clips=4, **facts)


def test_random_directions_have_one_normal_value_a_class():
    orders = nulls.random_directions(LABELS, n=20_000)
    assert orders.values.shape == (20_000, 9)
    assert not orders.rest.any()
    assert np.abs(orders.values.mean(axis=0)).max() < 0.03
    assert np.abs(np.cov(orders.values.T) - np.eye(9)).max() < 0.05


def test_series_have_the_spectrum_that_the_target_has_along_the_presentation():
    cohort = ordered(40)
    one_order = replace(cohort, presentation=np.tile(cohort.presentation[0], (40, 1)))
    found = nulls.spectrum_matched(one_order, RATED.clip_values)
    shown = np.argsort(one_order.presentation[0])
    expected = np.abs(np.fft.rfft(RATED.clip_values[shown]))
    of_series = np.abs(np.fft.rfft(found.values[:, shown], axis=1))
    # each is scaled to standard deviation 1 over clips; below half the rate all amplitudes are the target's
    np.testing.assert_allclose(
        of_series[:, 1:14] / of_series[:, 1:2], np.tile(expected[1:14] / expected[1], (len(of_series), 1)), atol=1e-9
    )
    np.testing.assert_allclose(found.values.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(found.values.std(axis=1), 1)
    assert "mean over 40 orders" in found.words


def test_series_run_through_everybody_and_clips_have_their_mean():
    """Clips shown beside each other by everybody have much the same value; those far from each other do not."""
    cohort = ordered(30)
    values = nulls.spectrum_matched(cohort, RATED.clip_values).values
    pairs = np.corrcoef(values.T)
    distance = np.abs(cohort.presentation[:, :, None] - cohort.presentation[:, None]).mean(axis=0)
    upper = np.triu_indices(28, 1)
    near, far = distance[upper] < 8, distance[upper] > 10
    assert pairs[upper][near].mean() > pairs[upper][far].mean() + 0.2


def test_without_an_order_there_is_no_spectrum_and_the_table_says_so():
    cohort = scalp_cohort(noise(0, 4))
    with pytest.raises(NotPossible, match="order of presentation is not known"):
        nulls.spectrum_matched(cohort, RATED.clip_values)
    some = replace(cohort, presentation=np.full((4, 28), -1))
    rows = nulls.rows(some, RATED)
    row = next(row for row in rows if row.item == "spectrum-matched")
    assert row.value is None
    assert row.reason == "the order of presentation is not known"
    assert {row.item: row.value for row in rows}["order"] is None
    one = replace(cohort, presentation=np.stack([np.arange(28), *[np.full(28, -1)] * 3]))
    np.testing.assert_array_equal(nulls.known_order(one), [np.arange(28)])


def test_covariates_are_means_over_those_who_are_known():
    ratings = {scale: np.random.default_rng(number).uniform(0, 7, (6, 28)) for number, scale in enumerate(nulls.SCALES)}
    ratings["arousal"][0, 3] = np.nan
    ratings["liking"][:, 3] = np.nan
    cohort = ordered(ratings=ratings, clip_seconds=np.arange(28.0))
    found = nulls.covariates(cohort)
    assert set(found) == {"arousal", "familiarity", "order", "block", "duration"}
    np.testing.assert_allclose(found["arousal"], np.nanmean(ratings["arousal"], axis=0))
    np.testing.assert_allclose(found["order"], cohort.presentation.mean(axis=0))
    np.testing.assert_allclose(found["block"], (cohort.presentation // 4).mean(axis=0))
    assert "duration" not in nulls.covariates(replace(cohort, clip_seconds=np.full(28, 30.0)))


def test_rows_have_the_r_of_the_ridge_and_the_share_of_the_null(monkeypatch):
    monkeypatch.setattr(nulls, "N_ORDERS", 500)
    monkeypatch.setattr(nulls, "N_SPECTRUM", 500)
    world = World(axis_strength=1.0, evoked_uv=0.0)
    cohort, target = cohort_of_world(world, 8), world_target(world)
    cohort = replace(cohort, presentation=blocked_orders(8), block_clips=4)
    rows = {(row.analysis, row.protocol, row.item): row for row in nulls.rows(cohort, target)}
    for name in (CLIP_OUT, CLASS_OUT):
        folds = linear_folds(flat(cohort.clip_means()), protocols(cohort)[name])
        r = ridge_r(folds, target.clip_values)
        null = refitted(folds, nulls.spectrum_matched(cohort, target.clip_values))
        row = rows["ridge against", name, "spectrum-matched"]
        assert row.value == r
        assert row.p == (1 + np.sum(null >= r)) / (1 + len(null))
        assert f"mean {null.mean():+.3f}" in row.null
        assert rows["ridge against", name, "random directions"].p < 0.05
        order = rows["ridge of", name, "order"]
        assert order.value == pytest.approx(ridge_r(folds, cohort.presentation.mean(axis=0)), abs=1e-9)
        assert 0 < order.p <= 1
        assert rows["ridge of", name, "arousal"].reason


def test_untrained_axes_are_a_null_whose_smallest_p_is_told():
    world = World(axis_strength=1.2, evoked_uv=0.0)
    cohort = cohort_of_world(world, 8)
    truth = axis_of(world_target(world).class_values)
    target = brain_target("axis", cohort, truth)
    rng = np.random.default_rng(0)
    axes = [axis_of(rng.normal(size=9)) for _ in range(4)]
    row = nulls.untrained_rows(cohort, target, axes)[1]
    folds = linear_folds(flat(cohort.clip_means()), LABELS)
    values = [ridge_r(folds, brain_target("axis", cohort, axis).clip_values) for axis in axes]
    assert row.value > max(values)
    assert row.p == pytest.approx(1 / 5)
    assert "p cannot be below 0.2" in row.null
    # the target itself among them is as large
    assert nulls.untrained_rows(cohort, target, [*axes, truth])[1].p == pytest.approx(2 / 6)
    with pytest.raises(NotPossible, match="--untrained-axis"):
        nulls.untrained_rows(cohort, target, [])
