"""Cells to seconds: what a sweep will take, from its own committed cells where there are some."""

from collections.abc import Mapping, Sequence

import pandas as pd

from valence.cell import Cell, Recipe
from valence.classifiers import CLASSIFIERS

EVALUATION_SHARE = 0.25
"""extra work for validation after each epoch and the final test, relative to training"""
START_SECONDS = 0.5
"""building a classifier, committing its row"""


def predict_seconds(
    cells: Sequence[Cell], *, n_train: Mapping[str, int], recipes: Mapping[str, Recipe], rows: pd.DataFrame
) -> dict[str, float]:
    """Predicted seconds of each cell on one CPU core, by cell id.

    Parameters
    ----------
    n_train : training samples, by input.
    recipes : by input.
    rows : committed rows; the median of a classifier's own cells of the same recipe replaces the table's guess.
    """
    measured = {}
    if len(rows):
        done = rows[rows["status"] == "done"]
        measured = done.groupby(["classifier", "recipe_hash", "dataset_hash"])["seconds"].median().to_dict()
    seconds = {}
    for cell in cells:
        key = (cell.classifier, cell.recipe_hash, cell.dataset_hash)
        seconds[cell.cell_id] = measured.get(key) or table_seconds(cell.classifier, n_train=n_train, recipes=recipes)
    return seconds


def table_seconds(classifier: str, *, n_train: Mapping[str, int], recipes: Mapping[str, Recipe]) -> float:
    """Predicted seconds of one cell from the classifier's measured training speed."""
    facts = CLASSIFIERS[classifier]
    samples = n_train[facts.input] * recipes[facts.input].epochs
    return START_SECONDS + (1 + EVALUATION_SHARE) * samples / facts.windows_per_second
