"""Stage validity, discovery: a folder of benchmarks in, the files of each row of `valence.benchmarks` out."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from valence.benchmark_files import SUFFIXES
from valence.benchmark_kinds import Benchmark, Part
from valence.benchmarks import BENCHMARKS, benchmark
from valence.errors import BadInput

TABLE = "|".join(re.escape(suffix[1:]) for suffix in SUFFIXES)


def find_benchmarks(folder: Path, names: Sequence[str] = ()) -> dict[str, Benchmark]:
    """Benchmarks whose files are in a folder, in its subfolders or in theirs.

    Parameters
    ----------
    names : to look for; all where none is given, and then those that are not there are left out.

    Raises
    ------
    BadInput : for an unknown name, no such folder, a named benchmark that is not there, or none at all.
    """
    rows = [benchmark(name) for name in names] or list(BENCHMARKS.values())
    files = listing(folder)
    found = {row.name: row for row in rows if parts_of(row, files, folder)}
    missing = [row.name for row in rows if row.name not in found] if names or not found else []
    if missing:
        raise BadInput(
            f"no files of {', '.join(missing)} in {folder}",
            allowed="one folder a benchmark, named after it (sst2, imdb, …), with the files as they are published, "
            f"or single files named after it (imdb.csv); known: {', '.join(BENCHMARKS)}",
            do="fetch the files from the sources in valence/benchmarks.py, or give another folder",
        )
    return found


def listing(folder: Path) -> list[str]:
    """Paths of all files of a folder, relative and with slashes, sorted; followed through links."""
    if not folder.is_dir():
        raise BadInput(
            f"benchmarks {folder}: {'not a folder' if folder.exists() else 'no such folder'}",
            allowed="a folder with the benchmarks' files",
            do="correct the path",
        )
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = [] if depth >= 4 else sorted(name for name in folders if not name.startswith("."))
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)


def parts_of(row: Benchmark, files: Sequence[str], folder: Path) -> list[tuple[Part, list[Path]]]:
    """The first form of publication whose evaluation files are there, each part with its files."""
    for parts in (*row.parts, *_tables(row)):
        found = [(part, _matching(row, part, files, folder)) for part in parts]
        found = [(part, paths) for part, paths in found if paths]
        complete = len(found) == len(parts) or all(part.label is None for part in parts)
        if complete and any(part.split != "training" for part, _ in found):
            return found
    return []


def _tables(row: Benchmark) -> list[tuple[Part, ...]]:
    """Forms common to all: tables named by split, alone or after the benchmark, and one table named after it."""
    own = "|".join(_spelled(name) for name in (row.name, *row.folders))
    shards = r"(?:-\d+-of-\d+)?"
    forms: list[tuple[Part, ...]] = []
    for anywhere in (False, True):
        prefix = rf"(?:{own})[-_. ]" if anywhere else ""
        train = rf"{prefix}train(?:ing)?{shards}\.(?:{TABLE})"
        training = Part(split="training", files=train, anywhere=anywhere)
        for split in row.evaluation:
            evaluated = Part(split="evaluation", files=rf"{prefix}(?:{split}){shards}\.(?:{TABLE})", anywhere=anywhere)
            forms.append((evaluated, training))
        forms.append((Part(split="", files=train, anywhere=anywhere),))
    forms.append((Part(split="", files=rf"(?:{own}){shards}\.(?:{TABLE})", anywhere=True),))
    return forms


def _matching(row: Benchmark, part: Part, files: Sequence[str], folder: Path) -> list[Path]:
    """Files of a part; of the same table in several formats the first."""
    own = {_normal(name) for name in (row.name, *row.folders)}
    pattern = re.compile(rf"(?:^|/){part.files}$", re.IGNORECASE)
    found = []
    for file in files:
        named = part.anywhere or any(_normal(name) in own for name in (folder.resolve().name, *file.split("/")[:-1]))
        if named and pattern.search(file):
            found.append(file)
    if part.form != "table":
        return [folder / file for file in found]
    formats = [suffix for suffix in SUFFIXES if any(file.lower().endswith(suffix) for file in found)]
    return [folder / file for file in found if file.lower().endswith(formats[0])]


def _normal(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _spelled(name: str) -> str:
    """A name however its words are joined: rotten-tomatoes, rotten_tomatoes, rottentomatoes."""
    return re.sub(r"[^a-z0-9]+", "[-_. ]?", name.lower())
