"""Stage validity, reading: a file of labelled texts, in one of the forms they are published in, to rows of strings.

Tables are TSV (read without quoting, as GLUE writes it), CSV (with quoting), JSON lines or Parquet, with or without a
header; other forms are one text a line, and one text a file. Everything comes out as strings: what a label means is
the benchmark's business.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from valence.errors import BadInput

SUFFIXES = (".tsv", ".txt", ".csv", ".jsonl", ".json", ".parquet")


def read_table(path: Path, *, names: Sequence[Sequence[str]] = (), known: Sequence[str] = ()) -> pd.DataFrame:
    """A table as strings, with column names in lower case.

    Parameters
    ----------
    names : column names of a file without a header, one list for each number of columns it may have.
    known : names of which at least one is in a header, lower case; a first row without any is data.

    Raises
    ------
    BadInput : for an empty file, one that is not UTF-8, damaged, of a number of columns that has no names, or with two
        columns of one name.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        table = _parquet(path)
    elif suffix in (".jsonl", ".json"):
        table = _json_lines(path)
    else:
        rows = _csv_rows(path) if suffix == ".csv" else _tab_rows(path)
        table = _with_header(path, rows, names=names, known=known)
    check_names(path, table.columns)
    if table.empty:
        raise bad_file(path, "it is empty", allowed="one text a row", do="fetch it again")
    return table


def read_lines(path: Path, *, encoding: str = "utf-8", comment: str = "") -> list[str]:
    """Lines with something in them, without those that begin with `comment`. Raises BadInput as `read_table`."""
    lines = [line.strip() for line in read_text(path, encoding=encoding).splitlines()]
    kept = [line for line in lines if line and not (comment and line.startswith(comment))]
    if not kept:
        raise bad_file(path, "it is empty", allowed="one text a line", do="fetch it again")
    return kept


def read_text(path: Path, *, encoding: str = "utf-8") -> str:
    """The text of a file. Raises BadInput where it is not of this encoding."""
    try:
        return path.read_text(encoding="utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise bad_file(
            path,
            f"byte {error.start} is not {encoding.upper()}",
            allowed=f"text in {encoding.upper()}",
            do=f"convert it, for instance: iconv -f latin1 -t utf-8 {path.name}",
        ) from error
    except OSError as error:
        raise bad_file(
            path, str(error), allowed="a file that can be read", do="check the path and its rights"
        ) from error


def strings(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A table as strings, names in lower case; what is missing is empty. Raises BadInput for doubled names."""
    check_names(path, [str(name).lower() for name in frame.columns])
    columns = {str(name).lower(): frame[name].astype(object) for name in frame.columns}
    return pd.DataFrame({name: of.where(of.notna(), "").map(str) for name, of in columns.items()})


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise BadInput where two columns have one name, upper and lower case alike, but for the empty one."""
    doubled = sorted({name for name in names if name and list(names).count(name) > 1})
    if doubled:
        raise bad_file(
            path,
            f"more than one column is named {', '.join(doubled)}",
            allowed="a name for each column, upper and lower case alike",
            do="rename or remove all but one",
        )


def bad_file(path: Path, why: str, *, allowed: str, do: str) -> BadInput:
    """The error for one file."""
    return BadInput(f"benchmark file {path}: {why}", allowed=allowed, do=do)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise bad_file(path, str(error).split("\n", 1)[0], allowed="a Parquet table", do="fetch it again") from error
    return strings(table, path)


def _json_lines(path: Path) -> pd.DataFrame:
    """One object a line, or one list of objects."""
    text = read_text(path).strip()
    # only a line break ends a row: rarer separators occur inside texts
    parts = [text] if text.startswith("[") else text.split("\n")
    rows: list[dict] = []
    for number, part in enumerate(parts, start=1):
        if not part.strip():
            continue
        try:
            found = json.loads(part)
        except (ValueError, RecursionError) as error:
            raise bad_file(
                path, f"line {number}: {error}", allowed="one JSON object a line", do="correct it"
            ) from error
        found = found if isinstance(found, list) else [found]
        if not all(isinstance(row, dict) for row in found):
            raise bad_file(path, f"line {number} is no object", allowed="one JSON object a line", do="correct it")
        rows += [
            {str(name).lower(): "" if value is None else str(value) for name, value in row.items()} for row in found
        ]
    return pd.DataFrame(rows).fillna("")


def _csv_rows(path: Path) -> list[list[str]]:
    read_text(path)  # the parser below would replace what is not UTF-8, or name no byte
    csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file, strict=True) if row]
    except csv.Error as error:
        raise bad_file(path, str(error), allowed="CSV with quoted texts", do="correct it") from error


def _tab_rows(path: Path) -> list[list[str]]:
    # splitlines would also end a row at the rarer separators that occur inside texts
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    return [line.rstrip("\t").split("\t") for line in lines if line.strip()]


def _with_header(
    path: Path, rows: list[list[str]], *, names: Sequence[Sequence[str]], known: Sequence[str]
) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame()
    first = [cell.strip().lower() for cell in rows[0]]
    if set(first) & set(known):
        header, rows = first, rows[1:]
    else:
        width = max(map(len, rows[:100]))
        header = next((list(given) for given in names if len(given) == width), [])
        if not header:
            raise bad_file(
                path,
                f"its first row has none of the columns looked for: {', '.join(cell[:30] for cell in first[:8])}",
                allowed=f"a header with one of {', '.join(known)}"
                + "".join(f", or no header and the columns {', '.join(given)}" for given in names),
                do="name the columns in the first row",
            )
    return pd.DataFrame([_fitted(path, row, header) for row in rows], columns=header, dtype=str)


def _fitted(path: Path, row: list[str], header: list[str]) -> list[str]:
    """A row of as many cells as the header: empty ones at its end may be left out; tabs in a last text belong to it."""
    surplus = len(row) - len(header)
    if surplus > 0 and path.suffix.lower() == ".csv" and any(row[len(header) :]):
        raise bad_file(
            path,
            f"a row has {len(row)} columns, not {len(header)}: {' | '.join(row)[:60]}",
            allowed="as many columns as the first row",
            do="put texts that have commas into quotation marks",
        )
    if surplus > 0:
        row = [*row[: len(header) - 1], "\t".join(row[len(header) - 1 :]).rstrip()]
    return row + [""] * -min(surplus, 0)
