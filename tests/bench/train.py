"""Benchmark of training beside braindecode's EEGClassifier, a plain PyTorch loop and torcheeg's trainer, in one run.

python -m tests.bench.train [--classifiers A,B] [--repeats N] [--windows N] [--n-times N] [--epochs N] [--out FILE]
python -m tests.bench.train --measure-speeds    writes what it measures of ours to cluster/speeds.csv

Every measurement is a new process with everything imported; sides take turns, medians over repeats are shown. Ours
trains as many cells at once as the machine has cores, each in a single-threaded process on one memory-mapped file of
windows, on a GPU all in one process. Peers train one cell with all cores, as their users do: of cells one after the
other, the rate of one is the rate of all. The rate counts training windows in all epochs but the first, validation of
a quarter as many windows after each epoch included on every side; building, compiling, calibrating and the first epoch
are start-up, and imports are told apart. The number of windows follows the speed table: slow classifiers take few.

torcheeg 1.1.2 is no part of valence: uv pip install torcheeg==1.1.2, or into a folder that PYTHONPATH names.
"""

import dataclasses
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
import tyro

import valence  # noqa: F401  # before braindecode
from cluster.speeds import Shape, window_seconds
from tests.bench import train_report, train_speeds
from tests.bench.train_sides import N_TEST, OURS, SIDES, VALIDATION_SHARE, Task, in_child, write_windows
from valence.calibration import SIZES
from valence.classifiers import CLASSIFIERS

N_CHANS = 32
LARGEST = {"cpu": 1024, "cuda": 8192}
"""training windows"""
PROCESS_SECONDS = 1.0
"""of one measurement beside its epochs, for the prediction alone"""


@dataclasses.dataclass(frozen=True)
class Options:
    """Windows per second of training, ours and the peers'."""

    classifiers: str | None = None
    """names with commas; all of the roster where not given"""
    repeats: int = 3
    windows: int | None = None
    """training windows of a cell; by the speed table where not given"""
    n_times: int = 2000
    """samples of a window of 32 channels, at 200 Hz, below 1000 at 100 Hz"""
    epochs: int = 3
    """the first is start-up"""
    batch: int = 64
    """smaller where there are fewer windows"""
    seconds: float = 1.5
    """of one measurement, aimed at by the number of windows"""
    cells: int | None = None
    """of ours at once; a core each, on a GPU as many as calibration finds best, up to 32"""
    peer_threads: int | None = None
    """of peers; as many as the machine has cores, which is torch's default"""
    device: str = "cpu"
    exact: bool = False
    """ours without rewrites"""
    mode: str | None = None
    """of ours; the calibrated one where not given"""
    out: Path | None = None
    """every measurement, as Parquet"""
    measure_speeds: bool = False
    """measure ours alone, one cell on one core (or the GPU), and write cluster/speeds.csv"""


def main() -> int:
    """Run all measurements; returns the exit code."""
    options = tyro.cli(Options)
    names = options.classifiers.split(",") if options.classifiers else roster(with_extras=options.measure_speeds)
    for name in names:
        CLASSIFIERS[name]
    if options.epochs < 2:
        print(f"--epochs {options.epochs}: the first is start-up, so at least 2", file=sys.stderr)
        return 2
    if options.device == "cuda" and not torch.cuda.is_available():
        print("--device cuda: there is no GPU here", file=sys.stderr)
        return 2
    runner = Runner()
    if options.measure_speeds:
        return train_speeds.measure_speeds(names, runner, device=options.device)
    sides = [name for name in SIDES if name != "torcheeg" or importlib.util.find_spec("torcheeg")]
    if len(sides) < len(SIDES):
        print("torcheeg is not installed and is left out; see this benchmark's help", file=sys.stderr)
    print(train_report.machine(options.device), flush=True)
    tasks = {name: task_of(name, options) for name in names}
    print(f"imports of all sides, once for all processes: {runner.import_s:.1f} s")
    predicted = sum(predicted_seconds(task, options.repeats, sides) for task in tasks.values())
    print(f"{len(names)} classifiers, {len(sides)} sides, about {predicted / 60:.0f} minutes\n", flush=True)
    runs = pd.DataFrame([run for name in names for run in compare(tasks[name], sides, options, runner)])
    if options.out:
        runs.to_parquet(options.out)
    print(train_report.report(runs, sides), flush=True)
    print(train_report.extrapolation(runs, options.device, size=N_CHANS * options.n_times), flush=True)
    print(memory_lines(options, runner), flush=True)
    return 0


def roster(*, with_extras: bool) -> list[str]:
    """Names of the study's classifiers, and of the others that are measured."""
    return [
        name for name, row in CLASSIFIERS.items() if with_extras or (row.group == "roster" and row.input == "windows")
    ]


def n_cells(options: Options) -> int:
    """Cells of ours at once."""
    return options.cells or (SIZES[-1] if options.device == "cuda" else os.cpu_count() or 1)


def task_of(name: str, options: Options) -> Task:
    """A classifier's task: as many windows as the table says a peer trains on in the time of one measurement."""
    shape = Shape(device=options.device, size=N_CHANS * options.n_times, batch=options.batch, rewrites=False)
    cores = (os.cpu_count() or 1) if options.device == "cpu" else 1
    rate = cores / window_seconds(name, shape)
    n_train = options.windows or min(round(options.seconds * rate / options.epochs), LARGEST[options.device])
    batch = min(options.batch, max(16, 1 << (max(n_train, 1).bit_length() - 1)))
    return Task(
        side=OURS,
        classifier=name,
        folder="",
        n_train=max(n_train // batch, 1) * batch,
        batch=batch,
        n_times=options.n_times,
        sfreq_hz=200.0 if options.n_times >= 1000 else 100.0,
        epochs=options.epochs,
        threads=1,
        device=options.device,
        rewrites=not options.exact,
        mode=options.mode,
    )


def predicted_seconds(task: Task, repeats: int, sides: list[str]) -> float:
    """Of all repeats of all sides of a classifier, ours taken to be as fast as peers."""
    shape = Shape(device=task.device, size=N_CHANS * task.n_times, batch=task.batch, rewrites=False)
    cores = (os.cpu_count() or 1) if task.device == "cpu" else 1
    epochs = task.epochs * task.n_train * (1 + VALIDATION_SHARE / 3) * window_seconds(task.classifier, shape) / cores
    return repeats * len(sides) * (PROCESS_SECONDS + epochs)


def compare(task: Task, sides: list[str], options: Options, runner: "Runner") -> list[dict]:
    """All repeats of all sides of one classifier, in turns."""
    runs = []
    cells = n_cells(options)
    with tempfile.TemporaryDirectory(prefix="valence-bench-") as folder:
        n_windows = task.n_train + round(task.n_train * VALIDATION_SHARE) + N_TEST
        write_windows(Path(folder), n_windows=n_windows, n_chans=N_CHANS, n_times=task.n_times)
        for repeat in range(options.repeats):
            for side in sides if repeat % 2 == 0 else sides[::-1]:
                own = dataclasses.replace(task, side=side, folder=folder)
                if side != OURS:
                    tasks = [dataclasses.replace(own, threads=options.peer_threads or os.cpu_count() or 1)]
                elif options.device == "cuda":
                    tasks = [dataclasses.replace(own, seeds=tuple(range(1, cells + 1)))]
                else:
                    tasks = [dataclasses.replace(own, seeds=(seed,)) for seed in range(1, cells + 1)]
                runs.append({"repeat": repeat, **runner.run(tasks)})
    print(train_report.progress(runs), flush=True)
    return runs


def memory_lines(options: Options, runner: "Runner") -> str:
    """What 16 cells of EEGNet and 4 of CBraMod take of a GPU, in the mode that was chosen."""
    if options.device != "cuda":
        return "GPU memory of 16 cells of EEGNet and 4 of CBraMod: not measured, this run had no GPU"
    lines = []
    for name, cells in (("EEGNet", 16), ("CBraMod", 4)):
        # a forced mode: calibration may find fewer cells best
        task = dataclasses.replace(task_of(name, options), n_train=512, batch=64, mode=options.mode or "graph")
        task = dataclasses.replace(task, seeds=tuple(range(1, cells + 1)))
        with tempfile.TemporaryDirectory(prefix="valence-bench-") as folder:
            write_windows(Path(folder), n_windows=640 + N_TEST, n_chans=N_CHANS, n_times=task.n_times)
            run = runner.run([dataclasses.replace(task, folder=folder)])
        told = run["error"] or f"{run['memory_mb'] / 1024:.1f} GB in mode {run['mode']}"
        lines.append(f"{cells} cells of {name} at once, batch 64: {told}")
    return "\n".join(lines)


class Runner:
    """Starts processes that measure, as copies of one that has imported what they need."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.bench.train_imports"])
        started = time.monotonic()
        first = self._context.Process(target=time.monotonic)
        first.start()
        first.join()
        self.import_s = time.monotonic() - started

    def run(self, tasks: list[Task]) -> dict:
        """Measure tasks at once, each in a process of its own; one line for all of them."""
        barrier = self._context.Barrier(len(tasks))
        started, pipes = [], []
        launched = time.monotonic()
        for task in tasks:
            here, there = self._context.Pipe(duplex=False)
            process = self._context.Process(target=in_child, args=(task, there, barrier))
            process.start()
            there.close()
            started.append(process)
            pipes.append(here)
        told = [_received(pipe) for pipe in pipes]
        for process in started:
            process.join()
        return joined(tasks, told, launched)


def _received(pipe) -> dict:
    try:
        return pipe.recv()
    except EOFError:
        return {"error": "the process died"}


def joined(tasks: list[Task], told: list[dict], launched: float) -> dict:
    """Processes at once to one line: their windows in the time from the first's begin to the last's end."""
    task = tasks[0]
    line = {name: getattr(task, name) for name in ("classifier", "side", "n_train", "batch", "n_times", "device")}
    errors = [part["error"] for part in told if part.get("error")]
    if errors:
        return {**line, "error": errors[0]}
    begins, ends = zip(*(part["steady"] for part in told))
    seconds, n_windows = max(ends) - min(begins), sum(part["n_windows"] for part in told)
    epochs = seconds * task.epochs / (task.epochs - 1)
    return {
        **line,
        "error": "",
        "cells": sum(part["cells"] for part in told),
        "windows_per_second": n_windows / seconds,
        "cpu_windows_per_second": n_windows / sum(part["cpu"] for part in told),
        "start_up_s": max(ends) - launched - epochs,
        "memory_mb": sum(part["memory_mb"] for part in told),
        "mode": told[0].get("mode", ""),
        "rewritten": told[0].get("rewritten", ""),
    }


if __name__ == "__main__":
    sys.exit(main())
