"""Committed rows as one table: each single file read once, most of them from a snapshot; damaged ones put aside."""

import hashlib
import logging
from collections.abc import Collection, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from cluster import snapshots
from cluster.cell_table import SCHEMA, Damaged, read_row
from cluster.files import Files, Unusable

logger = logging.getLogger(__name__)

CELLS = "cells"
QUARANTINE = "quarantine"
ENDING = ".parquet"
FEW = 64
"""files that are read sooner one by one than by way of a snapshot"""
AT_ONCE = 1000
"""small tables that are joined at once: thousands of them take more memory than their content"""


def file_of(cell_id: str) -> str:
    """Name of the file that a cell is committed as."""
    return f"{CELLS}/{cell_id}{ENDING}"


def ids_of(names: Iterable[str]) -> set[str]:
    """Cell ids of file names."""
    return {name.removesuffix(ENDING) for name in names if name.endswith(ENDING)}


class CommittedRows:
    """All rows of a store as far as they were asked for. What was read stays here, for as long as its file does."""

    def __init__(self, files: Files):
        self._files = files
        self._known = snapshots.Snapshot()
        self._looked = False
        self._in_snapshot: dict[str, str] = {}

    def table(self, wanted: Collection[str] | None = None) -> pa.Table:
        """Committed rows, sorted by cell id; all of them or those of the cells asked for.

        A file that is no committed cell is put into quarantine with a warning; its cell counts as not run.
        """
        stamps = self._stamps()
        ids = stamps.keys() if wanted is None else stamps.keys() & set(wanted)
        self._read({cell_id: stamps[cell_id] for cell_id in sorted(ids)})
        held = {cell_id: stamps[cell_id] for cell_id in ids if self._known.stamps.get(cell_id) == stamps[cell_id]}
        return _those(self._known, held).sort_by("cell_id")

    def one(self, cell_id: str) -> pa.Table | None:
        """The row of one cell, from its own file; None where it is not committed."""
        try:
            return self._checked(self._files.read(file_of(cell_id)), cell_id)
        except FileNotFoundError:
            return None

    def compact(self, *, least: int) -> str | None:
        """Write a snapshot where so many files are in none; its name, or None."""
        stamps = self._stamps()
        if len(stamps) < least:
            return None
        self._take_snapshot(stamps)
        if sum(self._in_snapshot.get(cell_id) != stamp for cell_id, stamp in stamps.items()) < least:
            return None
        self._read(stamps)
        held = {cell_id: stamp for cell_id, stamp in self._known.stamps.items() if stamps.get(cell_id) == stamp}
        table = _those(self._known, held)
        name = snapshots.write(self._files, table, held, made_from=self._known.name)
        if name is not None:
            self._known, self._in_snapshot = snapshots.Snapshot(table, held, name), held
        return name

    def _stamps(self) -> dict[str, str]:
        found = self._files.stamps(CELLS)
        return {name.removesuffix(ENDING): stamp for name, stamp in found.items() if name.endswith(ENDING)}

    def _read(self, stamps: dict[str, str]) -> None:
        """Make rows of these files known: from memory, from the newest snapshot, and the rest from themselves."""
        unknown = self._unknown(stamps)
        if len(unknown) > FEW and not self._looked:
            self._take_snapshot(stamps)
            unknown = self._unknown(stamps)
        if unknown:
            tables, read = [], {}
            batch: list[pa.Table] = []
            for name, content in self._files.read_each([file_of(cell_id) for cell_id in unknown]):
                cell_id = name.removeprefix(f"{CELLS}/").removesuffix(ENDING)
                row = None if content is None else self._checked(content, cell_id)
                if row is not None:
                    batch.append(row)
                    read[cell_id] = stamps[cell_id]
                if len(batch) == AT_ONCE:
                    tables.append(pa.concat_tables(batch).combine_chunks())
                    batch = []
            tables.append(pa.concat_tables([SCHEMA.empty_table(), *batch]).combine_chunks())
            old = {cell_id: stamp for cell_id, stamp in self._known.stamps.items() if cell_id not in read}
            new = snapshots.Snapshot(pa.concat_tables(tables), read)
            self._known = _joined(_part(self._known, old), new, name=self._known.name)

    def _take_snapshot(self, stamps: dict[str, str]) -> None:
        """Rows of the newest snapshot are known from now on, those whose very files are still there."""
        if self._looked:
            return
        base = snapshots.newest(self._files)
        self._looked, self._in_snapshot = True, base.stamps
        known = self._known.stamps
        fresh = {
            cell_id: stamp
            for cell_id, stamp in base.stamps.items()
            if stamps.get(cell_id) == stamp and cell_id not in known
        }
        self._known = _joined(self._known, _part(base, fresh), name=base.name)

    def _unknown(self, stamps: dict[str, str]) -> list[str]:
        return [cell_id for cell_id, stamp in stamps.items() if self._known.stamps.get(cell_id) != stamp]

    def _checked(self, content: bytes, cell_id: str) -> pa.Table | None:
        try:
            return read_row(content, cell_id)
        except Damaged as error:
            quarantine(self._files, cell_id, content, str(error))
            return None


def quarantine(files: Files, cell_id: str, content: bytes, reason: str) -> None:
    """Put a damaged file aside under a name of its own, with the reason beside it, and say so."""
    digest = hashlib.sha256(content).hexdigest()[:8]
    name = f"{QUARANTINE}/{cell_id}-{digest}"
    try:
        files.put_if_absent(f"{name}.txt", f"{file_of(cell_id)}: {reason}\n".encode())
        files.put_if_absent(f"{name}{ENDING}", content)
        # another command may have done the same, and the cell may be committed anew by now
        if files.read(file_of(cell_id)) == content:
            files.delete(file_of(cell_id))
    except FileNotFoundError:
        pass
    except Unusable as error:
        logger.warning("%s/%s is damaged (%s) and stays where it is: %s", files.place, file_of(cell_id), reason, error)
        return
    logger.warning(
        "cell %s counts as not run: its file was damaged (%s); it is kept as %s/%s%s",
        *(cell_id, reason, files.place, name, ENDING),
    )


def _part(rows: snapshots.Snapshot, stamps: dict[str, str]) -> snapshots.Snapshot:
    if len(stamps) == len(rows.stamps):
        return rows
    held = {cell_id: stamp for cell_id, stamp in rows.stamps.items() if cell_id in stamps}
    return snapshots.Snapshot(_those(rows, held), held, rows.name)


def _those(rows: snapshots.Snapshot, held: dict[str, str]) -> pa.Table:
    if len(held) == len(rows.stamps):
        return rows.table
    return rows.table.filter(pc.is_in(rows.table["cell_id"], value_set=pa.array(list(held), pa.string())))


def _joined(one: snapshots.Snapshot, other: snapshots.Snapshot, *, name: str | None) -> snapshots.Snapshot:
    """Two sets of rows without a cell in common."""
    table = pa.concat_tables([one.table, other.table]).combine_chunks()
    return snapshots.Snapshot(table, one.stamps | other.stamps, name)
