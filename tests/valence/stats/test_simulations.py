"""Thousands of simulated sweeps: coverage, family-wise false positives and power are what is said of them."""

import numpy as np
import pytest
from mne.stats import permutation_t_test
from scipy import stats

from tests.valence.stats.simulated_sweeps import sweeps
from valence.stats import minimum_detectable, seeds_needed
from valence.stats.many import sign_flips, two_way_intervals
from valence.stats.sequential import holm_of_families

N = 2000
TRUE = 0.02
REGIMES = {
    "seeds": {"sd": 0.01, "noise": 0.005},
    "subjects": {"sd": 0.001, "subjects": 0.03, "noise": 0.01},
    "mixed": {"sd": 0.01, "subjects": 0.02, "noise": 0.05},
    "skewed": {"sd": 0.01, "noise": 0.02, "skewed": True},
    "noise": {"sd": 0.0, "noise": 0.05},
}
ABOVE = {"noise": (0.030, 0.040), "skewed": (0.025, 0.03)}
"""where neither networks nor subjects differ, a variance of 0 is estimated as 0 or more, and intervals are wider"""


@pytest.mark.parametrize(("n_seeds", "n_subjects"), [(5, 23), (10, 8), (20, 23)])
@pytest.mark.parametrize("regime", REGIMES)
def test_coverage_of_intervals_is_within_two_points(regime, n_seeds, n_subjects):
    random = np.random.default_rng(n_seeds)
    tables = sweeps(random, N, [TRUE], n_seeds=n_seeds, n_subjects=n_subjects, **REGIMES[regime])[:, 0]
    found = two_way_intervals(tables, confidences=(0.95, 0.90), n_bootstrap=1000)
    covered = ((found[:, :, 0] <= TRUE) & (found[:, :, 1] >= TRUE)).mean(axis=0)
    for rate, nominal, above in zip(covered, (0.95, 0.90), ABOVE.get(regime, (0.02, 0.02))):
        assert nominal - 0.02 <= rate <= nominal + above


@pytest.mark.parametrize("regime", REGIMES)
def test_false_positives_of_25_nulls_under_holm(regime):
    random = np.random.default_rng(21)
    tables = sweeps(random, N, np.zeros(25), n_seeds=10, n_subjects=8, **REGIMES[regime])
    p = sign_flips(tables.reshape(-1, 10, 8)).reshape(N, 25)
    family_wise = (holm_of_families(p, 25) < 0.05).any(axis=1).mean()
    assert 0.015 < family_wise <= stats.binom.ppf(0.999, N, 0.05) / N
    assert (p <= 0.05).mean() <= 0.052
    # the same sweeps without Holm
    assert (p <= 0.05).any(axis=1).mean() > 0.3


@pytest.mark.parametrize(("n_seeds", "family_size"), [(10, 1), (20, 1), (20, 25)])
def test_power_is_as_predicted(n_seeds, family_size):
    random = np.random.default_rng(22)
    delta = minimum_detectable(n_seeds, sd=0.01, family_size=family_size)
    tables = sweeps(random, N, [delta], n_seeds=n_seeds, n_subjects=20, sd=0.01, noise=1e-4)[:, 0]
    assert (sign_flips(tables) < 0.05 / family_size).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("subjects", [0.0, 0.005])
def test_seeds_needed_decide_as_often_as_said(subjects):
    """From true spreads, of a difference of .015 with the family of 25."""
    needed = seeds_needed(0.015, 0.015, subject_variance=subjects**2 / 20, family_size=25)
    random = np.random.default_rng(23)
    tables = sweeps(random, N, [0.015], n_seeds=needed, n_subjects=20, sd=0.015, subjects=subjects, noise=1e-4)[:, 0]
    assert (sign_flips(tables) < 0.05 / 25).mean() == pytest.approx(0.8, abs=0.05)


def test_one_subject_is_mnes_exact_permutation_t_test():
    """|t| and |mean| order the sign assignments alike; mne leaves one assignment of 256 out."""
    tables = sweeps(np.random.default_rng(24), 20, [0.006], n_seeds=9, n_subjects=1)[:, 0]
    wanted = [permutation_t_test(table, n_permutations="all", verbose=False)[1][0] for table in tables]
    np.testing.assert_allclose(sign_flips(tables), wanted, atol=1.01 / 255)
