"""Recordings to arrays, the writing: every subject once through reader, checks and windows, into one flat file.

In: a data set, an input and a recipe. Out: x.npy, samples.parquet and manifest.json in a folder. Subjects are converted
side by side and written in order, so that the files do not depend on how many work at once. A killed conversion goes on
after the last subject that its journal names.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from valence.cache import file_hash, write_whole
from valence.cell import Recipe, canonical_hash
from valence.datasets import DATASETS, Dataset
from valence.errors import BadInput
from valence.samples import Converted, convert_subject, stored_input
from valence.signal import SignalSpec

FORMAT = 2
"""raised whenever the same source and recipe would give other files"""
MANIFEST, SAMPLES, ARRAY, JOURNAL = "manifest.json", "samples.parquet", "x.npy", "journal.jsonl"
WINDOW_FIELDS = ("sfreq_hz", "window_s", "stride_s", "scale")
"""fields of a recipe that change windows"""
BAND_FIELDS = ("band_features", "de_window_s")
"""fields that change band features, which are normalised in training"""
POOL_BYTES = 256 * 2**20
"""sources smaller than this are converted in this process: starting others would take longer"""
MANIFEST_PACKAGES = ("numpy", "scipy", "mne", "valence")


def identity(dataset: Dataset, input: str, recipe: Recipe, spec: SignalSpec) -> dict:
    """Everything a conversion depends on, as JSON, sources by content; a user's reader is part of it."""
    fields = WINDOW_FIELDS if input == "windows" else BAND_FIELDS
    return {
        "format": FORMAT,
        "dataset": dataset.name,
        "plugin": DATASETS.digest(dataset.name) if dataset.name in DATASETS else "",
        "input": input,
        "lengths": dataset.lengths(stored_input(input, recipe)),
        "class_of_clip": dataset.class_of_clip,
        "spec": dataclasses.asdict(spec),
        "recipe": {field: getattr(recipe, field) for field in fields},
        "processing": dataset.processing.hash if input == "windows" else "",
        "sources": sources(dataset, stored_input(input, recipe)),
    }


def sources(dataset: Dataset, stored: str) -> dict[str, list[dict]]:
    """By subject, the files it is read from: name within the data set, bytes, SHA-256."""
    files = dataset.files(stored)
    if not files:
        raise BadInput(f"{dataset.name}: no subject has {stored}", allowed="1 subject or more", do="add recordings")
    return {
        subject: [
            {
                "file": str(path.relative_to(dataset.root) if path.is_relative_to(dataset.root) else path.name),
                "bytes": path.stat().st_size,
                "sha256": file_hash(path),
            }
            for path in paths
        ]
        for subject, paths in files.items()
    }


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
    workers : subjects converted at once; None: a core each where there is enough to read.
    on_subject : called with the number of subjects that are done, and of all.
    """
    subjects = dataset.subjects(stored_input(input, recipe))
    shape: tuple[int, ...] = (spec.n_chans, spec.n_times, *([spec.n_bands] if spec.n_bands else []))
    size = 4 * math.prod(shape)
    with (folder / ARRAY).open("a+b") as file, (folder / JOURNAL).open("a+", encoding="utf-8") as journal:
        entries = _finished(journal, subjects)
        if not entries:
            file.truncate(0)
        n_samples = sum(len(entry["clips"]) for entry in entries)
        start = _write_header(file, n_samples, shape)
        file.truncate(start + n_samples * size)
        file.seek(0, os.SEEK_END)
        waiting = subjects[len(entries) :]
        on_subject(len(entries), len(subjects))
        for subject, found in zip(waiting, _converted(dataset, waiting, input, recipe, about, workers), strict=True):
            assert (found.x.shape[1:], found.x.dtype) == (shape, np.float32), f"{subject}: {found.x.shape}"
            block = np.ascontiguousarray(found.x, dtype="<f4")
            file.write(block.data)
            file.flush()
            entries.append(_entry(subject, found, hashlib.sha256(block.data).hexdigest()))
            journal.write(json.dumps(entries[-1]) + "\n")
            journal.flush()
            on_subject(len(entries), len(subjects))
        n_samples = sum(len(entry["clips"]) for entry in entries)
        if not n_samples:
            raise BadInput(
                f"{dataset.name}: not one {'window' if input == 'windows' else 'sample'} in {len(subjects)} subjects",
                allowed="clips at least as long as a window",
                do="take a recipe with shorter windows",
            )
    with (folder / ARRAY).open("r+b") as file:
        assert _write_header(file, n_samples, shape) == start
    _write_tables(dataset, spec, entries, folder, about=about, shape=(n_samples, *shape))
    (folder / JOURNAL).unlink()


def _converted(
    dataset: Dataset, subjects: Sequence[str], input: str, recipe: Recipe, about: dict, workers: int | None
) -> Iterator[Converted]:
    """The subjects in order, each converted in one of several processes where that pays."""
    if workers is None:
        n_bytes = sum(file["bytes"] for subject in subjects for file in about["sources"][subject])
        workers = joblib.cpu_count() if n_bytes > POOL_BYTES else 1
    if workers <= 1 or len(subjects) < 2:
        return (convert_subject(dataset, subject, input, recipe) for subject in subjects)
    # no more subjects are held than are worked on and one ahead each
    pool = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch=2 * workers, batch_size=1)
    return pool(joblib.delayed(convert_subject)(dataset, subject, input, recipe) for subject in subjects)


def _write_header(file, n_samples: int, shape: tuple[int, ...]) -> int:
    """Write the .npy header at the file's begin; returns its length, which no number of samples changes."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_samples, *shape)}
    if file.mode.startswith("a") and file.seek(0, os.SEEK_END):
        file.seek(0)
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file.tell()
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def _finished(journal, subjects: Sequence[str]) -> list[dict]:
    """Entries of subjects that an interrupted conversion has written; a line that was cut off is taken away."""
    journal.seek(0)
    entries: list[dict] = []
    whole = 0
    for line in journal.read().splitlines(keepends=True):
        if not line.endswith("\n") or len(entries) == len(subjects):
            break
        entry = json.loads(line)
        if entry["subject"] != subjects[len(entries)]:
            break
        entries.append(entry)
        whole += len(line.encode())
    journal.truncate(whole)
    journal.seek(0, os.SEEK_END)
    return entries


def _entry(subject: str, found: Converted, digest: str) -> dict:
    return {
        "subject": subject,
        "sha256": digest,
        "clips": found.clips.tolist(),
        "begins": found.begins.tolist(),
        "repairs": list(found.repairs),
    }


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
        "versions": {name: importlib.metadata.version(name) for name in MANIFEST_PACKAGES},
    }
    write_whole(folder / MANIFEST, lambda temporary: temporary.write_text(json.dumps(manifest, indent=1) + "\n"))


def steps_in_words(dataset: Dataset, about: dict) -> list[str]:
    """What was done between the files and the samples, in order."""
    recipe = about["recipe"]
    if about["input"] != "windows":
        whole = "the whole clip" if not recipe["de_window_s"] else f"{recipe['de_window_s']:g} s"
        return [f"{recipe['band_features']} as stored, a sample is {whole}"]
    rate, new_rate = dataset.loaded_sfreq, recipe["sfreq_hz"]
    resampled = [] if rate == new_rate else [f"resampled from {rate:g} to {new_rate:g} Hz by cutting the spectrum"]
    return [
        dataset.processing.describe(),
        *resampled,
        f"windows of {recipe['window_s']:g} s every {recipe['stride_s']:g} s",
        f"µV times {recipe['scale']:g}",
    ]
