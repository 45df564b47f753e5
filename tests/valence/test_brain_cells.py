"""Cells against scipy, statsmodels, brute force, planted cells, worlds without any, and the real data set."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests.valence.scalp_cohorts import (
    FIVE,
    LABELS,
    RATED,
    clip_target,
    cohort_of_world,
    faced_cohort,
    noise,
    one_row,
    scalp_cohort,
    world_target,
)
from valence.brain import cells, influence
from valence.brain.class_null import CLASSES, CLIPS, SCALED, class_null, levels
from valence.brain.rows import NotPossible
from valence.worlds import World

PO3_GAMMA = (25, 4)
"""channel and band"""


def permuted(values, labels):
    """Every order of the class means over the classes; what differs within a class stays with its clip."""
    n = labels.max() + 1
    means = np.array([values[labels == label].mean() for label in range(n)])
    for order in itertools.permutations(range(n)):
        yield means[list(order)][labels] + values - means[labels]


@pytest.mark.parametrize("within", [0.0, 0.5], ids=["one value a class", "values within classes"])
def test_permutations_are_those_of_brute_force(within):
    rng = np.random.default_rng(0)
    values = rng.normal(size=5)[FIVE] + within * rng.normal(size=len(FIVE))
    features = rng.normal(size=(len(FIVE), 7)) + 0.8 * values[:, None] * (np.arange(7) == 2)
    found = cells.map_cells(features, values, FIVE)

    def r(target):
        return np.array([stats.pearsonr(column, target).statistic for column in features.T])

    null = np.abs([r(target) for target in permuted(values, FIVE)])
    assert len(null) == 120
    np.testing.assert_allclose(found.r, r(values))
    np.testing.assert_allclose(found.by_order, (null >= np.abs(found.r) - 1e-9).mean(axis=0))
    np.testing.assert_allclose(found.largest, np.sort(null.max(axis=1)))
    np.testing.assert_allclose(found.family, [(null.max(axis=1) >= r - 1e-9).mean() for r in np.abs(found.r)])
    assert ("within a class" in found.words) == bool(within)


def test_parametric_p_and_its_corrections_are_those_of_scipy_and_statsmodels():
    rng = np.random.default_rng(1)
    values = rng.normal(size=9)[LABELS]
    features = rng.normal(size=(28, 40)) + 0.6 * values[:, None] * (np.arange(40) < 4)
    found = cells.map_cells(features, values, LABELS)
    expected = np.array([stats.pearsonr(column, values).pvalue for column in features.T])
    np.testing.assert_allclose(found.parametric, expected, rtol=1e-9)
    np.testing.assert_allclose(found.bonferroni, multipletests(expected, method="bonferroni")[1])
    np.testing.assert_allclose(found.benjamini_hochberg, multipletests(expected, method="fdr_bh")[1])
    assert (found.benjamini_hochberg < 0.05).any()


def test_a_planted_cell_is_the_strongest_and_survives_and_noise_does_not():
    de = noise(2)
    de[:, :, PO3_GAMMA[0], :, PO3_GAMMA[1]] += 2 * RATED.clip_values[:, None]
    found = cells.rows(scalp_cohort(de), RATED)
    for protocol in (CLIPS, SCALED, CLASSES):
        largest = one_row(found, analysis="largest cell", protocol=protocol, item="PO3 gamma")
        assert largest.p < 0.05
        for null in ("Bonferroni", "Benjamini-Hochberg", "largest |r| of 150 cells"):
            assert one_row(found, analysis="cell", protocol=protocol, item="PO3 gamma", null=null).p < 0.05
        limit = one_row(found, analysis="largest cell", protocol=protocol, item="null 95th percentile")
        assert largest.value > limit.value
    row = one_row(found, analysis="cell", protocol=CLIPS, item="PO3 gamma", null="Bonferroni")
    expected = np.corrcoef(de.mean(axis=(0, 3))[:, 25, 4], RATED.clip_values)[0, 1]
    assert row.value == pytest.approx(expected, abs=1e-6)
    assert row.ci_low < row.value < row.ci_high
    without = cells.rows(scalp_cohort(noise(3)), RATED)
    assert one_row(without, analysis="cells with p < .05", protocol=CLIPS, null="largest |r|").value == 0


def test_rows_hold_the_whole_map_and_the_whole_null():
    found = cells.rows(scalp_cohort(noise(4, 3)), RATED)
    for protocol in (CLIPS, SCALED, CLASSES):
        assert len({row.item for row in found if row.analysis == "map" and row.protocol == protocol}) == 150
        bins = [row.value for row in found if row.protocol == f"largest cell, {protocol}"]
        assert sum(bins) == pytest.approx(1)


def test_levels_are_means_over_clips_classes_and_subjects_of_one_scale():
    de = noise(5, 4, n_steps=3)
    de[1] *= 50
    found = levels(scalp_cohort(de), RATED)
    means = de.astype(np.float32).mean(axis=3).astype(float).reshape(4, 28, 150)
    np.testing.assert_allclose(found[CLIPS].features, means.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found[SCALED].features, stats.zscore(means, axis=1).mean(axis=0), atol=1e-5)
    by_class = [means.mean(axis=0)[label == LABELS].mean(axis=0) for label in range(9)]
    np.testing.assert_allclose(found[CLASSES].features, by_class, atol=1e-5)
    np.testing.assert_allclose(found[CLASSES].values, [RATED.clip_values[label == LABELS].mean() for label in range(9)])


def test_one_loud_subject_makes_an_r_that_its_own_rows_give_away():
    de = noise(6, 20, n_steps=1)
    de[7, :, 25, :, 4] += 60 * RATED.clip_values[:, None]
    cohort = scalp_cohort(de)
    found = cells.rows(cohort, RATED) + influence.rows(cohort, RATED)
    assert one_row(found, analysis="map", protocol=CLIPS, item="PO3 gamma").value > 0.9
    assert abs(one_row(found, analysis="map", protocol=SCALED, item="PO3 gamma").value) < 0.6
    assert abs(one_row(found, protocol="median over subjects", item="PO3 gamma").value) < 0.6
    assert "sub007" in one_row(found, protocol="without the most influential subject", item="PO3 gamma").note
    carried = one_row(found, protocol="subjects that carry half of r", item="PO3 gamma")
    assert carried.value == 1
    assert "sub007" in carried.note


def test_what_everybody_has_is_carried_by_many():
    de = noise(7, 20, n_steps=1)
    de[:, :, 25, :, 4] += 2 * RATED.clip_values[:, None]
    found = influence.rows(scalp_cohort(de), RATED)
    without = one_row(found, protocol="without the most influential subject", item="PO3 gamma")
    assert without.value > 0.8
    assert (
        "half of r is still there without 10 of 20"
        in one_row(found, protocol="subjects that carry half of r", item="PO3 gamma").reason
    )
    median = np.median(de[:, :, 25, 0, 4] - de[:, :, 25, 0, 4].mean(axis=1, keepdims=True), axis=0)
    expected = np.corrcoef(median, RATED.clip_values)[0, 1]
    assert one_row(found, protocol="median over subjects", item="PO3 gamma").value == pytest.approx(expected, abs=1e-5)


def test_the_planted_topography_of_a_simulated_world_is_found():
    world = World(axis_strength=1.0, content_strength=0.05, seed=3)
    found = cells.rows(cohort_of_world(world, 20), world_target(world))
    r = {row.item: row.value for row in found if row.analysis == "map" and row.protocol == CLIPS}
    for cell, sign in (("PO3 gamma", 1), ("O1 gamma", 1), ("F4 alpha", 1), ("F3 alpha", -1), ("F7 beta", -1)):
        assert sign * r[cell] > 0.6, (cell, r[cell])
    assert np.mean([abs(r[cell]) for cell in r if cell.endswith(("delta", "theta"))]) < 0.4


def test_p_of_the_largest_cell_is_uniform_where_there_is_no_axis():
    rng, labels, p = np.random.default_rng(8), LABELS, []
    codes = np.sign(np.arange(9) - 4)[labels].astype(float)
    for _ in range(200):
        # clips of a class resemble each other, as films of one emotion do; the target has no part in it
        features = rng.normal(size=(9, 12))[labels] + rng.normal(size=(28, 12))
        found = cells.map_cells(features, codes, labels)
        p.append(found.family[np.argmax(np.abs(found.r))])
    assert stats.kstest(p, "uniform").pvalue > 0.05
    parametric = np.array(
        [cells.p_of_r(cells.map_cells(f, codes, labels).r, 28).min() for f in _class_worlds(rng, 100)]
    )
    assert np.mean(parametric < 0.05) > 0.15  # what counts 28 clips as 28 finds something in worlds without anything


def _class_worlds(rng, n):
    return [rng.normal(size=(9, 1))[LABELS] + 0.3 * rng.normal(size=(28, 1)) for _ in range(n)]


def test_a_target_without_differences_is_refused_with_a_reason():
    with pytest.raises(NotPossible, match="the same for all"):
        class_null(np.ones(12), FIVE)
    with pytest.raises(NotPossible, match="fewer than three classes"):
        class_null(np.arange(4.0), np.array([0, 0, 1, 1]))


def test_a_clip_that_nobody_has_is_a_reason_and_a_clip_that_one_lacks_is_none():
    de = noise(9, 4)
    de[:, 5] = np.nan
    with pytest.raises(NotPossible, match="no subject"):
        levels(scalp_cohort(de), RATED)
    de = noise(9, 4)
    de[0, 5] = np.nan
    found = cells.rows(scalp_cohort(de), RATED)
    assert all(np.isfinite(row.value) for row in found if row.analysis == "map")


def test_a_constant_cell_has_no_r():
    features = np.random.default_rng(10).normal(size=(len(FIVE), 3))
    features[:, 1] = 4.0
    found = cells.map_cells(features, clip_target(FIVE.astype(float), FIVE).clip_values, FIVE)
    assert found.r[1] == 0
    assert found.by_order[1] == 1


def test_on_the_real_data_po3_gamma_is_among_the_strongest_and_rests_on_three_subjects(shared_data):
    cohort = faced_cohort(shared_data)
    found = cells.rows(cohort, RATED) + influence.rows(cohort, RATED)
    study = {"PO3 gamma": 0.478, "F7 beta": -0.47, "O1 gamma": 0.44}
    ranked = sorted(
        (row for row in found if row.analysis == "map" and row.protocol == CLIPS), key=lambda r: -abs(r.value)
    )
    assert [row.item for row in ranked[:2]] == ["PO3 gamma", "O1 gamma"]
    for cell, r in study.items():  # of 123 subjects, with an LLM's axis
        assert one_row(found, analysis="map", protocol=CLIPS, item=cell).value == pytest.approx(r, abs=0.17)
    for null in ("Bonferroni", "Benjamini-Hochberg", "largest |r|"):
        assert one_row(found, analysis="cells with p < .05", protocol=CLIPS, null=null).value == 0
    assert abs(one_row(found, analysis="map", protocol=SCALED, item="PO3 gamma").value) < 0.1
    assert one_row(found, protocol="subjects that carry half of r", item="PO3 gamma").value <= 3
