"""A strategy and its strength to the words that figures, tables and sentences have for them, and their order."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from valence.stats.arms import NO_TARGET

FIELDS = ("strategy", "target", "lambda_", "options", "gradient_match")
"""columns that a label is made of; strategy alone has to be there"""


def dose_label(row: Mapping[Any, Any]) -> str:
    """What tells one dose of a strategy from another.

    Parameters
    ----------
    row : with `strategy`, and as far as it has them the other FIELDS.

    Returns
    -------
    "rsa λ=5", "distance_ce tau=2", "aux_mse ratio=.3", "lora λ=.1 rank=16": the strength, the options that are not the
    defaults, or the gradient ratio that is held in place of a strength. A strength of 1 is left out, and that of a
    strategy without a target, which has none.
    """
    ratio, lambda_ = _number(row, "gradient_match", 0.0), _number(row, "lambda_", 1.0)
    parts = [str(row["strategy"])]
    if ratio:
        parts.append(f"ratio={_short(ratio)}")
    elif lambda_ != 1 and row.get("target") != NO_TARGET:
        parts.append(f"λ={_short(lambda_)}")
    return " ".join([*parts, *(f"{name}={_value(text)}" for name, text in _options(row))])


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with a column `label`, by strategy and dose, numbers in their order; rows of one dose as they were."""
    rows = table[[name for name in FIELDS if name in table]].to_dict("records")
    labelled = table.assign(label=pd.Series([dose_label(row) for row in rows], index=table.index, dtype="str"))
    keys = [_order(row) for row in rows]
    return labelled.iloc[sorted(range(len(rows)), key=keys.__getitem__)]


def _order(row: Mapping[Any, Any]) -> tuple:
    options = tuple((name, *_sortable(text)) for name, text in _options(row))
    return str(row["strategy"]), _number(row, "gradient_match", 0.0), _number(row, "lambda_", 1.0), options


def _number(row: Mapping[Any, Any], name: str, default: float) -> float:
    value = row.get(name, default)
    return default if pd.isna(value) else float(value)


def _options(row: Mapping[Any, Any]) -> list[tuple[str, str]]:
    text = row.get("options", "")
    parts = str(text).split(",") if isinstance(text, str) and text else []
    return [(name, value) for name, _, value in (part.partition("=") for part in parts)]


def _value(text: str) -> str:
    kind, number, _ = _sortable(text)
    return text if kind else _short(number)


def _sortable(text: str) -> tuple[bool, float, str]:
    """Numbers before words, each in their order."""
    try:
        number = float(text)
    except ValueError:
        return True, 0.0, text
    return (False, number, "") if math.isfinite(number) else (True, 0.0, text)


def _short(number: float) -> str:
    """No zero before the point: ".05"."""
    text = f"{number:g}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
