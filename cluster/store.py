"""Results: committed cells as immutable Parquet files, put if absent; every view is rebuilt from them.

Layout of a sweep's folder:
  cells/<cell_id>.parquet        one row, committed exactly once; plain pandas and DuckDB read the folder
  predictions/<cell_id>.parquet  test logits of the cell, one row a sample
  features/<cell_id>.parquet     mean penultimate features of the cell on test subjects, one row a clip
  trained/<cell_id>.safetensors  weights of a cell that others build on
  failures/<cell_id>-<n>.parquet rows of failed attempts that were asked for again
  plans/<hash>.json              each command's grid, put if absent; the sweep is their union
  snapshots/snapshot-<n>.*       many rows in one file with its manifest, a view
  quarantine/<cell_id>-*.*       files that were no committed cells, each with the reason
With a URL (s3://bucket/prefix) all of the above lies there; what follows is always in a folder:
  modes/*.json                   how each classifier trains fastest on each kind of GPU
  .train/<cell_id>/              last epoch of a cell that trains on several devices, until it has ended
Everything random or slow stays out: a row is written once its cell has ended, never changed, never written twice.
"""

import json
import secrets
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import snapshots
from cluster.cell_table import METRICS, SCHEMA, Damaged, parquet_bytes, read_row, row_bytes
from cluster.committed_rows import CELLS, CommittedRows, file_of, ids_of
from cluster.files import Files, Folder, Unusable, open_files, put_if_absent, replace
from valence.cache import cache_folder, write_whole
from valence.cell import canonical_hash
from valence.errors import BadInput

__all__ = ["METRICS", "SCHEMA", "Store", "Unusable", "parquet_bytes", "put_if_absent", "replace"]

PLAN_FORMAT = 3
"""raised whenever a plan holds other things"""
TRAINED = ".safetensors"
PROBE_BYTES = 2**20
"""more than a row takes, so that a disk that is about to be full counts as full"""


class Store:
    """The committed results of one sweep, in a folder that every node can reach or in object storage.

    Parameters
    ----------
    folder : of the sweep; views lie here in any case.
    url : where committed results lie; in the folder where None.
    """

    def __init__(self, folder: Path, url: str | None = None):
        self.folder = folder
        self.cells = folder / CELLS
        self.url = url
        self.files: Files = Folder(folder) if url is None else open_files(url)
        self._rows = CommittedRows(self.files)

    def committed(self) -> set[str]:
        """Ids of all committed cells, done and failed, from file names alone."""
        return ids_of(self.files.names(CELLS))

    def is_committed(self, cell_id: str) -> bool:
        """True where a cell has ended, done or failed."""
        return self.files.exists(file_of(cell_id))

    def trained(self, cell_id: str) -> Path | None:
        """A file with the weights of a cell, if they are kept; from object storage a copy in the cache."""
        if not self.files.exists(_trained(cell_id)):
            return None
        if self.url is None:
            return self.folder / _trained(cell_id)
        copy = cache_folder() / "trained" / canonical_hash([self.url]) / f"{cell_id}{TRAINED}"
        if not copy.exists():
            write_whole(copy, lambda temporary: temporary.write_bytes(self.files.read(_trained(cell_id))))
        return copy

    def is_ended(self, cell_id: str, *, with_weights: bool) -> bool:
        """True where there is nothing left to do for a cell: it is committed, and its weights are kept if wanted."""
        if not self.is_committed(cell_id):
            return False
        if not with_weights or self.files.exists(_trained(cell_id)):
            return True
        row = self.row(cell_id)
        return row is not None and row["status"] == "failed"

    def ended(self, cell_ids: Iterable[str], *, with_weights: Collection[str]) -> set[str]:
        """Those of many cells for which there is nothing left to do; the weights of some are wanted."""
        committed = self.committed().intersection(cell_ids)
        kept = {name.removesuffix(TRAINED) for name in self.files.names("trained")} if with_weights else set()
        bare = committed.intersection(with_weights) - kept
        return committed - (bare - set(self.failed(bare)))

    def commit(
        self, row: dict[str, object], artifacts: dict[str, pa.Table] | None = None, *, weights: bytes | None = None
    ) -> bool:
        """Commit one cell; False where another worker was first. Its artifacts are in place before its row is.

        Raises Unusable where the store is full, read-only or out of reach; the cell is then not committed.
        """
        cell_id = str(row["cell_id"])
        if weights is not None:
            self.files.put_if_absent(_trained(cell_id), weights)
        for kind, table in (artifacts or {}).items():
            self.files.put_if_absent(f"{kind}/{cell_id}.parquet", parquet_bytes(table))
        return self.files.put_if_absent(file_of(cell_id), row_bytes(row))

    def rows(self, cell_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Committed rows, sorted by cell id; all of them or those asked for.

        A file that is no committed cell is put into quarantine with a warning, and its cell counts as not run.
        """
        return self._rows.table(None if cell_ids is None else set(cell_ids)).to_pandas()

    def row(self, cell_id: str) -> dict[str, object] | None:
        """One committed row, or None."""
        rows = self._rows.one(cell_id)
        return rows.to_pylist()[0] if rows is not None else None

    def artifact(self, kind: str, cell_id: str) -> pa.Table:
        """What is kept of a cell beside its row, "predictions" or "features". Raises FileNotFoundError."""
        return pq.read_table(pa.BufferReader(self.files.read(f"{kind}/{cell_id}.parquet")))

    def failed(self, cell_ids: Iterable[str]) -> list[str]:
        """Those of the cells whose committed row is a failure."""
        table = self._rows.table(set(cell_ids)).select(["cell_id", "status"])
        return sorted(row["cell_id"] for row in table.to_pylist() if row["status"] == "failed")

    def attempts(self, cell_id: str) -> int:
        """Failed attempts of a cell that were put aside so far."""
        n_attempts = 0
        while self.files.exists(_failure(cell_id, n_attempts + 1)):
            n_attempts += 1
        return n_attempts

    def failures(self, cell_id: str) -> list[str]:
        """Where the rows of earlier failed attempts lie."""
        return [f"{self.files.place}/{_failure(cell_id, number)}" for number in range(1, self.attempts(cell_id) + 1)]

    def retry(self, cell_id: str) -> None:
        """Put a failed row aside, so that its cell counts as not run. Nothing is deleted."""
        try:
            content = self.files.read(file_of(cell_id))
            row = read_row(content, cell_id).to_pylist()[0]
        except (FileNotFoundError, Damaged):
            row = {"status": "waiting"}
        if row["status"] != "failed":
            raise BadInput(f"cell {cell_id} has not failed", allowed="cells whose status is failed", do="see --status")
        self.files.put_if_absent(_failure(cell_id, row["attempts"]), content)
        # another command may have retried the same cell meanwhile: what it has committed since is left alone
        try:
            if self.files.read(file_of(cell_id)) == content:
                self.files.delete(file_of(cell_id))
        except FileNotFoundError:
            return

    def check_writable(self) -> None:
        """Raises Unusable where this process cannot write to the store."""
        name = f"probes/{secrets.token_hex(8)}"
        self.files.put_if_absent(name, bytes(PROBE_BYTES))
        self.files.delete(name)

    def compact(self, *, least: int = snapshots.WORTH_IT) -> str | None:
        """Write a snapshot where at least so many cells are in none; its name, or None.

        For the beginning or end of a command: workers have no business here, though racing compactors do no harm.
        """
        return self._rows.compact(least=least)

    def save_plan(self, plan: dict[str, object], name: str) -> None:
        """Record a command's grid; the same grid is recorded once."""
        path = f"plans/{name}.json"
        text = json.dumps({"format": PLAN_FORMAT, **plan}, sort_keys=True)
        if self.files.exists(path):
            self.files.touch(path)  # the plan asked for last speaks for the sweep
        else:
            self.files.put_if_absent(path, text.encode())

    def plans(self) -> dict[str, dict]:
        """All recorded grids by name, the one asked for last at the end. Raises BadInput where there is none."""
        names = [name for name in self.files.by_time("plans") if name.endswith(".json")]
        if not names:
            raise BadInput(
                f"{self.files.place} holds no sweep",
                allowed="a folder that a sweep was started in (it has plans/ and cells/)",
                do="check --out, or start a sweep there first",
            )
        plans = {name.removesuffix(".json"): json.loads(self.files.read(f"plans/{name}")) for name in names}
        old = [name for name, plan in plans.items() if plan.get("format") != PLAN_FORMAT]
        if old:
            raise BadInput(
                f"{self.files.place}/plans: grids of another version of this program: {', '.join(old)}",
                allowed=f"plans of format {PLAN_FORMAT}",
                do="remove them and run the sweep's command again: committed cells stay",
            )
        return plans


def _trained(cell_id: str) -> str:
    return f"trained/{cell_id}{TRAINED}"


def _failure(cell_id: str, attempt: object) -> str:
    return f"failures/{cell_id}-{attempt}.parquet"
