"""Stage brain: the study's numbers (arXiv:2606.00129) in, findings with the study's number beside each of theirs out.

`study_numbers.csv` has a row for each number: the data sets, targets, analysis, protocol and item that it belongs to
(shell patterns, alternatives parted by "|"), the value, the versions of the study that give it (A a draft of April, X
the arXiv text, S a revision of September), what it is, and why protocols may differ. A number without a value is of
another kind than our row's, and stands in the note alone.
"""

import csv
import importlib.resources
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache

from valence.brain.rows import Row


@dataclass(frozen=True, kw_only=True)
class StudyNumber:
    """One number of the study, and what of ours stands beside it."""

    dataset: str
    target: str
    analysis: str
    protocol: str
    item: str
    value: float | None
    version: str
    what: str
    why: str

    def is_of(self, row: Row, *, dataset: str, target: str) -> bool:
        pairs = (
            (self.dataset, dataset),
            (self.target, target),
            (self.analysis, row.analysis),
            (self.protocol, row.protocol),
            (self.item, row.item),
        )
        return all(any(fnmatchcase(name, one) for one in pattern.split("|")) for pattern, name in pairs)

    @property
    def words(self) -> str:
        """What a reader must know of it."""
        said = "; ".join(filter(None, (self.what, self.why)))
        return f"study ({', '.join(self.version.split())}): {said}"


@cache
def study_numbers() -> tuple[StudyNumber, ...]:
    """All of them, in the order of the file."""
    text = importlib.resources.files("valence.brain").joinpath("study_numbers.csv").read_text(encoding="utf-8")
    return tuple(_number(row) for row in csv.DictReader(text.splitlines()))


def _number(row: dict[str, str]) -> StudyNumber:
    value = row.pop("value")
    return StudyNumber(**row, value=float(value) if value else None)


def beside(rows: Iterable[Row], *, dataset: str, target: str) -> list[Row]:
    """Rows with `reference` and a note, where the study has a number of the same kind.

    Parameters
    ----------
    dataset, target : names, as `Cohort` and `BrainTarget` have them.
    """
    found = []
    for row in rows:
        numbers = [number for number in study_numbers() if number.is_of(row, dataset=dataset, target=target)]
        for number in numbers:
            row = replace(
                row,
                reference=number.value if row.reference is None else row.reference,
                note="; ".join(filter(None, (row.note, number.words))),
            )
        found.append(row)
    return found


def missing(rows: Iterable[Row], *, dataset: str, target: str) -> list[Row]:
    """A row without a value for each number of the study that none of these rows stands beside."""
    known = list(rows)
    return [
        Row(
            analysis=number.analysis,
            protocol=number.protocol,
            item=number.item,
            reference=number.value,
            note=number.words,
            reason="no finding of this analysis, protocol and item",
        )
        for number in study_numbers()
        if _about(number, dataset, target)
        and not any(number.is_of(row, dataset=dataset, target=target) for row in known)
    ]


def _about(number: StudyNumber, dataset: str, target: str) -> bool:
    own = Row(analysis=number.analysis, protocol=number.protocol, item=number.item)
    return number.is_of(own, dataset=dataset, target=target)
