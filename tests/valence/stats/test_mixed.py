"""The mixed model across classifiers against statsmodels' MixedLM, closed forms and simulation."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from valence.errors import BadInput
from valence.stats.mixed import FACTORS, NETWORKS, mixed_model
from valence.stats.paired import two_way_variance


def drawn(random, shape, deltas=0.0, **sds):
    """Differences with the given sd of each term ("classifier", "classifier_seed", …) and of noise."""
    names = {"strategy": 0, "classifier": 1, "seed": 2, "subject": 3}
    table = random.normal(0, sds.pop("noise"), shape) + np.asarray(deltas, dtype=float).reshape(-1, 1, 1, 1)
    for term, sd in sds.items():
        factors = {names[name] for name in term.split("_")}
        table = table + random.normal(0, sd, [n if factor in factors else 1 for factor, n in enumerate(shape)])
    return table


def by_statsmodels(table, terms=("classifier", "subject", "seed")):
    """The same by MixedLM: one group, crossed variance components."""
    index = pd.MultiIndex.from_product([range(n) for n in table.shape], names=FACTORS)
    data = pd.DataFrame({"delta": 100 * table.ravel()}, index=index).reset_index()
    parts = {name: f"0 + C({name})" for name in terms}
    fit = MixedLM.from_formula(
        "delta ~ 0 + C(strategy)", groups=np.ones(len(data)), vc_formula=parts, re_formula="0", data=data
    ).fit(reml=True, method=["bfgs", "lbfgs"], maxiter=500, gtol=1e-8)
    names = fit.model.exog_vc.names
    components = dict(zip(names, fit.vcomp / 1e4)) | {"residual": fit.scale / 1e4}
    return fit.fe_params.to_numpy() / 100, fit.bse_fe.to_numpy() / 100, components


@pytest.mark.parametrize("state", [0, 1])
def test_planned_model_is_statsmodels_mixedlm(state):
    random = np.random.default_rng(state)
    table = drawn(random, (3, 6, 4, 5), [0.0, -0.02, 0.01], classifier=0.015, subject=0.008, seed=0.006, noise=0.01)
    estimate, se, components = by_statsmodels(table)
    fit = mixed_model(table)
    np.testing.assert_allclose(fit.estimate, estimate, atol=1e-9)
    np.testing.assert_allclose(fit.se, se, rtol=2e-3)
    for name, variance in components.items():
        assert fit.components[name] == pytest.approx(variance, rel=6e-3, abs=1e-8)


def test_a_variance_on_its_bound_is_zero_as_if_the_term_were_left_out():
    """MixedLM does not converge there, and is asked for the model without the term."""
    table = drawn(np.random.default_rng(5), (2, 6, 5, 6), [0.0, 0.02], classifier=0.02, subject=0.01, noise=0.02)
    table = table - table.mean(axis=(0, 1, 3), keepdims=True) + table.mean()  # seeds differ less than noise would
    fit = mixed_model(table)
    _, se, components = by_statsmodels(table, ("classifier", "subject"))
    assert fit.components["seed"] == 0
    np.testing.assert_allclose(fit.se, se, rtol=2e-3)
    for name, variance in components.items():
        assert fit.components[name] == pytest.approx(variance, rel=6e-3)


def test_mean_squares_are_the_closed_form():
    table = drawn(np.random.default_rng(2), (4, 9, 6, 7), classifier=0.02, subject=0.01, seed=0.01, noise=0.01)
    fit = mixed_model(table)
    k, c, s, u = table.shape
    between = table.mean(axis=(0, 2, 3)).var(ddof=1) * k * s * u
    rest = table - table.mean(axis=(1, 2, 3), keepdims=True)
    rest = rest - table.mean(axis=(0, 2, 3), keepdims=True) - table.mean(axis=(0, 1, 3), keepdims=True)
    rest = rest - table.mean(axis=(0, 1, 2), keepdims=True) + 3 * table.mean()
    noise = (rest**2).sum() / (table.size - 1 - (k - 1) - (c - 1) - (s - 1) - (u - 1))
    assert fit.components["residual"] == pytest.approx(noise, rel=1e-8)
    assert fit.components["classifier"] == pytest.approx((between - noise) / (k * s * u), rel=1e-6)


def test_one_classifier_is_the_two_way_variance_with_its_degrees_of_freedom():
    table = drawn(np.random.default_rng(3), (1, 1, 9, 12), [0.01], seed=0.01, subject=0.01, noise=0.02)
    fit = mixed_model(table, random=("seed", "subject"))
    reference = two_way_variance(table[0, 0])
    assert fit.se[0] ** 2 == pytest.approx(reference.total, rel=1e-6)
    assert fit.df[0] == pytest.approx(reference.df, rel=1e-4)
    assert fit.p[0] == pytest.approx(2 * stats.t.sf(abs(fit.estimate[0]) / fit.se[0], fit.df[0]))


def test_classifiers_alone_are_a_t_test_over_classifiers():
    table = drawn(np.random.default_rng(4), (1, 12, 4, 5), [0.01], classifier=0.02, noise=0.01)
    fit = mixed_model(table, random=("classifier",))
    reference = stats.ttest_1samp(table.mean(axis=(0, 2, 3)), 0)
    assert fit.p[0] == pytest.approx(reference.pvalue, rel=1e-5)
    assert fit.ci_low[0] == pytest.approx(reference.confidence_interval().low, rel=1e-5)


def test_networks_count_and_the_planned_model_alone_takes_them_for_noise():
    """Nulls where baselines, cells and classifiers differ: p of the fuller model is nominal, the planned one's not."""
    random = np.random.default_rng(7)
    sds = {"classifier_seed": 0.01, "strategy_classifier_seed": 0.007, "strategy_classifier": 0.02}
    tables = [drawn(random, (4, 12, 5, 6), subject=0.003, noise=0.02, **sds) for _ in range(400)]
    fuller = np.mean([mixed_model(table, random=NETWORKS).p[0] < 0.05 for table in tables])
    planned = np.mean([mixed_model(table).p[0] < 0.05 for table in tables])
    assert 0.02 < fuller <= stats.binom.ppf(0.999, 400, 0.05) / 400
    assert planned > 0.12


def test_intervals_cover_under_the_planned_model():
    random = np.random.default_rng(8)
    fits = [
        mixed_model(drawn(random, (2, 10, 5, 8), 0.01, classifier=0.01, subject=0.008, seed=0.008, noise=0.02))
        for _ in range(600)
    ]
    covered = np.mean([fit.ci_low[0] <= 0.01 <= fit.ci_high[0] for fit in fits])
    assert covered == pytest.approx(0.95, abs=0.03)


def test_a_whole_sweep_takes_seconds_and_variances_come_back():
    shape = (25, 36, 10, 23)
    sds = {"classifier": 0.02, "strategy_classifier": 0.015, "classifier_seed": 0.01, "strategy_classifier_seed": 0.007}
    table = drawn(np.random.default_rng(9), shape, np.linspace(-0.05, 0.02, 25), noise=0.03, **sds)
    started = time.process_time()
    fit = mixed_model(table, random=NETWORKS)
    assert time.process_time() - started < 10
    for term, sd in sds.items():
        assert np.sqrt(fit.components[term.replace("_", ":")]) == pytest.approx(sd, rel=0.3)
    assert np.sqrt(fit.components["residual"]) == pytest.approx(0.03, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "random"),
    [
        ((2, 3, 4), ("seed",)),
        ((2, 3, 4, 5), ("sessions",)),
        ((2, 1, 4, 5), ("classifier", "seed")),
        ((2, 3, 4, 5), ("strategy:classifier:seed:subject",)),
    ],
)
def test_what_cannot_be_fitted_is_refused(shape, random):
    with pytest.raises(BadInput, match="table of"):
        mixed_model(np.random.default_rng(0).normal(size=shape), random=random)


def test_no_differences_at_all():
    fit = mixed_model(np.zeros((2, 3, 4, 5)))
    assert (fit.p == 1).all()
    assert (fit.ci_low == 0).all()
