"""Slope and change point across classifiers: references of statsmodels and scipy, planted truths, error rates."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from valence.errors import BadInput
from valence.stats import across
from valence.stats.across import across_classifiers


def world(random, *, n_classifiers=36, n_seeds=10, gain=0.0, until=0.5, slope=0.0, luck=0.01, own=0.005, plateau=0.0):
    """Classifiers of accuracy .3 to .65; the gain grows below `until`, or falls with `slope`."""
    skill = random.uniform(0.3, 0.65, (n_classifiers, 1))
    baseline = skill + random.normal(0, luck, (n_classifiers, n_seeds))
    effect = plateau + gain * np.maximum(until - skill, 0) + slope * (skill - 0.5)
    arm = skill + effect + random.normal(0, own, (n_classifiers, 1)) + random.normal(0, luck, (n_classifiers, n_seeds))
    return arm - baseline, baseline


def test_slope_is_that_of_a_mixed_model_with_a_random_intercept():
    """With a baseline that has no luck, x is constant within a classifier."""
    random = np.random.default_rng(0)
    skill = np.repeat(random.uniform(0.3, 0.6, (14, 1)), 6, axis=1)
    y = -0.1 * skill + random.normal(0, 0.01, (14, 1)) + random.normal(0, 0.01, (14, 6))
    found = across_classifiers(y, skill)
    data = pd.DataFrame({"y": 100 * y.ravel(), "x": skill.ravel(), "classifier": np.repeat(np.arange(14), 6)})
    fit = MixedLM.from_formula("y ~ x", groups="classifier", data=data).fit(reml=True)
    assert found.slope == pytest.approx(fit.params["x"] / 100, rel=1e-6)
    margin = stats.t.isf(0.025, 12) * fit.bse["x"] / 100
    assert found.ci_high - found.slope == pytest.approx(margin, rel=1e-3)
    assert found.reliability == pytest.approx(1.0)


def test_p_is_scipys_permutation_test():
    random = np.random.default_rng(1)
    skill = np.repeat(random.uniform(0.3, 0.6, (7, 1)), 3, axis=1)
    y = -0.05 * skill + random.normal(0, 0.01, (7, 3))
    reference = stats.permutation_test(
        (y.mean(axis=1),),
        lambda one: np.polyfit(skill[:, 0], one, 1)[0],
        permutation_type="pairings",
        n_resamples=np.inf,
    )
    assert 0.02 < reference.pvalue < 0.98
    assert across_classifiers(y, skill).p == pytest.approx(reference.pvalue, abs=0.025)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(across, "N_PERMUTATIONS", 399)
    monkeypatch.setattr(across, "N_BOOTSTRAP", 400)


@pytest.mark.usefixtures("quick")
def test_same_seeds_on_both_sides_would_find_a_trend_in_nothing():
    random = np.random.default_rng(2)
    found, naive = [], []
    for _ in range(60):
        luck = random.normal(0, 0.02, (20, 5))
        y, baseline = random.normal(0, 0.02, (20, 5)) - luck, random.normal(0.5, 0.01, (20, 1)) + luck
        found.append(across_classifiers(y, baseline).slope)
        naive.append(np.polyfit(baseline.mean(axis=1), y.mean(axis=1), 1)[0])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(60)
    assert np.mean(naive) < -0.2


def test_false_positives_and_coverage(monkeypatch):
    monkeypatch.setattr(across, "N_PERMUTATIONS", 199)
    monkeypatch.setattr(across, "N_BOOTSTRAP", 20)
    random = np.random.default_rng(3)
    nulls = [across_classifiers(*world(random, n_classifiers=16, n_seeds=6)) for _ in range(500)]
    limit = stats.binom.ppf(0.999, 500, 0.05) / 500
    assert 0.015 < np.mean([one.p <= 0.05 for one in nulls]) <= limit
    assert 0.015 < np.mean([one.p_change <= 0.05 for one in nulls]) <= limit
    truths = [across_classifiers(*world(random, n_classifiers=16, n_seeds=6, slope=-0.1)) for _ in range(500)]
    assert np.mean([one.ci_low <= -0.1 <= one.ci_high for one in truths]) == pytest.approx(0.95, abs=0.03)


@pytest.mark.usefixtures("quick")
def test_a_planted_change_point_comes_back_in_its_interval():
    random = np.random.default_rng(4)
    found = [across_classifiers(*world(random, gain=0.4, until=0.47, plateau=-0.01)) for _ in range(40)]
    assert np.median([one.change_point for one in found]) == pytest.approx(0.47, abs=0.01)
    assert np.mean([one.change_low <= 0.47 <= one.change_high for one in found]) >= 0.85
    assert np.median([one.plateau for one in found]) == pytest.approx(-0.01, abs=0.002)
    assert np.mean([one.finding == "saturates" for one in found]) > 0.9


@pytest.mark.usefixtures("quick")
def test_a_straight_line_and_nothing_are_not_saturation():
    random = np.random.default_rng(5)
    lines = [across_classifiers(*world(random, slope=-0.3)).finding for _ in range(20)]
    assert lines.count("falls") >= 16
    assert across_classifiers(*world(random, slope=0.3)).finding == "grows"
    assert [across_classifiers(*world(random)).finding for _ in range(20)].count("no trend") >= 16


@pytest.mark.usefixtures("quick")
def test_reliability_corrects_what_luck_in_the_baseline_takes_away():
    random = np.random.default_rng(6)
    found = []
    for _ in range(60):
        skill = random.normal(0.5, 0.03, (30, 1))
        baseline = skill + random.normal(0, 0.03, (30, 4))
        y = -0.5 * (skill - 0.5) + random.normal(0, 0.005, (30, 4)) + random.normal(0, 0.002, (30, 1))
        found.append(across_classifiers(y, baseline))
    assert np.mean([one.slope for one in found]) > -0.42
    assert np.median([one.slope_corrected for one in found]) == pytest.approx(-0.5, abs=0.06)


@pytest.mark.parametrize("shape", [(4, 5), (8, 1), (8,)])
def test_too_little_is_refused(shape):
    with pytest.raises(BadInput, match="classifiers x seeds"):
        across_classifiers(np.zeros(shape), np.random.default_rng(0).normal(size=shape))
