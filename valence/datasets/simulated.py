"""Recordings: a simulated cohort in FACED's own files, with the truth written beside them.

In: a World and a number of subjects. Out: a folder that FACED's reader reads, and truth.json. What is in the files:
valence/cohort_files.py.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from valence.cell import canonical_hash
from valence.cohort_files import TRUTH, usable_cores, write_subjects, write_truth
from valence.datasets import DATASETS
from valence.datasets.base import Part
from valence.errors import BadInput
from valence.faced_files import FOLDERS, N_COHORT_1, N_SUBJECTS, FacedFiles, listing, subject_name
from valence.once import build_once
from valence.processing import Processing
from valence.worlds import World, find_world

FORMAT = 2
"""raised whenever the same settings would give other signals: older cohorts are then not taken for them"""


@DATASETS.register("simulated")
class Simulated(FacedFiles):
    """A cohort that `write_cohort` has written."""

    name = "simulated"
    url = "https://mne.tools (forward model)"
    licence = "made here; no restriction"
    doi = "10.3389/fnins.2013.00267"
    makes = ("windows", "de")

    @classmethod
    def make(
        cls,
        root: Path,
        *,
        world: str = "",
        n_subjects: int | None = None,
        inputs: tuple[str, ...] = ("windows", "de"),
        workers: int | None = None,
        on_subject: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Write a cohort, or find it written; of a named world where one is named."""
        if not world:
            n_subjects = 12 if n_subjects is None else n_subjects
            return write_cohort(root, n_subjects=n_subjects, inputs=inputs, max_workers=workers, on_subject=on_subject)
        row = find_world(world)
        own = n_subjects in (None, row.n_subjects)
        return write_cohort(
            root,
            n_subjects=row.n_subjects if n_subjects is None else n_subjects,
            world=row.world,
            parts=row.parts if own else None,
            inputs=inputs,
            max_workers=workers,
            on_subject=on_subject,
        )

    def __init__(self, root: Path | None, *, processing: Processing | None = None):
        super().__init__(root, processing=processing)
        subjects = tuple(self.truth["subjects"])
        for input in self.inputs:
            if self.subjects(input) != subjects:
                missing = sorted(set(subjects) ^ set(self.subjects(input)))
                raise BadInput(
                    f"{self.root}: the subjects on disk are not those of {TRUTH}: {', '.join(missing)}",
                    allowed="the whole cohort as it was written",
                    do="remove the folder; it is written again",
                )

    @cached_property
    def truth(self) -> dict:
        """What was planted: settings, class_values, clip_values, ratings, and by subject order and felt_clips."""
        path = self.root / TRUTH
        try:
            return _checked(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise BadInput(
                f"{path}: {type(error).__name__}: {error}",
                allowed="the folder of a cohort that was written to its end",
                do="leave out --data-root to have one written, or take --dataset faced for real recordings",
            ) from error

    def ratings(self, subjects: Sequence[str] | None = None) -> np.ndarray | None:
        """Of nobody in particular: what was planted, which no subject reports without noise."""
        return np.array(self.truth["ratings"]) if subjects is None else self.ratings_of(subjects)

    def standard_parts(self) -> tuple[Part, Part, Part] | None:
        """As the cohort was written for; FACED's where nothing was said."""
        found = self.truth.get("standard_split")
        if found is None:
            return self.standard_split
        train, validation, test = (Part(tuple(part)) for part in found)
        return train, validation, test


def _checked(truth: object) -> dict:
    """What was read from TRUTH, where it has the parts that are used here. Raises ValueError."""
    if not isinstance(truth, dict):
        raise ValueError(f"it holds a {type(truth).__name__}, not an object")
    ratings, subjects = truth.get("ratings"), truth.get("subjects")
    if not (isinstance(subjects, list) and all(isinstance(name, str) for name in subjects)):
        raise ValueError("subjects is not a list of names")
    if not isinstance(truth.get("settings"), dict):
        raise ValueError("settings is not an object")
    if not (isinstance(ratings, list) and all(isinstance(rating, int | float) for rating in ratings)):
        raise ValueError("ratings is not a list of numbers")
    if len(ratings) != FacedFiles.n_clips:
        raise ValueError(f"ratings has {len(ratings)} numbers, not {FacedFiles.n_clips}")
    parts = truth.get("standard_split")
    if parts is not None and not (
        isinstance(parts, list)
        and len(parts) == 3
        and all(isinstance(part, list) and part and all(one in subjects for one in part) for part in parts)
    ):
        raise ValueError("standard_split is not three lists of the subjects")
    return truth


def write_cohort(
    root: Path,
    *,
    n_subjects: int,
    world: World | None = None,
    parts: tuple[int, int, int] | None = None,
    inputs: tuple[str, ...] = ("windows", "de"),
    max_workers: int | None = None,
    on_subject: Callable[[int, int], object] | None = None,
) -> Path:
    """Write a simulated cohort, or find it written; a killed call is finished by the next one.

    Parameters
    ----------
    root : folder of the cohort, made here.
    n_subjects : 3 to 123. The first half are FACED's sub000, sub001, … of cohort 1, the others sub061, … of cohort 2.
        A subject is the same whatever their number.
    world : what is planted; `World()` where not given.
    parts : how many subjects train, validate and test in the cohort's standard split, which takes them from both
        cohorts in turn; FACED's own standard split where not given.
    inputs : which of "windows" (27 MB a subject), "de" and "psd" (1 MB each) to write.
    max_workers : subjects made at the same time, in threads of this process; usable cores where not given. The files
        are the same, bit for bit, whatever their number.
    on_subject : called in this thread with the number of subjects that are written and of all, once at the start and
        after each.

    Returns
    -------
    root

    Raises
    ------
    BadInput : where a number is out of range, or root holds something else.
    """
    world = world or World()
    cohorts = _cohorts(n_subjects)
    if not inputs or set(inputs) - set(FOLDERS):
        raise BadInput(f"inputs are {inputs}", allowed=", ".join(FOLDERS), do="take one or more of these")
    if parts is not None and (min(parts) < 1 or sum(parts) != n_subjects):
        raise BadInput(
            f"parts are {parts}", allowed=f"three numbers of subjects, {n_subjects} in all", do="correct them"
        )
    settings = {**dataclasses.asdict(world), "n_subjects": n_subjects, "parts": list(parts) if parts else None}
    settings |= {"inputs": sorted(inputs), "format": FORMAT}
    root = Path(root)
    _check_is_ours(root, settings)

    def is_complete(folder: Path) -> bool:
        return (folder / TRUTH).is_file() and Simulated(folder).truth["settings"] == settings

    def build(folder: Path) -> None:
        n_workers = max_workers or usable_cores()
        write_subjects(folder, world, cohorts, inputs, n_workers=n_workers, on_subject=on_subject)
        write_truth(folder / TRUTH, world, cohorts, settings)

    # settings in the name: a cohort of other settings never continues this one's unfinished folder
    return build_once(root, is_complete=is_complete, build=build, tag=canonical_hash(settings, 8))


def _cohorts(n_subjects: int) -> dict[str, int]:
    """Subject to cohort, both halves numbered as FACED numbers them."""
    if not 3 <= n_subjects <= N_SUBJECTS:
        raise BadInput(f"n_subjects is {n_subjects}", allowed=f"3 to {N_SUBJECTS}", do="take a number between them")
    n_first = n_subjects // 2
    first = {subject_name(number): 1 for number in range(n_first)}
    return first | {subject_name(N_COHORT_1 + number): 2 for number in range(n_subjects - n_first)}


def _check_is_ours(root: Path, settings: dict) -> None:
    """Raise BadInput where the folder holds anything but this cohort: nothing is overwritten."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    allowed, do = "an empty folder, or the same cohort", "name another folder, or remove this one"
    if not (root / TRUTH).is_file():
        told = listing(root) if root.is_dir() else "a file"
        raise BadInput(f"{root} is not a simulated cohort: it holds {told}", allowed=allowed, do=do)
    found = Simulated(root).truth["settings"]
    if found != settings:
        names = sorted(name for name in settings if found.get(name) != settings[name])
        told = ", ".join(f"{name} {found.get(name)}, not {settings[name]}" for name in names)
        raise BadInput(f"{root} holds another simulated cohort: {told}", allowed=allowed, do=do)
