"""The places a store can be in: all of them keep the same promises, and say what is wrong with them."""

import itertools
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from cluster.files import Folder, Unusable, open_files
from cluster.store import Store
from tests.cluster.s3 import s3_server
from tests.cluster.test_store import make_cell, make_row
from valence.errors import BadInput

_number = itertools.count()


@pytest.fixture
def s3(monkeypatch):
    """Faults of a server that speaks S3."""
    monkeypatch.setenv("VALENCE_STORE_PATIENCE_S", "20")
    with s3_server(monkeypatch) as faults:
        yield faults


def new_url():
    return f"s3://bucket/sweep-{next(_number)}"


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def files(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path)
    if request.param == "file":
        return open_files(f"file://{tmp_path}/new")
    if request.param == "memory":
        return open_files(f"memory:///{next(_number)}")
    request.getfixturevalue("s3")
    return open_files(new_url())


def test_all_places_keep_the_same_promises(files):
    assert files.names("cells") == []
    assert files.stamps("cells") == {}
    assert files.put_if_absent("cells/a", b"first")
    assert not files.put_if_absent("cells/a", b"second")
    assert files.read("cells/a") == b"first"
    assert files.put_if_absent("cells/b", b"")
    assert files.put_if_absent("plans/c", b"third")
    assert sorted(files.names("cells")) == ["a", "b"]
    assert files.exists("cells/a")
    assert not files.exists("cells/z")
    with pytest.raises(FileNotFoundError):
        files.read("cells/z")
    assert list(files.read_each(["cells/b", "cells/z", "cells/a"])) == [
        *(("cells/b", b""), ("cells/z", None), ("cells/a", b"first"))
    ]
    files.delete("cells/z")
    files.delete("cells/b")
    assert files.names("cells") == ["a"]


def test_stamps_tell_contents_apart_and_the_last_touched_is_last(files):
    files.put_if_absent("plans/a", b"one")
    time.sleep(1.1 if files.place.startswith("s3") else 0.02)  # S3 counts in seconds
    files.put_if_absent("plans/b", b"two")
    before = files.stamps("plans")
    assert files.by_time("plans") == ["a", "b"]
    assert files.stamps("plans") == before
    time.sleep(1.1 if files.place.startswith("s3") else 0.02)
    files.touch("plans/a")
    assert files.by_time("plans") == ["b", "a"]
    assert files.read("plans/a") == b"one"
    files.replace("plans/b", b"six")
    after = files.stamps("plans")
    assert set(after) == {"a", "b"}
    assert after["b"] != before["b"]


@pytest.mark.parametrize("start", range(3))
def test_of_racing_writers_one_wins(files, start):
    barrier = Barrier(8)

    def write(number):
        barrier.wait()
        return files.put_if_absent("cells/x", str(number).encode() * 1000)

    with ThreadPoolExecutor(8) as pool:
        wins = list(pool.map(write, range(8)))
    assert sum(wins) == 1
    assert files.read("cells/x") == str(wins.index(True)).encode() * 1000


def test_a_store_in_object_storage_is_used_as_one_in_a_folder(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("VALENCE_CACHE", str(tmp_path / "cache"))
    url = new_url()
    store = Store(tmp_path / "out", url)
    cells = [make_cell(seed) for seed in range(3)]
    with pytest.raises(BadInput, match="holds no sweep"):
        store.plans()
    store.save_plan({"cells": []}, "a")
    assert list(store.plans()) == ["a"]
    assert store.commit(make_row(cells[0]), weights=b"weights")
    assert not store.commit(make_row(cells[0], balanced_accuracy=0.9))
    store.commit(make_row(cells[1], status="failed"))
    store.files.put_if_absent(f"cells/{cells[2].cell_id}.parquet", b"rubbish")
    other = Store(tmp_path / "elsewhere", url)
    assert other.rows()["balanced_accuracy"].dropna().tolist() == [0.25]
    assert other.committed() == {cells[0].cell_id, cells[1].cell_id}
    assert len(other.files.names("quarantine")) == 2
    assert other.trained(cells[0].cell_id).read_bytes() == b"weights"
    assert other.trained(cells[1].cell_id) is None
    ids = [cell.cell_id for cell in cells]
    assert other.ended(ids, with_weights=ids) == set(ids[:2])
    other.retry(cells[1].cell_id)
    assert store.attempts(cells[1].cell_id) == 1
    assert store.commit(make_row(cells[1], attempts=2))
    assert store.compact(least=1) == "snapshot-000001"
    monkeypatch.setattr("cluster.committed_rows.FEW", 0)
    assert len(Store(tmp_path, url).rows()) == 2
    store.check_writable()
    assert store.files.names("probes") == []
    assert not (tmp_path / "out").exists()


def test_an_error_that_passes_is_waited_for(s3):
    files = open_files(new_url())
    s3.method, s3.n_left = "PUT", 2
    assert files.put_if_absent("cells/a", b"one")
    assert [request[2] for request in s3.requests if request[0] == "PUT"] == ["*"] * 3
    s3.method, s3.n_left, s3.status = "GET", 2, "503 Slow Down"
    assert files.names("cells") == ["a"]


def test_who_wrote_and_did_not_hear_of_it_has_won(s3):
    files = open_files(new_url())
    s3.method, s3.n_left, s3.carried_out = "PUT", 1, True
    assert files.put_if_absent("cells/a", b"one")
    assert len([request for request in s3.requests if request[0] == "PUT"]) == 2, "the second one was refused"
    assert files.read("cells/a") == b"one"
    assert not files.put_if_absent("cells/a", b"two")


def test_a_refusal_commits_nothing_and_is_no_error(s3):
    files = open_files(new_url())
    s3.method, s3.n_left, s3.status = "PUT", 1, "412 Precondition Failed"
    assert not files.put_if_absent("cells/a", b"one")
    assert files.names("cells") == []
    assert files.put_if_absent("cells/a", b"one"), "the cell is run again and committed then"


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_an_error_that_stays_is_told(s3, monkeypatch, method):
    monkeypatch.setenv("VALENCE_STORE_PATIENCE_S", "1")
    files = open_files(new_url())
    s3.method, s3.n_left = method, 1000
    started = time.monotonic()
    with pytest.raises(Unusable, match=r"s3://bucket/sweep-\d+: cells.* cannot be (written|listed)[\s\S]*500"):
        files.put_if_absent("cells/a", b"one") if method == "PUT" else files.names("cells")
    assert time.monotonic() - started < 15


def test_a_store_that_cannot_be_reached_is_told(tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        words = {"ENDPOINT_URL": f"http://127.0.0.1:{unused.getsockname()[1]}", "ALLOW_HTTP": "true"}
    for name, word in {**words, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "hidden"}.items():
        monkeypatch.setenv(f"AWS_{name}", word)
    monkeypatch.setenv("VALENCE_STORE_PATIENCE_S", "1")
    with pytest.raises(Unusable, match="cannot be listed") as caught:
        Store(tmp_path, new_url()).committed()
    assert "hidden" not in str(caught.value)


def test_a_bucket_that_does_not_exist_is_told(s3):
    with pytest.raises(Unusable, match="s3://nowhere/x: cells/a cannot be written"):
        open_files("s3://nowhere/x").put_if_absent("cells/a", b"")


@pytest.mark.parametrize(
    "url", ["nonsense://x", "results", "s3:///x", "s3://key:hidden@bucket/x", "s3://b/x?key=hidden"]
)
def test_a_url_that_cannot_be_used_is_bad_input(url):
    with pytest.raises(BadInput, match=r"s3://bucket/prefix|a bucket that exists") as caught:
        open_files(url)
    assert "hidden" not in str(caught.value)
