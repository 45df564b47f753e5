"""Recordings: what FACED's subjects felt. After_remarks.mat, BIDS events or a plain table in, one table out.

The table has a row for each subject and clip: subject ("sub000"), clip (from 0), rank (from 0: place at which the
subject watched it, -1 where not known) and twelve ratings from 0 to 7, NaN where one was not given. Sources agree; they
differ in order: After_remarks.mat and the events are in the order of presentation and name the clip in `vid` and
`video_index`.
"""

import csv
import math
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from valence.errors import BadInput
from valence.faced_bids import clip_rows
from valence.matlab_struct import NotReadableError, read_structures
from valence.registry import unknown_name

N_CLIPS = 28
RATINGS = (
    *("joy", "tenderness", "inspiration", "amusement", "anger", "disgust", "fear", "sadness"),
    *("arousal", "valence", "familiarity", "liking"),
)
"""in the order of `score` in After_remarks.mat, as the publisher's DataStructureOfBehaviouralData.xlsx has it"""
HIGHEST = 7.0
COLUMNS = ("subject", "clip", "rank", *RATINGS)
MOST_BYTES = 100_000
"""of After_remarks.mat; published ones have 3,200"""
_SUBJECT = re.compile(r"sub-?(\d{3})")


def read_after_remarks(path: Path, *, subject: str) -> pd.DataFrame:
    """Ratings of one subject from After_remarks.mat, 28 rows by clip. Raises BadInput where the file is not as said."""
    fields = ("score", "trial", "vid")
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise NotReadableError(f"it has {size:,} bytes; published ones have about 3,200")
        entries = read_structures(path, "After_remark", fields, n=N_CLIPS)
        rows = [
            (subject, _integer(entry["vid"]) - 1, _integer(entry["trial"]) - 1, *_score(entry["score"]))
            for entry in entries
        ]
    except (NotReadableError, OSError) as error:
        raise _refused(path, str(error)) from error
    return _table(rows, path)


def _refused(path: Path, got: str) -> BadInput:
    return BadInput(
        f"{path}: {got}",
        allowed=f"a MATLAB file (before 7.3) of up to {MOST_BYTES:,} bytes with a structure After_remark of {N_CLIPS}"
        " entries: vid and trial from 1 to 28, score of twelve numbers from 0 to 7",
        do="fetch the file again, or remove the subject's folder",
    )


def _integer(value: np.ndarray) -> int:
    if value.size != 1 or not np.isfinite(value[0]) or int(value[0]) != value[0] or abs(value[0]) > N_CLIPS + 1:
        raise NotReadableError(f"the number of a clip or trial is {value[:3]}, not 1 to {N_CLIPS}")
    return int(value[0])


def _score(value: np.ndarray) -> list[float]:
    if value.size != len(RATINGS):
        raise NotReadableError(f"a score has {value.size} numbers")
    return value.tolist()


def read_bids_ratings(path: Path) -> pd.DataFrame:
    """Ratings of one subject from a BIDS events.tsv, a row for each clip in it. Raises BadInput.

    The rank of a clip is its place among the rows; where a row is missing, all ranks are -1, as nobody knows which.
    """
    match = _SUBJECT.match(path.name)
    if not match:
        raise BadInput(f"{path}: no subject in its name", allowed="sub-000_task-…_events.tsv", do="restore its name")
    rows = clip_rows(path)
    subject = f"sub{match[1]}"
    table = _table([(subject, clip, rank, *_cells(row, path)) for rank, (clip, row) in enumerate(rows.items())], path)
    return table if len(table) == N_CLIPS else table.assign(rank=-1)


def read_ratings_table(path: Path) -> pd.DataFrame:
    """Ratings of many subjects from a CSV file: sub, presentation_rank (from 0), video_index (from 1), ratings."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            read = list(csv.DictReader(file))
        rows = []
        for row in read:
            match = _SUBJECT.fullmatch(row["sub"])
            if not match:
                raise ValueError(f"subject {row['sub']!r}")
            rows.append(
                (f"sub{match[1]}", int(row["video_index"]) - 1, int(row["presentation_rank"]), *_cells(row, path))
            )
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{path}: {type(error).__name__} {error}",
            allowed="UTF-8 text with columns sub, presentation_rank, video_index and the ratings Joy … Liking",
            do="correct the table",
        ) from error
    return _table(rows, path)


def _cells(row: dict[str, str], path: Path) -> list[float]:
    """The twelve ratings of a row of text, NaN for n/a. Raises BadInput for what is no number."""
    found = {key.strip().lower(): value for key, value in row.items() if isinstance(key, str)}
    ratings = []
    for name in RATINGS:
        text = (found.get(name) or "").strip()
        try:
            if name not in found:
                raise ValueError("there is no such column")
            ratings.append(math.nan if text.lower() in ("", "n/a", "nan") else float(text))
        except ValueError as error:
            raise BadInput(
                f"{path}: {name.capitalize()}: {error}", allowed="a number from 0 to 7, or n/a", do="correct the file"
            ) from error
    return ratings


def _table(rows: Sequence[tuple], path: Path) -> pd.DataFrame:
    """The table, by subject and clip. Raises BadInput where clips or ranks repeat, or a value is out of its range."""
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["subject", "clip"], ignore_index=True)
    table = table.astype({"clip": np.int64, "rank": np.int64} | dict.fromkeys(RATINGS, np.float64))
    ratings = table[list(RATINGS)].to_numpy()
    problems = {
        "no ratings": table.empty,
        "a clip twice for one subject": table.duplicated(["subject", "clip"]).any(),
        "one place in the presentation twice for one subject": table.duplicated(["subject", "rank"]).any(),
        "a clip that is not 1 to 28": not table["clip"].between(0, N_CLIPS - 1).all(),
        "a place in the presentation that is not 1 to 28": not table["rank"].between(0, N_CLIPS - 1).all(),
        # NaN passes: a rating that was not given
        "a rating outside 0 to 7": ((ratings < 0) | (ratings > HIGHEST)).any(),
    }
    for problem, found in problems.items():
        if found:
            raise BadInput(f"{path}: {problem}", allowed="each clip once, ratings from 0 to 7", do="correct the file")
    return table


def read_ratings(source: Path) -> pd.DataFrame:
    """Ratings of every subject that a folder (raw or BIDS, recordings not needed) or a CSV file has.

    Returns
    -------
    Table with columns `COLUMNS`, by subject and clip.

    Raises
    ------
    BadInput : where there are none, or a file is not as it should be.
    """
    if source.is_file():
        return read_ratings_table(source)
    tables = [
        *(
            read_after_remarks(path, subject=path.parent.name)
            for path in sorted(source.glob("Data/sub*/After_remarks.mat"))
        ),
        *(read_bids_ratings(path) for path in sorted(source.glob("sub-*/eeg/sub-*_events.tsv"))),
    ]
    if not tables:
        raise BadInput(
            f"{source}: no ratings",
            allowed="Data/subXXX/After_remarks.mat, sub-XXX/eeg/*_events.tsv, or a CSV file",
            do="name the folder that holds Data or the BIDS copy",
        )
    table = pd.concat(tables, ignore_index=True)
    if table.duplicated(["subject", "clip"]).any():
        raise BadInput(f"{source}: a subject is there twice", allowed="raw files or a BIDS copy", do="name one of them")
    return table


def valence_of_clips(table: pd.DataFrame) -> np.ndarray:
    """Self-rated valence of clips 1 to 28, the mean over subjects who rated it, float64 (28,); NaN where nobody did."""
    return table.groupby("clip")["valence"].mean().reindex(range(N_CLIPS)).to_numpy(dtype=np.float64)


def mean_valence(table: pd.DataFrame) -> np.ndarray:
    """As `valence_of_clips`. Raises BadInput where nobody rated a clip."""
    means = valence_of_clips(table)
    if np.isnan(means).any():
        clips = ", ".join(str(clip + 1) for clip in np.flatnonzero(np.isnan(means)))
        raise BadInput(f"nobody rated the valence of clip {clips}", allowed="a rating a clip", do="add subjects")
    return means


def mean_of_subjects(
    subjects: Sequence[str], *, known: Collection[str], read: Callable[[str], pd.DataFrame | None], where: Path
) -> np.ndarray | None:
    """`valence_of_clips` over some subjects of a data set.

    Parameters
    ----------
    known : all subjects that the data set has.
    read : ratings of a subject, None where there are none.
    where : folder of the data set, for messages.

    Returns
    -------
    None where none of them has ratings.

    Raises
    ------
    BadInput : for no subjects, one unknown or twice, or where some have ratings and others have none: what people felt
        would be that of the few.
    """
    if not subjects or len(set(subjects)) < len(subjects):
        raise BadInput(
            f"ratings of {'a subject twice' if subjects else 'no subjects'}",
            allowed="names of subjects, each once",
            do="name the training subjects",
        )
    for subject in subjects:
        if subject not in known:
            raise unknown_name("subject", subject, sorted(known))
    tables = {subject: read(subject) for subject in subjects}
    found = [table for table in tables.values() if table is not None]
    if not found:
        return None
    if missing := [subject for subject, table in tables.items() if table is None]:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise BadInput(
            f"{where}: ratings of {len(found)} of {len(subjects)} subjects: there are none of "
            f"{', '.join(missing[:5])}{more}",
            allowed="ratings of all training subjects, or of none",
            do="fetch Data/SUBJECT/After_remarks.mat of the others, or leave the target behaviour out",
        )
    return valence_of_clips(pd.concat(found, ignore_index=True))


def presentation(table: pd.DataFrame, subject: str) -> np.ndarray:
    """Rank from 0 at which a subject watched clips 1 to 28, int64 (28,), -1 where not known."""
    rows = table[table["subject"] == subject]
    return rows.set_index("clip")["rank"].reindex(range(N_CLIPS), fill_value=-1).to_numpy(dtype=np.int64)
