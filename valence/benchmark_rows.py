"""Stage validity, rows: one file of a benchmark in, a table of text, group, split and scores out."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from valence.benchmark_files import bad_file, read_lines, read_table, read_text
from valence.benchmark_kinds import Benchmark, Part
from valence.cell import derive_seed

MAX_WORDS = 200
"""of a text that is read: longer reviews are cut at the end of a sentence"""
MOST_ROWS = 20_000
"""of one file that are looked at"""
STEM = 5
"""letters that two words of a lexicon share where they count as one group"""


def read_part(row: Benchmark, part: Part, path: Path, *, seed: int = 0) -> pd.DataFrame:
    """Rows of one file: text, group, split and the scores, texts cleaned and cut."""
    if part.form == "table":
        columns = {name for candidates in row.scores.values() for name in candidates}
        table = read_table(path, names=row.names, known=sorted({*row.text, *columns}))
        return rows_of_table(row, table, path, split=part.split, seed=seed)
    texts = [read_text(path, encoding=part.encoding)] if part.form == "files" else None
    texts = texts or read_lines(path, encoding=part.encoding, comment=part.comment)
    rows = pd.DataFrame({"text": texts, "group": "", "split": part.split, "valence": part.label})
    return _finished(row, rows, path, seed)


def rows_of_table(row: Benchmark, table: pd.DataFrame, path: Path, *, split: str, seed: int = 0) -> pd.DataFrame:
    """The same of a table of strings with column names in lower case; `path` is for messages."""
    text = _column(table, row.text, "the text", path)
    table = table[table[text] != ""]
    rows = pd.DataFrame({"text": table[text], "group": "", "split": split})
    for dimension, candidates in row.scores.items():
        values = table[_column(table, candidates, dimension, path)]
        rows[dimension] = _labels(row, values, path) if row.measure == "AUC" else _ratings(values, path)
    column, _, pattern = row.group.partition(":")
    if pattern and column in table.columns:
        documents = [re.sub(pattern, r"\1", value, count=1) for value in table[column]]
        rows["group"] = [f"{path.name}/{document}" for document in documents]
    return _finished(row, rows.dropna(subset=list(row.scores)), path, seed)


def _finished(row: Benchmark, rows: pd.DataFrame, path: Path, seed: int) -> pd.DataFrame:
    """Texts cleaned and cut; a text without a document is a group of its own, a word belongs to its stem.

    Of very many rows a sample is taken, by the seed and the names of benchmark and file: cleaning half a million
    reviews takes minutes, for a few thousand used.
    """
    if len(rows) > MOST_ROWS:
        chosen = derive_seed(f"{seed}/{row.name}", f"rows/{path.name}")
        rows = rows.sample(MOST_ROWS, random_state=np.random.default_rng(chosen))
    texts = [_cut(row.clean(text)) for text in rows["text"]]
    own = [text.lower()[:STEM] if row.kind == "lexicon" else text.lower() for text in texts]
    return rows.assign(text=texts, group=[group or name for group, name in zip(rows["group"], own, strict=True)])


def _column(table: pd.DataFrame, candidates: Sequence[str], what: str, path: Path) -> str:
    found = next((name for name in candidates if name in table.columns), None)
    if found is None:
        raise bad_file(
            path,
            f"no column of {what}; its columns are {', '.join(str(name) or '(no name)' for name in table.columns)}",
            allowed=f"one of {', '.join(candidates)}",
            do="rename the column in the file",
        )
    return found


def _labels(row: Benchmark, values: pd.Series, path: Path) -> pd.Series:
    words = values.str.strip().str.lower().str.replace(r"^(-?\d+)\.0$", r"\1", regex=True)
    present = set(words)
    for mapping in row.labels:
        if present <= set(mapping) and {mapping[word] for word in present} >= {0, 1}:
            return words.map(mapping).astype(float)
    known = [mapping for mapping in row.labels if present <= set(mapping)]
    shown = ", ".join(sorted(present)[:8])
    raise bad_file(
        path,
        f"all its labels are of one class: {shown}" if known else f"labels {shown}",
        allowed="both classes, as " + "; or ".join(", ".join(mapping) for mapping in row.labels),
        do="check that it is a whole file of this benchmark, with labels",
    )


def _ratings(values: pd.Series, path: Path) -> pd.Series:
    ratings = pd.to_numeric(values.str.strip().replace("", np.nan), errors="coerce").astype(float)
    wrong = values[~np.isfinite(ratings) & (values.str.strip() != "")]
    if len(wrong):
        raise bad_file(
            path,
            f"row {wrong.index[0] + 1} has the rating {wrong.iloc[0]!r}",
            allowed="numbers",
            do="correct the file",
        )
    return ratings


def _cut(text: str) -> str:
    """At most MAX_WORDS words, up to the last end of a sentence within them where there is one in their second half."""
    words = text.split(" ")
    if len(words) <= MAX_WORDS:
        return text
    ends = [index for index in range(MAX_WORDS // 2, MAX_WORDS) if words[index][-1:] in (".", "!", "?")]
    return " ".join(words[: ends[-1] + 1 if ends else MAX_WORDS])
