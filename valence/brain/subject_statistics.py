"""Stage brain: a number for every subject under the target as it is and with its classes permuted; in and out, arrays
and the row of its mean.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from valence.brain.correlations import correlations, mean_where_there, share_as_large
from valence.brain.rows import Row

N_BEST = 8
"""cells that the study takes"""
_BLOCK = 100
"""orders at once: 100 x 123 subjects x 160 cells are 16 MB"""
OfSubjects = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""r by part, (n_orders, n_subjects, n_cells) each, to statistics by name, (n_orders, n_subjects) each"""


@dataclass(frozen=True)
class Statistic:
    """A number for each subject under the order of the classes as it is and under others."""

    of_subjects: np.ndarray
    """(n_subjects,), as it is"""
    null: np.ndarray
    """(n_orders, n_subjects)"""

    @property
    def means(self) -> np.ndarray:
        """Means over subjects of the null, (n_orders,)."""
        return mean_where_there(self.null, axis=1)


def means_of_others(x: np.ndarray) -> np.ndarray:
    """Mean over all subjects but one, for each: of the shape of x, (n_subjects, ...); NaN is left out."""
    there = np.isfinite(x)
    held = np.where(there, x, 0.0)
    n = there.sum(axis=0) - there
    return (held.sum(axis=0) - held) / np.where(n > 0, n, np.nan)


def at_best_cells(own: np.ndarray, others: np.ndarray, n_best: int = N_BEST) -> dict[str, np.ndarray]:
    """r of subjects at the cells where the r of others is largest in size.

    Parameters
    ----------
    own, others : float, (..., n_cells), r of a subject and of all others.

    Returns
    -------
    (...) each: "turned", the mean with the sign that others have; "raw", the mean as it is; "best", the largest |r|.
    """
    cells = np.argpartition(-np.nan_to_num(np.abs(others)), n_best - 1, axis=-1)[..., :n_best]
    taken, signs = np.take_along_axis(own, cells, -1), np.sign(np.take_along_axis(others, cells, -1))
    return {
        "turned": mean_where_there(taken * signs, axis=-1),
        "raw": mean_where_there(taken, axis=-1),
        "best": np.fmax.reduce(np.abs(taken), axis=-1),
    }


def statistics(
    parts: dict[str, np.ndarray], values: np.ndarray, orders: np.ndarray, of: OfSubjects
) -> dict[str, Statistic]:
    """What `of` makes of the r of every part with the values, (n_clips,), as they are and in all orders.

    parts : float, (n_subjects, n_clips, n_cells) each. orders : float, (n_orders, n_clips).
    """

    def under(targets: np.ndarray) -> dict[str, np.ndarray]:
        return of({name: correlations(part, targets) for name, part in parts.items()})

    blocks = [under(orders[at : at + _BLOCK]) for at in range(0, len(orders), _BLOCK)]
    observed = under(values[None])
    return {name: Statistic(observed[name][0], np.concatenate([block[name] for block in blocks])) for name in observed}


def mean_row(analysis: str, protocol: str, found: Statistic, words: str, *, note: str = "") -> Row:
    """The mean over subjects, with a t interval over them and p against the same mean in other orders."""
    values = found.of_subjects[np.isfinite(found.of_subjects)]
    low, high = interval_of_mean(values)
    value, centre = float(values.mean()), float(found.means.mean())
    return Row(
        analysis=analysis,
        protocol=protocol,
        item="mean over subjects",
        value=value,
        ci_low=low,
        ci_high=high,
        p=share_as_large(abs(value - centre), np.abs(found.means - centre)),
        n=len(values),
        null=f"p: {words}, choice of cells inside, mean {centre:+.3f}; interval: t over subjects",
        note=note,
    )


def interval_of_mean(values: np.ndarray) -> tuple[float | None, float | None]:
    """95 % t interval of a mean; none below two values."""
    if len(values) < 2:
        return None, None
    reach = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - reach, float(values.mean()) + reach
