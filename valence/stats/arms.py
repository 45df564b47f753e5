"""The results table to arms: seeds x subjects tables of balanced accuracy, one per thing that was trained."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from valence.errors import BadInput

BLOCK = ("dataset", "split", "classifier", "recipe", "dataset_hash", "recipe_hash", "science")
"""arms are compared within these"""
ARM = ("strategy", "target", "lambda_", "axis", "plugins")
REQUIRED = (
    *("dataset", "split", "classifier", "recipe", "strategy", "target", "lambda_", "seed", "status"),
    *("test_subjects", "subject_balanced_accuracy"),
)
BASELINE = "none"
"""the strategy that everything is compared with"""
AXIS_TARGET = "vaxis"
_CONTROL = re.compile(r"(permuted|random)(_\d+)?")


class ArmKey(NamedTuple):
    """The cell fields that tell arms of one block apart."""

    strategy: str
    target: str
    lambda_: float
    axis: str
    plugins: str


@dataclass(frozen=True, kw_only=True)
class Arm:
    """All cells that differ in nothing but the seed."""

    table: pd.DataFrame
    """(n_seeds, n_subjects) balanced accuracy, NaN where missing; index seed, columns subject; failed seeds are rows"""
    n_failed: int


def role(target: str) -> str:
    """ "axis" for the LLM axis, "control" for a target of the same form without its content, else "other"."""
    if target == AXIS_TARGET:
        return "axis"
    return "control" if _CONTROL.fullmatch(target) else "other"


def control_kind(target: str) -> str:
    """ "permuted" or "random", without the number of the draw."""
    return target.split("_")[0]


def checked(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with every column that statistics read; optional identity columns are filled.

    Raises BadInput where a required column is missing.
    """
    missing = [name for name in REQUIRED if name not in rows.columns]
    if missing:
        raise BadInput(
            f"the results table lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            allowed=f"a table with {', '.join(REQUIRED)}",
            do="give the rows as the store returns them",
        )
    optional: dict[str, str | int] = {"dataset_hash": "", "recipe_hash": "", "science": 0, "axis": "", "plugins": ""}
    filled = rows.copy(deep=False)
    for name, value in optional.items():
        filled[name] = filled[name].fillna(value) if name in filled else value
    return filled


def arms(block: pd.DataFrame) -> dict[ArmKey, Arm]:
    """The arms of one block, in sorted order."""
    found = block.groupby(list(ARM), dropna=False, sort=True)
    return {(arm := _key(key)): _arm(cells, arm) for key, cells in found}


def _key(values: tuple) -> ArmKey:
    strategy, target, lambda_, axis, plugins = values
    return ArmKey(str(strategy), str(target), float(lambda_), str(axis), str(plugins))


def _arm(cells: pd.DataFrame, key: ArmKey) -> Arm:
    seeds = cells["seed"].astype(int)
    if seeds.duplicated().any():
        repeated = sorted(set(seeds[seeds.duplicated()]))
        raise BadInput(
            f"{cells['classifier'].iloc[0]}, {key.strategy}, {key.target}: {len(cells)} rows for "
            f"{seeds.nunique()} seeds; repeated: {', '.join(map(str, repeated))}",
            allowed="one row a cell",
            do="give each committed cell once, without rows of another data set or axis under the same name",
        )
    done = cells["status"].eq("done").to_numpy()
    values = {
        seed: _by_subject(cell) if is_done else {}
        for seed, cell, is_done in zip(seeds, _cells(cells), done, strict=True)
    }
    table = pd.DataFrame.from_dict(values, orient="index", dtype=float).reindex(sorted(values))
    return Arm(table=table[sorted(table.columns)], n_failed=int((~done).sum()))


def _cells(cells: pd.DataFrame) -> list[tuple[object, object]]:
    return list(zip(cells["test_subjects"], cells["subject_balanced_accuracy"], strict=True))


def _by_subject(cell: tuple[object, object]) -> dict[str, float]:
    """Balanced accuracy by subject; empty where the lists are null, so that the seed counts as missing."""
    subjects, accuracies = cell
    if not isinstance(subjects, Sequence | np.ndarray) or not isinstance(accuracies, Sequence | np.ndarray):
        return {}
    if len(subjects) != len(accuracies) or len(set(subjects)) != len(subjects):
        raise BadInput(
            f"a cell has {len(subjects)} test subjects, {len(set(subjects))} of them different, "
            f"and {len(accuracies)} balanced accuracies",
            allowed="one balanced accuracy for each test subject, each subject once",
            do="train the cell again",
        )
    return {str(subject): float(np.nan if value is None else value) for subject, value in zip(subjects, accuracies)}
