"""Stage validity, from the hub: the same benchmarks through the library `datasets`, where it is installed."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from valence.benchmark_files import strings
from valence.benchmark_kinds import Benchmark
from valence.benchmark_rows import rows_of_table
from valence.benchmark_texts import BenchmarkTexts, texts_of_table
from valence.benchmarks import BENCHMARKS, benchmark
from valence.errors import BadInput

HUB = "hub"
"""in place of a folder"""


def benchmarks_on_hub(names: Sequence[str] = ()) -> dict[str, Benchmark]:
    """Benchmarks with an id on the hub. Raises BadInput for an unknown name, or one that has none."""
    rows = [benchmark(name) for name in names] or [row for row in BENCHMARKS.values() if row.hub]
    without = [row.name for row in rows if not row.hub]
    if without:
        raise BadInput(
            f"benchmarks from the hub: {', '.join(without)}",
            allowed=", ".join(row.name for row in BENCHMARKS.values() if row.hub),
            do="give a folder with the files of the others",
        )
    return {row.name: row for row in rows}


def load_from_hub(row: Benchmark, *, n_texts: int = 2000, n_training: int = 5000, seed: int = 0) -> BenchmarkTexts:
    """Download and read one benchmark; parameters and errors as of `valence.benchmark_texts.load_benchmark`.

    Raises BadInput too where `datasets` is not installed, or the hub cannot be reached.
    """
    if importlib.util.find_spec("datasets") is None:
        raise BadInput(
            "benchmarks from the hub: the package datasets is not installed",
            allowed="a folder with the benchmarks' files, or the package installed",
            do="pip install datasets, or fetch the files and give their folder",
        )
    import datasets

    place, _, configuration = row.hub.partition(":")
    try:
        found = datasets.load_dataset(place, configuration or None)
    except Exception as error:  # of a server, a cache, a file: they have no common type
        raise BadInput(
            f"benchmark {row.name}: {place} could not be loaded: {str(error).strip().splitlines()[0]}",
            allowed="an id that can be reached",
            do="check the network and HF_HUB_OFFLINE, or give a folder with the files",
        ) from error
    evaluated = next(
        (name for names in row.evaluation for name in found if re.fullmatch(names, name, re.IGNORECASE)), None
    )
    splits = {"train": "training"} | ({evaluated: "evaluation"} if evaluated else {})
    if not evaluated:
        splits["train"] = ""
    parts = []
    for name, split in splits.items():
        if name in found:
            place_of_split = Path(f"{row.hub}/{name}")
            table = strings(found[name].to_pandas(), place_of_split)
            parts.append(rows_of_table(row, table, place_of_split, split=split, seed=seed))
    return texts_of_table(
        row,
        pd.concat(parts, ignore_index=True),
        place=row.hub,
        files=sorted(splits),
        n_texts=n_texts,
        n_training=n_training,
        seed=seed,
    )
