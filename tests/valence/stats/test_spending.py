"""Boundaries of group-sequential tests against published tables, scipy's normal integrals and simulation."""

import numpy as np
import pytest
from scipy import stats

from valence.errors import BadInput
from valence.stats.spending import nominal_levels, sequential_p

FOUR = (0.25, 0.5, 0.75, 1.0)
FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)
THREE = (1 / 3, 2 / 3, 1.0)


def bounds(fractions, alpha, sides=2, **spending):
    return stats.norm.isf(nominal_levels(fractions, alpha, sides=sides, **spending) / sides)


@pytest.mark.parametrize(
    ("fractions", "spending", "published"),
    [
        # DeMets & Lan 1994, Statistics in Medicine 13:1341; Reboussin et al. 2000, Controlled Clinical Trials 21:190
        (FIVE, "obrien_fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        (FIVE, "pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
        (FOUR, "obrien_fleming", [4.3326, 2.9631, 2.3590, 2.0141]),
        (THREE, "obrien_fleming", [3.7103, 2.5114, 1.9930]),
    ],
)
def test_bounds_of_the_published_tables(fractions, spending, published):
    np.testing.assert_allclose(bounds(fractions, 0.05, spending=spending), published, atol=6e-4)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
@pytest.mark.parametrize(("sides", "alpha"), [(1, 0.05), (2, 0.05), (2, 0.01)])
def test_chance_of_ever_crossing_is_the_level_by_scipys_normal_integral(spending, sides, alpha):
    found = bounds(THREE, alpha, sides=sides, spending=spending)
    times = np.array(THREE)
    covariance = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
    inside = stats.multivariate_normal.cdf(
        found, cov=covariance, lower_limit=-found if sides == 2 else np.full(3, -np.inf), maxpts=200_000
    )
    assert 1 - inside == pytest.approx(alpha, abs=2e-5)


def test_one_look_is_the_fixed_sample_test_and_later_looks_change_nothing_before():
    assert nominal_levels((1.0,), 0.03) == pytest.approx(0.03)
    np.testing.assert_allclose(nominal_levels(FOUR[:2], 0.05), nominal_levels(FOUR, 0.05)[:2])


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
@pytest.mark.parametrize("sides", [1, 2])
def test_sequential_p_is_the_level_at_which_a_look_stops(spending, sides):
    for alpha in (0.002, 0.013, 0.05, 0.2):
        levels = nominal_levels(FOUR, alpha, spending=spending, sides=sides)
        for look in range(4):
            p = np.full(4, np.nan)
            p[look] = levels[look]
            found = sequential_p(p, FOUR, spending=spending, sides=sides)
            np.testing.assert_allclose(found[look:], alpha, rtol=2e-3)
            assert (found[:look] == 1).all()


def test_sequential_p_is_uniform_or_above_under_the_null():
    random = np.random.default_rng(0)
    walk = random.normal(size=(40_000, 4)).cumsum(axis=1) / np.sqrt(np.arange(1, 5))
    by_end = sequential_p(2 * stats.norm.sf(np.abs(walk)), FOUR)[:, -1]
    for alpha in (0.002, 0.01, 0.05, 0.2):
        error = 4 * np.sqrt(alpha / 40_000)
        assert np.mean(by_end <= alpha) == pytest.approx(alpha, abs=error)


@pytest.mark.parametrize(
    ("fractions", "options"),
    [((0.5, 0.25), {}), ((0.5, 1.2), {}), ((), {}), (FOUR, {"spending": "linear"}), (FOUR, {"sides": 3})],
)
def test_looks_that_cannot_be_are_refused(fractions, options):
    with pytest.raises(BadInput, match="looks at"):
        nominal_levels(fractions, 0.05, **options)
