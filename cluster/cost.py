"""Cells to seconds: what a sweep will take, from its own committed cells where there are some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from valence.cell import Cell
from valence.classifiers import CLASSIFIERS

EVALUATION_SHARE = 0.25
"""extra work for validation after each epoch and the final test, relative to training"""
START_SECONDS = 0.5
"""building a classifier, committing its row"""
TABLE_SIZE = 32 * 500
"""channels × samples of the windows that the classifiers' table was measured on; work is taken as proportional"""
H200_SIZE = 32 * 2000
"""the same for the speeds on an H200"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one input costs before anything is measured."""

    n_train: int
    """training samples (windows, or clips of DE)"""
    size: int
    """channels × samples of one window; TABLE_SIZE for DE, whose table is of FACED's shape"""
    epochs: int


def predict_seconds(cells: Sequence[Cell], *, work: Mapping[str, Work], rows: pd.DataFrame) -> dict[str, float]:
    """Predicted seconds of each cell on one CPU core, by cell id.

    Parameters
    ----------
    work : by input.
    rows : committed rows; the median of a classifier's own cells of the same recipe replaces the table's guess.
    """
    measured = {}
    if len(rows):
        done = rows[rows["status"] == "done"]
        measured = done.groupby(["classifier", "recipe_hash", "dataset_hash"])["seconds"].median().to_dict()
    seconds = {}
    for cell in cells:
        key = (cell.classifier, cell.recipe_hash, cell.dataset_hash)
        seconds[cell.cell_id] = measured.get(key) or table_seconds(cell.classifier, work)
    return seconds


def table_seconds(classifier: str, work: Mapping[str, Work]) -> float:
    """Predicted seconds of one cell on one CPU core, from the classifier's measured training speed."""
    facts = CLASSIFIERS[classifier]
    own = work[facts.input]
    samples = own.n_train * own.epochs * own.size / TABLE_SIZE
    return START_SECONDS + (1 + EVALUATION_SHARE) * samples / facts.windows_per_second


def gpu_seconds(classifier: str, work: Mapping[str, Work]) -> float | None:
    """The same on one H200, trained alone in float32; None where it was not measured."""
    facts = CLASSIFIERS[classifier]
    if facts.h200_windows_per_second is None:
        return None
    own = work[facts.input]
    samples = own.n_train * own.epochs * own.size / H200_SIZE
    return (1 + EVALUATION_SHARE) * samples / facts.h200_windows_per_second
