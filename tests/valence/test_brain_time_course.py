"""Curves, peaks and clusters against mne and brute force, a planted band and second, clips of differing length."""

import itertools
import re

import mne
import numpy as np
import pytest

from tests.valence.scalp_cohorts import (
    CH_NAMES,
    FIVE,
    LABELS,
    RATED,
    clip_target,
    faced_cohort,
    noise,
    one_row,
    scalp_cohort,
)
from valence.brain import time_course
from valence.brain.class_null import class_null
from valence.brain.correlations import correlations
from valence.brain.electrodes import neighbours
from valence.brain.rows import NotPossible
from valence.brain.time_clusters import BY_CHANNEL, CLUSTER, THRESHOLD, Clusters, largest_mass, runs, threshold_of
from valence.brain.time_course import CHANNEL_MEAN, MEAN_R
from valence.errors import BadInput
from valence.seed_v_files import CH_NAMES as SEED_V

OF_FIVE = clip_target(np.array([-1.2, -0.7, 0.1, 0.6, 1.3])[FIVE], FIVE)


def mne_masses(r, threshold, adjacency=None):
    """Masses of the clusters that mne finds in a map of r."""
    _, clusters, _, _ = mne.stats.permutation_cluster_1samp_test(
        np.zeros((3, *r.shape)),
        threshold=threshold,
        n_permutations=1,
        stat_fun=lambda _: r if adjacency is None else r.ravel(),
        adjacency=adjacency,
        out_type="mask",
        verbose="error",
    )
    return sorted(float(r[mask].sum()) for mask in clusters)


def test_runs_are_the_clusters_of_mne():
    rng = np.random.default_rng(0)
    for threshold in (0.2, 0.8, 5.0):
        curves = rng.normal(size=(12, 30))
        for curve in curves:
            found = runs(curve, threshold)
            np.testing.assert_allclose(sorted(run.mass for run in found), mne_masses(curve, threshold))
            assert all(curve[run.start : run.stop].sum() == pytest.approx(run.mass) for run in found)
        largest = [max(map(abs, mne_masses(curve, threshold)), default=0) for curve in curves]
        np.testing.assert_allclose(largest_mass(curves, threshold), largest)


def test_clusters_in_time_and_space_are_those_of_mne():
    adjacency = neighbours(CH_NAMES)
    clusters, rng = Clusters(adjacency, 6), np.random.default_rng(1)
    maps = rng.normal(size=(12, 2, 6, 30))
    for threshold in (0.5, 1.5):
        _, masses = clusters.labels(maps[0, 0], threshold)
        expected = mne_masses(maps[0, 0], threshold, mne.stats.combine_adjacency(6, adjacency.tocoo()))
        np.testing.assert_allclose(sorted(masses[masses != 0]), expected, atol=1e-12)
        largest = [
            max(
                abs(mass)
                for band in both
                for mass in mne_masses(band, threshold, mne.stats.combine_adjacency(6, adjacency.tocoo()))
            )
            for both in maps
        ]
        np.testing.assert_allclose(clusters.largest(maps, threshold), largest)


def test_neighbours_are_near_and_every_electrode_has_some():
    for names in (CH_NAMES, SEED_V):
        near = neighbours(names).toarray()
        np.testing.assert_array_equal(near, near.T)
        assert (near.sum(axis=0) > 2).all()
    assert neighbours(CH_NAMES).toarray()[CH_NAMES.index("O1"), CH_NAMES.index("Oz")]
    assert not neighbours(CH_NAMES).toarray()[CH_NAMES.index("O1"), CH_NAMES.index("F3")]
    assert neighbours(("Fz", "Cz")).toarray().all()
    with pytest.raises(BadInput, match="VEO"):
        neighbours(("Cz", "VEO", "Pz"))


def test_curves_are_means_over_subjects_of_what_clips_have_in_common():
    de = noise(2, 4, labels=FIVE, n_steps=7)
    cohort = scalp_cohort(de, labels=FIVE)
    curves = time_course.cohort_curves(cohort)
    expected = de.mean(axis=0).transpose(1, 2, 3, 0)
    np.testing.assert_allclose(
        correlations(curves.reshape(12, -1), OF_FIVE.clip_values),
        correlations(expected.transpose(3, 0, 1, 2).reshape(12, -1), OF_FIVE.clip_values),
        atol=1e-5,
    )
    de[:, 3, :, 5:] = np.nan  # a shorter clip
    de[1, 4] = np.nan  # a clip that a subject lacks
    cohort = scalp_cohort(de, labels=FIVE)
    assert time_course.common_steps(cohort.de) == 5
    curves = time_course.cohort_curves(cohort)
    assert curves.shape == (12, 30, 5, 5)
    common = de[:, :, :, :5]
    centred = common - np.nanmean(common, axis=1, keepdims=True)
    np.testing.assert_allclose(curves, np.nanmean(centred, axis=0), atol=1e-5)
    de[:, 3, :, 2:] = np.nan
    with pytest.raises(NotPossible, match="2 steps in common"):
        time_course.cohort_curves(scalp_cohort(de, labels=FIVE))


def test_peaks_and_their_p_are_those_of_brute_force():
    de = noise(3, 3, labels=FIVE, n_steps=6)
    found = time_course.rows(scalp_cohort(de, labels=FIVE), OF_FIVE)
    means = de.astype(np.float32).astype(float).mean(axis=0)
    r = {}
    for order in itertools.permutations(range(5)):
        values = OF_FIVE.class_values[list(order)][FIVE]
        of_mean = correlations(means.mean(axis=1).reshape(12, -1), values).reshape(6, 5)
        strength = np.abs(correlations(means.reshape(12, -1), values)).reshape(30, 6, 5).mean(axis=0)
        r[order] = {CHANNEL_MEAN: of_mean, MEAN_R: strength}
    observed = r[tuple(range(5))]
    for protocol in (CHANNEL_MEAN, MEAN_R):
        for place, band in enumerate(("delta", "theta", "alpha", "beta", "gamma")):
            peak = int(np.abs(observed[protocol][:, place]).argmax())
            height = observed[protocol][peak, place]
            assert one_row(found, protocol=f"second of the peak, {protocol}", item=band).value == peak + 1
            for null, of_order in (
                ("any of 6 steps,", lambda curves, place=place: np.abs(curves[:, place]).max()),
                ("any of 6 steps and 5 bands", lambda curves: np.abs(curves).max()),
            ):
                row = one_row(found, protocol=f"r at the peak, {protocol}", item=band, null=null)
                assert row.value == pytest.approx(height, abs=1e-5)
                share = np.mean([of_order(curves[protocol]) >= abs(height) - 1e-6 for curves in r.values()])
                assert row.p == pytest.approx(share)


def test_clusters_and_their_p_are_those_of_brute_force():
    de = noise(4, 3, labels=FIVE, n_steps=8)
    de[:, :, :, 2:5, 2] += 0.5 * OF_FIVE.clip_values[:, None, None]
    found = time_course.rows(scalp_cohort(de, labels=FIVE), OF_FIVE)
    means = de.astype(np.float32).astype(float).mean(axis=(0, 2)).reshape(12, -1)
    curves = np.stack(
        [
            correlations(means, OF_FIVE.class_values[list(order)][FIVE]).reshape(8, 5)
            for order in itertools.permutations(range(5))
        ]
    )
    threshold = one_row(found, analysis=THRESHOLD).value
    assert threshold == pytest.approx(np.quantile(np.abs(curves), 0.95), abs=1e-5)
    null = [max((abs(mass) for band in curve.T for mass in mne_masses(band, threshold)), default=0) for curve in curves]
    rows = [row for row in found if row.analysis == CLUSTER and row.protocol == "mean over channels"]
    expected = sorted(mass for band in curves[0].T for mass in mne_masses(band, threshold))
    np.testing.assert_allclose(sorted(row.value for row in rows), expected, atol=1e-5)
    for row in rows:
        assert row.p == pytest.approx(np.mean(np.array(null) >= abs(row.value) - 1e-5))


def test_a_planted_band_and_second_are_found():
    de = noise(5, 6, n_steps=12)
    de[:, :, :, 6:9, 3] -= np.array([0.5, 1.0, 0.5])[:, None, None].T[0] * RATED.clip_values[:, None, None]
    found = time_course.rows(scalp_cohort(de), RATED)
    second = one_row(found, protocol=f"second of the peak, {CHANNEL_MEAN}", item="beta")
    assert second.value == 8
    assert second.ci_low <= 8 <= second.ci_high
    for protocol in (CHANNEL_MEAN, MEAN_R):
        assert one_row(found, protocol=f"r at the peak, {protocol}", item="beta", null="5 bands").p < 0.01
        assert one_row(found, protocol=f"r at the peak, {protocol}", item="theta", null="5 bands").p > 0.05
    cluster = one_row(found, analysis=CLUSTER, item="beta 7 to 9 s")
    assert cluster.value < -2
    assert cluster.p < 0.01
    in_space = one_row(found, analysis=CLUSTER, protocol=BY_CHANNEL, item="beta negative")
    assert in_space.p < 0.01
    first, last = map(int, re.search(r"(\d+) to (\d+) s, 30 channels", in_space.note).groups())
    assert 6 <= first <= 7
    assert 9 <= last <= 10
    assert one_row(found, protocol="second of the peak, median of subjects", item="beta").value == 8
    own = [row.value for row in found if row.analysis == time_course.PEAKS and row.item == "beta"]
    assert np.median(own) == 8
    spread = one_row(found, protocol="second of the peak, sd over subjects", item="beta")
    assert spread.value < 1
    assert spread.p < 0.05


def test_curve_is_r_of_each_second_with_an_interval_over_subjects():
    de = noise(6, 5, n_steps=4)
    found = [row for row in time_course.rows(scalp_cohort(de), RATED) if row.analysis == time_course.CURVE]
    assert len(found) == 20
    row = one_row(found, item="alpha 3 s")
    expected = np.corrcoef(de.mean(axis=(0, 2))[:, 2, 2], RATED.clip_values)[0, 1]
    assert row.value == pytest.approx(expected, abs=1e-5)
    assert row.ci_low < row.value < row.ci_high


def class_world(rng):
    """Curves of subjects, (n_subjects, n_clips, n_steps): classes differ in some way, the same for everybody."""
    shared = rng.normal(size=(9, 1))[LABELS] * np.ones(10)
    return shared + rng.normal(size=(20, 28, 10))


def test_class_permutations_hold_their_level_where_flips_of_subjects_do_not():
    """Where classes differ, but not by valence: a target of nine values is often near to it by chance."""
    rng, ours, flips = np.random.default_rng(7), [], []
    codes = np.sign(np.arange(9) - 4)[LABELS].astype(float)
    null = class_null(codes, LABELS)
    for world in range(200):
        curves = class_world(rng)
        mean = curves.mean(axis=0)
        threshold = threshold_of(mean, null)
        masses = np.concatenate([largest_mass(block, threshold) for block in null.blocks(mean)])
        observed = largest_mass(null.r(mean)[None], threshold)[0]
        ours.append(np.mean(masses >= observed - 1e-9))
        if world < 20:
            r = np.arctanh(correlations(curves, codes))
            p = mne.stats.permutation_cluster_1samp_test(r, n_permutations=200, rng=0, verbose="error", threshold=2.0)[
                2
            ]
            flips.append(min(p, default=1.0))
    assert 0.01 < np.mean(np.array(ours) <= 0.05) < 0.09
    assert np.mean(np.array(flips) <= 0.05) > 0.5


def test_on_the_real_data_peaks_are_where_the_study_has_them_and_none_is_beyond_chance(shared_data):
    found = time_course.rows(faced_cohort(shared_data), RATED)
    for band, second, r in (("delta", 12, -0.45), ("theta", 12, -0.42), ("beta", 18, 0.41)):
        row = one_row(found, protocol=f"second of the peak, {CHANNEL_MEAN}", item=band)
        assert row.value == second
        at_peak = one_row(found, protocol=f"r at the peak, {CHANNEL_MEAN}", item=band, null="5 bands")
        assert at_peak.value == pytest.approx(r, abs=0.01)
    curve = [row for row in found if row.analysis == time_course.CURVE and row.item.startswith("alpha")]
    assert sorted(curve, key=lambda row: -row.value)[1].item == "alpha 21 s"
    assert all(row.p > 0.2 for row in found if row.p is not None and "subjects" not in row.protocol)
