"""Stage brain: every channel and band by itself. A cohort and a target in, r of its cells with four corrections out.

A cell is a channel in a band here. With 28 clips of nine classes a parametric p counts 28 observations where there are
nine; it is given because the study gives it. The p to read is that of the largest |r| over all class permutations: it
holds both the nine values and the choice among cells.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from valence.brain.class_null import ROUNDING, Level, class_null, levels
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import STUDY_CELLS, cells_of, correlations
from valence.brain.resampled import SUBJECTS, interval
from valence.brain.rows import Row
from valence.stats.multiplicity import benjamini_hochberg

N_TOP = 5
MAP, HISTOGRAM = "map", "null histogram"
"""analyses whose rows are there to be drawn"""
N_BINS = 60
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class CellMap:
    """r of every cell and what it is worth; arrays are (n_cells,) unless said."""

    r: np.ndarray
    parametric: np.ndarray
    """p of Student's t, as if observations were independent"""
    bonferroni: np.ndarray
    benjamini_hochberg: np.ndarray
    by_order: np.ndarray
    """share of class permutations in which this cell's |r| is as large"""
    family: np.ndarray
    """share in which that of any cell is"""
    largest: np.ndarray
    """float64, (n_orders,): largest |r| of any cell, under each class permutation"""
    words: str
    """what the class permutations are"""


def map_cells(features: np.ndarray, values: np.ndarray, labels: np.ndarray) -> CellMap:
    """Correlate every cell with the target, as it is and with its classes permuted.

    Parameters
    ----------
    features : float, (n, n_cells), by clip or by class.
    values, labels : (n,), target and class of each.

    Raises NotPossible as `class_null`.
    """
    null = class_null(values, labels)
    r = np.clip(null.r(features), -1, 1)
    as_large, largest = np.zeros(r.size), []
    for block in null.blocks(features):
        np.abs(block, out=block)
        as_large += np.count_nonzero(block >= np.abs(r) - ROUNDING, axis=0)
        largest.append(block.max(axis=1))
    maxima = np.sort(np.concatenate(largest))
    parametric = p_of_r(r, len(values))
    return CellMap(
        r=r,
        parametric=parametric,
        bonferroni=np.minimum(parametric * r.size, 1),
        benjamini_hochberg=benjamini_hochberg(parametric),
        by_order=as_large / null.n,
        family=1 - np.searchsorted(maxima, np.abs(r) - ROUNDING) / null.n,
        largest=maxima,
        words=null.words,
    )


def p_of_r(r: np.ndarray, n: int) -> np.ndarray:
    """Two-sided p of Pearson's r of n independent observations, by Student's t."""
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt((n - 2) / np.maximum(1 - r**2, 0))
    return 2 * stats.t.sf(t, n - 2)


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Strongest cells and those of the study, how many survive, the largest; then the map and the null, to be drawn."""
    found = []
    for level in levels(cohort, target).values():
        cells = map_cells(level.features, level.values, level.labels)
        limits = _intervals(level, cells.r)
        found += _rows_of_level(cells_of(cohort), cells, level, limits)
    return found


def _intervals(level: Level, r: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    if level.of_subjects is None:
        return None
    low, high = interval(level.of_subjects, lambda left: correlations(left, level.values), r)
    return np.clip(low, -1, 1), np.clip(high, -1, 1)


def _rows_of_level(
    names: tuple[str, ...], cells: CellMap, level: Level, limits: tuple[np.ndarray, np.ndarray] | None
) -> list[Row]:
    n, n_cells, kind = len(level.values), len(names), level.protocol
    corrections = {
        f"Student's t, as if the {kind.split(',')[0]} were independent": cells.parametric,
        f"Student's t, Bonferroni over {n_cells} cells": cells.bonferroni,
        f"Student's t, Benjamini-Hochberg over {n_cells} cells": cells.benjamini_hochberg,
        f"largest |r| of {n_cells} cells, {cells.words}": cells.family,
    }
    order = np.argsort(-np.abs(cells.r), kind="stable")
    by_name = {name.lower(): place for place, name in enumerate(names)}
    chosen = [*order[:N_TOP], *(by_name[name.lower()] for name in STUDY_CELLS if name.lower() in by_name)]
    rank = {int(place): number + 1 for number, place in enumerate(order)}

    def row(place: int, analysis: str, p: np.ndarray, null: str, note: str = "") -> Row:
        low, high = (None, None) if limits is None else (float(end[place]) for end in limits)
        about: dict[str, Any] = {
            "analysis": analysis,
            "protocol": kind,
            "item": names[place],
            "null": null,
            "note": note,
        }
        return Row(**about, value=float(cells.r[place]), ci_low=low, ci_high=high, p=float(p[place]), n=n)

    found = [
        row(
            place,
            "cell",
            p,
            null,
            f"number {rank[place]} of {n_cells} by |r|{'' if limits is None else f'; {SUBJECTS}'}",
        )
        for place in dict.fromkeys(int(place) for place in chosen)
        for null, p in corrections.items()
    ]
    for null, p in corrections.items():
        found.append(
            Row(analysis="cells with p < .05", protocol=kind, value=float((p < LEVEL).sum()), n=n_cells, null=null)
        )
    top = int(order[0])
    about: dict[str, Any] = {"analysis": "largest cell", "protocol": kind}
    found.append(
        Row(**about, item=names[top], value=float(abs(cells.r[top])), p=float(cells.family[top]), n=n, null=cells.words)
    )
    limit = float(np.quantile(cells.largest, 1 - LEVEL))
    found.append(Row(**about, item="null 95th percentile", value=limit, n=n, null=cells.words))
    found += [row(place, MAP, cells.by_order, cells.words) for place in range(n_cells)]
    return found + _histogram(cells, kind)


def _histogram(cells: CellMap, kind: str) -> list[Row]:
    """Share of class permutations whose largest |r| lies in each bin."""
    counts, edges = np.histogram(cells.largest, bins=N_BINS, range=(0, 1))
    return [
        Row(
            analysis=HISTOGRAM,
            protocol=f"largest cell, {kind}",
            item=f"{low:.4f} to {high:.4f}",
            value=float(count / counts.sum()),
            null=cells.words,
        )
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
