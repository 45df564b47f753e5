"""Recordings to arrays ready for training: read and checked once, converted once, then memory-mapped.

In: a data set, an input and a recipe. Out: x, labels, clips and subjects, with a hash of their content.
"""

import dataclasses
import hashlib
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import SupportsIndex

import numpy as np

from valence.cell import Recipe, canonical_hash
from valence.datasets import DATASETS, Dataset
from valence.datasets.base import check_subject
from valence.errors import BadInput
from valence.once import build_once
from valence.preprocessing import cut_windows, window_starts
from valence.signal import SignalSpec

FORMAT = 1
"""raised whenever the same source and recipe would give other files"""
MANIFEST = "manifest.json"
WINDOW_FIELDS = ("sfreq_hz", "window_s", "stride_s", "scale")
"""fields of a recipe that change windows; none changes DE features, which are normalised in training"""


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training. Arrays may be memory-mapped and are read-only.

    What `prepare` returns travels to another process as the name of its folder and is mapped again there, so that all
    processes of a machine share one copy in memory. The folder must lie where all of them see it. Other objects of
    this class, changed copies among them, travel with their arrays.
    """

    spec: SignalSpec
    x: np.ndarray
    """float32, (n_samples, n_chans, n_times) scaled windows, or (n_samples, n_chans, n_seconds, n_bands) DE in nats"""
    labels: np.ndarray
    """int64, (n_samples,), index into the data set's classes"""
    clips: np.ndarray
    """int64, (n_samples,), from 0"""
    subjects: np.ndarray
    """int64, (n_samples,), index into subject_names"""
    subject_names: tuple[str, ...]
    hash: str
    """16 hex digits over arrays, names and spec"""
    folder: Path | None = field(default=None, init=False, repr=False, compare=False)
    """absolute, of the conversion that all of this was read from; not kept by `dataclasses.replace`"""

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple:
        if self.folder is None:
            return super().__reduce_ex__(protocol)
        return _reopen, (self.folder, self.spec, self.hash)


def prepare(dataset: Dataset, input: str, recipe: Recipe, folder: Path) -> Prepared:
    """Convert a data set, or find it converted where its files, its reader and the recipe's input fields are the same.

    Reads one subject at a time. Samples are ordered by subject, clip and time.

    Parameters
    ----------
    dataset : with the input on disk.
    input : "windows" or "de".
    recipe : rate, length, stride and scale of windows; unused for "de".
    folder : conversions are kept here, each in a folder of its own.

    Raises
    ------
    BadInput : where a file, the recipe or an earlier conversion cannot be used.
    """
    spec = signal_spec(dataset, input, recipe)
    key = canonical_hash(_identity(dataset, input, recipe, spec))
    home = build_once(
        Path(folder) / key,
        is_complete=lambda found: (found / MANIFEST).is_file(),
        build=lambda partial: _convert(dataset, input, recipe, spec, partial),
    )
    return _open(home, spec)


def signal_spec(dataset: Dataset | type[Dataset], input: str, recipe: Recipe) -> SignalSpec:
    """What a classifier is told about this input; needs the data set's facts alone."""
    if input == "de":
        n_times, sfreq, n_bands = round(dataset.clip_s), 1.0, len(dataset.bands)
    else:
        n_times, sfreq, n_bands = round(recipe.window_s * recipe.sfreq_hz), recipe.sfreq_hz, 0
    return SignalSpec(
        n_chans=len(dataset.ch_names),
        n_times=n_times,
        n_outputs=len(dataset.classes),
        sfreq=sfreq,
        ch_names=dataset.ch_names,
        n_bands=n_bands,
    )


def _identity(dataset: Dataset, input: str, recipe: Recipe, spec: SignalSpec) -> dict:
    """Everything a conversion depends on, as JSON; the reader's own file is part of it where a user wrote it."""
    files = dataset.files(input)
    if not files:
        raise BadInput(f"{dataset.name}: no subject has {input}", allowed="1 subject or more", do="add recordings")
    sources = [
        [subject, str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for subject, path in files.items()
    ]
    return {
        "format": FORMAT,
        "dataset": dataset.name,
        "plugin": DATASETS.digest(dataset.name) if dataset.name in DATASETS else "",
        "input": input,
        "shape": dataset.shape(input),
        "class_of_clip": dataset.class_of_clip,
        "spec": dataclasses.asdict(spec),
        "recipe": {field: getattr(recipe, field) for field in WINDOW_FIELDS} if input == "windows" else {},
        "sources": sources,
    }


def _convert(dataset: Dataset, input: str, recipe: Recipe, spec: SignalSpec, folder: Path) -> None:
    """Write x.npy and manifest.json into a folder, hashing what is written."""
    names = dataset.subjects(input)
    n_windows = 1
    if input == "windows":
        n_windows = len(window_starts(round(dataset.clip_s * recipe.sfreq_hz), recipe=recipe))
    n_samples = dataset.n_clips * n_windows
    shape = (spec.n_chans, spec.n_times, *([spec.n_bands] if spec.n_bands else []))
    facts: dict = {"spec": dataclasses.asdict(spec), "subject_names": names, "class_of_clip": dataset.class_of_clip}
    facts |= {"n_windows": n_windows, "x_shape": (len(names) * n_samples, *shape)}
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    with (folder / "x.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": facts["x_shape"]}
        np.lib.format.write_array_header_1_0(file, header)
        for subject in names:
            block = np.ascontiguousarray(_samples(dataset, subject, input, recipe), dtype="<f4")
            assert block.size == n_samples * np.prod(shape), f"{subject}: {block.shape} samples"
            file.write(block.data)
            content.update(block.data)
    (folder / MANIFEST).write_text(json.dumps(facts | {"hash": content.hexdigest()[:16]}, indent=1), encoding="utf-8")


def _samples(dataset: Dataset, subject: str, input: str, recipe: Recipe) -> np.ndarray:
    """Samples of one subject, in the order of clips and time."""
    array = dataset.load(subject, input)
    # a data set from outside may have a `load` of its own
    check_subject(
        array,
        shape=dataset.shape(input),
        ch_names=dataset.ch_names,
        subject=subject,
        source=dataset.files(input)[subject],
    )
    return cut_windows(array, sfreq=dataset.sfreq, recipe=recipe) if input == "windows" else array


def _open(folder: Path, spec: SignalSpec) -> Prepared:
    """Map a conversion into memory. Raises BadInput where it is damaged."""
    try:
        facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names, class_of_clip, n_windows = facts["subject_names"], np.array(facts["class_of_clip"]), facts["n_windows"]
        x = np.load(folder / "x.npy", mmap_mode="r", allow_pickle=False)
        if x.shape != tuple(facts["x_shape"]) or x.dtype != np.float32:
            raise ValueError(f"x.npy has shape {x.shape} of {x.dtype}, the manifest {facts['x_shape']}")
        clips = np.tile(np.repeat(np.arange(len(class_of_clip)), n_windows), len(names))
        prepared = Prepared(
            spec=spec,
            x=x,
            labels=_read_only(class_of_clip[clips]),
            clips=_read_only(clips),
            subjects=_read_only(np.repeat(np.arange(len(names)), len(class_of_clip) * n_windows)),
            subject_names=tuple(names),
            hash=facts["hash"],
        )
        object.__setattr__(prepared, "folder", folder.resolve())
        return prepared
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{folder}: the converted data set is damaged: {type(error).__name__}: {error}",
            allowed="the files as they were written",
            do="remove this folder; it is converted again",
        ) from error


def _reopen(folder: Path, spec: SignalSpec, hash: str) -> Prepared:
    """Map a conversion that another process has opened. Raises BadInput where it is not there or has changed."""
    if not (folder / MANIFEST).is_file():
        raise BadInput(
            f"{folder}: the converted data set is not there, seen from {platform.node()}",
            allowed="a folder on storage that every node sees under the same path",
            do="put the output folder on shared storage, or convert the data set again where it was removed",
        )
    found = _open(folder, spec)
    if found.hash != hash:
        raise BadInput(
            f"{folder} holds the conversion {found.hash}",
            allowed=f"{hash}, which was sent",
            do="leave the folder as it is while a run uses it, and start again",
        )
    return found


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.int64)
    array.flags.writeable = False
    return array
