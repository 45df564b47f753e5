"""Recordings: what is checked of the facts of a data set. A class in; nothing, or BadInput that names the fact, out."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from valence.errors import BadInput
from valence.features import Band

if TYPE_CHECKING:
    from valence.datasets.base import Dataset


def check_facts(kind: type["Dataset"]) -> None:
    """Raise BadInput, naming class and fact, where the facts of a data set are missing or contradict each other."""
    for fact, got, allowed in _wrong_facts(kind):
        raise BadInput(
            f"data set {kind.__module__}.{kind.__qualname__}: {fact}: {got}",
            allowed=allowed,
            do="correct this attribute of the class",
        )


def _wrong_facts(kind: type["Dataset"]) -> Iterator[tuple[str, str, str]]:
    """Fact, what it is, what it may be. Later checks rely on earlier ones: only the first is to be taken."""
    for fact in ("name", "url", "licence", "doi"):
        value = getattr(kind, fact, None)
        if not (isinstance(value, str) and value.strip()):
            yield fact, repr(value), "a text that is not empty"
    for fact in ("ch_names", "classes", "films", "emotions"):
        value = getattr(kind, fact, None)
        if not (isinstance(value, tuple) and all(isinstance(name, str) and name for name in value)):
            yield fact, repr(value), "a tuple of texts, on the class itself"
    for fact in ("ch_names", "classes", "emotions"):
        names = getattr(kind, fact)
        if len(set(names)) < len(names):
            yield fact, f"repeats {', '.join(sorted({name for name in names if names.count(name) > 1}))}", "each once"
    if not kind.ch_names or len(kind.classes) < 2:
        yield "ch_names, classes", f"{len(kind.ch_names)} and {len(kind.classes)}", "1 channel and 2 classes or more"
    if not isinstance(kind.off_scalp, tuple) or set(kind.off_scalp) - set(kind.ch_names):
        yield "off_scalp", repr(kind.off_scalp), "a tuple of some of ch_names"
    if kind.emotions and len(kind.emotions) != len(kind.classes):
        yield "emotions", f"{len(kind.emotions)} for {len(kind.classes)} classes", "none, or one for each class"
    for fact in ("sfreq", "de_step_s"):
        if not _is_positive(value := getattr(kind, fact, None)):
            yield fact, repr(value), "a positive number"
    yield from _wrong_clips(kind)
    bands = getattr(kind, "bands", ())  # recordings may do without
    if not isinstance(bands, tuple) or not all(map(_is_band, bands)) or len({band.name for band in bands}) < len(bands):
        yield "bands", repr(bands), "a tuple of valence.features.Band, names all different, 0 <= low_hz < high_hz"


def _wrong_clips(kind: type["Dataset"]) -> Iterator[tuple[str, str, str]]:
    n_clips = getattr(kind, "n_clips", None)
    if type(n_clips) is not int or n_clips < 1:
        yield "n_clips", repr(n_clips), "a whole number of 1 or more"
    for fact in ("class_of_clip", "clip_seconds", "films"):
        value = getattr(kind, fact, None)
        if not isinstance(value, tuple) or len(value) != n_clips:
            yield fact, f"{len(value)} values" if isinstance(value, tuple) else repr(value), f"a tuple of {n_clips}"
    if not all(map(_is_positive, kind.clip_seconds)):
        yield "clip_seconds", repr(kind.clip_seconds), "positive numbers"
    labels = range(len(kind.classes))
    if not all(type(label) is int and label in labels for label in kind.class_of_clip):
        yield "class_of_clip", repr(kind.class_of_clip), f"whole numbers (int) from 0 to {len(labels) - 1}"
    if missing := sorted(set(labels) - set(kind.class_of_clip)):
        told = ", ".join(kind.classes[label] for label in missing)
        yield "class_of_clip", f"no clip of the class {told}", "a clip or more of every class"
    for fact in ("shown_seconds", "session_of_clip"):
        value = getattr(kind, fact)
        if value is not None and not (isinstance(value, tuple) and len(value) == n_clips):
            yield (
                fact,
                f"{len(value)} values" if isinstance(value, tuple) else repr(value),
                f"None, or {n_clips} values",
            )
    if not all(map(_is_positive, kind.shown_seconds or ())):
        yield "shown_seconds", repr(kind.shown_seconds), "positive numbers"
    if not all(type(session) is int for session in kind.session_of_clip or ()):
        yield "session_of_clip", repr(kind.session_of_clip), "whole numbers (int)"
    if kind.block_clips is not None and (type(kind.block_clips) is not int or kind.block_clips < 1):
        yield "block_clips", repr(kind.block_clips), "None, or a whole number of 1 or more"
    parts = kind.standard_split
    if not (parts is None or isinstance(parts, tuple)):
        yield "standard_split", repr(parts), "None or a tuple of 3 parts; what depends on the folder: standard_parts()"
    elif parts is not None:
        beyond = [clip for part in parts for clip in part.clips if clip not in range(kind.n_clips)]
        if len(parts) != 3 or beyond:
            yield "standard_split", f"{len(parts)} parts, clips {beyond}", f"3 parts of clips 0 to {kind.n_clips - 1}"


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value) and value > 0


def _is_band(band: object) -> bool:
    return isinstance(band, Band) and bool(band.name) and 0 <= band.low_hz < band.high_hz < math.inf
