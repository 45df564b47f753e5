"""Paired differences of strategies x classifiers x seeds x subjects to one estimate a strategy, across classifiers.

In: a balanced table. Out: Δ ~ strategy + (1 | classifier) + (1 | subject) + (1 | seed) by REML, with any crossed or
interaction term more. In a balanced table the likelihood depends on the mean squares of the analysis of variance alone
(Searle, Casella & McCulloch 1992, Variance Components, section 4.5), so that 25 x 36 x 10 x 23 differences, whose
covariance matrix no general program can hold, take milliseconds.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from valence.errors import BadInput
from valence.stats.multiplicity import holm

FACTORS = ("strategy", "classifier", "seed", "subject")
"""dimensions of the table"""
PLANNED = ("classifier", "subject", "seed")
NETWORKS = (*PLANNED, "classifier:seed", "classifier:subject", "strategy:classifier", "strategy:classifier:seed")
"""Beyond the planned model: the baseline network of a classifier and a seed, which all strategies and subjects share;
that strategies work differently with different classifiers; and the network of every single cell. With the planned
model alone, networks count as noise between subjects, and p is too small."""


@dataclass(frozen=True, kw_only=True)
class MixedModel:
    """A fit; float arrays of (n_strategies,)."""

    estimate: np.ndarray
    se: np.ndarray
    df: np.ndarray
    """Satterthwaite's"""
    ci_low: np.ndarray
    ci_high: np.ndarray
    p: np.ndarray
    p_holm: np.ndarray
    """over the strategies, or the declared family where larger"""
    components: dict[str, float]
    """variance of every random term, and "residual"; 0 where REML puts it on its bound"""


def mixed_model(
    table: np.ndarray, *, random: Sequence[str] = PLANNED, alpha: float = 0.05, family_size: int = 0
) -> MixedModel:
    """REML fit of Δ ~ 0 + strategy + the random terms.

    Parameters
    ----------
    table : float array, (n_strategies, n_classifiers, n_seeds, n_subjects), paired differences, no NaN.
    random : terms, factors joined by ":". The residual must not be among them.
    family_size : comparisons declared before the run; the number of strategies where smaller.

    Raises
    ------
    BadInput : for a table of another form, a term of other factors, or terms that this table cannot tell apart.
    """
    table = np.asarray(table, dtype=float)
    terms = [_term(name, table) for name in random]
    squares, df, names = _strata(table)
    design = _design(terms, names, table.shape)
    told = df > 0
    if np.linalg.matrix_rank(design[told]) < design.shape[1]:
        raise BadInput(
            f"random terms {', '.join(random)} in a table of {' x '.join(map(str, table.shape))} {' x '.join(FACTORS)}",
            allowed="terms that the table can tell apart: factors with two levels or more, and a residual beside them",
            do="leave out terms of factors with one level, or with all factors at once",
        )
    theta = _reml(squares[told], df[told], design[told])
    weights = np.array([1 / _levels(term - {0}, table.shape) for term in terms] + [1 / np.prod(table.shape[1:])])
    se, freedom = _error(theta, weights, df[told], design[told])
    estimate = table.mean(axis=(1, 2, 3))
    p = 2 * stats.t.sf(np.abs(estimate) / se, freedom) if se > 0 else np.where(estimate == 0, 1.0, 0.0)
    margin = stats.t.isf(alpha / 2, freedom) * se
    return MixedModel(
        estimate=estimate,
        se=np.full_like(estimate, se),
        df=np.full_like(estimate, freedom),
        ci_low=estimate - margin,
        ci_high=estimate + margin,
        p=p,
        p_holm=holm(p, family_size=family_size),
        components=dict(zip([*random, "residual"], map(float, theta))),
    )


def _term(name: str, table: np.ndarray) -> frozenset[int]:
    parts = name.split(":")
    if table.ndim != 4 or not table.size or not np.isfinite(table).all() or not set(parts) <= set(FACTORS):
        raise BadInput(
            f"the term {name!r} for a table of shape {table.shape}, {int((~np.isfinite(table)).sum())} not finite",
            allowed=f"finite differences, four dimensions: {', '.join(FACTORS)}; terms of these",
            do="take the strategies, classifiers, seeds and subjects that are complete",
        )
    return frozenset(FACTORS.index(part) for part in parts)


def _levels(term: frozenset[int], shape: tuple[int, ...]) -> int:
    return int(np.prod([shape[factor] for factor in term], dtype=int))


def _strata(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[frozenset[int]]]:
    """Sum of squares and degrees of freedom of every stratum that is not fixed."""
    squares, df, names = [], [], []
    subsets = itertools.chain.from_iterable(itertools.combinations(range(4), n) for n in range(1, 5))
    for subset in map(frozenset, subsets):
        if subset == {0}:
            continue
        effect = table.mean(axis=tuple(set(range(4)) - subset), keepdims=True)
        for factor in subset:
            effect = effect - effect.mean(axis=factor, keepdims=True)
        squares.append(float((effect**2).sum()) * table.size / effect.size)
        df.append(int(np.prod([table.shape[factor] - 1 for factor in subset])))
        names.append(subset)
    return np.array(squares), np.array(df), names


def _design(terms: list[frozenset[int]], names: list[frozenset[int]], shape: tuple[int, ...]) -> np.ndarray:
    """What a unit of each variance adds to the expected mean square of each stratum, (n_strata, n_terms + 1)."""
    size = float(np.prod(shape))
    columns = [[size / _levels(term, shape) * (name <= term) for name in names] for term in terms]
    return np.array([*columns, [1.0] * len(names)]).T


def _reml(squares: np.ndarray, df: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Variances, 0 or more, that maximise the restricted likelihood of independent mean squares."""
    scale = max(squares.sum() / df.sum(), 1e-300)
    shares = squares / scale
    unit = design.max(axis=0)

    def deviance(theta: np.ndarray) -> tuple[float, np.ndarray]:
        expected = design @ (theta / unit)
        slope = df / expected - shares / expected**2
        return float(df @ np.log(expected) + (shares / expected).sum()), design.T @ slope / unit

    floor = np.zeros(design.shape[1])
    floor[-1] = 1e-9
    start = np.maximum(np.full(design.shape[1], 0.5), floor)
    found = optimize.minimize(
        deviance,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(low, None) for low in floor],
        options={"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-10},
    )
    theta = _polished(found.x / unit, shares, df, design)
    return np.where(theta > 1e-9 / unit, theta, 0.0) * scale


def _polished(theta: np.ndarray, shares: np.ndarray, df: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Fisher scoring among the variances that are off their bound."""
    free = theta * design.max(axis=0) > 1e-6
    for _ in range(50):
        expected = design @ theta
        part = design[:, free] / expected[:, None]
        step = np.linalg.lstsq((part * df[:, None]).T @ part, part.T @ (shares / expected - df), rcond=None)[0]
        moved = theta.copy()
        moved[free] += step
        if (moved < 0).any():
            return theta
        theta = moved
        if np.abs(step).max(initial=0.0) < 1e-14:
            break
    return theta


def _error(theta: np.ndarray, weights: np.ndarray, df: np.ndarray, design: np.ndarray) -> tuple[float, float]:
    """Standard error of a strategy's mean, and Satterthwaite's degrees of freedom by the information of REML."""
    variance = float(weights @ theta)
    free = theta > 0
    if not free.any() or variance <= 0:
        return 0.0, float(df.sum())
    part = design[:, free] / (design @ theta)[:, None]
    information = (part * df[:, None]).T @ part / 2
    of_variance = weights[free] @ np.linalg.pinv(information, hermitian=True) @ weights[free]
    return float(np.sqrt(variance)), float(max(1.0, 2 * variance**2 / of_variance))
