"""Recordings: a simulated cohort in FACED's own files, with the truth written beside them.

In: strengths and a seed. Out: a folder that FACED's reader reads, and truth.json. Signals: valence/simulation.py.
Recordings are stored as float32: FACED's facts name no type for them, and it halves the disk.
"""

import dataclasses
import json
from functools import cached_property
from pathlib import Path

import numpy as np

from valence.cell import canonical_hash
from valence.datasets import DATASETS
from valence.errors import BadInput
from valence.faced_files import (
    FOLDERS,
    N_COHORT_1,
    N_SUBJECTS,
    RECORDING_INFO,
    SUFFIXES,
    FacedFiles,
    listing,
    subject_name,
    write_array,
    write_recording_info,
)
from valence.features import differential_entropy
from valence.once import build_once
from valence.processing import Processing
from valence.simulation import World, plant, presentation_order, simulate_subject

TRUTH = "truth.json"
FORMAT = 1
"""raised whenever the same settings would give other signals: older cohorts are then not taken for them"""


@DATASETS.register("simulated")
class Simulated(FacedFiles):
    """A cohort that `write_cohort` has written."""

    name = "simulated"
    url = "https://mne.tools (forward model)"
    licence = "made here; no restriction"
    doi = "10.3389/fnins.2013.00267"

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
        """What was planted: settings, class_values, clip_values, ratings, presentation order by subject."""
        path = self.root / TRUTH
        try:
            return _checked(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise BadInput(
                f"{path}: {type(error).__name__}: {error}",
                allowed="the folder of a cohort that was written to its end",
                do="leave out --data-root to have one written, or take --dataset faced for real recordings",
            ) from error

    def ratings(self) -> np.ndarray:
        return np.array(self.truth["ratings"])


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
    return truth


def write_cohort(
    root: Path,
    *,
    n_subjects: int,
    seed: int = World.seed,
    axis_strength: float = World.axis_strength,
    residual_strength: float = World.residual_strength,
    content_strength: float = World.content_strength,
    evoked_uv: float = World.evoked_uv,
    response_sd: float = World.response_sd,
    subject_sd: float = World.subject_sd,
    drift_sd: float = World.drift_sd,
    rating_noise: float = World.rating_noise,
    inputs: tuple[str, ...] = ("windows", "de"),
) -> Path:
    """Write a simulated cohort, or find it written; a killed call is finished by the next one.

    Parameters
    ----------
    root : folder of the cohort, made here.
    n_subjects : 3 to 123. The first half are FACED's sub000, sub001, … of cohort 1, the others sub061, … of cohort 2.
        A subject is the same whatever their number.
    seed : of everything.
    axis_strength, residual_strength, content_strength, evoked_uv, response_sd, subject_sd, drift_sd, rating_noise :
        see `World`.
    inputs : which of "windows" (27 MB a subject) and "de" (0.5 MB) to write.

    Returns
    -------
    root

    Raises
    ------
    BadInput : where the number is out of range, or root holds something else.
    """
    world = World(
        seed=seed,
        axis_strength=axis_strength,
        residual_strength=residual_strength,
        content_strength=content_strength,
        evoked_uv=evoked_uv,
        response_sd=response_sd,
        subject_sd=subject_sd,
        drift_sd=drift_sd,
        rating_noise=rating_noise,
    )
    cohorts = _cohorts(n_subjects)
    if not inputs or set(inputs) - set(FOLDERS):
        raise BadInput(f"inputs are {inputs}", allowed="windows, de, or both", do="take one of these")
    settings = {**dataclasses.asdict(world), "n_subjects": n_subjects, "inputs": sorted(inputs), "format": FORMAT}
    root = Path(root)
    _check_is_ours(root, settings)

    def is_complete(folder: Path) -> bool:
        return (folder / TRUTH).is_file() and Simulated(folder).truth["settings"] == settings

    def build(folder: Path) -> None:
        _write(folder, world, cohorts, settings)

    # settings in the name: a cohort of other settings never continues this one's unfinished folder
    return build_once(root, is_complete=is_complete, build=build, tag=canonical_hash(settings, 8))


def _write(folder: Path, world: World, cohorts: dict[str, int], settings: dict) -> None:
    for subject, cohort in cohorts.items():
        files = {input: folder / FOLDERS[input] / (subject + SUFFIXES[input]) for input in settings["inputs"]}
        if all(path.is_file() for path in files.values()):
            continue
        x = simulate_subject(world, subject, cohort=cohort)
        if "windows" in files:
            write_array(files["windows"], x)
        if "de" in files:
            write_array(files["de"], differential_entropy(x, sfreq=FacedFiles.sfreq).astype(np.float64))
    write_recording_info(folder / RECORDING_INFO, cohorts, sfreq=FacedFiles.sfreq)
    truth = plant(world)
    told = {
        "settings": settings,
        "classes": FacedFiles.classes,
        "class_values": truth.class_values.tolist(),
        "clip_values": truth.clip_values.tolist(),
        "ratings": truth.ratings.tolist(),
        "bands": [band._asdict() for band in FacedFiles.bands],
        "axis_by_band_and_source": truth.axis.tolist(),
        "subjects": list(cohorts),
        "presentation_order": {subject: presentation_order(world, subject).tolist() for subject in cohorts},
    }
    (folder / TRUTH).write_text(json.dumps(told, indent=1), encoding="utf-8")


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
