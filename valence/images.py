"""Stage validity, images: a folder of rated pictures in, their files, ratings and groups out.

Two tables are known: OASIS as published (Kurdi, Lozano and Banaji 2017, doi 10.3758/s13428-016-0715-3: the columns
Theme, Category, Valence_mean and Arousal_mean, pictures Theme.jpg), and any with the columns file and valence, and
arousal where it is rated.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from valence.benchmark_kinds import Benchmark
from valence.benchmark_texts import BenchmarkTexts, Texts
from valence.cache import file_hash
from valence.errors import BadInput

OASIS = {"name": "theme", "valence": "valence_mean", "arousal": "arousal_mean"}
PLAIN = {"name": "file", "valence": "valence", "arousal": "arousal"}
"""columns, lower case"""
SUFFIXES = (".jpg", ".jpeg", ".png")
LEAST = 10
STUDY = {"axis": ".869", "arousal": ".803", "ridge": ".836"}
"""what the study prints of OASIS; .789 for ridge on arousal"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Rated pictures."""

    files: tuple[Path, ...]
    rated: BenchmarkTexts
    """their ratings, in the place of texts the SHA-256 of each file; groups are pictures of one theme"""


def load_images(folder: Path) -> Images:
    """Pictures and ratings of a folder, in the order of its table.

    Raises BadInput where there is no table or more than one, a picture is missing, doubled or outside the folder, or
    ratings are not numbers that vary.
    """
    path, table, columns = _table(folder)
    names = [str(name).strip() for name in table[columns["name"]]]
    files = tuple(_file(folder, path, name) for name in names)
    if len(set(files)) < len(files):
        raise _bad(path, "a picture is named twice")
    scores = {"valence": _numbers(path, table, columns["valence"])}
    if columns["arousal"] in table:
        scores["arousal"] = _numbers(path, table, columns["arousal"])
    is_oasis = columns is OASIS
    row = Benchmark(
        name="oasis" if is_oasis else folder.resolve().name,
        title="OASIS" if is_oasis else folder.resolve().name,
        kind="images",
        measure="r",
        study=STUDY if is_oasis else {},
    )
    groups = np.array([re.sub(r"[\s_-]*\d+$", "", Path(name).stem if not is_oasis else name) or name for name in names])
    evaluation = Texts(texts=tuple(file_hash(file) for file in files), scores=scores, groups=groups)
    training = Texts(texts=(), scores={name: np.empty(0) for name in scores}, groups=np.empty(0, dtype=str))
    return Images(files=files, rated=BenchmarkTexts(benchmark=row, evaluation=evaluation, training=training, facts={}))


def _table(folder: Path) -> tuple[Path, pd.DataFrame, dict[str, str]]:
    """The one table of ratings in a folder, its column names lower case, and which of them are which."""
    if not folder.is_dir():
        raise BadInput(f"--images {folder}: no such folder", allowed="a folder", do="correct the path")
    found = []
    for path in sorted(folder.glob("*.csv")):
        try:
            table = pd.read_csv(path, encoding="utf-8-sig")
        except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
            raise _bad(path, str(error).splitlines()[0]) from error
        table.columns = [str(name).strip().lower() for name in table.columns]
        found += [
            (path, table, columns) for columns in (OASIS, PLAIN) if {columns["name"], columns["valence"]} <= {*table}
        ]
    if len(found) != 1:
        raise BadInput(
            f"--images {folder}: {len(found)} tables of ratings",
            allowed="one CSV with the columns file and valence, or OASIS.csv as published (Theme, Valence_mean)",
            do="put the table beside the pictures, or remove what is too many",
        )
    path, table, columns = found[0]
    if len(table) < LEAST or len({*table}) < len(table.columns):
        raise _bad(path, f"{len(table)} pictures" if len(table) < LEAST else "a column is there twice")
    return path, table, columns


def _file(folder: Path, table: Path, name: str) -> Path:
    """A picture by its name, with or without a suffix, beside the table or in images/."""
    for place in (folder, folder / "images", folder / "Images"):
        for suffix in ("", *SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)):
            path = place / f"{name}{suffix}"
            if name and path.is_file() and path.suffix.lower() in SUFFIXES:
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise _bad(table, f"{name!r} lies outside of the folder")
                return path
    raise _bad(table, f"no picture {name!r}")


def _numbers(path: Path, table: pd.DataFrame, column: str) -> np.ndarray:
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        raise _bad(path, f"the column {column} holds no numbers that vary")
    return values


def _bad(path: Path, why: str) -> BadInput:
    return BadInput(
        f"table of pictures {path}: {why}",
        allowed=f"one row for each of {LEAST} or more JPEG or PNG files of this folder, with numbers",
        do="correct the table, or fetch the pictures it names",
    )
