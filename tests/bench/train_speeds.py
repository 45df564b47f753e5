"""The speed table of the cost model: ours, one cell alone, for the shapes that sweeps use."""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Protocol

import pandas as pd
import torch

from cluster.cells import device_name
from cluster.cost import EVALUATION_COST
from cluster.speeds import read_speeds, write_speeds
from tests.bench.train_sides import N_TEST, OURS, VALIDATION_SHARE, Task, write_windows
from valence.classifiers import CLASSIFIERS

N_CHANS = 32
SHAPES = {"windows": ((500, 100.0, 16), (2000, 200.0, 16)), "de": ((150, 1.0, 64),)}
"""by input: samples of a window (of band features steps times bands), their rate, and the batch"""
GPU_BATCH = 64
SECONDS = 1.5
"""of training that one measurement aims at"""
EPOCHS = 3
FEWEST, MOST = 16, 2048
"""training windows"""


class Runner(Protocol):
    """Measures tasks, each in a process of its own; see tests.bench.train."""

    def run(self, tasks: list[Task]) -> dict: ...


def measure_speeds(names: list[str], runner: Runner, *, device: str) -> int:
    """Measure classifiers, with rewrites and without, and put the rows into the table as they come."""
    failed = 0
    for name in names:
        for n_times, sfreq_hz, batch in SHAPES[CLASSIFIERS[name].input]:
            task = _task(name, n_times, sfreq_hz, batch if device == "cpu" else GPU_BATCH, device)
            for run in _both_ways(task, runner):
                print(_told(run, n_times), flush=True)
                failed += bool(run["error"])
                if not run["error"]:
                    write_speeds(pd.concat([read_speeds(), pd.DataFrame([table_row(run)])], ignore_index=True))
    return 1 if failed else 0


def _task(name: str, n_times: int, sfreq_hz: float, batch: int, device: str) -> Task:
    return Task(
        side=OURS,
        classifier=name,
        folder="",
        n_train=max(FEWEST, batch),
        batch=batch,
        n_times=n_times,
        sfreq_hz=sfreq_hz,
        epochs=EPOCHS,
        threads=1,
        device=device,
    )


def _both_ways(task: Task, runner: Runner) -> list[dict]:
    """With rewrites, and without where there are some."""
    runs = [_twice(task, runner)]
    if runs[0].get("rewritten"):
        runs.append(_twice(dataclasses.replace(task, rewrites=False), runner))
    return runs


def _twice(task: Task, runner: Runner) -> dict:
    """On few windows, then on as many as take the time aimed at, where those are more."""
    first = _run(task, runner)
    if first["error"]:
        return first
    wanted = min(int(SECONDS * _rate(first) / task.epochs), MOST) // task.batch * task.batch
    return first if wanted < 2 * task.n_train else _run(dataclasses.replace(task, n_train=wanted), runner)


def _run(task: Task, runner: Runner) -> dict:
    with tempfile.TemporaryDirectory(prefix="valence-bench-") as folder:
        n_windows = task.n_train + round(task.n_train * VALIDATION_SHARE) + N_TEST
        write_windows(Path(folder), n_windows=n_windows, n_chans=N_CHANS, n_times=task.n_times)
        return runner.run([dataclasses.replace(task, folder=folder)])


def _rate(run: dict) -> float:
    """Windows per second; on a CPU of CPU time, so that a busy neighbour does not count."""
    return run["cpu_windows_per_second" if run["device"] == "cpu" else "windows_per_second"]


def table_row(run: dict) -> dict:
    """A measurement as a row of the table."""
    return {
        "classifier": run["classifier"],
        "device": run["device"],
        "device_name": device_name(run["device"]),
        "mode": run["mode"],
        "precision": "fp32" if run["device"] == "cpu" else "tf32",
        "rewrites": "yes" if run["rewritten"] else "no",
        "n_chans": N_CHANS,
        "n_times": run["n_times"],
        "batch": run["batch"],
        "cells_at_once": run["cells"],
        "windows_per_second": float(f"{(1 + VALIDATION_SHARE * EVALUATION_COST) * _rate(run):.4g}"),
        "memory_mb": round(max(run["memory_mb"], 1.0)),
        "torch": torch.__version__.split("+")[0],
        "date": time.strftime("%Y-%m-%d"),
        "source": "tests/bench/train.py",
    }


def _told(run: dict, n_times: int) -> str:
    if run["error"]:
        return f"{run['classifier']} {n_times}: {run['error']}"
    row = table_row(run)
    return f"{row['classifier']} {n_times}: {row['windows_per_second']:g} w/s, {row['memory_mb']} MB, {row['rewrites']}"
