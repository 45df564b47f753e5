"""Power before the run, against statsmodels and the figures printed for the study."""

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from valence.stats import exact_floor, minimum_detectable, power_table, seeds_needed
from valence.stats.power import seeds_for_floor


@pytest.mark.parametrize(("n_seeds", "published"), [(5, 0.017), (10, 0.010), (20, 0.0066)])
def test_minimum_detectable_reproduces_the_published_figures(n_seeds, published):
    assert minimum_detectable(n_seeds) == pytest.approx(published, rel=0.015)


@pytest.mark.parametrize("n_seeds", [3, 5, 10, 20, 100])
def test_minimum_detectable_is_statsmodels_paired_t_test(n_seeds):
    effect = TTestPower().solve_power(nobs=n_seeds, alpha=0.05, power=0.8)
    assert minimum_detectable(n_seeds, sd=0.02) == pytest.approx(0.02 * effect, rel=1e-4)


def test_minimum_detectable_is_found_by_simulation():
    random = np.random.default_rng(0)
    delta = minimum_detectable(8, sd=0.01)
    draws = random.normal(delta, 0.01, (20_000, 8))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / np.sqrt(8))
    assert np.mean(np.abs(t) > 2.3646) == pytest.approx(0.8, abs=0.01)


def test_one_seed_detects_nothing():
    assert minimum_detectable(1) == math.inf


def test_floor_of_the_exact_test():
    assert exact_floor(5) == 0.0625
    assert exact_floor(10) == pytest.approx(0.00195, abs=1e-5)
    assert seeds_for_floor() == 6
    assert seeds_for_floor(family_size=25) == 10  # "Holm over 25 needs at least 10"


def test_seeds_needed_reaches_its_power_and_one_fewer_does_not():
    needed = seeds_needed(0.012, 0.02)
    powers = [TTestPower().power(effect_size=0.6, nobs=n, alpha=0.05) for n in (needed - 1, needed)]
    assert powers[0] < 0.8 <= powers[1]


def test_seeds_needed_uses_the_bound_where_the_difference_is_smaller():
    assert seeds_needed(0.001, 0.02) == seeds_needed(0.01, 0.02) == seeds_needed(float("nan"), 0.02)
    assert seeds_needed(-0.05, 0.02) < seeds_needed(0.01, 0.02)


def test_seeds_needed_grows_with_the_family_and_never_falls_below_the_floor():
    assert seeds_needed(0.01, 0.01, family_size=25) > seeds_needed(0.01, 0.01)
    assert seeds_needed(0.3, 0.001, family_size=25) == 10
    assert seeds_needed(0.3, 0.0) == 6


def test_seeds_cannot_make_up_for_too_few_subjects():
    assert seeds_needed(0.01, 0.01, subject_variance=0.006**2) is None
    assert seeds_needed(0.01, 0.01, subject_variance=0.002**2) > seeds_needed(0.01, 0.01)


def test_power_table_has_a_row_a_number_of_seeds():
    table = power_table([5, 10, 20], family_size=25).set_index("n_seeds")
    assert table["reaches_alpha"].tolist() == [False, True, True]
    assert table["reaches_alpha_family"].tolist() == [False, True, True]
    assert (table["minimum_detectable_family"] > table["minimum_detectable"]).all()
    assert power_table([3], family_size=25)["minimum_detectable_family"].notna().all()
