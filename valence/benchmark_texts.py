"""Stage validity, loading: a folder of benchmarks in, training and evaluation texts with their scores out.

The two never share a text or a group (a document, a word's stem): where the source publishes a split it is kept, and
training texts that also occur among the evaluation texts are dropped; elsewhere groups are divided by a hash of their
name. What is sampled derives from a seed and the benchmark's name.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from valence.benchmark_folder import find_benchmarks, listing, parts_of
from valence.benchmark_kinds import Benchmark
from valence.benchmark_rows import read_part
from valence.cell import canonical_hash, derive_seed
from valence.errors import BadInput


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Texts with one score each per dimension."""

    texts: tuple[str, ...]
    scores: Mapping[str, np.ndarray]
    """valence and, where it is rated, arousal: float64 (n_texts,); 0 and 1 where the benchmark is binary"""
    groups: np.ndarray
    """(n_texts,), names; texts of one group belong on one side of a split"""

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchmarkTexts:
    """What is measured on: evaluation texts, and training texts for the supervised references alone."""

    benchmark: Benchmark
    evaluation: Texts
    training: Texts
    facts: Mapping[str, object]
    """files and their numbers of texts before sampling"""

    @property
    def hash(self) -> str:
        """16 hex digits over all texts and scores."""
        parts = [
            [list(part.texts), {name: values.tolist() for name, values in part.scores.items()}]
            for part in (self.evaluation, self.training)
        ]
        return canonical_hash([self.benchmark.name, parts])


def load_benchmark(
    row: Benchmark, folder: Path, *, n_texts: int = 2000, n_training: int = 5000, seed: int = 0
) -> BenchmarkTexts:
    """Read one benchmark of a folder.

    Parameters
    ----------
    n_texts, n_training : most evaluation and training texts; of more, as many are drawn, classes in proportion.

    Raises
    ------
    BadInput : for files that cannot be read, columns or labels that are not known, or scores that do not vary.
    """
    parts = parts_of(row, listing(folder), folder)
    if not parts:
        find_benchmarks(folder, [row.name])
    frames = [read_part(row, part, path, seed=seed) for part, paths in parts for path in paths]
    table = pd.concat(frames, ignore_index=True)
    files = sorted({path.name if part.form != "files" else path.parent.name for part, paths in parts for path in paths})
    return texts_of_table(row, table, place=str(folder), files=files, n_texts=n_texts, n_training=n_training, seed=seed)


def texts_of_table(
    row: Benchmark,
    table: pd.DataFrame,
    *,
    place: str,
    files: Sequence[str],
    n_texts: int,
    n_training: int,
    seed: int,
) -> BenchmarkTexts:
    """Texts to measure on, from a table with the columns text, group, split and the scores."""
    n_read = len(table)
    table = _without_duplicates(row, table[table["text"] != ""])
    training = _is_training(table)
    evaluated = set(table.loc[~training, "group"])
    shared = training & table["group"].isin(evaluated)
    table, training = table[~shared], training[~shared]
    _check(row, table[~training], n_read, place)
    facts = {
        "files": list(files),
        "n_read": n_read,
        "n_evaluation": int((~training).sum()),
        "n_training": int(training.sum()),
    }
    result = BenchmarkTexts(
        benchmark=row,
        evaluation=_sample(row, table[~training], n_texts, derive_seed(f"{seed}/{row.name}", "evaluation")),
        training=_sample(row, table[training], n_training, derive_seed(f"{seed}/{row.name}", "training")),
        facts=facts,
    )
    assert not set(result.evaluation.groups) & set(result.training.groups)
    assert not set(result.evaluation.texts) & set(result.training.texts)
    return result


def _without_duplicates(row: Benchmark, table: pd.DataFrame) -> pd.DataFrame:
    """Each text once, and none that its source scores in two ways on two sides (a word of both lists)."""
    if row.measure == "AUC":
        table = table[table.groupby("text")["valence"].transform("nunique") == 1]
    # evaluation first: a text of both stays there and leaves training
    order = table["split"].eq("training").argsort(kind="stable")
    return table.iloc[order].drop_duplicates("text").sort_index()


def _is_training(table: pd.DataFrame) -> pd.Series:
    """As published; where nothing is published for training, half of the groups by a hash of their names."""
    if (table["split"] == "training").any() or not len(table):
        return table["split"] == "training"
    return table["group"].map(lambda name: hashlib.sha256(str(name).encode()).digest()[0] % 2 == 0).astype(bool)


def _check(row: Benchmark, table: pd.DataFrame, n_read: int, place: str) -> None:
    problem = f"{n_read} texts leave {len(table)}" if len(table) < 10 else ""
    problem = problem or ("all scores are equal" if table["valence"].nunique() < 2 else "")
    if problem:
        raise BadInput(
            f"benchmark {row.name} in {place}: {problem} to evaluate on",
            allowed="at least 10 texts, with both classes or with ratings that differ",
            do="check that its files are whole",
        )


def _sample(row: Benchmark, table: pd.DataFrame, n: int, seed: int) -> Texts:
    """At most n rows in random order, classes in proportion and each at least twice."""
    order = np.random.default_rng(seed).permutation(len(table))
    if n < len(table):
        values = table["valence"].to_numpy()[order]
        classes = list(np.unique(values)) if row.measure == "AUC" else [None]
        chosen = [order if value is None else order[values == value] for value in classes]
        order = np.concatenate([of[: max(2, round(n * len(of) / len(table)))] for of in chosen])
    table = table.iloc[order]
    return Texts(
        texts=tuple(table["text"]),
        scores={name: table[name].to_numpy(dtype=float) for name in row.scores},
        groups=table["group"].to_numpy(dtype=str),
    )
