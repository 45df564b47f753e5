"""Recordings: the files of a simulated cohort. A World and the subjects in; FACED's files, and the truth, out.

Signals: valence/simulation.py; ratings: valence/self_reports.py; how the bytes lie: valence/faced_writing.py.
Recordings are stored as float32: FACED's facts name no type for them, and it halves the disk. Band features are
float64, 1,075,366 bytes a file, as published. Power is that of DE: PSD = exp(2·DE) / 2πe, the variance in µV² of a band
within a second.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from valence.cell import derive_seed
from valence.faced_files import FOLDERS, N_SUBJECTS, RECORDING_INFO, SUFFIXES, FacedFiles
from valence.faced_writing import write_after_remarks, write_array, write_recording_info
from valence.features import differential_entropy
from valence.self_reports import self_reports
from valence.simulation import felt_clips, plant, presentation_order, simulate_subject
from valence.worlds import World

TRUTH = "truth.json"
CLIPS_AT_ONCE = 4
"""clips whose band features are computed together: all at once would take five times the memory of a recording"""
MOST_WORKERS = 16
"""each holds about 110 MB"""


def usable_cores() -> int:
    """Cores that this process may use, at most MOST_WORKERS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def write_subjects(
    folder: Path,
    world: World,
    cohorts: dict[str, int],
    inputs: tuple[str, ...],
    *,
    n_workers: int,
    on_subject: Callable[[int, int], object] | None,
) -> None:
    """Write the files of all subjects that have none; parameters as those of `valence.datasets.simulated.write_cohort`.

    Threads, as nearly all of the time goes to FFTs and random numbers, which let other threads run: one import, one
    copy of the truth, and nothing that could outlive this process or would import the user's script again.
    """
    for leftover in folder.glob("**/.sub*"):  # of a killed call
        leftover.unlink()
    tell = on_subject or (lambda *_: None)
    plant(world)  # once, before the threads ask for it
    # rounding may depend on how many threads share a matrix product
    with threadpool_limits(1), ThreadPoolExecutor(n_workers, thread_name_prefix="simulated subject") as pool:
        try:
            started = [pool.submit(_write_subject, folder, world, *person, inputs) for person in cohorts.items()]
            tell(0, len(started))
            for done, future in enumerate(as_completed(started), start=1):
                future.result()
                tell(done, len(started))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_subject(folder: Path, world: World, subject: str, cohort: int, inputs: tuple[str, ...]) -> None:
    """Write the files of one subject, ratings last: where they are, the others are."""
    remarks = folder / "Data" / subject / "After_remarks.mat"
    if remarks.is_file():
        return
    files = {input: folder / FOLDERS[input] / (subject + SUFFIXES[input]) for input in inputs}
    x = simulate_subject(world, subject, cohort=cohort)
    if "windows" in files:
        write_array(files["windows"], x)
    if {"de", "psd"} & set(files):
        some = [x[first : first + CLIPS_AT_ONCE] for first in range(0, len(x), CLIPS_AT_ONCE)]
        de = np.concatenate([differential_entropy(clips, sfreq=FacedFiles.sfreq) for clips in some]).astype(np.float64)
        if "de" in files:
            write_array(files["de"], de)
        if "psd" in files:
            write_array(files["psd"], np.exp(2 * de) / (2 * np.pi * np.e))
    write_after_remarks(remarks, self_reports(world, subject, cohort=cohort), presentation_order(world, subject))


def write_truth(path: Path, world: World, cohorts: dict[str, int], settings: dict) -> None:
    """Write TRUTH and, beside it, Recording_info.csv."""
    people = {subject: (*_person(world, subject), cohort) for subject, cohort in cohorts.items()}
    write_recording_info(path.with_name(RECORDING_INFO), people)
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
        "felt_clips": {subject: felt_clips(world, subject).tolist() for subject in cohorts},
        "standard_split": _in_turn(cohorts, settings["parts"]) if settings["parts"] else None,
    }
    path.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _person(world: World, subject: str) -> tuple[str, int]:
    """Gender and age, distributed as in FACED: 75 of 123 are women; 17 to 38 years, mean 23, standard deviation 5."""
    rng = np.random.default_rng(derive_seed(f"simulation/{world.seed}", f"{subject}/person"))
    return "F" if rng.random() < 75 / N_SUBJECTS else "M", round(min(max(rng.normal(23, 5), 17), 38))


def _in_turn(cohorts: dict[str, int], parts: tuple[int, int, int]) -> list[list[str]]:
    """Subjects of training, validation and test, taken from both cohorts in turn."""
    numbers = {cohort: [subject for subject in cohorts if cohorts[subject] == cohort] for cohort in (1, 2)}
    mixed = sorted(cohorts, key=lambda subject: (numbers[cohorts[subject]].index(subject), cohorts[subject]))
    ends = np.cumsum(parts)
    return [sorted(mixed[end - size : end]) for end, size in zip(ends, parts, strict=True)]
