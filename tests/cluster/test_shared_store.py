"""Two commands on one store at once, and a store that fails while a sweep runs: real drivers, actors and files."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from cluster.store import Store
from tests.cluster.noop_cells import LOG, PACK, make_cells
from tests.cluster.s3 import s3_server
from tests.cluster.test_full_disk import leftovers, small_disk

N_CELLS = 200


def start(repository, folder, n_cells, n_slots, *url, seconds):
    command = [sys.executable, "-m", "tests.cluster.noop_driver", folder, str(n_cells), str(n_slots), *url]
    environment = os.environ | {"NOOP_S": str(seconds), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=repository, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_drivers_lose_nothing_and_train_no_cell_twice_but_those_in_flight(tmp_path, repository):
    store = Store(tmp_path)
    drivers = [start(repository, tmp_path, N_CELLS, 1, seconds=0.25) for _ in range(2)]
    told = [driver.communicate(timeout=300) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], told
    trainings = Counter((tmp_path / LOG).read_text().split())
    assert set(trainings) == {cell.cell_id for cell in make_cells(N_CELLS)}
    rows = store.rows()
    assert sorted(rows["cell_id"]) == sorted(trainings)
    assert leftovers(tmp_path / "cells") == []
    twice = sum(trainings.values()) - N_CELLS
    reported = [int(out.split()[0]) for out, _ in told]
    assert min(reported) > 0, "both have worked"
    # of a pack that both have at once, the cells in flight when they meet: at its beginning and in its middle
    assert twice <= 2 * N_CELLS / PACK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_fills_up_ends_the_sweep_with_one_message(tmp_path, repository):
    with small_disk(tmp_path / "disk", size="1500k") as disk:
        driver = start(repository, disk, 1000, 2, seconds=0)
        out, errors = driver.communicate(timeout=300)
        assert driver.returncode == 2, out
        assert out.startswith("error: ")
        assert "Traceback" not in errors
        assert "no space is left" in out
        assert "run the same command again" in out
        n_committed = len(Store(disk).rows())
        assert 0 < n_committed < 1000
        assert leftovers(disk / "cells") == []
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        driver = start(repository, disk, n_committed + 20, 2, seconds=0)
        out, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, out
        assert len(Store(disk).rows()) >= n_committed + 20


def test_a_sweep_commits_to_object_storage_through_errors_and_stops_where_they_stay(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("VALENCE_STORE_PATIENCE_S", "4")
    with s3_server(monkeypatch) as faults:
        url = "s3://bucket/shared"
        store = Store(tmp_path, url)
        faults.method, faults.n_left = "PUT", 5
        driver = start(repository, tmp_path, 30, 2, url, seconds=0)
        out, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, (out, errors)
        assert out.startswith("30 []")
        assert faults.n_left == 0, "some were refused at first"
        assert store.committed() == {cell.cell_id for cell in make_cells(30)}
        assert not (tmp_path / "cells").exists()
        faults.n_left = 100_000
        driver = start(repository, tmp_path, 60, 2, url, seconds=0)
        out, errors = driver.communicate(timeout=300)
        assert driver.returncode == 2, (out, errors)
        assert out.startswith("error: s3://bucket/shared: probes/")
        assert "500" in out
        faults.n_left = 0
        assert len(store.rows()) == 30
