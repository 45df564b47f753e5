"""Stage validity: how well scores follow a truth, with 95 % intervals: AUC for two classes, Pearson's r for ratings.

Texts of one group (a document) are no independent texts: their intervals are from sums over groups.

Scores are never turned round: an axis that orders a benchmark backwards has an AUC below ½ or a negative r.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from valence.arrangements import arranged
from valence.errors import BadInput
from valence.stories import EMOTIONS, NEGATIVE, POSITIVE

MEASURES = ("AUC", "r")
LEVEL = 0.95


@dataclass(frozen=True)
class Measured:
    """A number with its interval; nan where there is none."""

    value: float
    low: float
    high: float
    n: int


def measure(scores: np.ndarray, truth: np.ndarray, *, kind: str, groups: np.ndarray | None = None) -> Measured:
    """AUC with DeLong's interval, or r with Fisher's; where texts share groups, both from sums over groups.

    Parameters
    ----------
    scores : (n,), larger is more positive.
    truth : (n,), 0 or 1 for "AUC", ratings for "r".
    groups : (n,), name of each text's group; None: every text is on its own. Of one group there is no interval.

    Raises
    ------
    BadInput : for shapes that differ, values that are not finite, a truth that does not vary.
    """
    scores, truth = np.asarray(scores, dtype=float), np.asarray(truth, dtype=float)
    problem = ""
    if kind not in MEASURES:
        problem = f"measure {kind!r}"
    elif scores.ndim != 1 or scores.shape != truth.shape:
        problem = f"scores {scores.shape} and truth {truth.shape}"
    elif groups is not None and np.shape(groups) != truth.shape:
        problem = f"groups {np.shape(groups)} and truth {truth.shape}"
    elif not (np.isfinite(scores).all() and np.isfinite(truth).all()):
        problem = "values that are not finite"
    elif not len(truth) or np.ptp(truth) == 0:
        problem = f"{len(truth)} truths, all of one value"
    elif kind == "AUC" and set(np.unique(truth)) != {0.0, 1.0}:
        problem = "truths other than 0 and 1"
    if problem:
        raise BadInput(
            f"measure: {problem}", allowed="AUC (0 and 1) or r (ratings), one finite score each", do="correct the data"
        )
    if groups is None or len(np.unique(groups)) == len(truth):
        return _auc(scores, truth == 1) if kind == "AUC" else pearson(scores, truth)
    members = np.unique(groups, return_inverse=True)[1]
    return _auc(scores, truth == 1, members) if kind == "AUC" else _pearson_of_groups(scores, truth, members)


def _auc(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray | None = None) -> Measured:
    value, error = delong(scores, positive)
    quantile = stats.norm.ppf(0.5 + LEVEL / 2)
    if groups is not None:
        # Obuchowski 1997, doi 10.2307/2533958: DeLong's components, summed within groups
        of_positive, of_negative = _components(scores, positive)
        parts = np.zeros(len(scores))
        parts[positive] = (of_positive - value) / len(of_positive)
        parts[~positive] = (of_negative - value) / len(of_negative)
        error, quantile = _error_over_groups(parts, groups)
    if not error > 0 or not 0 < value < 1:
        return Measured(value, np.nan, np.nan, len(scores))
    # on the scale of log odds the interval stays within 0 … 1
    centre = np.log(value / (1 - value))
    reach = quantile * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(centre + np.array([-reach, reach]))))
    return Measured(value, float(low), float(high), len(scores))


def delong(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """AUC and its standard error.

    DeLong, DeLong and Clarke-Pearson 1988, doi 10.2307/2531595, by midranks (Sun and Xu 2014, doi
    10.1109/LSP.2014.2337313).

    Parameters
    ----------
    scores : (n,)
    positive : (n,), bool, both values present.
    """
    of_positive, of_negative = _components(scores, positive)
    m, n = len(of_positive), len(of_negative)
    variance = (of_positive.var(ddof=1) / m if m > 1 else 0.0) + (of_negative.var(ddof=1) / n if n > 1 else 0.0)
    return float(of_positive.mean()), float(np.sqrt(variance))


def _components(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negatives below each positive, (m,), and of positives above each negative, (n,); ties count half."""
    ranks = stats.rankdata(scores)
    of_positive = (ranks[positive] - stats.rankdata(scores[positive])) / (~positive).sum()
    return of_positive, 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / positive.sum()


def _error_over_groups(parts: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Standard error of a statistic of which each text, (n,), contributes a part, groups (n,) 0 …, and t's quantile."""
    sums = np.bincount(groups, weights=parts)
    n = len(sums)
    if n < 2:
        return np.nan, np.nan
    return float(np.sqrt(n / (n - 1) * np.sum(sums**2))), float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))


def pearson(x: np.ndarray, y: np.ndarray) -> Measured:
    """Pearson's r with Fisher's interval; 0 without an interval where x or y is constant, none below 4 points."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Measured(0.0, np.nan, np.nan, len(x))
    value = float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
    low, high = fisher_interval(value, len(x))
    return Measured(value, low, high, len(x))


def _pearson_of_groups(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Measured:
    """r with an interval on Fisher's scale, its error from the influence of each text on r, summed within groups."""
    found = pearson(x, y)
    r = found.value
    if np.ptp(x) == 0 or abs(r) >= 1:
        return Measured(r, np.nan, np.nan, len(x))
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    error, quantile = _error_over_groups((x * y - r * (x**2 + y**2) / 2) / len(x), groups)
    reach = quantile * error / (1 - r**2)
    return Measured(r, float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach)), len(x))


def fisher_interval(r: float, n: int) -> tuple[float, float]:
    """95 % interval of a correlation of n points by Fisher's z; nan below 4 points or at |r| = 1."""
    if n < 4 or abs(r) >= 1 or np.isnan(r):
        return np.nan, np.nan
    reach = stats.norm.ppf(0.5 + LEVEL / 2) / np.sqrt(n - 3)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r; nan where one of the two is constant."""
    if np.ptp(x) < 1e-12 * max(np.abs(x).max(), 1e-300) or np.ptp(y) < 1e-12 * max(np.abs(y).max(), 1e-300):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def partial_correlation(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """r of x and y, (n,), after a straight line in `given`, (n,), is taken from both.

    nan below four points, and where nothing is left of one of the two.
    """
    if len(x) < 4:
        return float("nan")
    basis = np.column_stack([np.ones(len(given)), given])
    rest = [values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0] for values in (x, y)]
    if any(np.ptp(left) < 1e-9 * np.ptp(values) for left, values in zip(rest, (x, y), strict=True)):
        return float("nan")
    return correlation(*rest)


def permutation_p(a: np.ndarray, b: np.ndarray, classes: Sequence[str] = EMOTIONS) -> float:
    """Share of class permutations of b, each turned so that positive classes lie above negative, with r as large.

    a, b : (n_classes,), positions already so turned. Exact up to nine classes, 362,880 orders; of more, a sample.
    """
    a = (a - a.mean()) / a.std()
    b = (b - b.mean()) / b.std()
    weights = np.array([(name in POSITIVE) / len(POSITIVE) - (name in NEGATIVE) / len(NEGATIVE) for name in classes])
    permuted, _ = arranged(b, seed=0)
    values = (permuted @ a) / len(a) * np.where(permuted @ weights >= 0, 1.0, -1.0)
    return float(np.mean(values >= np.mean(a * b) - 1e-9))
