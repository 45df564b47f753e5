"""Single subjects, the best cell of each, and what averaging does: against loops, formulas and planted truths."""

import numpy as np
import pytest
from scipy import stats

from tests.valence.hand_cohorts import LABELS, N_CELLS, VALUES, cohort_of, target_of
from valence.brain import campaigns, individuals, oracles, simpson, split_half
from valence.brain.cohort import over_subjects
from valence.brain.correlations import class_orders, correlations, deviations
from valence.brain.likeness import divided
from valence.brain.rows import NotPossible
from valence.brain.subject_statistics import at_best_cells, interval_of_mean, means_of_others, statistics

TARGET = target_of()
Y = TARGET.clip_values


def found(rows, *, analysis=None, protocol=None, item=None):
    """The one row that fits."""
    fit = [
        row
        for row in rows
        if analysis in (None, row.analysis) and (protocol or "") in row.protocol and item in (None, row.item)
    ]
    assert len(fit) == 1, [(row.protocol, row.item) for row in fit]
    return fit[0]


def test_means_of_others_are_those_of_a_loop():
    x = np.random.default_rng(0).normal(size=(5, 6, 2))
    x[2, 3] = np.nan
    expected = [np.nanmean(np.delete(x, subject, axis=0), axis=0) for subject in range(5)]
    np.testing.assert_allclose(means_of_others(x), expected)


def test_best_cells_are_those_of_others_with_their_sign():
    rng = np.random.default_rng(1)
    own, others = rng.uniform(-1, 1, (4, 7, 20)), rng.uniform(-1, 1, (4, 7, 20))
    r = at_best_cells(own, others, n_best=3)
    for at in np.ndindex(4, 7):
        cells = np.argsort(-np.abs(others[at]))[:3]
        assert r["raw"][at] == pytest.approx(own[at][cells].mean())
        assert r["turned"][at] == pytest.approx((own[at][cells] * np.sign(others[at][cells])).mean())
        assert r["best"][at] == pytest.approx(np.abs(own[at][cells]).max())


def test_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(2).normal(0.3, 1, 17)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    np.testing.assert_allclose(interval_of_mean(values), (expected.low, expected.high))
    assert interval_of_mean(values[:1]) == (None, None)


def test_what_all_subjects_share_is_found_in_each_and_what_each_has_alone_is_not():
    rng = np.random.default_rng(3)
    shared = rng.normal(size=(12, 28, N_CELLS))
    shared[..., :8] += 2.0 * Y[:, None] * np.array([1, -1] * 4)
    r = found(individuals.rows(cohort_of(shared), TARGET), protocol="sign of the others", item="mean over subjects")
    assert r.value == pytest.approx(2 / np.sqrt(5), abs=0.04)
    assert r.p < 0.01
    own = rng.normal(size=(12, 28, N_CELLS))
    for subject, x in enumerate(own):
        x[:, subject] += 2.0 * Y
    cohort = cohort_of(own)
    alone = found(individuals.rows(cohort, TARGET), protocol="sign of the others", item="mean over subjects")
    assert abs(alone.value) < 0.25
    best = oracles.rows(cohort, TARGET)
    assert "single step" in found(best, protocol="half of the seconds").reason
    beyond = found(best, protocol="best of all cells, beyond chance")
    by_chance = found(best, protocol="best of all cells, expected by chance")
    whole = found(best, protocol="best of all cells", item="all subjects")
    assert found(best, protocol="half of the clips").value > 0.7
    assert by_chance.value + beyond.value == pytest.approx(0.9, abs=0.06)
    assert beyond.ci_low > 0
    assert whole.value > 0.9
    assert whole.p < 0.03


def test_each_subject_has_a_row_and_one_without_a_spread_has_a_reason():
    x = np.random.default_rng(4).normal(size=(5, 28, N_CELLS))
    x[3] = 1.0
    rows = individuals.rows(cohort_of(x), TARGET)
    assert found(rows, item="sub002").value is not None
    assert found(rows, item="sub003").value is None
    assert found(rows, item="sub003").reason
    assert found(rows, item="sd over subjects").n == 4


def test_a_state_that_lasts_through_a_clip_survives_halves_of_seconds_and_not_halves_of_clips():
    """Noise that is the same in both halves of a clip: the best cell by seconds is no better than its null."""
    rng = np.random.default_rng(5)
    states = rng.normal(size=(20, 28, 1, N_CELLS)) + 0.1 * rng.normal(size=(20, 28, 4, N_CELLS))
    rows = oracles.rows(cohort_of(states), TARGET)
    seconds, clips = found(rows, protocol="half of the seconds"), found(rows, protocol="half of the clips")
    assert seconds.value > 0.3
    assert seconds.p > 0.05
    assert abs(clips.value) < 0.15


def test_halves_of_seconds_are_those_of_each_clip_of_its_own_length():
    steps = np.random.default_rng(6).normal(size=(3, 28, 6, N_CELLS))
    steps[:, 5, 4:] = np.nan
    halves = oracles._halves_of_seconds(cohort_of(steps))
    np.testing.assert_allclose(halves["first"][:, 5], steps[:, 5, :2].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(halves["second"][:, 5], steps[:, 5, 2:4].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(halves["second"][:, 6], steps[:, 6, 3:].mean(axis=1), rtol=1e-5)


def test_halves_of_clips_are_disjoint_and_hold_every_class():
    sizes = set()
    for seed in range(20):
        half = oracles.halves_of_clips(LABELS, seed)
        sizes.add(int(half.sum()))
        assert {*LABELS[half]} == {*LABELS[~half]} == {*range(9)}
    assert sizes == {14}


def test_without_an_effect_p_is_uniform():
    """200 worlds whose clips and subjects share responses, which have nothing to do with the target."""
    p = {"turned": [], "oracle": [], "seconds": []}
    for world in range(200):
        rng = np.random.default_rng(100 + world)
        of_classes = rng.normal(size=(1, 9, 10))[:, LABELS]
        parts = of_classes + rng.normal(size=(2, 6, 28, 10))
        whole = parts.mean(axis=0)
        orders, _ = class_orders(Y, LABELS, n_orders=99, seed=world)
        given = {"own": whole, "others": means_of_others(whole), "first": parts[0], "second": parts[1]}
        result = statistics(given, Y, orders, lambda r: oracles._of_subjects(r) | at_best_cells(r["own"], r["others"]))
        for name, several in p.items():
            of_world = result[name]
            several.append(np.mean(of_world.means >= of_world.of_subjects.mean() - 1e-9))
    for name, several in p.items():
        # p of 1 in 100 steps: uniform on its own grid
        assert (
            stats.kstest(np.array(several) - np.random.default_rng(0).uniform(0, 0.01, 200), "uniform").pvalue > 0.01
        ), name


def test_four_ways_are_those_of_scipy_and_differ_as_the_formulas_say():
    rng = np.random.default_rng(7)
    strength, noise, n = 0.3, 1.0, 400
    x = strength * Y[:, None] + noise * rng.normal(size=(n, 28, 1)) + rng.normal(0, 2, size=(n, 1, 1))
    r = simpson.four_ways(x, Y)
    assert r[simpson.UNCENTRED][0] == pytest.approx(stats.pearsonr(x.ravel(), np.tile(Y, n))[0])
    assert r[simpson.CENTRED][0] == pytest.approx(stats.pearsonr(deviations(x).ravel(), np.tile(Y, n))[0])
    assert r[simpson.WITHIN][0] == pytest.approx(np.mean([stats.pearsonr(own[:, 0], Y)[0] for own in x]))
    assert r[simpson.OF_MEAN][0] == pytest.approx(stats.pearsonr(x.mean(axis=0)[:, 0], Y)[0])
    assert r[simpson.WITHIN][0] == pytest.approx(strength / np.hypot(strength, noise), abs=0.03)
    assert r[simpson.OF_MEAN][0] == pytest.approx(strength / np.hypot(strength, noise / np.sqrt(n)), abs=0.02)
    assert r[simpson.UNCENTRED][0] == pytest.approx(strength / np.sqrt(strength**2 + noise**2 + 4), abs=0.03)


def test_simpson_rows_put_the_four_side_by_side():
    x = np.random.default_rng(8).normal(size=(10, 28, N_CELLS))
    x[..., 2] += Y
    rows = simpson.rows(cohort_of(x), TARGET)
    assert len(rows) == 16
    planted = [found(rows, protocol=name, item="PO3 gamma") for name in (simpson.WITHIN, simpson.OF_MEAN)]
    assert all(row.ci_low < row.value < row.ci_high and row.p < 0.01 for row in planted)
    assert planted[0].value + 0.1 < planted[1].value


def test_spearman_brown_tells_what_two_whole_cohorts_would_agree():
    rng = np.random.default_rng(9)
    truth = rng.normal(size=(28, N_CELLS))
    first, second = truth + 4 * rng.normal(size=(2, 40, 28, N_CELLS))
    rows = split_half.rows(cohort_of(first), TARGET)
    whole = [(x - x.mean(axis=0)) / x.std(axis=0) for x in (first.mean(axis=0), second.mean(axis=0))]
    expected = np.corrcoef(whole[0].ravel(), whole[1].ravel())[0, 1]
    row = found(rows, protocol="clips, each cell z-scored, Spearman-Brown")
    assert row.value == pytest.approx(expected, abs=0.05)
    assert found(rows, protocol="clips, each cell z-scored, halves").value < row.value - 0.05


def test_halves_share_no_subject():
    """Subjects of pure noise with huge differences: were one in both halves, they would agree."""
    x = np.random.default_rng(10).normal(size=(6, 28, N_CELLS)) * np.array([50, 1, 1, 1, 1, 1])[:, None, None]
    r = divided(x, Y, 3, 50, 0)["clips, each cell z-scored"]
    assert np.abs(r).max() < 0.4
    with pytest.raises(NotPossible):
        split_half.rows(cohort_of(x[:3]), TARGET)


def test_campaigns_that_differ_are_told_from_campaigns_that_do_not():
    rng = np.random.default_rng(11)
    x = rng.normal(size=(24, 28, N_CELLS))
    x[:12, :, 2] += Y
    x[12:, :, 2] -= Y
    x[..., 4] += 3 * Y
    numbers = np.repeat([1, 2], 12)
    given = np.stack([Y + rng.normal(size=28) * (1 if number == 1 else 3) for number in numbers])
    rows = campaigns.rows(cohort_of(x, campaigns=numbers, ratings={"valence": given}), TARGET)
    flipped = found(rows, protocol="difference of r", item="PO3 gamma")
    assert flipped.value > 1.5
    assert flipped.p < 0.01
    assert found(rows, protocol="difference of r", item="F7 beta").p > 0.01
    assert found(rows, protocol="map of r").p < 0.05
    assert found(rows, protocol="best cell of the first").item == "F7 beta"
    assert found(rows, protocol="best cell of the first").value > 0.9
    first, second = (found(rows, item=f"campaign {number}").value for number in (1, 2))
    assert first > second + 0.2
    expected = [stats.pearsonr(given[0], np.delete(given, 0, axis=0).mean(axis=0))[0]]
    assert campaigns._to_others(given, np.array([0])) == pytest.approx(expected)
    with pytest.raises(NotPossible):
        campaigns.rows(cohort_of(x), TARGET)


def test_the_best_cell_of_a_campaign_keeps_its_sign_in_the_other():
    x = np.random.default_rng(13).normal(size=(12, 28, N_CELLS))
    x[:6, :, 2] += 3 * Y
    x[6:, :, 2] -= 3 * Y
    rows = campaigns.rows(cohort_of(x, campaigns=np.repeat([1, 2], 6)), TARGET)
    for which in ("first", "second"):
        row = found(rows, protocol=f"best cell of the {which}")
        assert row.item == "PO3 gamma"
        assert row.value < -0.9
        assert row.p > 0.9


def test_means_over_subjects_do_not_depend_on_who_lacks_a_clip():
    x = np.random.default_rng(12).normal(size=(6, 28, N_CELLS)) + np.arange(6)[:, None, None] * 10
    x[5, 4] = np.nan
    r = simpson.four_ways(x, VALUES[LABELS])[simpson.OF_MEAN]
    np.testing.assert_allclose(r, correlations(over_subjects(x), VALUES[LABELS]))
    assert np.ptp(means_of_others(deviations(x))[0, :, 0]) < 5
