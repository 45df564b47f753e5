"""A small cohort of DE feature files in FACED's format, and the main job as a user runs it."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.saturation_grid import main

N_SUBJECTS = 9


def write_de(root: Path, *, n_subjects: int = N_SUBJECTS) -> Path:
    """DE files in which clips differ: (28, 32, 30, 5), as published."""
    folder = root / "EEG_Features" / "DE"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(28, 32, 1, 5))
    for number in range(n_subjects):
        # half of the subjects belong to each of FACED's cohorts
        subject = number if number % 2 else 61 + number
        values = 2.0 + 0.1 * clips + 0.3 * rng.normal(size=(28, 32, 30, 5))
        (folder / f"sub{subject:03d}.pkl.pkl").write_bytes(pickle.dumps(values))
    return root


@pytest.fixture
def de_root(tmp_path) -> Path:
    return write_de(tmp_path / "faced")


@pytest.fixture
def main_here(tmp_path, monkeypatch, capsys):
    """Run the main job in this process, for words and files that it refuses early: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: called(main, arguments, capsys)


def called(command, arguments, capsys) -> tuple[int, str, str]:
    """Run a job's main in this process: exit code, output, errors."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = command([str(argument) for argument in arguments])
    except SystemExit as error:  # what the command line's parser refuses
        code = error.code
    finally:
        signal.signal(signal.SIGTERM, before)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def job(repository, tmp_path):
    """Run the main job in a process of its own; returns the completed process."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(repository / "jobs" / "saturation_grid.py"), *map(str, arguments)],
            cwd=options.pop("cwd", tmp_path),
            env=os.environ | {"COLUMNS": "200"} | options.pop("env", {}),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
