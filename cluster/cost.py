"""Cells to seconds and memory: what a sweep will take, from measured speeds and from its own committed cells.

The first guess of a cell is the table's (cluster.speeds). How committed cells differ from it, as a logarithm of the
ratio, is a sum of what is shared: a device factor, a classifier factor, a strategy factor, the cell's own, and noise.
Each is normal with mean 0 and the spread below, so the best estimate of any cell, measured or not, is the Gaussian
process over these factors: a few cells of one classifier already tell of all others, and own cells outweigh the rest.
Seconds and memory of a committed cell are its share of the group that it trained in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cluster.speeds import PRECISIONS, Shape, cell_megabytes, read_speeds, window_seconds
from valence.cell import Cell
from valence.classifiers import CLASSIFIERS

EVALUATION_COST = 1 / 3
"""of a sample that is predicted beside one that is trained on: forward without backward"""
START_SECONDS = 0.5
"""building a classifier, committing its row"""
PROCESS_MB = {"cpu": 450.0, "cuda": 0.0}
"""what a process holds before its first cell; on a GPU that is not the GPU's memory"""
SD = {"kind": 1.0, "device": 0.3, "classifier": 0.5, "strategy": 0.3, "own": 0.15}
"""spread of the factors, as standard deviations of the natural logarithm; kind is cpu or cuda"""
NOISE_SD = 0.15
"""the same of one cell around all of them"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one input asks of a cell."""

    n_train: int
    """training samples (windows, or stretches of band features)"""
    size: int
    """values of one sample: channels × times, × bands where there are some"""
    epochs: int
    batch: int = 64
    n_validation: int = 0
    """samples predicted after each epoch"""
    n_test: int = 0
    """samples predicted once"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a cell takes."""

    seconds: float
    """of one slot: a CPU core, or a GPU divided by the cells that train on it at once"""
    memory_mb: float
    """while it trains: its share of a GPU's memory, or its process on a CPU; data that all cells share apart"""


def predict(
    cells: Sequence[Cell],
    *,
    work: Mapping[str, Work],
    rows: pd.DataFrame,
    device: str = "cpu",
    mode: str | None = None,
    rewrites: bool = True,
) -> dict[str, Cost]:
    """The cost of each cell, by cell id.

    Parameters
    ----------
    work : by input.
    rows : committed rows. Those that are done, of the recipe and data of these cells, are learned from; columns
        windows, mode, rewrites, device_name and peak_memory_mb may be missing or null.
    device : cpu or cuda.
    mode, rewrites : how the cells will train; None is the fastest mode that was measured.
    """
    measured = _measured(rows, _data_of(cells), work)
    here = measured[measured["device"] == device] if len(measured) else measured
    name = here["device_name"].mode().iloc[0] if len(here) else ""
    wanted = pd.DataFrame([(cell.classifier, cell.strategy) for cell in cells], columns=["classifier", "strategy"])
    wanted = wanted.drop_duplicates().assign(device=device, device_name=name)
    learned = pd.DataFrame(
        {what: np.exp(_learned(measured, wanted, what)) for what in ("seconds", "memory_mb")},
        index=pd.MultiIndex.from_frame(wanted[["classifier", "strategy"]]),
    )
    by_kind = {}
    for (classifier, strategy), factor in learned.iterrows():
        first = table_cost(classifier, work, device=device, mode=mode, rewrites=rewrites)
        by_kind[classifier, strategy] = Cost(
            seconds=first.seconds * factor["seconds"], memory_mb=first.memory_mb * factor["memory_mb"]
        )
    return {cell.cell_id: by_kind[cell.classifier, cell.strategy] for cell in cells}


def table_cost(
    classifier: str,
    work: Mapping[str, Work],
    *,
    device: str = "cpu",
    mode: str | None = None,
    rewrites: bool = True,
    n_windows: int | None = None,
) -> Cost:
    """The first guess of a cell's cost, before any cell is measured.

    Parameters
    ----------
    n_windows : samples trained on over all epochs, where it is known to differ from the plan (early stopping).
    """
    own = work[CLASSIFIERS[classifier].input]
    shape = Shape(device=device, size=own.size, batch=own.batch, mode=mode, rewrites=rewrites)
    planned = own.n_train * own.epochs
    share = 1.0 if n_windows is None else n_windows / max(planned, 1)
    samples = share * (planned + EVALUATION_COST * own.n_validation * own.epochs) + EVALUATION_COST * own.n_test
    return Cost(
        seconds=START_SECONDS + samples * window_seconds(classifier, shape),
        memory_mb=PROCESS_MB[device] + cell_megabytes(classifier, shape),
    )


def n_learned(cells: Sequence[Cell], rows: pd.DataFrame) -> int:
    """How many committed rows `predict` learns from: those done, of the recipe and data of these cells."""
    keys = _data_of(cells)
    done = rows[rows["status"] == "done"] if len(rows) else rows
    return sum((row.recipe_hash, row.dataset_hash) in keys for row in done.itertuples())


def _data_of(cells: Sequence[Cell]) -> set[tuple[str, str]]:
    return {(cell.recipe_hash, cell.dataset_hash) for cell in cells}


def cells_together(classifier: str, rows: pd.DataFrame, *, mode: str | None = None) -> int:
    """How many cells train at once on a GPU: as committed rows say, else as in the fastest row of the table; else 1.

    Parameters
    ----------
    rows : committed ones; columns may be missing or null.
    mode : how cells will train; None is the fastest.
    """
    if len(rows) and "cells_at_once" in rows:
        on_gpu = (rows["classifier"] == classifier) & rows["device"].astype(str).str.startswith("cuda")
        known = rows.loc[on_gpu & (rows["mode"] == mode if mode else True), "cells_at_once"].dropna()
        if len(known):
            return int(known.max())
    table = read_speeds()
    table = table[
        (table["classifier"] == classifier) & (table["device"] == "cuda") & table["precision"].isin(PRECISIONS)
    ]
    table = table[table["mode"] == mode] if mode else table
    return int(table.loc[table["windows_per_second"].idxmax(), "cells_at_once"]) if len(table) else 1


def _measured(rows: pd.DataFrame, keys: set[tuple], work: Mapping[str, Work]) -> pd.DataFrame:
    """Log ratios of committed cells to the table's guess: one line for all cells that share every factor."""
    factors = ["classifier", "strategy", "device", "device_name"]
    found = []
    for row in rows[rows["status"] == "done"].to_dict("records") if len(rows) else []:
        if (row["recipe_hash"], row["dataset_hash"]) not in keys or row["classifier"] not in CLASSIFIERS:
            continue
        if CLASSIFIERS[row["classifier"]].input not in work:
            continue
        windows, memory = _number(row.get("windows")), _number(row.get("peak_memory_mb"))
        device = str(row["device"]).split(":")[0]
        first = table_cost(
            row["classifier"],
            work,
            device=device,
            mode=_text(row.get("mode")),
            rewrites=_is_rewritten(row.get("rewrites")),
            n_windows=None if windows is None else int(windows),
        )
        seconds = _number(row["seconds"])
        found.append(
            {
                **{name: row[name] for name in factors[:2]},
                "device": device,
                "device_name": _text(row.get("device_name")) or "",
                "seconds": np.nan if seconds is None else np.log(seconds / first.seconds),
                "memory_mb": np.nan if memory is None else np.log(memory / first.memory_mb),
            }
        )
    if not found:
        return pd.DataFrame(columns=[*factors, "seconds", "memory_mb"])
    return pd.DataFrame(found)


def _learned(measured: pd.DataFrame, wanted: pd.DataFrame, what: str) -> np.ndarray:
    """Expected log ratio of each wanted combination of factors, given the measured ones."""
    known = measured[measured[what].notna()]
    if not len(known):
        return np.zeros(len(wanted))
    groups = known.groupby(["classifier", "strategy", "device", "device_name"])[what]
    # the median of a group: one cell that shared its core with something else must not count
    middle, n_cells = groups.median(), groups.size()
    of = middle.index.to_frame(index=False)
    covariance = _shared(of, of) + np.diag(NOISE_SD**2 / n_cells.to_numpy())
    return _shared(wanted, of) @ np.linalg.solve(covariance, middle.to_numpy())


def _shared(one: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """Prior covariance of log ratios: (n_one, n_other), the variances of the factors that two combinations share."""

    def same(name: str) -> np.ndarray:
        return one[name].to_numpy(object)[:, None] == other[name].to_numpy(object)[None, :]

    kind, device, classifier, strategy = map(same, ("device", "device_name", "classifier", "strategy"))
    return (
        SD["kind"] ** 2 * kind
        + SD["device"] ** 2 * (kind & device)
        + SD["classifier"] ** 2 * (kind & classifier)
        + SD["strategy"] ** 2 * strategy
        + SD["own"] ** 2 * (kind & device & classifier & strategy)
    )


def _number(value: object) -> float | None:
    """A number above 0, or None."""
    number = float(value) if isinstance(value, int | float | np.number) else float("nan")
    return number if np.isfinite(number) and number > 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _is_rewritten(value: object) -> bool:
    """What a row says of rewrites: what was rewritten, in words, or null where it is not known."""
    return len(value) > 0 if isinstance(value, list | tuple | np.ndarray) else True
