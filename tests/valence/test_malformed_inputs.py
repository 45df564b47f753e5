"""Every row of the corpus of malformed files is refused in words, soon, in little memory, and nothing of it is run."""

import json
import pickle
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs import prepare_data
from tests.valence import faced_recordings as faced_world
from tests.valence import malformed_files as files
from tests.valence import malformed_pickles as pickles
from tests.valence.malformed import HOSTILE, MALFORMED
from tests.valence.malformed_readers import BIDS, CNT, DE, RAW, Malformed
from valence.conversion import MANIFEST, SAMPLES
from valence.errors import BadInput
from valence.prepared import read_manifest

MOST_BYTES = 300e6
"""that a row may add to the largest size this process has had"""
MOST_ADDRESSES = 4 * 2**30
"""that a row may ask the system for"""
MOST_WORDS = 3_000
"""characters of a message"""


@pytest.fixture(scope="module", autouse=True)
def one_cache(tmp_path_factory):
    """Hashes of files go to a cache of the test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VALENCE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> files.Stock:
    return files.Stock(tmp_path_factory.mktemp("stock"))


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def little_memory():
    """Whatever asks for more address space than a few GiB gets a MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MOST_ADDRESSES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def alarm():
    """Ends what waits: an alarm after so many seconds."""

    def ring(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def restored_signals():
    """The command sets what a SIGTERM does."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def rows(corpus: tuple[Malformed, ...]) -> list:
    assert len({row.name for row in corpus}) == len(corpus), "names are unique"
    return [pytest.param(row, id=row.name) for row in corpus]


@pytest.mark.parametrize("row", rows(MALFORMED + HOSTILE))
def test_malformed_input_is_refused_in_words(row, root, stock, little_memory, alarm):
    row.make(root, stock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    alarm(row.most_seconds)
    with pytest.raises(BadInput) as caught:
        row.read(root)
    message = str(caught.value)
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) < MOST_BYTES
    assert row.file in message
    assert re.search(row.told, message)
    assert re.search(r"\n  allowed: .+\n  to do:   .+", message)
    assert "Traceback" not in message
    assert "MemoryError" not in message
    assert len(message) < MOST_WORDS
    assert not files.mark(root).exists()


@pytest.mark.parametrize("name", pickles.HOSTILE)
def test_the_hostile_pickles_are_hostile(name, tmp_path):
    """Python's own reader runs them: a reader that did would be found out."""
    mark = tmp_path / "executed"
    data = pickles.HOSTILE[name](mark)
    try:
        pickle.loads(data)
    finally:
        assert mark.exists()


def test_there_are_many_rows():
    assert len(MALFORMED) + len(HOSTILE) > 100
    assert len({row.read for row in MALFORMED}) > 7


def test_channels_in_another_order_are_read_by_their_names(root, stock):
    """cnt: the columns of the file turned about, and their names with them."""
    x = files.seed_v_world.slow_session(1, sfreq=4)
    names = files.seed_v_world.FILE_CH_NAMES
    path = files.seed_v_world.recording_path(root, 1, 1)
    files.seed_v_world.write_cnt(path, x[::-1], sfreq=4, ch_names=names[::-1])
    turned = CNT(root)
    path.unlink()
    files.seed_v_world.write_cnt(path, x, sfreq=4)
    np.testing.assert_array_equal(CNT(root).x, turned.x)
    assert turned.x.std() > 0


def test_raw_channels_in_another_order_are_read_by_their_names(root, stock):
    folder = files.raw_copy(root, stock)
    straight = RAW(root)
    (folder / "data.bdf").unlink()
    faced_world.write_bdf(folder / "data.bdf", sfreq=250.0, labels=faced_world.COHORT_1[::-1])
    turned = RAW(root)
    np.testing.assert_allclose(turned.x, straight.x, atol=1e-4)
    assert np.abs(turned.x[:, ::-1] - straight.x).max() > 0.1


def test_a_byte_order_mark_and_repeated_rows_of_bids_are_read(root, stock):
    """Documented repairs: the first row of a clip counts."""

    def repeat(lines):
        again = [line.copy() for line in lines[2:6]]
        for line in again:
            line[0] = str(float(line[0]) + 30)
        return [*lines, *again]

    files.bids_events(repeat)(root / "repeated", stock)
    files.bids_events(lambda lines: lines)(root / "straight", stock)
    (events,) = (root / "repeated").rglob("*_events.tsv")
    assert events.read_bytes().startswith(b"\xef\xbb\xbf")
    np.testing.assert_array_equal(BIDS(root / "repeated").x, BIDS(root / "straight").x)


def test_a_clip_that_bids_does_not_list_is_left_out_and_told(root, stock):
    files.bids_events(lambda lines: lines[:-1])(root, stock)
    ready = BIDS(root)
    missing = faced_world.ORDER[-1]
    assert sorted(set(ready.clips)) == [clip for clip in range(28) if clip != missing]
    assert len(ready.x) == 27 * 3
    (repairs,) = read_manifest(ready)["repairs"].values()
    assert any(f"clip {missing + 1} is left out" in repair and "sub-061" in repair for repair in repairs)


def cut(name: str, n_bytes: int):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-n_bytes])


def manifest(**changes: object):
    def damage(folder: Path) -> None:
        facts = json.loads((folder / MANIFEST).read_text()) | changes
        (folder / MANIFEST).write_text(json.dumps(facts))

    return damage


def samples(change):
    return lambda folder: change(pd.read_parquet(folder / SAMPLES)).to_parquet(folder / SAMPLES)


DAMAGES = {
    "x.npy truncated": cut("x.npy", 4),
    "x.npy missing": lambda folder: (folder / "x.npy").unlink(),
    "x.npy empty": lambda folder: (folder / "x.npy").write_bytes(b""),
    "x.npy of another type": lambda folder: np.save(folder / "x.npy", np.zeros((28, 32, 30, 5))),
    "x.npy of objects": lambda folder: np.save(folder / "x.npy", np.array([pickles.touch(files.mark(folder))], object)),
    "samples.parquet truncated": cut("samples.parquet", 100),
    "samples.parquet missing": lambda folder: (folder / SAMPLES).unlink(),
    "samples.parquet without labels": samples(lambda table: table.drop(columns="label")),
    "samples.parquet with fewer rows": samples(lambda table: table[:-1]),
    "samples.parquet of another subject": samples(lambda table: table.assign(subject="sub099")),
    "samples.parquet with labels that are none": samples(lambda table: table.assign(label=99)),
    "manifest.json truncated": cut("manifest.json", 20),
    "manifest.json missing": lambda folder: (folder / MANIFEST).unlink(),
    "manifest.json no text": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"),
    "manifest.json a list": lambda folder: (folder / MANIFEST).write_text("[]"),
    "manifest.json without a shape": manifest(x_shape=None),
    "manifest.json of another version": manifest(made_from={"format": 1}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_conversion_is_refused(name, root):
    files.add_de(root)
    folder = DE(root).folder
    DAMAGES[name](folder)
    with pytest.raises(BadInput) as caught:
        DE(root)
    assert str(folder) in str(caught.value)
    assert "to do:   remove" in str(caught.value)
    assert not files.mark(folder).exists()


COMMANDS = {
    "faced": "pickle: os.system, protocol 4",
    "faced_raw": "bdf: truncated",
    "faced_bids": "bids: clip 29",
    "seed_v": "npz: truncated",
}


@pytest.mark.parametrize("dataset", COMMANDS)
def test_the_command_ends_with_2_and_one_message(dataset, root, stock, tmp_path, capsys, restored_signals):
    (row,) = (row for row in MALFORMED + HOSTILE if row.name == COMMANDS[dataset])
    row.make(root, stock)
    code = prepare_data.main(
        ["--dataset", dataset, "--data-root", str(root), "--out", str(tmp_path / "out"), "--split", "time-blocked"]
    )
    errors = capsys.readouterr().err
    assert code == 2
    assert errors.count("error: ") == 1
    assert row.file in errors
    assert "to do:" in errors
    assert "Traceback" not in errors
    assert not files.mark(root).exists()


def test_the_command_ends_with_2_in_a_process_of_its_own(root, repository, tmp_path):
    """As a user runs it: nothing of a traceback, the pickle's code not run."""
    files.add_de(root, pickles.HOSTILE["opcode BUILD"](files.mark(root)))
    options = ["--dataset", "faced", "--data-root", root, "--out", tmp_path / "out", "--split", "time-blocked"]
    ended = subprocess.run(
        [sys.executable, repository / "jobs/prepare_data.py", *options], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "sub000.pkl" in ended.stderr
    assert "could run code" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert not files.mark(root).exists()
