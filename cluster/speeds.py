"""Measured speeds to a first guess of cost: the table speeds.csv, and what it says of what was not measured.

In: a classifier, a device and the shape of its work. Out: seconds a window and megabytes a cell.
Rows of the table: one measurement each of training (forward, backward and the optimizer's step, validation apart), all
cells at once together. A CPU row is of one core. `python -m tests.bench.train --measure-speeds` writes rows.
"""

import functools
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from valence.classifiers import CLASSIFIERS

TABLE = Path(__file__).with_name("speeds.csv")
COLUMNS = {
    "classifier": "string",
    "device": "string",  # cpu or cuda
    "device_name": "string",
    "mode": "string",
    "precision": "string",  # fp32, tf32 or bf16
    "rewrites": "string",  # yes or no
    "n_chans": "int64",
    "n_times": "int64",  # of DE: steps times bands
    "batch": "int64",
    "cells_at_once": "int64",
    "windows_per_second": "float64",  # of all cells at once
    "memory_mb": "float64",  # of all cells at once
    "torch": "string",
    "date": "string",
    "source": "string",
}
KEY = [name for name in COLUMNS if name not in ("windows_per_second", "memory_mb", "torch", "date", "source")]
PRECISIONS = ("fp32", "tf32")
"""those that cells are trained in; rows of others say what they would bring"""
DEFAULT_SECONDS = {"windows": 2e-7, "de": 5e-8}
"""of a training window for each of its values, where the table knows no classifier of the input at all"""
DEFAULT_BYTES = 200.0
"""for each value of a batch, where no memory was measured: 50 float32 maps"""
LEAST_STEP_S = {"cpu": 0.0, "cuda": 2e-4}
"""of a training step: small windows do not make it shorter; on an H200 the shortest measured is 2.3e-4"""
BATCH_WEIGHT = 0.5
"""how much a factor in the batch counts beside the same factor in the window, where the nearest row is chosen"""


@dataclass(frozen=True)
class Row:
    """One measurement, for each value (channel × time) of a window or batch."""

    device: str
    mode: str
    rewrites: bool
    size: int
    batch: int
    seconds: float
    """a training window"""
    megabytes: float | None
    """a cell and a window of the batch"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a guess is asked for."""

    device: str
    """cpu (one core) or cuda"""
    size: int
    """values of one window"""
    batch: int
    mode: str | None = None
    """None: the fastest that was measured"""
    rewrites: bool = True


def read_speeds() -> pd.DataFrame:
    """The table, with the columns of COLUMNS."""
    return pd.read_csv(TABLE, dtype=COLUMNS, keep_default_na=True)


def write_speeds(table: pd.DataFrame) -> None:
    """Write the table, sorted; of two rows of one key the later one stays."""
    kept = table[list(COLUMNS)].drop_duplicates(KEY, keep="last")
    kept.sort_values(["device", "classifier", *KEY[2:]]).to_csv(TABLE, index=False, lineterminator="\n")


@functools.cache
def rows_by_classifier() -> Mapping[str, tuple[Row, ...]]:
    """The table's rows in units of one value."""
    found: dict[str, list[Row]] = {}
    for row in read_speeds().itertuples():
        if row.precision not in PRECISIONS:
            continue
        size = row.n_chans * row.n_times
        memory = None if pd.isna(row.memory_mb) else row.memory_mb / (row.cells_at_once * row.batch * size)
        speed = 1 / (row.windows_per_second * size)
        found.setdefault(row.classifier, []).append(
            Row(row.device, row.mode, row.rewrites == "yes", size, row.batch, speed, memory)
        )
    return {name: tuple(rows) for name, rows in found.items()}


def window_seconds(classifier: str, shape: Shape) -> float:
    """Seconds of one training window on one slot (CPU core, or GPU with its cells at once)."""
    unit = _guess(classifier, shape, _seconds)
    seconds = shape.size * (unit if unit is not None else DEFAULT_SECONDS[CLASSIFIERS[classifier].input])
    return max(seconds, LEAST_STEP_S[shape.device] / shape.batch)


def cell_megabytes(classifier: str, shape: Shape) -> float:
    """Memory of one cell while it trains, MB, without the data."""
    unit = _guess(classifier, shape, _megabytes)
    return shape.size * shape.batch * (unit if unit is not None else DEFAULT_BYTES / 2**20)


def is_measured(classifier: str, device: str) -> bool:
    """True where the table has a row of the classifier on this kind of device."""
    return any(row.device == device for row in rows_by_classifier().get(classifier, ()))


Unit = Callable[[str, Shape], float | None]


def _seconds(classifier: str, shape: Shape) -> float | None:
    return min((row.seconds for row in _nearest(classifier, shape)), default=None)


def _megabytes(classifier: str, shape: Shape) -> float | None:
    return max((row.megabytes for row in _nearest(classifier, shape) if row.megabytes is not None), default=None)


def _nearest(classifier: str, shape: Shape) -> list[Row]:
    """Rows of the classifier on the device, those of the window and batch that are most like the ones asked for."""
    rows = [row for row in rows_by_classifier().get(classifier, ()) if row.device == shape.device]
    rows = [row for row in rows if shape.rewrites or not row.rewrites]
    rows = [row for row in rows if row.mode == shape.mode] or rows

    def distance(row: Row) -> float:
        return _factor(row.size, shape.size) + BATCH_WEIGHT * _factor(row.batch, shape.batch)

    nearest = min(map(distance, rows), default=0.0)
    return [row for row in rows if distance(row) <= nearest + 1e-9]


def _factor(one: int, other: int) -> float:
    return abs(math.log(one / other))


@functools.cache
def _guess(classifier: str, shape: Shape, unit: Unit) -> float | None:
    """A unit as measured; else from the other kind of device; else the median of classifiers of the same input."""
    own = _transferred(classifier, shape, unit)
    if own is not None:
        return own
    input = CLASSIFIERS[classifier].input
    others = [name for name in rows_by_classifier() if name in CLASSIFIERS and CLASSIFIERS[name].input == input]
    known = [value for name in others if (value := _transferred(name, shape, unit)) is not None]
    return statistics.median(known) if known else None


def _transferred(classifier: str, shape: Shape, unit: Unit) -> float | None:
    """As measured on this kind of device, or on the other times the median ratio of classifiers measured on both."""
    own = unit(classifier, shape)
    if own is not None:
        return own
    elsewhere = Shape(
        device="cpu" if shape.device == "cuda" else "cuda",
        size=shape.size,
        batch=shape.batch,
        rewrites=shape.rewrites,
    )
    value = unit(classifier, elsewhere)
    ratio = _ratio(shape, elsewhere, unit)
    return None if value is None or ratio is None else value * ratio


@functools.cache
def _ratio(shape: Shape, elsewhere: Shape, unit: Unit) -> float | None:
    """The median over classifiers measured on both kinds of device."""
    pairs = [(unit(name, shape), unit(name, elsewhere)) for name in rows_by_classifier()]
    ratios = [here / there for here, there in pairs if here is not None and there is not None]
    return statistics.median(ratios) if ratios else None
