"""Recordings to arrays, what they are made from: everything a conversion depends on, sources by content."""

import dataclasses
import importlib.metadata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from valence.cache import file_hash
from valence.cell import SCIENCE_VERSION, Recipe
from valence.dataset_checks import check_files
from valence.datasets import DATASETS, Dataset
from valence.errors import BadInput
from valence.samples import stored_input
from valence.signal import SignalSpec

FORMAT = 2
"""raised whenever the same source and recipe would give other files"""
WINDOW_FIELDS = ("sfreq_hz", "window_s", "stride_s", "scale")
"""fields of a recipe that change windows"""
BAND_FIELDS = ("band_features", "de_window_s")
"""fields that change band features, which are normalised in training"""
PACKAGES = ("numpy", "scipy", "mne")
"""whose versions a conversion depends on"""


def identity(dataset: Dataset, input: str, recipe: Recipe, spec: SignalSpec) -> dict:
    """Everything a conversion depends on, as JSON, sources by content; a user's reader is part of it."""
    fields = WINDOW_FIELDS if input == "windows" else BAND_FIELDS
    return {
        "format": FORMAT,
        "science": SCIENCE_VERSION,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "dataset": dataset.name,
        "plugin": DATASETS.digest(dataset.name) if dataset.name in DATASETS else "",
        "input": input,
        "stored": stored_input(input, recipe),
        "lengths": dataset.lengths(stored_input(input, recipe)),
        "class_of_clip": dataset.class_of_clip,
        "spec": dataclasses.asdict(spec),
        "recipe": {field: getattr(recipe, field) for field in fields},
        "processing": dataset.processing.hash if input == "windows" else "",
        "shared": [_content(path, dataset) for path in dataset.shared_files()],
        "sources": sources(dataset, stored_input(input, recipe)),
    }


def sources(dataset: Dataset, stored: str) -> dict[str, list[dict]]:
    """By subject, the files it is read from: name within the data set, bytes, SHA-256. Raises BadInput."""
    files = check_files(dataset.files(stored), name=dataset.name)
    if not files:
        raise BadInput(f"{dataset.name}: no subject has {stored}", allowed="1 subject or more", do="add recordings")
    # hashing leaves Python's lock: two threads hash twice as fast
    with ThreadPoolExecutor(2) as pool:
        found = {subject: [pool.submit(_content, path, dataset) for path in paths] for subject, paths in files.items()}
        return {subject: [one.result() for one in contents] for subject, contents in found.items()}


def _content(path: Path, dataset: Dataset) -> dict:
    try:
        if not path.is_file():
            raise OSError("not a file: a folder, a pipe, or a link that leads nowhere")
        name = path.relative_to(dataset.root) if path.is_relative_to(dataset.root) else path.name
        return {"file": str(name), "bytes": path.stat().st_size, "sha256": file_hash(path)}
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read: {error}",
            allowed="a file that may be read",
            do="fetch the file again, correct its permissions, or move it elsewhere",
        ) from error


def check_unchanged(dataset: Dataset, subject: str, about: dict) -> None:
    """Raise BadInput where a source is not the one that was hashed before it was read."""
    for path, told in zip(dataset.files(about["stored"])[subject], about["sources"][subject], strict=True):
        if file_hash(path) != told["sha256"]:
            raise BadInput(
                f"{path} has changed while the data set was converted",
                allowed="files that stay as they are meanwhile",
                do="run the same command again when nothing writes to the folder",
            )
