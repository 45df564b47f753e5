"""Rows of cells as Parquet: the schema, one row to bytes and back, whatever version of this program wrote them."""

import dataclasses
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from valence.cell import Cell

METRICS = (
    "balanced_accuracy",
    "accuracy",
    "kappa",
    "weighted_f1",
    "cross_entropy",
    "calibration_error",
    "brier",
    "validation_balanced_accuracy",
    "validation_kappa",
    "gradient_ratio",
    "axis_encoding",
)
_ARROW: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64()}
SCHEMA = pa.schema(
    [pa.field("cell_id", pa.string(), nullable=False), pa.field("pair_id", pa.string(), nullable=False)]
    + [pa.field(field.name, _ARROW[field.type], nullable=False) for field in dataclasses.fields(Cell)]
    + [pa.field(name, pa.float64()) for name in METRICS]
    + [
        pa.field("best_epoch", pa.int64()),
        pa.field("windows", pa.int64()),
        pa.field("recall", pa.list_(pa.float64())),
        pa.field("test_subjects", pa.list_(pa.string())),
        pa.field("subject_balanced_accuracy", pa.list_(pa.float64())),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("attempts", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64()),
        pa.field("mode", pa.string()),
        pa.field("rewrites", pa.list_(pa.string())),
        pa.field("compared_with", pa.string()),
        pa.field("notes", pa.list_(pa.string())),
        pa.field("cells_at_once", pa.int64()),
        pa.field("peak_memory_mb", pa.float64()),
        pa.field("device", pa.string()),
        pa.field("device_name", pa.string()),
        pa.field("versions", pa.string()),
        pa.field("finished_at", pa.timestamp("us", tz="UTC")),
    ]
)


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a zstd-compressed Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


class Damaged(ValueError):
    """Bytes that are not the row of the cell they are said to be."""


def row_bytes(row: dict[str, object]) -> bytes:
    """One cell's row as Parquet."""
    buffer = io.BytesIO()
    # of one row, compression, dictionaries and statistics make a larger file in three times the time
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), buffer, **plain)
    return buffer.getvalue()


def read_row(content: bytes, cell_id: str) -> pa.Table:
    """The row of one cell, in our columns: those that it lacks are null. Raises Damaged."""
    if not content:
        raise Damaged("the file is empty")
    try:
        table = in_columns(pq.ParquetFile(pa.BufferReader(content)).read())
    except (pa.ArrowException, OSError, KeyError) as error:
        raise Damaged(f"not Parquet of this program: {str(error).splitlines()[0]}") from error
    if (found := table["cell_id"].to_pylist()) != [cell_id]:
        raise Damaged(f"it does not hold this one cell, but {', '.join(map(str, found[:3])) or 'none'}")
    return table


def in_columns(table: pa.Table) -> pa.Table:
    """A table in the columns of SCHEMA. Raises KeyError or ArrowException where one that may not be null is missing."""
    if table.schema.equals(SCHEMA):
        return table
    columns = []
    for field in SCHEMA:
        if field.name in table.column_names:
            columns.append(table[field.name].cast(field.type))
        elif field.nullable:
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            raise KeyError(f"no column {field.name}")
    return pa.table(columns, schema=SCHEMA)
