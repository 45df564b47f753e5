"""Recordings to splits: which samples train, choose the epoch, and are tested. What the parts have in common is said.

In: a data set and the name of a split. Out: three parts, each a product of subjects, clips and a stretch of every clip,
that have no sample in common. `valence.leakage` tells what else lies on both sides.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from valence.cell import derive_seed
from valence.datasets.base import Dataset, Part
from valence.errors import BadInput
from valence.registry import unknown_name

PARTS = ("train", "validation", "test")
BOUNDS = (0.65, 0.81)
"""shares of a cohort below which a subject trains, and validates"""
N_FOLDS = 5
"""folds of leave-subjects-out where the name gives no number"""
STANDARD, COHORT_BALANCED, SUBJECT_FOLDS = "standard", "cohort-balanced", "leave-subjects-out"
CLIP_OUT, FILM_OUT, TIME_BLOCKED = "leave-clip-out", "leave-film-out", "time-blocked"


@dataclass(frozen=True)
class Split:
    """Three parts without a common sample, subjects and clips written out and sorted."""

    name: str
    """with the repeat after a colon, where there are repeats"""
    train: Part
    validation: Part
    test: Part

    def __post_init__(self) -> None:
        for name in PARTS:
            part = getattr(self, name)
            if not (part.subjects and part.clips and 0 <= part.start < part.stop <= 1):
                raise self._refused(f"{name} has no subject, no clip or no time: {part}")
        for one, other in itertools.combinations(PARTS, 2):
            if not disjoint_by(getattr(self, one), getattr(self, other)):
                raise self._refused(f"{one} and {other} share samples")

    def _refused(self, why: str) -> BadInput:
        return BadInput(
            f"split {self.name}: {why}",
            allowed="three parts, each with samples, no two with a common one",
            do="correct the standard split of the data set, or take another split",
        )


def disjoint_by(one: Part, other: Part) -> tuple[str, ...]:
    """In what two parts have nothing in common: any of "subject", "clip" and "time"; () where they share samples."""
    separate = {
        "subject": not set(one.subjects) & set(other.subjects),
        "clip": not set(one.clips) & set(other.clips),
        "time": one.stop <= other.start or other.stop <= one.start,
    }
    return tuple(name for name, apart in separate.items() if apart)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to split."""

    meaning: str
    make: Callable[[Dataset, tuple[str, ...], str], Sequence[Part]]
    """data set, subjects on disk and the split's whole name to the three parts"""
    repeats: int | None = None
    """how many there are: 0 for none, None for any number"""
    folds: bool = False
    """the name takes a number of folds after the repeat: name:K/N"""


def canonical_split(name: str) -> str:
    """The one spelling of a split's name: "cohort-balanced" is "cohort-balanced:0". Raises BadInput for any other."""
    base, colon, repeat = name.partition(":")
    if base not in SPLITS:
        raise unknown_name("split", name, [*SPLITS, f"{COHORT_BALANCED}:K"])
    kind = SPLITS[base]
    if kind.repeats == 0:
        if not colon:
            return name
        raise BadInput(f"split {name!r}", allowed=base, do="leave out what follows the colon")
    match = re.fullmatch(r"([0-9]{1,9})(?:/([0-9]{1,4}))?", repeat if colon else "0", re.ASCII)
    allowed = f"{base}, {base}:K with K a whole number of 0 or more"
    allowed += f", below {kind.repeats}" if kind.repeats else ""
    allowed += f"; {base}:K/N, fold K of N, N of 3 or more" if kind.folds else ""
    if match is not None and (kind.folds or match[2] is None):
        number, folds = int(match[1]), int(match[2] or N_FOLDS)
        limit = folds if kind.folds else kind.repeats
        if (limit is None or number < limit) and folds >= len(PARTS):
            return f"{base}:{number}/{folds}" if kind.folds else f"{base}:{number}"
    raise BadInput(f"split {name!r}", allowed=allowed, do="correct what follows the colon, or leave it out")


def make_split(dataset: Dataset, input: str, name: str) -> Split:
    """Split what a data set has for an input.

    Parameters
    ----------
    dataset : with its subjects on disk.
    input : "windows", "de" or "psd".
    name : one of SPLITS.

    Raises
    ------
    BadInput : for an unknown name, or where this data set, or what of it is on disk, cannot be split so.
    """
    name = canonical_split(name)
    subjects = dataset.subjects(input)
    if len(subjects) < len(PARTS) and name != STANDARD and not name.startswith(TIME_BLOCKED):
        raise BadInput(
            f"{dataset.name} has {len(subjects)} subjects ({', '.join(subjects)})",
            allowed=f"{len(PARTS)} or more: one each for {', '.join(PARTS)}",
            do=f"add subjects, or take --split {TIME_BLOCKED}",
        )
    parts = SPLITS[name.partition(":")[0]].make(dataset, subjects, name)
    return Split(name, *(_written_out(part, subjects, dataset.n_clips) for part in parts))


def _written_out(part: Part, subjects: Sequence[str], n_clips: int) -> Part:
    return Part(
        subjects=tuple(sorted(part.subjects or subjects)),
        clips=tuple(sorted(part.clips or range(n_clips))),
        start=float(part.start),
        stop=float(part.stop),
    )


def _standard(dataset: Dataset, subjects: tuple[str, ...], name: str) -> Sequence[Part]:
    instead = f"take --split {COHORT_BALANCED}, which works with any subjects"
    parts = dataset.standard_parts()
    if parts is None:
        raise BadInput(f"{dataset.name} has no standard split", allowed=COHORT_BALANCED, do=instead)
    wanted = [subject for part in parts for subject in part.subjects]
    missing = [subject for subject in wanted if subject not in subjects]
    if missing:
        raise BadInput(
            f"split {STANDARD} of {dataset.name}: {len(missing)} subjects are missing: {', '.join(missing)}",
            allowed=f"all {len(wanted)} subjects",
            do=f"fetch them, or {instead}",
        )
    return parts


def _cohort_balanced(dataset: Dataset, subjects: tuple[str, ...], name: str) -> list[Part]:
    """Each cohort in random order; a subject's place in it, as a share of the cohort, decides its part."""
    parts: list[list[str]] = [[], [], []]
    for members in _shuffled_cohorts(dataset, subjects, name):
        for place, subject in enumerate(members):
            parts[int(np.searchsorted(BOUNDS, (place + 0.5) / len(members), side="right"))].append(subject)
    for part in parts:
        if not part:  # a handful of subjects: the fullest part gives one
            part.append(max(parts, key=len).pop())
    return [Part(tuple(part)) for part in parts]


def _subject_folds(dataset: Dataset, subjects: tuple[str, ...], name: str) -> list[Part]:
    """Every subject is tested in just one of the N folds and validates in the one before."""
    base, _, which = name.partition(":")
    fold, n_folds = (int(number) for number in which.split("/"))
    if len(subjects) < n_folds:
        raise BadInput(
            f"split {name} of {len(subjects)} subjects", allowed="as many subjects as folds", do="take fewer folds"
        )
    folds: list[list[str]] = [[] for _ in range(n_folds)]
    # one count through all cohorts, so that no fold stays empty
    in_order = itertools.chain.from_iterable(_shuffled_cohorts(dataset, subjects, f"{base}/{n_folds}"))
    for place, subject in enumerate(in_order):
        folds[place % n_folds].append(subject)
    validating = (fold + 1) % n_folds
    train = [subject for number, part in enumerate(folds) if number not in (fold, validating) for subject in part]
    return [Part(tuple(train)), Part(tuple(folds[validating])), Part(tuple(folds[fold]))]


def _shuffled_cohorts(dataset: Dataset, subjects: tuple[str, ...], name: str) -> list[list[str]]:
    """The subjects of each cohort in an order drawn by name."""
    cohorts = {subject: dataset.cohort(subject) for subject in subjects}
    return [
        sorted((one for one in subjects if cohorts[one] == cohort), key=lambda subject: derive_seed(name, subject))
        for cohort in sorted(set(cohorts.values()))
    ]


def _groups_out(dataset: Dataset, subjects: tuple[str, ...], name: str, groups: Sequence[str]) -> list[Part]:
    """Test: unseen people watch clips of one group a class that nobody trained on. The epoch is chosen on other people
    who watch the clips of training."""
    held: set[int] = set()
    for label, class_name in enumerate(dataset.classes):
        own = sorted({group for group, of in zip(groups, dataset.class_of_clip, strict=True) if of == label})
        if len(own) < 2:
            raise BadInput(
                f"split {name} of {dataset.name}: all clips of the class {class_name} are of one group ({own[0]})",
                allowed="two groups or more in every class, one to train on and one to test",
                do=f"take --split {CLIP_OUT}, whose audit names the films on both sides, or fewer classes",
            )
        chosen = min(own, key=lambda group: derive_seed(name, f"{label}/{group}"))
        # a group lies on one side only, clips of other classes included
        held |= {clip for clip, group in enumerate(groups) if group == chosen}
    rest = tuple(clip for clip in range(dataset.n_clips) if clip not in held)
    left = {dataset.class_of_clip[clip] for clip in rest}
    if len(left) < len(dataset.classes):
        missing = [label for index, label in enumerate(dataset.classes) if index not in left]
        raise BadInput(
            f"split {name} of {dataset.name}: nothing is left to train on of {', '.join(missing)}",
            allowed="groups that leave clips of every class on both sides",
            do="take another repeat (name:K)",
        )
    train, validation, test = _cohort_balanced(dataset, subjects, name)
    return [
        Part(train.subjects, rest),
        Part(validation.subjects, rest),
        Part(test.subjects, tuple(sorted(held))),
    ]


def _clip_out(dataset: Dataset, subjects: tuple[str, ...], name: str) -> list[Part]:
    return _groups_out(dataset, subjects, name, [f"clip {clip + 1}" for clip in range(dataset.n_clips)])


def _film_out(dataset: Dataset, subjects: tuple[str, ...], name: str) -> list[Part]:
    return _groups_out(dataset, subjects, name, dataset.films)


def _time_blocked(dataset: Dataset, subjects: tuple[str, ...], name: str) -> list[Part]:
    """Thirds of every clip, turned by the repeat: the third that follows training validates, the last one tests."""
    turn = int(name.partition(":")[2])
    thirds = [(index / 3, (index + 1) / 3) for index in range(3)]
    return [Part(start=start, stop=stop) for start, stop in thirds[turn:] + thirds[:turn]]


SPLITS: dict[str, Kind] = {
    STANDARD: Kind(
        meaning="as the field splits the data set; FACED: sorted subjects [:80], [80:100], [100:], the last two of "
        "them cohort 2 alone; SEED-V: the first, second and last five trials of each session, all subjects in each",
        make=_standard,
        repeats=0,
    ),
    COHORT_BALANCED: Kind(
        meaning="65 / 16 / 19 % of each cohort, drawn at random; cohort-balanced:K is repeat K", make=_cohort_balanced
    ),
    SUBJECT_FOLDS: Kind(
        meaning="N folds of subjects, cohorts spread evenly; leave-subjects-out:K/N tests fold K of N (0/5)",
        make=_subject_folds,
        folds=True,
    ),
    CLIP_OUT: Kind(
        meaning="unseen people and one unseen clip a class in test; leave-clip-out:K is repeat K", make=_clip_out
    ),
    FILM_OUT: Kind(
        meaning="the same with whole films; refused where all clips of a class are of one film, as FACED's neutral",
        make=_film_out,
    ),
    TIME_BLOCKED: Kind(
        meaning="everybody and every clip in each part, apart in time: thirds of each clip; time-blocked:0, 1, 2",
        make=_time_blocked,
        repeats=3,
    ),
}
"""name: what it is"""
