"""Splits to an audit: which subjects, clips, films, cohorts, sampling rates and blocks lie on both sides.

In: a split and its data set. Out: a finding for each kind of group, with counts, names and a sentence; the manifest of
a sweep, `--plan`, prepare_data and the report show them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from valence.datasets.base import Dataset, Part
from valence.splits import Split, disjoint_by

LEVELS = ("leak", "confound", "unknown", "clean")
"""leak: test samples share with training what can be recognised in place of an emotion; confound: the sides differ in
something beside people; unknown: the data set does not say"""
MOST_NAMES = 12


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of group in the parts of a split."""

    group: str
    level: str
    """one of LEVELS"""
    n_train: int
    n_validation: int
    n_test: int
    """groups of this kind in each part"""
    n_both: int
    """groups in training and in test"""
    n_validation_train: int
    n_validation_test: int
    """groups that validation has in common with each"""
    both: tuple[str, ...]
    """their names, the first MOST_NAMES"""
    only_train: tuple[str, ...]
    only_test: tuple[str, ...]
    text: str
    """what it means"""


def leakage_audit(split: Split, dataset: Dataset) -> tuple[Finding, ...]:
    """Find what lies on both sides of a split.

    Parameters
    ----------
    split : made for this data set.
    dataset : whose facts say which film a clip is from, and cohort, sampling rate and order of each subject.

    Returns
    -------
    tuple of Finding : subject, clip, film, time, block, class, cohort, sampling rate; each group is looked up for every
        subject and clip of a part, nothing is sampled.
    """
    parts = (split.train, split.validation, split.test)
    rows = [_subjects(split, parts), _clips(parts, dataset), _films(parts, dataset), _time(split)]
    rows += [_blocks(parts, dataset), _classes(parts, dataset)]
    return (*rows, _cohorts(parts, dataset), _rates(parts, dataset))


def _finding(
    group: str,
    parts: tuple[Part, ...],
    values: Callable[[Part], Iterable[str]],
    judge: Callable[[set, set], tuple],
    *,
    told_apart: str = "",
) -> Finding:
    """The finding on one kind of group; `told_apart` names them where what validation shares with test is a leak."""
    train, validation, test = (set(values(part)) for part in parts)
    level, text = judge(train, test)
    chosen_on = len(validation & test)
    if told_apart and level == "clean" and chosen_on:
        level, text = (
            "leak",
            f"{text}; but {chosen_on} {told_apart} of the test are in validation: they choose the epoch",
        )
    return Finding(
        group=group,
        level=level,
        n_train=len(train),
        n_validation=len(validation),
        n_test=len(test),
        n_both=len(train & test),
        n_validation_train=len(validation & train),
        n_validation_test=chosen_on,
        both=_some(train & test),
        only_train=_some(train - test),
        only_test=_some(test - train),
        text=text,
    )


def _subjects(split: Split, parts: tuple[Part, ...]) -> Finding:
    def judge(train: set, test: set) -> tuple[str, str]:
        both = len(train & test)
        if both:
            return "leak", f"{both} of {len(test)} people of the test are in training: persons can be recognised"
        return "clean", f"{len(test)} people in test, none of them in training"

    return _finding("subject", parts, lambda part: part.subjects, judge, told_apart="people")


def _clips(parts: tuple[Part, ...], dataset: Dataset) -> Finding:
    def judge(train: set, test: set) -> tuple[str, str]:
        both = len(train & test)
        if both:
            return "leak", f"{both} of {len(test)} clips of the test are in training: accuracy may be clip recognition"
        return "clean", f"{len(test)} clips in test, none of them in training"

    return _finding(
        "clip", parts, lambda part: [_clip(clip, dataset) for clip in part.clips], judge, told_apart="clips"
    )


def _films(parts: tuple[Part, ...], dataset: Dataset) -> Finding:
    def judge(train: set, test: set) -> tuple[str, str]:
        both = len(train & test)
        if both:
            return (
                "leak",
                f"{both} of {len(test)} films of the test are in training: a scene can be recognised",
            )
        return "clean", f"{len(test)} films in test, none of them in training"

    return _finding("film", parts, lambda part: [dataset.films[clip] for clip in part.clips], judge, told_apart="films")


def _time(split: Split) -> Finding:
    parts = (split.train, split.validation, split.test)
    apart = disjoint_by(split.train, split.test)
    if apart == ("time",):
        level, text = "leak", "the same people watch the same clips on both sides, seconds apart: signals drift slowly"
    else:
        level, text = "clean", f"training and test differ in {' and '.join(apart)}"
    return _finding(
        "stretch of a clip",
        parts,
        lambda part: [f"{part.start:.0%} to {part.stop:.0%}"],
        lambda train, test: (level, text),
    )


def _blocks(parts: tuple[Part, ...], dataset: Dataset) -> Finding:
    """A block is a stretch of one session: two clips of it share electrode drift and mood."""
    subjects = sorted(set(parts[0].subjects) & set(parts[2].subjects))
    told = {subject: dataset.presentation(subject) for subject in subjects if dataset.block_clips}
    ranks = {subject: rank for subject, rank in told.items() if rank is not None and (rank >= 0).any()}

    def values(part: Part) -> list[str]:
        size = dataset.block_clips or 1
        return [
            f"{subject}, block {ranks[subject][clip] // size + 1}"
            for subject in part.subjects
            if subject in ranks
            for clip in part.clips
            if ranks[subject][clip] >= 0
        ]

    def judge(train: set, test: set) -> tuple[str, str]:
        both = len(train & test)
        if not subjects:
            return "clean", "no session is on both sides, so no block is"
        if len(ranks) < len(subjects):
            return "unknown", "people are on both sides, and the order of their clips is not known for all"
        if both:
            return (
                "leak",
                f"{both} of {len(test)} blocks of the test are in training: slow drift marks a block",
            )
        return "clean", "no block is on both sides"

    return _finding("block", parts, values, judge)


def _classes(parts: tuple[Part, ...], dataset: Dataset) -> Finding:
    def judge(train: set, test: set) -> tuple[str, str]:
        if train != test:
            return "confound", f"classes on one side only: {', '.join(sorted(train ^ test))}"
        return "clean", f"{len(test)} classes on both sides, as they have to be"

    return _finding("class", parts, lambda part: [dataset.classes[dataset.class_of_clip[c]] for c in part.clips], judge)


def _cohorts(parts: tuple[Part, ...], dataset: Dataset) -> Finding:
    return _of_subjects("cohort", parts, lambda subject: f"cohort {dataset.cohort(subject)}")


def _rates(parts: tuple[Part, ...], dataset: Dataset) -> Finding:
    def value(subject: str) -> str | None:
        rate = dataset.recording_sfreq(subject)
        return None if rate is None else f"{rate:g} Hz"

    return _of_subjects("sampling rate", parts, value)


def _of_subjects(group: str, parts: tuple[Part, ...], value: Callable[[str], str | None]) -> Finding:
    told = {subject: value(subject) for part in parts for subject in part.subjects}
    unknown = sum(told[subject] is None for subject in {*parts[0].subjects, *parts[2].subjects})

    def values(part: Part) -> list[str]:
        return [found for subject in part.subjects if (found := told[subject]) is not None]

    def judge(train: set, test: set) -> tuple[str, str]:
        if unknown:
            return "unknown", f"the {group} of {unknown} people in training and test is not known"
        if train == test:
            return "clean", f"both sides have {', '.join(sorted(test))}"
        return "confound", f"training has {', '.join(sorted(train))}; test has {', '.join(sorted(test))}"

    return _finding(group, parts, values, judge)


def _clip(clip: int, dataset: Dataset) -> str:
    return f"{clip + 1} ({dataset.classes[dataset.class_of_clip[clip]]})"


def _some(names: set[str]) -> tuple[str, ...]:
    numbers = {name: [int(part) if part.isdigit() else 0 for part in name.split()] for name in names}
    ordered = sorted(names, key=lambda name: (numbers[name], name))
    return tuple(ordered[:MOST_NAMES])
