"""prepare_data as a user runs it: counts, audit, resumption, refusals; and the README's own data set."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jobs.prepare_data import main
from tests.jobs.conftest import called
from valence.datasets import DATASETS


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: called(main, arguments, capsys)


def test_features_are_prepared_counted_and_audited(de_root, run_here, tmp_path):
    words = ("--dataset", "faced", "--data-root", de_root, "--out", tmp_path / "out")
    code, out, _ = run_here(*words)
    assert code == 0
    assert "reading 9 subjects" in out
    assert "168 / 28 / 56 samples to train, validate and test (cohort-balanced:0)" in out
    assert re.search(r"leak +clip +28 / +28 / +28 +28", out)
    (folder,) = [path for path in (tmp_path / "out/prepared").iterdir() if path.is_dir()]
    audit = {finding["group"]: finding for finding in json.loads((folder / "audit-cohort-balanced-0.json").read_text())}
    assert audit["subject"]["n_both"] == 0
    written = {path: path.stat().st_mtime_ns for path in folder.glob("[!a]*")}
    code, out, _ = run_here(*words, "--split", "leave-clip-out:2")
    assert code == 0
    assert re.search(r"clean +clip", out)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("[!a]*")} == written


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--dataset", "facet"), "did you mean faced"),
        (("--dataset", "faced"), "--data-root"),
        (("--dataset", "faced", "--data-root", "nowhere"), "no such folder"),
        (("--dataset", "faced", "--data-root", "ROOT", "--split", "leave-film-out"), "neutral are of one group"),
        (("--dataset", "faced", "--data-root", "ROOT", "--split", "standard"), "subjects are missing"),
        (("--dataset", "faced", "--data-root", "ROOT", "--split", "time-blocked"), "--de-window-s"),
        (("--dataset", "faced", "--data-root", "ROOT", "--window-s", "5"), "--window-s 5.0, for the inputs de"),
        (("--dataset", "faced", "--data-root", "ROOT", "--de-window-s", "0"), "a number above 0"),
        (("--dataset", "faced", "--data-root", "ROOT", "--world", "saturated"), "--world saturated, for the data set"),
        (("--dataset", "faced", "--data-root", "~nobody_here/x"), "--data-root"),
        (("--dataset", "simulated", "--sfreq-hz", "nan"), "--sfreq-hz nan"),
        (("--dataset", "simulated", "--n-subjects", "2"), "3 to 123"),
        (("--dataset", "faced", "--data-root", "ROOT", "--inputs", "windows"), "no files for the input 'windows'"),
        (("--dataset", "faced", "--data-root", "ROOT", "--inputs", "dee"), "did you mean de"),
        (("--dataset", "faced", "--data-root", "ROOT", "--inputs", ","), "names nothing"),
        (("--dataset", "faced", "--data-root", "ROOT", "--protocol", "seed-v-5s"), "seed_v"),
        (("--dataset", "faced", "--data-root", "ROOT", "--protocol", "seed-v-6s"), "did you mean seed-v-5s"),
        (("--dataset", "simulated", "--world", "saturate"), "did you mean saturated"),
        (("--dataset", "faced", "--data-root", "ROOT", "--plugin", "no_such_module"), "no_such_module"),
    ],
)
def test_bad_words_end_in_one_message(de_root, run_here, words, told):
    code, _, errors = run_here(*(de_root if word == "ROOT" else word for word in words), "--out", "out")
    assert code == 2
    assert told in errors
    assert errors.startswith("error: ")
    assert "Traceback" not in errors


@pytest.mark.parametrize("out", ["FILE", "FILE/x", "a\0b", "/proc/nowhere"])
def test_a_place_that_cannot_be_written_is_one_message(de_root, run_here, tmp_path, out):
    (tmp_path / "FILE").write_text("")
    code, _, errors = run_here("--dataset", "faced", "--data-root", de_root, "--out", out)
    assert code == 2
    assert errors.startswith("error: ")


def test_the_protocol_of_cbramod_gives_84_windows_a_subject_of_a_simulated_cohort(run_here):
    words = ("--dataset", "simulated", "--n-subjects", 3, "--inputs", "windows", "--protocol", "faced-cbramod")
    code, out, _ = run_here(*words, "--out", "out")
    assert code == 0
    assert "84 / 84 / 84 samples" in out
    assert "windows of 10 s every 10 s; µV times 0.01" in out
    (x,) = Path("out/prepared").glob("*/x.npy")
    assert np.load(x, mmap_mode="r").shape == (252, 32, 2000)


def test_a_killed_preparation_goes_on(repository, tmp_path):
    words = [sys.executable, str(repository / "jobs/prepare_data.py"), "--dataset", "simulated", "--n-subjects", "8"]
    words += ["--inputs", "windows", "--workers", "1", "--out", str(tmp_path)]
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any(path.read_text().count("\n") >= 2 for path in tmp_path.glob("prepared/.*partial/journal.jsonl")):
        assert first.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.kill()
    first.wait()
    (journal,) = tmp_path.glob("prepared/.*partial/journal.jsonl")
    kept = len(journal.read_text().splitlines())
    assert 2 <= kept < 8
    again = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "8/8" in again.stdout
    (folder,) = [path for path in (tmp_path / "prepared").iterdir() if path.is_dir()]
    assert np.load(folder / "x.npy", mmap_mode="r").shape == (8 * 84, 32, 2000)
    third = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "8/8" not in third.stdout  # nothing was converted


def test_the_template_of_a_data_set_works(repository, run_here, tmp_path):
    shutil.copy(repository / "valence/templates/my_data.py", tmp_path)
    (tmp_path / "mine").mkdir()
    for number in range(6):
        x = np.random.default_rng(number).normal(0, 10, size=(9, 4, 2560))
        np.save(tmp_path / f"mine/person{number}.npy", x)
    words = ("--plugin", tmp_path / "my_data.py", "--dataset", "mine", "--data-root", tmp_path / "mine", "--out", "out")
    try:
        code, out, errors = run_here(*words, "--split", "leave-film-out")
        assert code == 0, errors
        assert re.search(r"clean +film", out)
        np.save(tmp_path / "mine/person3.npy", np.full((9, 4, 2560), 1e-5) + 1e-5 * x)
        code, _, errors = run_here(*words)
        assert code == 2
        assert "person3.npy: person3 has a median root mean square of 0.0001" in errors
    finally:
        sys.modules.pop("my_data", None)
        DATASETS._entries.pop("mine", None)
        DATASETS._sources.pop("mine", None)
