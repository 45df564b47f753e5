"""Prepared arrays to tensors on the device of training: rows of a split, and DE features normalised.

Nothing is copied for a process: on a CPU the memory-mapped file is the tensor. Windows stay where `prepare` put them;
band features are normalised once for a split, by the first process that asks, into a file beside them.
"""

import hashlib
import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import nn

from valence.cell import canonical_hash
from valence.once import build_once
from valence.prepared import rows_of

if TYPE_CHECKING:
    from valence.prepared import Prepared
    from valence.splits import Split

NORMALISED = "x.npy"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A data set on a device. x, labels, clips and subjects have one row per sample of Prepared."""

    x: torch.Tensor
    labels: torch.Tensor
    clips: torch.Tensor
    subjects: torch.Tensor
    train: np.ndarray
    """int64, rows of the training part, ascending; so are validation and test"""
    validation: np.ndarray
    test: np.ndarray


_held: dict[tuple, Resident] = {}
_filtered: "WeakValueDictionary[tuple, Resident]" = WeakValueDictionary()
CPU_BUDGET = 2**31
"""bytes that filtered windows may take in a process"""
GPU_SHARE = 0.25
"""the same on a GPU, of its memory"""
FILTER_BATCH = 64


def resident(prepared: "Prepared", split: "Split", *, de_normalisation: str, device: str) -> Resident:
    """The data of a split on a device. The last one asked for is kept, for the other cells of a pack.

    Raises
    ------
    BadInput : where a subject or a part of the split has no samples.
    """
    key = (prepared.hash, split.name, split.train, split.validation, split.test, de_normalisation, str(device))
    if key not in _held:
        made = _load(prepared, split, de_normalisation=de_normalisation, device=device)
        _held.clear()
        _held[key] = made
    return _held[key]


def room_for(data: Resident) -> float:
    """How many times larger than the data its filtered windows may be."""
    device = data.x.device
    budget = CPU_BUDGET if device.type == "cpu" else GPU_SHARE * torch.cuda.get_device_properties(device).total_memory
    return budget / (data.x.numel() * data.x.element_size())


def filtered(data: Resident, front: nn.Module, *, of: str) -> Resident:
    """The data behind the fixed filters of a classifier, computed once and shared by the cells that hold it.

    Parameters
    ----------
    of : name of the classifier.
    """
    parts = (rows.tobytes() for rows in (data.train, data.validation, data.test))
    key = (of, data.x.data_ptr(), tuple(data.x.shape), *parts)
    with torch.no_grad():
        sample = front(data.x[:2])
        made = _filtered.get(key)
        if made is None or not torch.equal(made.x[:2], sample):
            x = sample.new_empty(len(data.x), *sample.shape[1:])
            for begin in range(0, len(x), FILTER_BATCH):
                x[begin : begin + FILTER_BATCH] = front(data.x[begin : begin + FILTER_BATCH])
            x[:2] = sample  # to the last bit what is compared above
            made = _filtered[key] = replace(data, x=x)
    return made


def _load(prepared: "Prepared", split: "Split", *, de_normalisation: str, device: str) -> Resident:
    train = rows_of(prepared, split.train)
    x: np.ndarray = prepared.x
    if prepared.spec.n_bands:
        x = _normalised(prepared, train, how=de_normalisation)
    return Resident(
        x=_tensor(x).to(device),
        labels=torch.tensor(prepared.labels, dtype=torch.int64, device=device),
        clips=torch.tensor(prepared.clips, dtype=torch.int64, device=device),
        subjects=torch.tensor(prepared.subjects, dtype=torch.int64, device=device),
        train=train,
        validation=rows_of(prepared, split.validation),
        test=rows_of(prepared, split.test),
    )


def _normalised(prepared: "Prepared", train: np.ndarray, *, how: str) -> np.ndarray:
    """Normalised band features, memory-mapped from a file that every process on this storage shares."""

    def made() -> np.ndarray:
        return normalise_de(prepared.x, subjects=prepared.subjects, train=train, how=how)

    if prepared.folder is None:
        return made()
    rows = hashlib.sha256(train.astype("<i8").tobytes()).hexdigest() if how == "train" else ""
    folder = prepared.folder.parent / f"{prepared.folder.name}-normalised-{canonical_hash([how, rows])}"

    def build(partial: Path) -> None:
        np.save(partial / NORMALISED, made())

    try:
        build_once(folder, is_complete=lambda found: (found / NORMALISED).is_file(), build=build)
    except OSError as error:  # a conversion that others share may be read-only: this process then has a copy
        logger.info("normalised features are not written: %s", error)
        return made()
    return np.load(folder / NORMALISED, mmap_mode="r", allow_pickle=False)


def normalise_de(x: np.ndarray, *, subjects: np.ndarray, train: np.ndarray, how: str) -> np.ndarray:
    """Z-score DE features per channel and band; no label is used.

    Parameters
    ----------
    x : float, (n_samples, n_chans, n_seconds, n_bands), natural-log µV².
    subjects : (n_samples,).
    train : rows of training subjects.
    how : "train", mean and sd over samples and seconds of the training subjects; "subject", over those of each subject
        by itself, test subjects included, so that a subject's classification waits for all its clips.

    Returns
    -------
    float32, the shape of x. A channel and band that never varies becomes 0.
    """
    groups = [(train, np.arange(len(x)))]
    if how == "subject":
        groups = [(rows, rows) for rows in (np.flatnonzero(subjects == subject) for subject in np.unique(subjects))]
    normalised = np.empty(x.shape, dtype=np.float32)
    for fitted_on, applied_to in groups:
        sample = np.asarray(x[fitted_on], dtype=np.float64)
        mean = sample.mean((0, 2), keepdims=True)
        sd = sample.std((0, 2), keepdims=True)
        normalised[applied_to] = (x[applied_to] - mean) / np.where(sd > 1e-8, sd, 1.0)
    return normalised


def _tensor(x: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing here writes to it
        return torch.from_numpy(x)
