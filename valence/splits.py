"""Recordings to splits: which subjects train, choose the epoch, and are tested. Nobody is in two parts.

In: a data set and the name of a split. Out: three disjoint groups of subjects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valence.cell import derive_seed
from valence.datasets import Dataset
from valence.errors import BadInput
from valence.registry import unknown_name

STANDARD = "standard"
COHORT_BALANCED = "cohort-balanced"
SPLITS = {
    STANDARD: "as the field splits the data set; FACED: sorted subjects [:80], [80:100], [100:], the last two of them "
    "cohort 2 alone",
    COHORT_BALANCED: "65 / 16 / 19 % of each cohort, drawn at random; cohort-balanced:K is repeat K",
}
"""name: what it is"""
PARTS = ("train", "validation", "test")
BOUNDS = (0.65, 0.81)
"""shares of a cohort below which a subject trains, and validates"""


@dataclass(frozen=True)
class Split:
    """Disjoint, non-empty groups of subjects, each sorted."""

    name: str
    """with the repeat after a colon, where there are repeats"""
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        groups = [self.train, self.validation, self.test]
        subjects = [subject for group in groups for subject in group]
        assert len(set(subjects)) == len(subjects), f"split {self.name}: a subject is in two parts"
        assert all(groups), f"split {self.name}: a part is empty"


def canonical_split(name: str) -> str:
    """The one spelling of a split's name: "cohort-balanced" is "cohort-balanced:0". Raises BadInput for any other."""
    base, colon, repeat = name.partition(":")
    if base not in SPLITS:
        raise unknown_name("split", name, [STANDARD, COHORT_BALANCED, f"{COHORT_BALANCED}:K"])
    if base == STANDARD and not colon:
        return name
    if base == COHORT_BALANCED and (not colon or (repeat.isascii() and repeat.isdigit())):
        return f"{base}:{int(repeat or 0)}"
    raise BadInput(
        f"split {name!r}",
        allowed=f"{STANDARD}, {COHORT_BALANCED}, {COHORT_BALANCED}:K with K a whole number of 0 or more",
        do="correct what follows the colon, or leave it out",
    )


def make_split(dataset: Dataset, input: str, name: str) -> Split:
    """Split the subjects that a data set has for an input.

    Parameters
    ----------
    dataset : with its subjects on disk.
    input : "windows" or "de".
    name : one of SPLITS.

    Raises
    ------
    BadInput : for an unknown name, fewer than 3 subjects, or "standard" where subjects are missing.
    """
    name = canonical_split(name)
    subjects = dataset.subjects(input)
    if name == STANDARD:
        return _standard(dataset, subjects)
    if len(subjects) < len(PARTS):
        raise BadInput(
            f"{dataset.name} has {len(subjects)} subjects ({', '.join(subjects)})",
            allowed=f"{len(PARTS)} or more: one each for {', '.join(PARTS)}",
            do="add subjects",
        )
    return Split(name, *_cohort_balanced(dataset, subjects, name))


def _standard(dataset: Dataset, subjects: Sequence[str]) -> Split:
    instead = f"take --split {COHORT_BALANCED}, which works with any subjects"
    if dataset.standard_split is None:
        raise BadInput(f"{dataset.name} has no standard split", allowed=COHORT_BALANCED, do=instead)
    missing = [subject for part in dataset.standard_split for subject in part if subject not in subjects]
    if missing:
        raise BadInput(
            f"split {STANDARD} of {dataset.name}: {len(missing)} subjects are missing: {', '.join(missing)}",
            allowed=f"all {sum(map(len, dataset.standard_split))} subjects",
            do=f"fetch them, or {instead}",
        )
    return Split(STANDARD, *(tuple(sorted(part)) for part in dataset.standard_split))


def _cohort_balanced(dataset: Dataset, subjects: Sequence[str], name: str) -> list[tuple[str, ...]]:
    """Each cohort in random order; a subject's place in it, as a share of the cohort, decides its part."""
    parts: list[list[str]] = [[], [], []]
    for cohort in sorted({dataset.cohort(subject) for subject in subjects}):
        members = sorted(
            (subject for subject in subjects if dataset.cohort(subject) == cohort),
            key=lambda subject: derive_seed(name, subject),
        )
        for place, subject in enumerate(members):
            parts[int(np.searchsorted(BOUNDS, (place + 0.5) / len(members), side="right"))].append(subject)
    for part in parts:
        if not part:  # a handful of subjects: the fullest part gives one
            part.append(max(parts, key=len).pop())
    return [tuple(sorted(part)) for part in parts]
