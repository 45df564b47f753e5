"""Interval and p value of paired differences, against scipy, statsmodels and simulation with a known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from tests.valence.synthetic_rows import difference_table
from valence.stats.paired import _signs, bootstrap_means, sign_flip, two_way_interval, two_way_variance

REGIMES = {
    "seeds": {"seeds": 0.01, "noise": 0.005},
    "subjects": {"seeds": 0.001, "subjects": 0.03, "noise": 0.01},
    "noise": {"noise": 0.05},
    "mixed": {"seeds": 0.01, "subjects": 0.02, "noise": 0.05},
}


def flip_every_pair(table, *, seed=0):
    """The anticonservative alternative: every (seed, subject) difference flips by itself."""
    random = np.random.default_rng(seed)
    means = random.choice((-1.0, 1.0), size=(400, table.size)) @ table.ravel()
    return (np.sum(np.abs(means) >= abs(table.sum())) + 1) / 401


def flip_seeds_only(table):
    """The other alternative: whole seeds flip, and the subjects they share count as fixed."""
    means = table.mean(axis=1)
    return np.mean(np.abs(_signs(len(table), 0) @ means) >= abs(means.sum()) * (1 - 1e-9))


# --- p


@pytest.mark.parametrize("n_seeds", [2, 5, 9])
def test_one_subject_is_the_textbook_sign_flip(n_seeds):
    differences = np.random.default_rng(n_seeds).normal(0.01, 0.01, (n_seeds, 1))
    reference = stats.permutation_test(
        (differences[:, 0], np.zeros(n_seeds)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        alternative="two-sided",
        n_resamples=np.inf,
    )
    assert sign_flip(differences) == pytest.approx(reference.pvalue, abs=1e-12)


def test_deflated_mean_is_placed_in_scipys_null_distribution():
    table = difference_table(np.random.default_rng(3), 8, 12, delta=0.012, seeds=0.01, subjects=0.02, noise=0.02)
    reference = stats.permutation_test(
        (table.mean(axis=1), np.zeros(8)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    n_seeds, n_subjects = table.shape
    rows = table.mean(axis=1).var(ddof=1) / n_seeds
    columns = table.mean(axis=0).var(ddof=1) / n_subjects
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    noise = (residual**2).sum() / ((n_seeds - 1) * (n_subjects - 1)) / table.size
    t = table.mean() / np.sqrt(rows + columns - noise)
    # the mean m whose one-way t, m / sqrt((mean of squares - m²) / (n - 1)), equals t
    candidates = np.linspace(0, np.sqrt(np.mean(table.mean(axis=1) ** 2)), 2_000_001)[1:-1]
    one_way = candidates / np.sqrt((np.mean(table.mean(axis=1) ** 2) - candidates**2) / (n_seeds - 1))
    deflated = candidates[np.argmin(np.abs(one_way - t))]
    assert deflated < table.mean()
    expected = np.mean(np.abs(reference.null_distribution) >= deflated)
    assert sign_flip(table) == pytest.approx(expected, abs=1e-12)
    assert sign_flip(table) > reference.pvalue


def test_exact_floor_and_monte_carlo_floor():
    for n_seeds in (2, 5, 10, 14):
        assert sign_flip(np.full((n_seeds, 6), 0.2)) == 2 / 2**n_seeds
    assert sign_flip(np.full((20, 6), 0.2)) == 1 / 10_001


def test_monte_carlo_agrees_with_enumeration(monkeypatch):
    table = difference_table(np.random.default_rng(0), 12, 10, delta=0.005, seeds=0.01, noise=0.02)
    exact = sign_flip(table)
    monkeypatch.setattr("valence.stats.paired.EXACT_LIMIT", 5)
    _signs.cache_clear()
    drawn = sign_flip(table)
    _signs.cache_clear()
    assert 0.02 < exact < 0.9
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 10_000))


def test_degenerate_tables():
    assert sign_flip(np.zeros((6, 4))) == 1
    assert np.isnan(sign_flip(np.full((1, 4), 0.1)))
    assert np.isnan(two_way_interval(np.full((1, 4), 0.1))).all()
    np.testing.assert_array_equal(two_way_interval(np.zeros((6, 4))), [[0.0, 0.0]])
    assert sign_flip(-np.full((6, 4), 0.1)) == 2 / 2**6


def test_p_is_symmetric_in_sign_and_ignores_order():
    random = np.random.default_rng(1)
    table = difference_table(random, 9, 7, delta=0.01, seeds=0.01, subjects=0.01, noise=0.02)
    assert sign_flip(-table) == sign_flip(table)
    assert sign_flip(random.permutation(table)[:, random.permutation(7)]) == sign_flip(table)


@pytest.mark.parametrize("regime", REGIMES)
def test_false_positive_rate_is_nominal_under_seed_and_subject_variance(regime):
    random = np.random.default_rng(11)
    tables = [difference_table(random, 10, 20, **REGIMES[regime]) for _ in range(600)]
    rate = np.mean([sign_flip(table) <= 0.05 for table in tables])
    assert rate <= stats.binom.ppf(0.999, 600, 0.05) / 600
    assert rate >= 0.01  # a test that never rejects would pass the line above


def test_the_same_simulation_rejects_flipping_every_pair():
    random = np.random.default_rng(12)
    tables = [difference_table(random, 10, 20, **REGIMES["mixed"]) for _ in range(400)]
    limit = stats.binom.ppf(0.999, 400, 0.05) / 400
    assert np.mean([flip_every_pair(table, seed=i) <= 0.05 for i, table in enumerate(tables)]) > 2 * limit
    assert np.mean([flip_seeds_only(table) <= 0.05 for table in tables]) > limit
    assert np.mean([sign_flip(table) <= 0.05 for table in tables]) <= limit


def test_false_positive_rate_with_skewed_seed_effects_and_few_subjects():
    random = np.random.default_rng(13)
    hits = 0
    for _ in range(600):
        table = difference_table(random, 10, 3, subjects=0.02, noise=0.02)
        table += random.exponential(0.01, (10, 1)) - 0.01
        hits += sign_flip(table) <= 0.05
    assert hits / 600 < 0.09  # nominal .05; symmetry is violated on purpose


def test_power_is_that_of_a_t_test():
    random = np.random.default_rng(14)
    found = np.mean([sign_flip(difference_table(random, 10, 20, delta=0.01, seeds=0.01)) <= 0.05 for _ in range(400)])
    assert found == pytest.approx(0.80, abs=0.07)


# --- variance


def test_two_way_variance_equals_anova_by_hand_and_is_unbiased():
    random = np.random.default_rng(5)
    sds = {"seeds": 0.01, "subjects": 0.03, "noise": 0.02}
    tables = [difference_table(random, 8, 10, **sds) for _ in range(4000)]
    truth = 0.01**2 / 8 + 0.03**2 / 10 + 0.02**2 / 80
    assert np.mean([two_way_variance(table).total for table in tables]) == pytest.approx(truth, rel=0.04)
    assert np.var([table.mean() for table in tables]) == pytest.approx(truth, rel=0.08)


def test_two_way_variance_agrees_with_a_crossed_mixed_model():
    table = difference_table(np.random.default_rng(6), 12, 15, seeds=0.03, subjects=0.04, noise=0.02)
    seeds, subjects = np.indices(table.shape).reshape(2, -1)
    frame = pd.DataFrame({"d": table.ravel() * 100, "seed": seeds, "subject": subjects, "all": 1})
    model = MixedLM.from_formula(
        "d ~ 1", frame, groups="all", vc_formula={"seed": "0 + C(seed)", "subject": "0 + C(subject)"}, re_formula="0"
    )
    reference = model.fit(reml=True)
    assert np.sqrt(two_way_variance(table).total) * 100 == pytest.approx(reference.bse["Intercept"], rel=0.02)


def test_one_subject_leaves_the_variance_of_a_paired_t_test():
    differences = np.random.default_rng(2).normal(0.01, 0.02, (7, 1))
    variance = two_way_variance(differences)
    assert variance.total == pytest.approx(stats.sem(differences[:, 0]) ** 2)
    assert variance.df == 6


# --- interval


def test_bootstrap_resamples_whole_seeds_and_whole_subjects():
    table = difference_table(np.random.default_rng(8), 6, 9, delta=0.1, seeds=0.02, subjects=0.03, noise=0.01)
    random = np.random.default_rng(99)
    plain = [table[np.ix_(random.integers(6, size=6), random.integers(9, size=9))].mean() for _ in range(20_000)]
    means = bootstrap_means(table, n_bootstrap=20_000)
    np.testing.assert_allclose(
        np.quantile(means, [0.025, 0.5, 0.975]), np.quantile(plain, [0.025, 0.5, 0.975]), atol=1.5e-3
    )
    assert means.std() == pytest.approx(np.std(plain), rel=0.03)


def test_bootstrap_of_one_subject_is_scipys():
    differences = np.random.default_rng(4).normal(0.01, 0.02, 12)
    reference = stats.bootstrap(
        (differences,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(0)
    )
    means = bootstrap_means(differences[:, None], n_bootstrap=20_000)
    np.testing.assert_allclose(np.quantile(means, [0.025, 0.975]), reference.confidence_interval, atol=7e-4)


@pytest.mark.parametrize("confidence", [0.90, 0.95])
def test_interval_of_one_subject_is_a_t_interval(confidence):
    differences = np.random.default_rng(4).normal(0.01, 0.02, (40, 1))
    [interval] = two_way_interval(differences, confidences=(confidence,))
    reference = DescrStatsW(differences[:, 0]).tconfint_mean(alpha=1 - confidence)
    np.testing.assert_allclose(interval, reference, atol=0.06 * (reference[1] - reference[0]))


@pytest.mark.parametrize("shift", [0.0, 0.003, 0.006, 0.012])
def test_equivalence_decides_as_statsmodels_tost(shift):
    random = np.random.default_rng(21)
    agree, undecidable = 0, 0
    for _ in range(60):
        differences = random.normal(shift, 0.008, 20)
        p, *_ = ttost_paired(differences, np.zeros(20), -0.01, 0.01)
        [[low, high]] = two_way_interval(differences[:, None], confidences=(0.90,), n_bootstrap=4000)
        undecidable += abs(p - 0.05) < 0.012  # percentiles have the data's skew, t has none
        agree += abs(p - 0.05) < 0.012 or (low > -0.01 and high < 0.01) == (p < 0.05)
    assert agree == 60
    assert undecidable < 15


@pytest.mark.parametrize("n_seeds", [5, 10])
@pytest.mark.parametrize("regime", REGIMES)
def test_coverage(regime, n_seeds):
    random = np.random.default_rng(31)
    covered = 0
    for _ in range(500):
        table = difference_table(random, n_seeds, 20, delta=0.02, **REGIMES[regime])
        [[low, high]] = two_way_interval(table, n_bootstrap=1000)
        covered += low <= 0.02 <= high
    assert 0.925 <= covered / 500 <= 0.99


def test_plain_percentiles_of_five_seeds_do_not_cover():
    random = np.random.default_rng(32)
    covered = 0
    for _ in range(500):
        table = difference_table(random, 5, 20, **REGIMES["seeds"])
        low, high = np.quantile(bootstrap_means(table, n_bootstrap=1000), [0.025, 0.975])
        covered += low <= 0 <= high
    assert covered / 500 < 0.90
