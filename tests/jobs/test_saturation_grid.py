"""The main job end to end on small files in FACED's format: run, resume, grow, refuse, explain."""

import os
import signal
import subprocess
import sys
import time

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from cluster.store import Store
from cluster.tracking import EXPERIMENT, default_tracking_uri

SMALL = ("--classifiers", "de_logistic", "--strategies", "aux_mse", "--targets", "random")
UNTIMED = ["seconds", "finished_at", "peak_memory_mb"]


def small(de_root, out, *more):
    return ("--dataset", "faced", "--data-root", de_root, "--out", out, *SMALL, *more)


def comparable(out):
    rows = Store(out).rows().drop(columns=UNTIMED)
    predictions = {
        path.name: pq.read_table(path) for kind in ("predictions", "features") for path in (out / kind).iterdir()
    }
    return rows, predictions


def test_run_again_grow_and_rebuild(job, de_root, tmp_path):
    out = tmp_path / "out"
    first = job(*small(de_root, out, "--seeds", "2"))
    assert first.returncode == 0, first.stdout + first.stderr
    assert "4 cells, 4 new" in first.stdout
    assert "-m mlflow ui" in first.stdout
    assert len(pd.read_parquet(out / "cells")) == 4
    assert duckdb.sql(f"select count(*) from '{out}/cells/**/*.parquet'").fetchone() == (4,)
    assert (out / "report.html").read_text().startswith("<!")
    statistics = pd.read_parquet(out / "statistics.parquet")
    assert set(statistics["strategy"]) == {"aux_mse"}
    client = MlflowClient(tracking_uri=default_tracking_uri(out))
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    assert len(client.search_runs([experiment])) == 4 + 1

    before = {path.name: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    again = job(*small(de_root, out, "--seeds", "2"))
    assert again.returncode == 0
    assert "nothing new to run" in again.stdout
    assert {path.name: path.stat().st_mtime_ns for path in (out / "cells").iterdir()} == before

    grown = job(*small(de_root, out, "--seeds", "3"))
    assert "6 cells, 2 new" in grown.stdout
    report = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    (out / "statistics.parquet").unlink()
    rebuilt = job("--out", out, "--report")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert (out / "report.html").read_bytes() == report


def test_killed_twice_and_undisturbed_sweeps_are_bit_identical(job, de_root, tmp_path, repository):
    arguments = small(de_root, tmp_path / "killed", "--seeds", "12")
    command = [sys.executable, str(repository / "jobs" / "saturation_grid.py"), *map(str, arguments)]
    store = Store(tmp_path / "killed")
    for kill_after in (3, 11):
        driver = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while len(store.committed()) < kill_after and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert kill_after <= len(store.committed()) < 24, "the driver was to be killed half-way"
    refused = job("--out", tmp_path / "killed", "--report")
    assert refused.returncode == 2
    assert "not committed yet" in refused.stderr
    finished = job(*arguments)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    # resumed sweeps cut what is left into other packs than an undisturbed one
    undisturbed = job(*small(de_root, tmp_path / "undisturbed", "--seeds", "12"))
    assert undisturbed.returncode == 0
    killed_rows, killed_predictions = comparable(tmp_path / "killed")
    rows, predictions = comparable(tmp_path / "undisturbed")
    pd.testing.assert_frame_equal(killed_rows, rows, check_exact=True)
    assert killed_predictions == predictions
    assert len(rows) == 24
    leftovers = [path for path in (tmp_path / "killed").rglob(".*") if path.is_file()]
    assert len(leftovers) <= 2, "a killed writer may leave one hidden file, readers never see it"


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_a_resumable_state(job, de_root, tmp_path, repository, with_signal):
    arguments = small(de_root, tmp_path / "out", "--seeds", "40")
    command = [sys.executable, str(repository / "jobs" / "saturation_grid.py"), *map(str, arguments)]
    driver = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    store = Store(tmp_path / "out")
    deadline = time.monotonic() + 300
    while len(store.committed()) < 3 and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    driver.send_signal(with_signal)
    _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 3, errors
    assert "Go on with the same command" in errors
    n_committed = len(store.committed())
    assert 3 <= n_committed < 80
    status = job("--out", tmp_path / "out", "--status")
    assert status.returncode == 0
    assert f"80 cells: {n_committed} done" in status.stdout
    partial = job("--out", tmp_path / "out", "--report", "--partial")
    assert partial.returncode == 0, partial.stderr
    assert "partial" in partial.stdout


FAILING = """
from valence.strategies import STRATEGIES, Strategy

@STRATEGIES.register("fragile")
class Fragile(Strategy):
    kind = "values"
    lambda_ = 0.1

    def loss(self, batch, logits, features):
        import pathlib
        if pathlib.Path("{flag}").exists():
            raise RuntimeError("this loss cannot be computed")
        return features.square().mean()
"""


def test_a_users_loss_in_one_file_failing_explained_and_retried(job, de_root, tmp_path):
    flag = tmp_path / "broken"
    flag.touch()
    (tmp_path / "my_loss.py").write_text(FAILING.format(flag=flag))
    out = tmp_path / "out"
    arguments = (
        "--dataset", "faced", "--data-root", de_root, "--out", out, "--classifiers", "de_logistic", "--strategies",
        "fragile", "--targets", "random", "--seeds", "2", "--plugin", "my_loss",
    )  # fmt: skip
    env = {"PYTHONPATH": str(tmp_path)}
    failed = job(*arguments, env=env)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "2 failed" in failed.stdout
    rows = Store(out).rows()
    (first, _) = rows.loc[rows["status"] == "failed", "cell_id"]
    why = job("--out", out, "--why", first[:8])
    assert "this loss cannot be computed" in why.stdout
    assert job(*arguments, env=env).returncode == 1  # failures are committed: a bug cannot loop
    flag.unlink()
    retried = job(*arguments, "--retry-failed", env=env)
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert "4 cells, 2 new" in retried.stdout
    assert sorted(Store(out).rows()["attempts"]) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--classifiers", "EEGNett"), "did you mean EEGNet"),
        (("--strategies", "rsaa"), "did you mean rsa"),
        (("--targets", "vaxiss"), "did you mean vaxis"),
        (("--preset", "quik"), "did you mean quick"),
        (("--dataset", "fased"), "did you mean faced"),
        (("--llm", "smollm"), "smollm2-135m-instruct"),
        (("--seeds", "many"), "a number of seeds"),
        (("--seeds", "0"), "1 to 1000"),
        (("--dataset", "faced"), "--data-root"),
        (("--dataset", "faced", "--data-root", "/no/such/folder"), "no such folder"),
        (("--axis", "/no/such/file"), "no such file"),
        (("--axis", __file__), "test_saturation_grid.py"),
        (("--split", "half"), "unknown split"),
        (("--engine", "steam"), "unknown engine"),
        (("--classifiers", ","), "names nothing"),
        (("--data-root", ""), "--data-root ''"),
        (("--data-root", __file__), "not a folder"),
        (("--out", __file__), "is a file"),
        (("--out", f"{__file__}/sub"), "is a file"),
        (("--out", "~nosuchuser/x"), "nosuchuser"),
        (("--out", "x" * 300), "--out"),
        (("--seeds", "-1"), "seeds"),
        (("--plugin", ".foo"), "plug-in .foo"),
        (("--plan", "--dollars-per-hour", "nan"), "a price"),
        (("--status", "--preset", "nonsense"), "unknown preset"),
        (("--why", "", "--out", "nothing-here"), "holds no sweep"),
        (("--why", "0123", "--out", "nothing-here"), "holds no sweep"),
        (("--no-such-option",), "no-such-option"),
    ],
)
def test_bad_words_get_one_message_and_exit_2(main_here, arguments, message):
    code, output, errors = main_here(*arguments)
    assert code == 2, output + errors
    assert message in output + errors


def test_bad_words_in_a_process_of_its_own(job):
    result = job("--classifiers", "EEGNett")
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown classifier 'EEGNett'")
    assert "Traceback" not in result.stderr


def damage_nothing(folder):
    for file in folder.iterdir():
        file.unlink()


def damage_truncated(folder):
    file = folder / "sub061.pkl.pkl"
    file.write_bytes(file.read_bytes()[:1000])


def damage_code(folder):
    (folder / "sub061.pkl.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/valence-was-here'\ntR.")


def damage_shape(folder):
    import pickle

    import numpy as np

    (folder / "sub061.pkl.pkl").write_bytes(pickle.dumps(np.zeros((28, 30, 30, 5))))


def damage_nan(folder):
    import pickle

    values = pickle.loads((folder / "sub061.pkl.pkl").read_bytes())
    values[3, 7] = float("nan")
    (folder / "sub061.pkl.pkl").write_bytes(pickle.dumps(values))


def damage_twice(folder):
    (folder / "sub061.pkl").write_bytes((folder / "sub061.pkl.pkl").read_bytes())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_nothing, "EEG_Features"),
        (damage_truncated, "sub061.pkl.pkl"),
        (damage_code, "sub061.pkl.pkl"),
        (damage_shape, "(28, 30, 30, 5)"),
        (damage_nan, "sub061"),
        (damage_twice, "sub061"),
    ],
)
def test_bad_files_get_one_message_and_leave_committed_cells(main_here, de_root, tmp_path, damage, message):
    out = tmp_path / "out"
    (out / "cells").mkdir(parents=True)
    (out / "cells" / "kept.parquet").write_bytes(b"untouched")
    damage(de_root / "EEG_Features" / "DE")
    code, output, errors = main_here(*small(de_root, out, "--seeds", "1"))
    assert code == 2, output + errors
    assert message in errors
    assert "to do:" in errors
    assert (out / "cells" / "kept.parquet").read_bytes() == b"untouched"
    assert not os.path.exists("/tmp/valence-was-here")


def test_the_standard_split_with_subjects_missing(main_here, de_root, tmp_path):
    code, _, errors = main_here(*small(de_root, tmp_path / "out", "--seeds", "1", "--split", "standard"))
    assert code == 2
    assert "standard" in errors
    assert "sub002" in errors, "a subject that is missing"


def test_plan_runs_nothing(main_here, de_root, tmp_path):
    out = tmp_path / "out"
    code, output, errors = main_here(
        *small(de_root, out, "--plan", "--seeds", "10"), "--classifiers", "de_logistic,EEGNet"
    )
    assert code == 0, errors
    assert "excluded: EEGNet" in output
    assert "power" in output
    assert not out.exists()
