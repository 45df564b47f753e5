"""Recordings to arrays ready for training: read and checked once, converted once, then memory-mapped.

In: a data set, an input and a recipe. Out: x, labels, clips and subjects, with a hash of their content.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import pandas as pd

from valence.cell import Recipe, canonical_hash
from valence.conversion import ARRAY, MANIFEST, SAMPLES, convert
from valence.datasets.base import Dataset, Part
from valence.errors import BadInput
from valence.once import build_once
from valence.registry import unknown_name
from valence.samples import steps_per_sample
from valence.signal import SignalSpec
from valence.sources import FORMAT, identity

TOLERANCE = 1e-9
"""of a sample's place in its clip, as a share of the clip"""


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
    begins: np.ndarray
    """float64, (n_samples,), where a sample begins, as a share of its clip's length"""
    ends: np.ndarray
    """float64, (n_samples,), where it ends"""
    subject_names: tuple[str, ...]
    hash: str
    """16 hex digits over arrays, names and spec"""
    folder: Path | None = field(default=None, init=False, repr=False, compare=False)
    """absolute, of the conversion that all of this was read from; not kept by `dataclasses.replace`"""

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple:
        if self.folder is None:
            return super().__reduce_ex__(protocol)
        return _reopen, (self.folder, self.spec, self.hash)


def prepare(
    dataset: Dataset,
    input: str,
    recipe: Recipe,
    folder: Path,
    *,
    workers: int | None = None,
    on_subject: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Convert a data set, or find it converted where its files, its reader and the recipe's input fields are the same.

    Samples are ordered by subject, clip and time. Files are compared by content. A call that was killed is finished by
    the next one.

    Parameters
    ----------
    dataset : with the input on disk.
    input : "windows" or "de".
    recipe : rate, length, stride and scale of windows; kind and length of band features.
    folder : conversions are kept here, each in a folder of its own.
    workers : subjects converted at once; None: a core each where there is enough to read.
    on_subject : called with the number of subjects that are done, and of all.

    Raises
    ------
    BadInput : where a file, the recipe or an earlier conversion cannot be used.
    """
    if input not in ("windows", "de"):
        raise unknown_name("input of classifiers", input, ["windows", "de"])
    spec = signal_spec(dataset, input, recipe)
    about = identity(dataset, input, recipe, spec)
    home = build_once(
        Path(folder) / canonical_hash(about),
        is_complete=lambda found: (found / MANIFEST).is_file(),
        build=lambda partial: convert(
            dataset, input, recipe, spec, partial, about=about, workers=workers, on_subject=on_subject
        ),
        # of any sources: where one subject's file was mended, those before it are kept
        draft=canonical_hash({name: value for name, value in about.items() if name != "sources"}),
    )
    return _open(home, spec)


def signal_spec(dataset: Dataset | type[Dataset], input: str, recipe: Recipe) -> SignalSpec:
    """What a classifier is told about this input; needs the data set's facts alone."""
    if input == "de":
        n_times, sfreq, n_bands = steps_per_sample(dataset, recipe), 1 / dataset.de_step_s, len(dataset.bands)
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


def read_manifest(prepared: Prepared) -> dict:
    """What is known of a conversion: spec, subjects, sources with SHA-256, steps, repairs, versions."""
    assert prepared.folder is not None, "made by prepare"
    return json.loads((prepared.folder / MANIFEST).read_text(encoding="utf-8"))


def rows_of(prepared: Prepared, part: Part) -> np.ndarray:
    """Ascending rows of all samples of a part: int64.

    Raises BadInput where a subject has no recording, or no sample lies within the part.
    """
    number = {name: index for index, name in enumerate(prepared.subject_names)}
    missing = [name for name in part.subjects if name not in number]
    if missing:
        raise BadInput(
            f"the split names subjects without recordings: {', '.join(missing)}",
            allowed=f"{len(number)} subjects, {prepared.subject_names[0]} to {prepared.subject_names[-1]}",
            do="make the split for the data set at hand",
        )
    chosen = (prepared.begins >= part.start - TOLERANCE) & (prepared.ends <= part.stop + TOLERANCE)
    if part.subjects:
        chosen &= np.isin(prepared.subjects, [number[name] for name in part.subjects])
    if part.clips:
        chosen &= np.isin(prepared.clips, part.clips)
    if not chosen.any():
        raise BadInput(
            f"a part of the split has no sample: {len(part.subjects)} subjects, {len(part.clips)} clips, "
            f"{part.start:.0%} to {part.stop:.0%} of each clip",
            allowed="samples that fit into the part",
            do="take shorter windows (--window-s; of band features --de-window-s), or another split",
        )
    return np.flatnonzero(chosen)


def _open(folder: Path, spec: SignalSpec) -> Prepared:
    """Map a conversion into memory. Raises BadInput where it is damaged."""
    try:
        facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        table = pd.read_parquet(folder / SAMPLES)
        x = np.load(folder / ARRAY, mmap_mode="r", allow_pickle=False)
        if x.shape != tuple(facts["x_shape"]) or x.dtype != np.float32:
            raise ValueError(f"x.npy has shape {x.shape} of {x.dtype}, the manifest {facts['x_shape']}")
        if len(table) != len(x):
            raise ValueError(f"{SAMPLES} has {len(table)} rows for {len(x)} samples")
        if (version := facts["made_from"]["format"]) != FORMAT:
            raise ValueError(f"it is of version {version}, this is {FORMAT}")
        names = facts["subject_names"]
        if not (table["subject"].isin(names).all() and table["label"].between(0, spec.n_outputs - 1).all()):
            raise ValueError(f"{SAMPLES} has subjects or labels that {MANIFEST} does not know")
        prepared = Prepared(
            spec=spec,
            x=x,
            labels=_read_only(table["label"], np.int64),
            clips=_read_only(table["clip_index"], np.int64),
            subjects=_read_only(pd.Categorical(table["subject"], categories=names).codes, np.int64),
            begins=_read_only(table["begin_share"], np.float64),
            ends=_read_only(table["end_share"], np.float64),
            subject_names=tuple(names),
            hash=facts["hash"],
        )
        object.__setattr__(prepared, "folder", folder.resolve())
        return prepared
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
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


def _read_only(values, dtype) -> np.ndarray:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array
