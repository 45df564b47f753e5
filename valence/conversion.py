"""Recordings to arrays, the writing: every subject once through reader, checks and windows, into one flat file.

In: a data set, an input and a recipe. Out: x.npy, samples.parquet and manifest.json in a folder. While one subject is
converted, the one before is hashed and written; where signals are processed, several are converted side by side. They
are written in order, so that the files do not depend on how many work at once. An interrupted conversion goes on after
the last subject that its journal names and whose samples are still what the journal says.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from valence.cache import write_whole
from valence.cell import Recipe, canonical_hash
from valence.datasets.base import Dataset
from valence.draft import entry_of, taken_up, write_header
from valence.errors import BadInput
from valence.samples import Converted, stored_input
from valence.signal import SignalSpec
from valence.sources import PACKAGES, check_unchanged
from valence.subjects_converted import converted

MANIFEST, SAMPLES, ARRAY, JOURNAL = "manifest.json", "samples.parquet", "x.npy", "journal.jsonl"
SPARE_BYTES = 2**30
"""left free on a disk that a conversion is written to"""


def convert(
    dataset: Dataset,
    input: str,
    recipe: Recipe,
    spec: SignalSpec,
    folder: Path,
    *,
    about: dict,
    workers: int | None = None,
    on_subject: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write x.npy, samples.parquet and manifest.json into a folder, or finish what an interrupted call has begun.

    Parameters
    ----------
    about : what `identity` gave.
    workers : subjects converted at once; None: a core each where signals are processed, else one.
    on_subject : called with the number of subjects that are done, and of all.
    """
    subjects = dataset.subjects(stored_input(input, recipe))
    shape: tuple[int, ...] = (spec.n_chans, spec.n_times, *([spec.n_bands] if spec.n_bands else []))
    size = 4 * math.prod(shape)
    with (folder / ARRAY).open("a+b") as file, (folder / JOURNAL).open("a+b") as journal:
        entries, start = taken_up(file, journal, subjects, about=about, shape=shape)
        waiting = subjects[len(entries) :]
        on_subject(len(entries), len(subjects))

        def write(subject: str, found: Converted) -> None:
            block = np.ascontiguousarray(found.x, dtype="<f4")
            entry = entry_of(subject, found, hashlib.sha256(block.data).hexdigest(), about)
            file.write(block.data)
            file.flush()
            journal.write((json.dumps(entry) + "\n").encode())
            journal.flush()
            entries.append(entry)

        # hashing and writing leave Python's lock: the next subject is converted meanwhile
        with ThreadPoolExecutor(1) as writer:
            last: Future | None = None
            found_of = zip(waiting, converted(dataset, waiting, input, recipe, workers), strict=True)
            for number, (subject, found) in enumerate(found_of, len(entries)):
                check_unchanged(dataset, subject, about)
                _check_shape(subject, found, shape, dataset)
                if last is not None:
                    last.result()
                    on_subject(number, len(subjects))
                    _check_space(folder, n_left=len(subjects) - number, entries=entries, size=size)
                last = writer.submit(write, subject, found)
            if last is not None:
                last.result()
                on_subject(len(subjects), len(subjects))
        n_samples = sum(len(entry["clips"]) for entry in entries)
        if not n_samples:
            raise BadInput(
                f"{dataset.name}: not one {'window' if input == 'windows' else 'sample'} in {len(subjects)} subjects",
                allowed="clips at least as long as a window",
                do="take shorter windows",
            )
    with (folder / ARRAY).open("r+b") as file:
        write_header(file, n_samples, shape)
    assert (folder / ARRAY).stat().st_size == start + n_samples * size
    _write_tables(dataset, spec, entries, folder, about=about, shape=(n_samples, *shape))
    (folder / JOURNAL).unlink()


def _check_shape(subject: str, found: Converted, shape: tuple[int, ...], dataset: Dataset) -> None:
    if found.x.shape[1:] != shape or found.x.dtype != np.float32:
        raise BadInput(
            f"{dataset.name}, {subject}: samples of shape {found.x.shape[1:]} of {found.x.dtype}",
            allowed=f"shape {shape} of float32",
            do="correct the data set's facts (sfreq, clip_seconds, bands)",
        )


def _check_space(folder: Path, *, n_left: int, entries: list[dict], size: int) -> None:
    """Raise BadInput where a disk cannot hold as many subjects more as large as those that are written."""
    needed = n_left * max(len(entry["clips"]) for entry in entries) * size
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise BadInput(
            f"{folder}: {free / 1e9:.1f} GB are free and {needed / 1e9:.1f} GB are still to be written",
            allowed=f"room for them and {SPARE_BYTES / 1e9:.0f} GB beside",
            do="free some, or name another folder",
        )


def _write_tables(
    dataset: Dataset, spec: SignalSpec, entries: list[dict], folder: Path, *, about: dict, shape: tuple[int, ...]
) -> None:
    labels = np.array(dataset.class_of_clip)
    clips = np.concatenate([np.array(entry["clips"], dtype=np.int64) for entry in entries])
    begins = np.concatenate([np.array(entry["begins"], dtype=np.float64) for entry in entries])
    # a step of band features stands for 1 / sfreq seconds, a sample of a signal for 1 / sfreq as well
    ends = begins + spec.n_times / spec.sfreq
    length = np.array(dataset.clip_seconds)[clips]
    table = pd.DataFrame(
        {
            "subject": np.repeat([entry["subject"] for entry in entries], [len(entry["clips"]) for entry in entries]),
            "clip_index": clips,
            "label": labels[clips].astype(np.int64),
            "class": np.array(dataset.classes)[labels[clips]],
            "begin_s": begins,
            "end_s": ends,
            "begin_share": begins / length,
            "end_share": ends / length,
        }
    )
    write_whole(folder / SAMPLES, lambda temporary: table.to_parquet(temporary, index=False))
    facts = {
        "spec": dataclasses.asdict(spec),
        "subject_names": [entry["subject"] for entry in entries],
        "class_of_clip": list(dataset.class_of_clip),
        "x_shape": list(shape),
    }
    content = [facts, [[entry[key] for key in ("subject", "sha256", "clips", "begins")] for entry in entries]]
    manifest = {
        **facts,
        "hash": canonical_hash(content),
        "repairs": {entry["subject"]: entry["repairs"] for entry in entries if entry["repairs"]},
        "made_from": about,
        "steps": steps_in_words(dataset, about),
        "processing": dataclasses.asdict(dataset.processing) if about["processing"] else None,
        "versions": {name: importlib.metadata.version(name) for name in (*PACKAGES, "valence")},
    }
    write_whole(folder / MANIFEST, lambda temporary: temporary.write_text(json.dumps(manifest, indent=1) + "\n"))


def steps_in_words(dataset: Dataset, about: dict) -> list[str]:
    """What was done between the files and the samples, in order."""
    recipe = about["recipe"]
    if about["input"] != "windows":
        whole = "the whole clip" if not recipe["de_window_s"] else f"{recipe['de_window_s']:g} s"
        return [f"{recipe['band_features']} as stored, a sample is {whole}"]
    rate, new_rate = dataset.loaded_sfreq, recipe["sfreq_hz"]
    how = "by cutting the spectrum" if new_rate < rate else f"with nothing above {rate / 2:g} Hz"
    resampled = [] if rate == new_rate else [f"resampled from {rate:g} to {new_rate:g} Hz {how}"]
    return [
        dataset.processing.describe(),
        *resampled,
        f"windows of {recipe['window_s']:g} s every {recipe['stride_s']:g} s",
        f"µV times {recipe['scale']:g}",
    ]
