"""The results table to arms: seeds x subjects tables of balanced accuracy, one per thing that was trained."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from valence.errors import BadInput

BLOCK = ("dataset", "split", "classifier", "recipe", "dataset_hash", "recipe_hash", "weights", "science")
"""arms are compared within these"""
ARM = ("strategy", "target", "lambda_", "options", "gradient_match", "axis", "plugins")
REQUIRED = (
    *("dataset", "split", "classifier", "recipe", "strategy", "target", "lambda_", "seed", "status"),
    *("test_subjects", "subject_balanced_accuracy"),
)
OPTIONAL: dict[str, str | int | float] = {
    **{"dataset_hash": "", "recipe_hash": "", "science": 0, "axis": "", "plugins": "", "weights": ""},
    **{"options": "", "gradient_match": 0.0},
}
"""columns that a table may lack, or have nulls in, and what then stands there"""
BASELINE = "none"
"""the strategy without any alignment"""
COMPARED_WITH = "compared_with"
"""optional column: the strategy that a row's strategy is compared with, its matched baseline"""
NO_TARGET = "none"
AXIS_TARGET, DETACHED = "vaxis", "detached"
_CONTROL = re.compile(r"(permuted|random)(_\d+)?")


class ArmKey(NamedTuple):
    """The cell fields that tell arms of one block apart."""

    strategy: str
    target: str
    lambda_: float
    options: str
    gradient_match: float
    axis: str
    plugins: str


@dataclass(frozen=True, kw_only=True)
class Arm:
    """All cells that differ in nothing but the seed."""

    table: pd.DataFrame
    """(n_seeds, n_subjects) balanced accuracy, NaN where missing; index seed, columns subject; failed seeds are rows"""
    n_failed: int


def role(target: str) -> str:
    """What a target is for.

    "axis", the LLM axis; "control", a target of the same form without its content; "detached", the axis whose gradient
    is stopped; "other", any other target; "none" where there is none.
    """
    if _CONTROL.fullmatch(target):
        return "control"
    return {AXIS_TARGET: "axis", DETACHED: "detached", NO_TARGET: "none"}.get(target, "other")


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
    filled = rows.copy(deep=False)
    for name, value in OPTIONAL.items():
        filled[name] = filled[name].fillna(value) if name in filled else value
    if COMPARED_WITH not in filled:
        filled[COMPARED_WITH] = None
    return filled


def matched_baselines(block: pd.DataFrame) -> dict[str, str]:
    """Strategy to the one that it is compared with; `none` where no row says another.

    Raises BadInput where the rows of a strategy name two.
    """
    found: dict[str, str] = {}
    for strategy, cells in block.groupby("strategy", sort=True):
        named = sorted(set(cells[COMPARED_WITH].dropna().astype(str)) - {""})
        if len(named) > 1:
            raise BadInput(
                f"{block_name(block)}: cells of {strategy} are compared with {' and with '.join(named)}",
                allowed=f"one strategy in the column {COMPARED_WITH} for all cells of a strategy",
                do="train the cells of the other again",
            )
        found[str(strategy)] = named[0] if named else BASELINE
    return found


def block_name(block: pd.DataFrame) -> str:
    """The classifier and what it was trained on, for messages."""
    return "{classifier} on {dataset}, split {split}, recipe {recipe}".format(**block.iloc[0])


def arms(block: pd.DataFrame) -> dict[ArmKey, Arm]:
    """The arms of one block, in sorted order."""
    found = block.groupby(list(ARM), dropna=False, sort=True)
    return {(arm := _key(key)): _arm(cells, arm) for key, cells in found}


def _key(values: tuple) -> ArmKey:
    strategy, target, lambda_, options, gradient_match, axis, plugins = values
    return ArmKey(
        str(strategy), str(target), float(lambda_), str(options), float(gradient_match), str(axis), str(plugins)
    )


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
    # by hand: pandas takes ten times as long for tables as small, and there are thousands
    subjects = sorted(set().union(*values.values()))
    numbers = [[values[seed].get(subject, np.nan) for subject in subjects] for seed in sorted(values)]
    table = pd.DataFrame(np.array(numbers, dtype=float), index=sorted(values), columns=subjects)
    return Arm(table=table, n_failed=int((~done).sum()))


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
