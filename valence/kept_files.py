"""Results to arrays, the reading: columns of the Parquet files that a sweep keeps of a cell."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from valence.errors import BadInput


def read_table(path: Path, columns: tuple[str, ...]) -> pa.Table:
    """Some columns, and `part` where it is there. Raises BadInput where the file or a column is not."""
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, str(error).splitlines()[0]) from error
    if missing := [name for name in columns if name not in table.column_names]:
        raise damaged(path, f"no column {', '.join(missing)}")
    return table.select([*columns, *({"part"} & {*table.column_names} - {*columns})])


def float_matrix(table: pa.Table, name: str, path: Path) -> np.ndarray:
    """A column of lists of one length as (n_rows, length), float32."""
    column = table[name].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    if column.null_count or not len(column) or len(values) % len(column):
        raise damaged(path, f"{name}: {len(values)} numbers in {len(column)} rows")
    lengths = set() if pa.types.is_fixed_size_list(column.type) else set(column.value_lengths().to_pylist())
    if len(lengths) > 1:
        raise damaged(path, f"{name}: rows of {min(lengths)} to {max(lengths)} numbers")
    return np.array(values, dtype=np.float32).reshape(len(column), -1)


def text(table: pa.Table, name: str) -> np.ndarray:
    """A column of text, (n_rows,)."""
    return np.array(table[name].to_pylist(), dtype=str)


def whole_numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column of whole numbers, int64, (n_rows,)."""
    return table[name].to_numpy().astype(np.int64)


def damaged(path: Path, reason: str) -> BadInput:
    """The error for a file of a cell that cannot be used."""
    return BadInput(
        f"{path}: {reason}",
        allowed="the file as the sweep wrote it",
        do="move cells/<this id>.parquet away and run the sweep's command again: the cell is trained anew",
    )
