"""A store that is full, read-only or somebody else's: one message, nothing half-written, nothing lost."""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cluster.store import Store, Unusable
from tests.cluster.test_store import make_cell, make_row

COMMIT = """
import os, resource, sys
from pathlib import Path
import pyarrow as pa
from cluster.store import Store, Unusable
from tests.cluster.test_store import make_cell, make_row

folder, limit, user = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if user:
    os.setuid(user)
store, cell = Store(folder), make_cell(7)
try:
    store.commit(make_row(cell), {"predictions": pa.table({"x": list(range(200))})})
except Unusable as error:
    print(error)
    sys.exit(2)
"""


def commit_in_process(folder, repository, *, limit=0, user=0):
    command = [sys.executable, "-c", COMMIT, folder, str(limit), str(user)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60, env=environment)


def leftovers(folder):
    return [path for path in folder.rglob(".*")]


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path, repository):
    store = Store(tmp_path)
    store.commit(make_row(make_cell()))
    done = commit_in_process(tmp_path, repository, limit=2000)
    assert done.returncode == 2, done.stderr
    assert f"{make_cell(7).cell_id}.parquet cannot be written: the file is larger" in done.stdout
    assert done.stderr == ""
    assert leftovers(tmp_path) == []
    assert store.committed() == {make_cell().cell_id}
    assert commit_in_process(tmp_path, repository).returncode == 0
    assert len(store.rows()) == 2


@contextlib.contextmanager
def small_disk(folder, size="512k"):
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        store, committed = Store(disk), set()

        def fill():
            for seed in range(1000):
                store.commit(make_row(make_cell(seed)))
                committed.add(make_cell(seed).cell_id)

        with pytest.raises(Unusable, match=r"cannot be written: no space is left[\s\S]*committed cells stay"):
            fill()
        assert 0 < len(committed) < 100
        assert leftovers(disk) == []
        assert set(Store(disk).rows()["cell_id"]) == committed
        with pytest.raises(Unusable, match="no space"):
            store.check_writable()
        with pytest.raises(Unusable, match="no space"):
            store.compact(least=1)
        assert leftovers(disk) == []
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        assert store.commit(make_row(make_cell(999)))


def test_a_read_only_disk_is_told_and_still_read(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        store = Store(disk)
        store.commit(make_row(make_cell()))
        (store.cells / "0123456789abcdef.parquet").write_bytes(b"rubbish")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(Unusable, match="mounted read-only"):
            store.commit(make_row(make_cell(1)))
        with pytest.raises(Unusable, match="mounted read-only"):
            store.check_writable()
        assert len(Store(disk).rows()) == 1, "a damaged cell that cannot be moved is left out"
        assert leftovers(disk) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user_is_told(repository):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        folder.chmod(0o755)
        done = commit_in_process(folder, repository, user=65534)
        assert done.returncode == 2, done.stderr
        assert "this user may not write there" in done.stdout
        assert list(folder.iterdir()) == []
