"""Recordings: FACED's BIDS copy. Sidecars of a recording in, spans of clips and bad channels out; fetching it.

NEMAR nm000112, CC-BY-4.0, doi 10.82901/nemar.nm000112.

`sub-XXX/eeg/sub-XXX_task-watchingVideoClips_{eeg.bdf,channels.tsv,events.tsv,eeg.json}`. The tables begin with a
byte-order mark. In events.tsv `video_index` is the clip (`value` is not), rows without one are other triggers, the
emotion of neutral clips is a backslash, and where a clip has several rows the first counts.
"""

import csv
import math
from pathlib import Path

from valence.errors import BadInput
from valence.faced_clips import Span
from valence.faced_files import FacedFiles

DATASET = "nm000112"
TASK = "task-watchingVideoClips"
NEUTRAL = "\\"
EXTRA = "install valence[faced]"


def _tsv(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a BIDS table. Raises BadInput where it cannot be read or lacks a column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = [{str(key): value or "" for key, value in row.items()} for row in reader]
            missing = set(needed) - set(reader.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise _refused(path, f"{type(error).__name__} {error}", needed) from error
    if missing:
        raise _refused(path, f"no column {', '.join(sorted(missing))}", needed)
    return rows


def _refused(path: Path, got: str, needed: tuple[str, ...]) -> BadInput:
    return BadInput(
        f"{path}: {got}",
        allowed=f"UTF-8 text, tab-separated, columns {', '.join(needed)}, as published",
        do="fetch the file again",
    )


def clip_rows(path: Path) -> dict[int, dict[str, str]]:
    """Row of events.tsv of each clip (from 0), in the order of presentation; the first row where a clip has several.

    Raises BadInput where an onset, a duration or a clip's number is none, or the emotion is another clip's.
    """
    needed = ("onset", "duration", "video_index")
    rows = [row for row in _tsv(path, needed) if row["video_index"].strip() not in ("", "n/a")]
    found: dict[int, dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: _number(row["onset"], path)):
        index = _number(row["video_index"], path)
        if index not in range(1, FacedFiles.n_clips + 1):
            raise _refused(path, f"video_index {row['video_index']}", needed)
        clip = int(index) - 1
        emotion = row.get("emotion_label", "").strip().lower().replace(NEUTRAL, "neutral")
        meant = FacedFiles.classes[FacedFiles.class_of_clip[clip]]
        if emotion not in ("", "n/a", meant):
            raise _refused(path, f"clip {clip + 1} has the emotion {emotion}, and is of {meant}", needed)
        found.setdefault(clip, row)
    return found


def _number(text: str, path: Path) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _refused(path, f"{text!r} is no number", ("onset", "duration", "video_index"))
    return number


def read_spans(path: Path) -> list[Span | None]:
    """Spans of clips 1 to 28 from events.tsv, None where a clip has no row. Raises BadInput where none has."""
    rows = clip_rows(path)
    if not rows:
        raise _refused(path, "no row with a video_index", ("onset", "duration", "video_index"))
    spans: list[Span | None] = [None] * FacedFiles.n_clips
    for clip, row in rows.items():
        onset, duration = _number(row["onset"], path), _number(row["duration"], path)
        spans[clip] = Span(onset, onset + duration)
    return spans


def bad_channels(path: Path) -> tuple[str, ...]:
    """Names of channels with the status "bad" in channels.tsv, as they are there; none where it has no such column."""
    return tuple(row["name"].strip() for row in _tsv(path, ("name",)) if row.get("status", "").strip() == "bad")


def sidecar(bdf: Path, kind: str) -> Path:
    """Path of a file beside a recording: "events.tsv", "channels.tsv" or "eeg.json"."""
    return bdf.with_name(bdf.name.removesuffix("eeg.bdf") + kind)


def fetch_bids(folder: Path, *, subjects: tuple[str, ...] = ()) -> Path:
    """Fetch the BIDS copy with eegdash: 34 GB, or what `subjects` need; what is there already is not fetched again.

    Parameters
    ----------
    folder : where to put it, in a folder of its own.
    subjects : names such as "sub000"; empty: all.

    Returns
    -------
    The folder of the BIDS copy.

    Raises
    ------
    BadInput : where the extra is missing, or the data set cannot be reached.
    """
    try:
        from eegdash import EEGDashDataset
    except ImportError as error:
        raise BadInput(f"eegdash is missing: {error}", allowed="the extra faced", do=EXTRA) from error
    chosen = {"subject": [name.removeprefix("sub").removeprefix("-") for name in subjects]} if subjects else {}
    try:
        dataset = EEGDashDataset(cache_dir=folder, dataset=DATASET, on_error="raise", **chosen)
        dataset.download_all()
    except Exception as error:  # eegdash, requests and the object store each raise their own
        raise BadInput(
            f"{DATASET} cannot be fetched: {type(error).__name__}: {error}",
            allowed="a network that reaches data.eegdash.org and NEMAR",
            do=f"try again, or fetch {DATASET} by other means (doi 10.82901/nemar.nm000112) and name its folder",
        ) from error
    return folder / DATASET
