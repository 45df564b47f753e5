"""Files of a simulated cohort: bytes as published, the same whoever writes them, nothing kept, nothing left behind."""

import hashlib
import os
import pickle
import pickletools
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.signal

from valence import cohort_files
from valence.datasets.faced import Faced
from valence.datasets.simulated import Simulated, write_cohort
from valence.errors import BadInput
from valence.faced_files import FacedFiles
from valence.faced_ratings import RATINGS, mean_valence, read_after_remarks, read_ratings
from valence.faced_writing import recording_facts, write_after_remarks, write_array
from valence.self_reports import self_reports
from valence.simulation import presentation_order
from valence.splits import make_split
from valence.unpickle import load_array
from valence.worlds import World

LABELS = np.array(FacedFiles.class_of_clip)
VALENCE = RATINGS.index("valence")
ALL = ("windows", "de", "psd")
CALL = """
import sys
from pathlib import Path
from tests.memory import peak_mib
from valence.datasets.simulated import write_cohort

def tell(done, total):
    print(done, round(peak_mib()), flush=True)

if __name__ == "__main__":
    root, n_subjects = Path(sys.argv[1]), int(sys.argv[2])
    write_cohort(root, n_subjects=n_subjects, inputs=("windows", "de"), max_workers=2, on_subject=tell)
"""


def digests(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Simulated:
    root = tmp_path_factory.mktemp("cohort") / "simulated"
    return Simulated(write_cohort(root, n_subjects=6, inputs=ALL, max_workers=2, parts=(2, 1, 3)))


def start(root: Path, n_subjects: int) -> subprocess.Popen:
    words = [sys.executable, "-c", CALL, str(root), str(n_subjects)]
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=here)


def test_any_number_of_workers_writes_the_same_bytes(cohort, tmp_path):
    for n_workers in (1, 3):
        root, told = tmp_path / str(n_workers), []
        how = {"max_workers": n_workers, "on_subject": lambda *numbers, told=told: told.append(numbers)}
        write_cohort(root, n_subjects=6, inputs=ALL, parts=(2, 1, 3), **how)
        assert digests(root) == digests(cohort.root)
        assert told == [(done, 6) for done in range(7)]


def test_a_killed_process_is_finished_by_the_next_call(tmp_path):
    """Killed with a file half-written, then interrupted as by Ctrl-C, then finished."""
    root = tmp_path / "cohort"
    for how, ends in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, -signal.SIGINT)):
        running = start(root, 6)
        while not running.stdout.readline().startswith("1 "):
            assert running.poll() is None, running.stderr.read()
        running.send_signal(how)
        assert running.wait(60) == ends
        (partial,) = tmp_path.glob(".cohort.*partial")
        (partial / "Processed_data" / ".sub060.pkl.0123").write_bytes(b"half")
    finished = sorted(partial.glob("Data/*/After_remarks.mat"))
    assert 1 <= len(finished) < 6
    before = [path.stat().st_mtime_ns for path in finished]
    write_cohort(root, n_subjects=6, inputs=("windows", "de"))
    assert [(root / path.relative_to(partial)).stat().st_mtime_ns for path in finished] == before, "made again"
    assert digests(root) == digests(write_cohort(tmp_path / "whole", n_subjects=6, inputs=("windows", "de")))
    assert not [path for path in root.rglob(".*")]


def test_memory_does_not_grow_with_subjects(tmp_path):
    """A recording has 27 MB; 12 that were kept would add 320 MB to what the first four needed."""
    running = start(tmp_path / "cohort", 16)
    output, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    peak_mb = dict(tuple(map(int, line.split())) for line in output.splitlines())
    assert peak_mb[16] < peak_mb[4] + 100
    assert peak_mb[16] < 1_000


def test_a_failure_of_one_subject_ends_the_call_and_leaves_nothing(tmp_path, monkeypatch):
    def simulate(world, subject, *, cohort):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cohort_files, "simulate_subject", simulate)
    with pytest.raises(OSError, match="No space left"):
        write_cohort(tmp_path / "cohort", n_subjects=3)
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")]


@pytest.mark.parametrize("subject", ["sub000", "sub061"])
def test_band_features_are_written_byte_for_byte_as_published(shared_data, tmp_path, subject):
    published = shared_data / f"faced/original_bytes/{subject}.pkl.pkl"
    array = load_array(published, shape=(28, 32, 30, 5))
    write_array(tmp_path / "again.pkl.pkl", array)
    assert (tmp_path / "again.pkl.pkl").read_bytes() == published.read_bytes()


def test_band_features_have_the_published_layout(cohort):
    for input in ("DE", "PSD"):
        path = cohort.root / f"EEG_Features/{input}/sub061.pkl.pkl"
        assert path.stat().st_size == 1_075_366
        opcodes = list(pickletools.genops(path.read_bytes()))
        assert [argument for _, argument, _ in opcodes[:3]] == [4, 136, "numpy.core.multiarray"]
        array = pickle.loads(path.read_bytes())  # written a moment ago by this test
        assert array.dtype == np.float64
        assert array.shape == (28, 32, 30, 5)


@pytest.mark.parametrize("array", [np.float32([[1.5]]), np.arange(3), np.zeros((2, 0)), np.ones((40, 4000))])
def test_any_array_that_is_written_is_read_again(tmp_path, array):
    write_array(tmp_path / "x.pkl", array)
    np.testing.assert_array_equal(load_array(tmp_path / "x.pkl", shape=array.shape), array, strict=True)


def test_power_is_the_variance_of_the_band_in_a_second(cohort):
    power, de = (cohort.load("sub001", input).clips for input in ("psd", "de"))
    np.testing.assert_allclose(0.5 * np.log(2 * np.pi * np.e * power.astype(float)), de, atol=1e-5)
    x = cohort.load("sub001", "windows").clips
    filtered = scipy.signal.sosfiltfilt(
        scipy.signal.butter(8, (8, 14), "bandpass", fs=250, output="sos"), x.astype(float)
    )
    variance = filtered.reshape(28, 32, 30, 250).var(axis=-1)
    np.testing.assert_allclose(np.median(power[..., 2] / variance), 1, atol=0.05)


def test_after_remarks_are_those_of_the_publisher(shared_data, tmp_path):
    for subject in ("sub000", "sub001", "sub061", "sub062"):
        published = shared_data / f"faced/Data/{subject}/After_remarks.mat"
        table = read_after_remarks(published, subject=subject)
        again = tmp_path / subject / "After_remarks.mat"
        write_after_remarks(again, table[list(RATINGS)].to_numpy(), np.argsort(table["rank"].to_numpy()))
        assert read_after_remarks(again, subject=subject).equals(table)
        found, expected = (scipy.io.loadmat(path)["After_remark"] for path in (again, published))
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        for name in ("score", "trial", "vid"):
            assert found[0, 0][name].dtype == expected[0, 0][name].dtype
            assert found[0, 0][name].shape == expected[0, 0][name].shape


def test_recording_info_is_that_of_the_publisher(cohort, shared_data):
    published = (shared_data / "faced/Recording_info.csv").read_text().splitlines()
    written = (cohort.root / "Recording_info.csv").read_bytes().decode().split("\r\n")
    assert written[0] == published[0]
    assert len(written) == 6 + 2
    rows = [line.split(",") for line in published[1:]]
    for number, row in enumerate(rows):
        rate, unit = recording_facts(number)
        assert [f"sub{number:03d}", str(rate), unit] == [row[0], row[4], row[5]]
    for line in written[1:-1]:
        subject, gender, age, campaign, *facts = line.split(",")
        assert facts == rows[int(subject[3:])][4:]
        assert (gender in "FM", 17 <= int(age) <= 38, campaign) == (True, True, str(cohort.cohort(subject)))
    assert cohort.recording_sfreq("sub061") == 1000


def test_order_ratings_and_standard_split_are_read_from_the_files(cohort):
    faced = Faced(cohort.root)
    table = read_ratings(cohort.root)
    for subject in cohort.subjects("de"):
        order = presentation_order(World(), subject)
        np.testing.assert_array_equal(faced.presentation(subject), np.argsort(order))
        reports = self_reports(World(), subject, cohort=cohort.cohort(subject))
        np.testing.assert_allclose(table[table["subject"] == subject][list(RATINGS)], reports)
    assert np.corrcoef(mean_valence(table), cohort.ratings())[0, 1] > 0.9
    split = make_split(cohort, "de", "standard")
    parts = [part.subjects for part in (split.train, split.validation, split.test)]
    assert parts == [("sub000", "sub061"), ("sub001",), ("sub002", "sub062", "sub063")]


def test_without_parts_the_standard_split_is_that_of_faced(tmp_path):
    cohort = Simulated(write_cohort(tmp_path / "cohort", n_subjects=3, inputs=("de",)))
    assert cohort.standard_parts() == FacedFiles.standard_split
    with pytest.raises(BadInput, match="120 subjects are missing"):
        make_split(cohort, "de", "standard")
