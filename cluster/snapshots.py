"""Many single rows as one file: snapshot-<n>.parquet and its manifest; a view that may be deleted at any time.

The single files stay the truth. A manifest says which cells its snapshot holds and the stamp of the file each was
read from; a reader takes a row from the snapshot only where that very file is still there. What was put aside, run
again or quarantined since is read from its own file. Both files are put if absent: compactors that race do no harm.
"""

import hashlib
import json
import logging
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.cell_table import SCHEMA, parquet_bytes
from cluster.files import Files

logger = logging.getLogger(__name__)

FOLDER = "snapshots"
FORMAT = 1
WORTH_IT = 2000
"""single files that the newest snapshot does not hold; reading one takes about 2 ms, in object storage more"""


@dataclass(frozen=True)
class Snapshot:
    """Rows of cells, with the stamps of the files they were read from."""

    table: pa.Table = field(default_factory=SCHEMA.empty_table)
    """columns of SCHEMA"""
    stamps: dict[str, str] = field(default_factory=dict)
    """by cell id, in the order of the rows"""
    name: str | None = None
    """None where there is none"""


def newest(files: Files) -> Snapshot:
    """The newest snapshot that is whole and has our columns; a damaged one is passed over with a warning."""
    for number in sorted(_numbers(files), reverse=True):
        name = name_of(number)
        try:
            return _opened(files, name)
        except FileNotFoundError:  # its writer was ended between the two files
            continue
        except _OtherColumns:
            logger.info("%s/%s is of another version of this program: the single files are read", files.place, name)
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            logger.warning(
                "%s/%s/%s is damaged and passed over (%s): the single files are read, and nothing is lost",
                *(files.place, FOLDER, name, str(error).splitlines()[0]),
            )
    return Snapshot()


def write(files: Files, table: pa.Table, stamps: dict[str, str], *, made_from: str | None) -> str | None:
    """Write the next snapshot.

    Parameters
    ----------
    table : rows in the columns of SCHEMA.
    stamps : of the files they were read from, by cell id, in the order of the rows.
    made_from : name of the snapshot that some of the rows come from.

    Returns
    -------
    str : its name; None where another command was writing the same one.
    """
    name = name_of(max(_numbers(files), default=0) + 1)
    content = parquet_bytes(table)
    manifest = {
        "format": FORMAT,
        "snapshot": f"{name}.parquet",
        "sha256": hashlib.sha256(content).hexdigest(),
        "columns": SCHEMA.names,
        "made_from": {"snapshot": made_from, "n_cells": len(stamps)},
        "cells": stamps,
    }
    if not files.put_if_absent(f"{FOLDER}/{name}.parquet", content):
        return None
    text = json.dumps(manifest, separators=(",", ":"))
    return name if files.put_if_absent(f"{FOLDER}/{name}.json", text.encode()) else None


def name_of(number: int) -> str:
    """Name of a snapshot, without its ending."""
    return f"snapshot-{number:06d}"


class _OtherColumns(Exception):
    pass


def _opened(files: Files, name: str) -> Snapshot:
    manifest = json.loads(files.read(f"{FOLDER}/{name}.json"))
    if manifest["format"] != FORMAT or manifest["columns"] != SCHEMA.names:
        raise _OtherColumns
    content = files.read(f"{FOLDER}/{name}.parquet")
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise ValueError("its SHA-256 is not that of its manifest")
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    if not table.schema.equals(SCHEMA) or table["cell_id"].to_pylist() != list(manifest["cells"]):
        raise ValueError("it does not hold the cells of its manifest")
    return Snapshot(table=table, stamps=manifest["cells"], name=name)


def _numbers(files: Files) -> set[int]:
    names = (name.partition(".")[0].removeprefix("snapshot-") for name in files.names(FOLDER))
    return {int(number) for number in names if number.isdecimal()}
