"""Error rates, savings and predictions of sequential decisions in simulated sweeps."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests.valence.stats.simulated_sweeps import STUDY, sweeps
from valence.stats.sequential import (
    Looks,
    decide,
    holm_of_families,
    n_seeds_used,
    seeds_expected,
    seen,
)
from valence.stats.spending import SPENDING, nominal_levels

N = 2000
FULL = Looks(n_seeds=(20,), futility=0.0)


def effects(decided):
    return np.isin(decided.decision, ("helps", "hurts"))


def at_most(level, n):
    """What a rate of this level stays below in 999 of 1,000 simulations."""
    return stats.binom.ppf(0.999, n, level) / n


@pytest.mark.parametrize("spending", SPENDING)
@pytest.mark.parametrize("world", [{}, {"skewed": True}, {"subjects": 0.01, "n_subjects": 12}])
def test_family_wise_error_of_ten_nulls_is_kept_over_four_looks(spending, world):
    tables = sweeps(np.random.default_rng(1), N, np.zeros(10), **({"n_subjects": 4} | world))
    looks = Looks(spending=spending)
    assert effects(decide(seen(tables, looks), looks)).any(axis=1).mean() <= at_most(0.05, N)


def test_family_wise_error_of_25_nulls_is_kept_where_eight_subjects_dominate():
    tables = sweeps(np.random.default_rng(1), N, np.zeros(25), n_subjects=8, subjects=0.02)
    for looks in (Looks(), FULL):
        assert 0.01 < effects(decide(seen(tables, looks), looks)).any(axis=1).mean() <= 0.05


def test_testing_at_every_look_without_spending_would_not_keep_it():
    """The same simulation shows the error that spending prevents."""
    tables = sweeps(np.random.default_rng(2), N, np.zeros(1), n_subjects=4, noise=0.0)
    looks = Looks()
    what = seen(tables, looks)
    naive = 2 * stats.t.sf(np.abs(what.mean) / what.error, what.df) < 0.05
    kept = Looks(futility=0.0, equivalence=1e-9)
    assert naive.any(axis=-1).mean() > 0.10
    found = effects(decide(seen(tables, kept), kept)).mean()
    assert 0.035 < found <= at_most(0.05, N)


@pytest.mark.parametrize("spending", SPENDING)
def test_equivalence_at_the_bound_is_declared_at_its_rate(spending):
    tables = sweeps(np.random.default_rng(3), N, [0.01], n_subjects=4, noise=0.0)
    looks = Looks(spending=spending, futility=0.0)
    rate = (decide(seen(tables, looks), looks).decision == "equivalent").mean()
    assert 0.01 < rate <= at_most(0.05, N)


def test_saves_seeds_in_the_studys_situation_and_loses_little():
    tables = sweeps(np.random.default_rng(4), 150, STUDY, n_subjects=12, noise=0.025)
    fixed = decide(seen(tables, FULL), FULL, family_size=25)
    least = {"obrien_fleming": (0.25, 0.99), "square": (0.35, 0.97), "pocock": (0.40, 0.93)}
    for spending, (saved, kept) in least.items():
        looks = Looks(spending=spending)
        decided = decide(seen(tables, looks), looks, family_size=25)
        used = n_seeds_used(decided, looks)
        cells = used.sum(axis=1) + used.max(axis=1)  # the baseline runs as long as any does
        assert 1 - cells.mean() / (26 * 20) > saved
        assert effects(decided).sum() >= kept * effects(fixed).sum()
        wrong = effects(decided) & (np.sign(STUDY) != np.where(decided.decision == "helps", 1, -1))
        assert wrong.mean() < 0.001


def test_a_single_look_is_the_fixed_sample_test():
    tables = sweeps(np.random.default_rng(5), 200, [0.0, 0.004, 0.008], subjects=0.005)
    decided = decide(seen(tables, FULL), FULL)
    what = seen(tables, FULL)
    p = 2 * stats.t.sf(np.abs(what.mean) / what.error, what.df)[..., 0]
    wanted = np.array([multipletests(one, method="holm")[1] for one in p[:20]])
    small = wanted < 0.3
    assert small.sum() > 10
    np.testing.assert_allclose(decided.p_holm[:20][small], wanted[small], rtol=3e-3)
    lower = stats.t.sf((what.mean + 0.01) / what.error, what.df)[..., 0]
    upper = stats.t.sf((0.01 - what.mean) / what.error, what.df)[..., 0]
    clear = np.abs(np.maximum(lower, upper) - 0.05) > 1e-3
    same = (np.maximum(lower, upper) < 0.05) & ~effects(decided)
    np.testing.assert_array_equal((decided.decision == "equivalent")[clear], same[clear])


@pytest.mark.parametrize("delta", [0.0, 0.008])
def test_repeated_intervals_cover_at_whichever_look_one_stops(delta):
    tables = sweeps(np.random.default_rng(9), N, [delta], n_subjects=4, noise=0.0)
    looks = Looks()
    what = seen(tables, looks)
    decided = decide(what, looks)
    assert len(set(decided.look.ravel())) > 2
    at = np.arange(N), 0, decided.look[:, 0]
    levels = nominal_levels(looks.fractions, 0.05)[decided.look[:, 0]]
    margin = stats.t.isf(levels / 2, what.df[at]) * what.error[at]
    assert (np.abs(what.mean[at] - delta) <= margin).mean() >= stats.binom.ppf(0.001, N, 0.95) / N


def test_holm_of_families_is_statsmodels():
    p = np.random.default_rng(6).uniform(size=(8, 7)) ** 3
    wanted = [multipletests(np.append(one, [1.0] * 5), method="holm")[1][:7] for one in p]
    np.testing.assert_allclose(holm_of_families(p, 12), wanted, rtol=1e-12)


def test_predicted_chances_come_true():
    """The chance of a decision by the end, averaged over truths of a flat prior, is how often it comes."""
    random = np.random.default_rng(7)
    looks = Looks(n_seeds=(10, 20), futility=0.0)
    truths = random.uniform(-0.03, 0.03, 6000)
    tables = sweeps(random, 6000, [0.0], n_subjects=1, noise=0.0) + truths[:, None, None, None]
    first = decide(seen(tables[:, :, :10], looks), looks)
    last = decide(seen(tables, looks), looks)
    goes_on = first.decision == "go on"
    chance = first.chance[goes_on][:, 1]
    came = (last.decision != "undecided")[goes_on]
    assert goes_on.sum() > 1500
    for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)):
        part = (chance >= low) & (chance < high)
        if part.sum() > 80:
            assert came[part].mean() == pytest.approx(chance[part].mean(), abs=0.09)
    assert came.mean() == pytest.approx(chance.mean(), abs=0.04)


def test_seeds_expected_name_the_first_look_with_the_power():
    tables = sweeps(np.random.default_rng(8), 300, [0.009])[:, :, :5]
    looks = Looks()
    decided = decide(seen(tables, looks), looks)
    wanted = seeds_expected(decided, looks)
    for chance, decision, found in zip(decided.chance[:, 0], decided.decision[:, 0], wanted[:, 0]):
        if decision != "go on":
            assert np.isnan(found)
        else:
            assert found == next((n for n, one in zip((10, 15), chance[1:]) if one >= 0.8), 20)
    assert {10.0, 15.0, 20.0} >= set(wanted[np.isfinite(wanted)]) != set()
