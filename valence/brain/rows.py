"""Stage brain: what an analysis found, as rows of one table. Nothing in; a table with fixed columns out.

What cannot be computed is a row without a value and with the reason, never a missing row and never 0.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields

import pandas as pd


class NotPossible(Exception):
    """This analysis has no answer on these data; the words are the reason in the table."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number, and what it takes to read it."""

    analysis: str
    """what was measured: ridge, cell, region, asymmetry, time course, …"""
    protocol: str = ""
    """how: leave-clip-out, leave-class-out, clips, classes, subjects, …"""
    item: str = ""
    """of what, where there are several: "PO3 gamma", "occipital", "sub061" """
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    """95 % interval"""
    p: float | None = None
    """two-sided unless the null says otherwise"""
    n: int | None = None
    """observations that the value rests on: clips, classes or subjects"""
    null: str = ""
    """what p (or the interval) is against, in words: "362,880 permutations of classes", "Bonferroni over 150 cells" """
    reference: float | None = None
    """the study's number (arXiv:2606.00129)"""
    note: str = ""
    """why the study's number and this one are not of the same protocol; else what a reader must know"""
    reason: str = ""
    """why there is no value"""


COLUMNS = tuple(field.name for field in fields(Row))
_NUMBERS = ("value", "ci_low", "ci_high", "p", "reference")


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows in their order, columns `COLUMNS`; missing is null."""
    found = pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))
    return found.astype(dict.fromkeys(_NUMBERS, "float64") | {"n": "Int64"})


@contextmanager
def or_reason(into: list[Row], **about: str) -> Iterator[None]:
    """Where the work inside is not possible, a row `about` it with the reason joins `into` in its place."""
    try:
        yield
    except NotPossible as error:
        into.append(Row(**about, reason=str(error)))  # type: ignore[arg-type]
