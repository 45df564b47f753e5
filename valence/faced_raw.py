"""Recordings: FACED's raw folder of one subject. `data.bdf`, `evt.bdf` and `After_remarks.mat` in, spans of clips out.

Triggers. `evt.bdf` is a BDF file with an empty channel and one of annotations. Known from the publisher's
Task_event.xlsx and from the BIDS copy, which was made of it: 100 the experiment starts, 1 to 28 the number of the clip
that follows, 101 it begins, 102 it ends; 201 and 202 stand around the rests; subjects 029, 045, 049, 059 and 060 did
another task as well, with 101 that no number precedes and no 102 follows; a few annotations are words ("Start
Impedance"). Read strictly: a clip is a number, then one 101, then 102; the first such of each number counts. Assumed:
the onsets of `evt.bdf` and the first sample of `data.bdf` share one clock, as the BIDS copy and the authors assume.

The order found must be the order that After_remarks.mat holds, which the experiment's program wrote by itself.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from valence.dataset_checks import file_is_there
from valence.errors import BadInput
from valence.faced_bdf import V_OF_MNE, read_header
from valence.faced_clips import Span
from valence.faced_files import read_recordings
from valence.faced_ratings import N_CLIPS, presentation, read_after_remarks

DATA, EVENTS, REMARKS = "data.bdf", "evt.bdf", "After_remarks.mat"
START, END = 101, 102
MOST_EVENT_BYTES = 50_000_000


def read_triggers(path: Path) -> list[tuple[float, str]]:
    """Onset in seconds and text of every annotation of `evt.bdf`, by onset. Raises BadInput where it is damaged."""
    import mne

    read_header(path)
    if (size := path.stat().st_size) > MOST_EVENT_BYTES:
        raise BadInput(f"{path}: {size:,} bytes", allowed=f"at most {MOST_EVENT_BYTES:,}", do="fetch the file again")
    try:
        found = mne.read_annotations(path)
    except Exception as error:  # mne raises what it meets in a damaged file
        raise BadInput(
            f"{path}: mne cannot read its annotations: {type(error).__name__}: {error}",
            allowed="a BDF file with a channel of annotations",
            do="fetch the file again",
        ) from error
    return sorted((float(onset), str(text).strip()) for onset, text in zip(found.onset, found.description))


def find_spans(triggers: Sequence[tuple[float, str]], source: Path) -> tuple[list[Span | None], tuple[str, ...]]:
    """Spans of clips 1 to 28, None where a clip has none, and repairs.

    Parameters
    ----------
    triggers : onset, s, and text, by onset.
    source : file they come from, for the repairs.
    """
    spans: list[Span | None] = [None] * N_CLIPS
    clip, start, n_stray, repairs = 0, None, 0, []
    for onset, text in triggers:
        code = int(text) if text.isascii() and text.isdigit() else 0
        if 1 <= code <= N_CLIPS:
            clip, start = code, None
        elif code == START and clip and start is None:
            start = onset
        elif code == START and clip:
            repairs.append(f"{source}: clip {clip} starts twice, at {start:.1f} and {onset:.1f} s: not used")
            clip = 0
        elif code == START:
            n_stray += 1
        elif code == END and clip and start is not None:
            if spans[clip - 1]:
                repairs.append(f"{source}: clip {clip} was shown again at {start:.1f} s: the first time is used")
            else:
                spans[clip - 1] = Span(start, onset)
            clip = 0
    if n_stray:
        repairs.append(f"{source}: {n_stray} starts without a clip's number before them are not used")
    return spans, tuple(repairs)


def subject_spans(folder: Path) -> tuple[list[Span | None], tuple[str, ...]]:
    """Spans of clips 1 to 28 in a subject's `data.bdf`, and repairs.

    Raises
    ------
    BadInput : where a file is missing or damaged, no clip is found, or the order is not that of After_remarks.mat.
    """
    events = folder / EVENTS
    spans, repairs = find_spans(read_triggers(events), events)
    shown = sorted((span.onset_s, clip) for clip, span in enumerate(spans) if span)
    if not shown:
        raise BadInput(
            f"{events}: no clip: no number from 1 to {N_CLIPS} with {START} and {END} after it",
            allowed=f"the triggers of {N_CLIPS} clips",
            do="fetch the file again, or remove the subject's folder",
        )
    remarks = folder / REMARKS
    ranks = presentation(read_after_remarks(remarks, subject=folder.name), folder.name)
    found = [clip for _, clip in shown]
    told = [int(clip) for clip in np.argsort(ranks) if clip in found]
    if found != told:
        place = next(index for index, (left, right) in enumerate(zip(found, told)) if left != right)
        raise BadInput(
            f"{events}: clip {found[place] + 1} was shown where {remarks.name} has clip {told[place] + 1}"
            f" (place {place + 1} of {len(found)})",
            allowed="the triggers and the ratings of one subject, in one order",
            do="fetch both files of this subject again",
        )
    return spans, repairs


def check_claims(info: Path, subject: str, data: Path) -> tuple[str, ...]:
    """Compare Recording_info.csv, where it is there, with the header of a recording.

    Returns
    -------
    A sentence where the unit claimed is not what mne makes of the header: header and amplitude are then believed.

    Raises
    ------
    BadInput : where the rates differ (files of two subjects were swapped), the table cannot be read, or it claims an
        unknown unit.
    """
    claim = read_recordings(info).get(subject) if file_is_there(info) else None
    if claim is None:
        return ()
    header = read_header(data)
    if claim.sfreq is not None and claim.sfreq != header.sfreq:
        raise BadInput(
            f"{data}: {header.sfreq:g} Hz, and {info.name} has {claim.sfreq:g} Hz for {subject}",
            allowed="one sampling rate",
            do="restore the published names of folders: this is another subject's recording",
        )
    unit = claim.unit
    if unit and unit not in ("V", *V_OF_MNE):
        raise BadInput(f"{info}: {subject} has unit {unit!r}", allowed="V or uV", do="fetch the table again")
    makes = "V" if set(header.units) & set(V_OF_MNE) else "uV"
    if unit and (unit == "V") != (makes == "V"):
        return (f"{data}: {info.name} claims {unit}, the header has {header.units[0]}: the header was believed",)
    return ()
