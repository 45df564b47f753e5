"""Cohorts with a known truth: p is uniform where there is no axis, and what is planted is found as strongly."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.valence.scalp_cohorts import RATED, cohort_of_world, world_target
from valence.brain.cohort import Cohort
from valence.brain.correlations import share_as_large, spearman_brown
from valence.brain.leave_out import new_subject_rows
from valence.brain.partial_r import CODE, partial_statistic
from valence.brain.permutations import Orders, class_orders, refitted, sample
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, flat, linear_folds, predicted, protocols, ridge_r
from valence.worlds import World

N_WORLDS = 200
N_ORDERS = 200
WITHOUT = World(axis_strength=0.0, content_strength=0.4, evoked_uv=0.0, drift_sd=0.0)


def without_axis(seed: int) -> Cohort:
    """A cohort whose classes differ in patterns of their own, which know nothing of valence."""
    cohort = cohort_of_world(replace(WITHOUT, seed=seed), 6)
    rng = np.random.default_rng([7, seed])
    of_class = 0.05 * rng.normal(size=(9, 1, 1)) * rng.normal(size=(9, *cohort.de.shape[2::2]))
    patterns = of_class[cohort.class_of_clip][None, :, :, None].astype(np.float32)
    return replace(cohort, de=cohort.de + patterns)


@pytest.fixture(scope="module")
def p_values() -> dict[str, np.ndarray]:
    """p of every world: the ridge by what is left out, and beyond the sign."""
    y = RATED.clip_values
    found: dict[str, list[float]] = {}
    for seed in range(N_WORLDS):
        cohort = without_axis(seed)
        orders = sample(class_orders(y, cohort.class_of_clip), N_ORDERS, seed=seed)
        signs = cohort.signs[cohort.class_of_clip]
        held = {CODE: (signs[:, None].astype(float), np.ones(28, dtype=bool))}
        within = sample(class_orders(y, cohort.class_of_clip, within=cohort.signs), N_ORDERS, seed=seed)
        for name in (CLIP_OUT, CLASS_OUT):
            folds = linear_folds(flat(cohort.clip_means()), protocols(cohort)[name])
            found.setdefault(name, []).append(share_as_large(ridge_r(folds, y), refitted(folds, orders)))
            predictions, clips, _ = predicted(folds, y)
            statistic = partial_statistic(clips, held)
            observed = float(statistic(predictions[None], y[clips][None])[0, 0])
            null = refitted(folds, within, statistic)[:, 0]
            found.setdefault(f"{name} {CODE}", []).append(share_as_large(observed, null))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("name", [CLIP_OUT, CLASS_OUT, f"{CLIP_OUT} {CODE}", f"{CLASS_OUT} {CODE}"])
def test_without_an_axis_p_is_uniform(p_values, name):
    p = p_values[name]
    assert len(p) == N_WORLDS
    # p is a multiple of 1 / N_ORDERS: spread evenly within its step it is continuous
    spread = p - np.random.default_rng(0).random(N_WORLDS) / N_ORDERS
    assert stats.kstest(spread, "uniform").pvalue > 0.01
    assert 0.01 < np.mean(p <= 0.05) < 0.10


def test_without_regard_to_classes_an_axis_would_be_found_where_there_is_none():
    """Why classes are permuted: neither Student's t of 28 clips nor free clips know that clips of a class are alike."""
    y = RATED.clip_values
    free = np.random.default_rng(1).permuted(np.tile(y, (N_ORDERS, 1)), axis=1)
    orders = Orders(free, np.zeros(28), np.arange(28), y, "clips in any order")
    by_table, by_clips = [], []
    for seed in range(0, N_WORLDS, 2):
        folds = linear_folds(flat(without_axis(seed).clip_means()), np.arange(28))
        r = ridge_r(folds, y)
        by_table.append(stats.t.sf(r * np.sqrt(26 / (1 - r**2)), 26))
        by_clips.append(share_as_large(r, refitted(folds, orders)))
    assert np.mean(np.array(by_table) <= 0.05) > 0.15
    assert stats.kstest(by_clips, "uniform").pvalue < 1e-6


def found_at(strength: float) -> tuple[float, float, float]:
    """r leaving a clip and a class out, and p of the second, in a world of this strength."""
    world = World(axis_strength=strength, residual_strength=0.2, evoked_uv=0.0)
    cohort, y = cohort_of_world(world, 12), world_target(world).clip_values
    given = protocols(cohort)
    folds = {name: linear_folds(flat(cohort.clip_means()), given[name]) for name in (CLIP_OUT, CLASS_OUT)}
    orders = sample(class_orders(y, cohort.class_of_clip), 500)
    p = share_as_large(ridge_r(folds[CLASS_OUT], y), refitted(folds[CLASS_OUT], orders))
    return ridge_r(folds[CLIP_OUT], y), ridge_r(folds[CLASS_OUT], y), p


def test_the_stronger_what_is_planted_the_higher_r():
    found = {strength: found_at(strength) for strength in (0.0, 0.3, 0.6, 1.2)}
    clips, classes = (np.array([values[number] for values in found.values()]) for number in (0, 1))
    assert (np.diff(clips) > 0).all()
    assert (np.diff(classes) > 0).all()
    assert found[1.2][0] > 0.9
    assert found[1.2][1] > 0.8
    assert found[1.2][2] == pytest.approx(1 / 500)
    assert found[0.0][2] > 0.05


def test_a_planted_axis_is_found_in_people_and_classes_never_seen():
    world = World(axis_strength=1.2, residual_strength=0.2, evoked_uv=0.0)
    cohort = cohort_of_world(world, 12)
    rows = {row.protocol: row for row in new_subject_rows(cohort, world_target(world)) if row.analysis == "ridge"}
    unseen = rows[f"new subjects, {CLASS_OUT}"]
    assert unseen.value > 0.7
    assert unseen.p <= 0.001
    # the mean over people is clearer than each of them
    single = rows[f"new subjects, {CLASS_OUT}, trials"]
    assert 0.2 < single.value < unseen.value
    assert single.n == 6 * 28


def test_spearman_brown_foretells_twice_as_many_people():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200_000)
    four, eight = ((truth + rng.normal(size=(2, truth.size)) / np.sqrt(n)) for n in (0.5, 1.0))
    assert spearman_brown(np.corrcoef(four)[0, 1]) == pytest.approx(np.corrcoef(eight)[0, 1], abs=0.01)
