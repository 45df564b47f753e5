"""Recordings: what is checked of what a data set names and reads. Files and arrays in; nothing, or BadInput, out."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from valence.errors import BadInput
from valence.features import Band

if TYPE_CHECKING:
    from valence.datasets.base import Recording

PLAUSIBLE_RMS_UV = (0.05, 5_000.0)
"""range of the median root mean square of a subject's channels; volts or counts fall outside"""
PLAUSIBLE_DE = tuple(
    0.5 * math.log(2 * math.pi * math.e) + math.log(rms) + margin
    for rms, margin in zip(PLAUSIBLE_RMS_UV, (-math.log(100), math.log(1e9)), strict=True)
)
"""range of the median differential entropy of a subject, nats, -6.2 to 30.7: that of the signals above, of which a band
holds a hundredth or more; SEED's features have an offset of their own, up by a scale that is not published. Volts lie
13.8 below µV. FACED's subjects have 1.7 to 3.4"""
LARGEST = float(np.finfo(np.float32).max)
"""float64 values beyond it would become infinite on conversion"""


def file_is_there(path: Path) -> bool:
    """Whether there is a file of this name. Raises BadInput where it is a folder, a pipe, or a link to nothing."""
    if path.is_file():
        return True
    if not (path.is_symlink() or path.exists()):
        return False
    what = "a folder" if path.is_dir() else "a link that leads nowhere" if path.is_symlink() else "a pipe or a device"
    raise BadInput(f"{path}: not a file: {what}", allowed="a file", do="fetch it again, or remove it")


def check_files(found: object, *, name: str) -> dict[str, tuple[Path, ...]]:
    """What `Dataset.files` gave. Raises BadInput unless it is a dictionary of tuples of paths by subject."""
    allowed = "from files(): a dictionary from subject (text) to a tuple of one pathlib.Path or more"
    do = "correct the method files of the data set"
    if not isinstance(found, Mapping):
        raise BadInput(f"data set {name}: files() gave a {type(found).__name__}", allowed=allowed, do=do)
    for subject, paths in found.items():
        fits = isinstance(subject, str) and isinstance(paths, tuple) and all(isinstance(path, Path) for path in paths)
        if not (fits and paths):
            raise BadInput(f"data set {name}: files() gave {subject!r}: {paths!r}", allowed=allowed, do=do)
    return dict(found)


def check_clips(
    found: "Recording",
    *,
    lengths: Sequence[int],
    tail: tuple[int, ...],
    ch_names: tuple[str, ...],
    subject: str,
    file: Path,
) -> None:
    """Raise BadInput unless it is a Recording whose clips are finite floats of their shape, (n_chans, length, *tail).

    A clip may be empty, (n_chans, 0, *tail), where a repair says so.
    """
    _check_recording(found, subject=subject, file=file)
    if len(found.clips) != len(lengths):
        raise BadInput(
            f"{file}: {subject} has {len(found.clips)} clips",
            allowed=f"{len(lengths)} clips",
            do="fetch the file again, or convert it to the published shape",
        )
    n_bad, first = 0, None
    for number, (clip, length) in enumerate(zip(found.clips, lengths, strict=True)):
        empty = bool(found.repairs) and clip.shape[1:2] == (0,)
        shape = (len(ch_names), 0 if empty else length, *tail)
        if clip.shape != shape or clip.dtype.kind != "f":
            raise BadInput(
                f"{file}: {subject}, clip {number + 1}, has shape {clip.shape} of {clip.dtype}",
                allowed=f"shape {shape} of float32 or float64",
                do="fetch the file again, or convert it to the published shape",
            )
        if clip.size and not float(np.abs(clip).max()) <= LARGEST:
            bad = ~(np.abs(clip) <= LARGEST)
            first = first or (number, int(np.argwhere(bad)[0][0]), clip[bad][0])
            n_bad += int(bad.any(axis=tuple(range(1, clip.ndim))).sum())
    if first:
        number, channel, value = first
        raise BadInput(
            f"{file}: {subject}, clip {number + 1}, channel {ch_names[channel]} holds {value}"
            f" (as do {n_bad} of {len(lengths) * len(ch_names)} channels and clips in all)",
            allowed="finite numbers",
            do="interpolate the channel, or remove the subject's file",
        )


def _check_recording(found: object, *, subject: str, file: Path) -> None:
    from valence.datasets.base import Recording  # it stands on this module

    if not isinstance(found, Recording):
        got = f"a {type(found).__name__}"
    elif not isinstance(found.clips, Sequence | np.ndarray):
        got = f"a Recording whose clips are a {type(found.clips).__name__}"
    elif wrong := [clip for clip in found.clips if not isinstance(clip, np.ndarray)]:
        got = f"a Recording with a {type(wrong[0]).__name__} among its clips"
    elif not isinstance(found.repairs, tuple) or not all(isinstance(text, str) for text in found.repairs):
        got = f"a Recording whose repairs are {found.repairs!r:.80}"
    else:
        return
    raise BadInput(
        f"{file}: reading {subject} gave {got}",
        allowed="a valence.datasets.base.Recording: clips, a numpy array each, and repairs, a tuple of sentences",
        do="correct the method read of the data set",
    )


def check_microvolts(
    clips: Sequence[np.ndarray] | np.ndarray, *, ch_names: tuple[str, ...], subject: str, file: Path
) -> None:
    """Raise BadInput where signals, (n_chans, n_times) a clip, cannot be EEG in µV, or a channel never varies."""
    low, high = PLAUSIBLE_RMS_UV
    sd = np.array([clip.std(axis=-1) for clip in _recorded(clips, subject, file)])
    rms = float(np.median(sd))
    if not low <= rms <= high:
        raise BadInput(
            f"{file}: {subject} has a median root mean square of {rms:.3g}",
            allowed=f"{low:g} to {high:g} µV",
            do="convert the recording to µV (1 V is 1,000,000 µV), or remove the subject's file",
        )
    flat = np.flatnonzero((sd == 0).all(axis=0))
    if flat.size:
        raise BadInput(
            f"{file}: {subject}: flat in every clip: {', '.join(ch_names[channel] for channel in flat)}",
            allowed="channels that vary",
            do="interpolate the channel (a processing with interpolate='detected'), or remove the subject's file",
        )


def check_band_features(
    clips: Sequence[np.ndarray] | np.ndarray,
    *,
    input: str,
    ch_names: tuple[str, ...],
    bands: tuple[Band, ...],
    subject: str,
    file: Path,
) -> None:
    """Raise BadInput where "de" or "psd", (n_chans, n_steps, n_bands) a clip, cannot be features of EEG in µV.

    That is a band of a channel that never varies, power below 0, or a median entropy as of volts.
    """
    steps = np.concatenate(_recorded(clips, subject, file), axis=1)  # (n_chans, all steps, n_bands)
    least, most = steps.min(axis=1), steps.max(axis=1)

    def refuse(bad: np.ndarray, told: str, allowed: str) -> BadInput:
        channel, band = np.argwhere(bad)[0]
        place = f"channel {ch_names[channel]}, band {bands[band].name}"
        return BadInput(
            f"{file}: {subject}, {place} {told.format(least[channel, band])}"
            f" (as do {int(bad.sum())} of {bad.size} channels and bands in all)",
            allowed=allowed,
            do="interpolate the channel and compute its features again, or remove the subject's file",
        )

    if input == "psd" and (least < 0).any():
        raise refuse(least < 0, "holds a power of {:.3g}", "power of 0 or more")
    if steps.shape[1] > 1 and (least == most).any():
        raise refuse(least == most, "holds {:.3g} in all clips and steps", "features that vary")
    low, high = PLAUSIBLE_DE
    if input == "de" and not low <= (median := float(np.median(steps))) <= high:
        raise BadInput(
            f"{file}: {subject} has a median differential entropy of {median:.3g}",
            allowed=f"{low:.3g} to {high:.3g}: nats, of signals in µV",
            do="compute it again in µV (of signals in V it is 13.8 less: add that), or remove the subject's file",
        )


def _recorded(clips: Sequence[np.ndarray] | np.ndarray, subject: str, file: Path) -> list[np.ndarray]:
    """The clips that are not empty. Raises BadInput where all are."""
    found = [clip for clip in clips if clip.size]
    if not found:
        raise BadInput(
            f"{file}: {subject} has no clip with a recording", allowed="1 or more", do="remove the subject's files"
        )
    return found
