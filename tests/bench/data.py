"""Benchmark of the data layer beside torcheeg's reader of FACED, on the same files in one run. Prints Markdown tables.

python tests/bench/data.py [--subjects 16] [--runs 3] [--workers 2] [--data-root DIR]
Each measurement is a process of its own with an empty cache; tools take turns, medians over runs are shown. Memory is
the peak of the process and its children, shared pages counted once. CPU seconds are those of all of them: on a machine
that does other work they are the steadier number.

What torcheeg 1.1.2 does (`FACEDDataset`): it reads files with pickle.load, which runs what they name; it cuts windows
first, and its own `Downsample` then takes the nearest earlier sample, without a filter against aliases; every window is
pickled into an LMDB database (its default) or a file of its own. "same signal" gives it our resampling of whole clips
and our scale as hooks, so that it makes the numbers that we make: the largest difference is shown. It does not check
what it reads and keeps no hash of it; we do both, and the time that takes is in ours.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tyro

from tests.bench.data_tasks import BATCH, N_SAMPLES, OURS, PEERS, measure, recordings

MISSING = (
    "torcheeg is not installed, which this benchmark measures beside ours. It is no part of valence; install it with\n"
    "  uv pip install torcheeg==1.1.2\n"
    "or, leaving this environment as it is, into a folder that PYTHONPATH names: --target FOLDER."
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure conversion, opening and reading of FACED's files, and the simulated cohort."""

    subjects: int = 16
    runs: int = 3
    workers: int = os.cpu_count() or 1
    """subjects converted at once in a second table; in the first it is one"""
    data_root: Path | None = None
    """real FACED with DE features, $VALENCE_FACED, or ../shared/data/faced, where not given"""
    measure: Annotated[str | None, tyro.conf.arg(help="used by the benchmark itself: one measurement, as JSON")] = None


def main() -> int:
    """Run all measurements; returns the exit code."""
    options = tyro.cli(Options)
    if options.measure:
        print(json.dumps(measure(json.loads(options.measure))))
        return 0
    if importlib.util.find_spec("torcheeg") is None:
        print(MISSING, file=sys.stderr)
        return 2
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="valence-bench-") as folder:
        home = Path(folder)
        cohort = in_process(home, task="simulate", n_subjects=options.subjects)
        megabytes = sum(path.stat().st_size for path in recordings(home).glob("*.pkl")) / 1e6
        for workers in sorted({1, options.workers}):
            print(conversions(home, options, workers=workers, megabytes=megabytes), flush=True)
        print(readings(home, options), flush=True)
        print(others(home, options, cohort), flush=True)
    return 0


def machine() -> str:
    """The machine, the date and the versions, as a paragraph."""
    cpu = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        names = [line.split(":", 1)[1].strip() for line in facts.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    packages = ("valence", "torcheeg", "numpy", "scipy", "torch", "lmdb", "joblib")
    told = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
    return (
        f"{cpu}, {os.cpu_count()} cores, {platform.system()}; {time.strftime('%Y-%m-%d')}; load at the start {load};\n"
        f"Python {platform.python_version()}, {told}\n"
    )


def conversions(home: Path, options: Options, *, workers: int, megabytes: float) -> str:
    """Table: processed recordings to windows of 10 s at 200 Hz."""
    results: dict[str, list[dict]] = {name: [] for name in (OURS, *PEERS)}
    for _ in range(options.runs):
        for name, found in results.items():
            found.append(in_process(home, task="convert", tool=name, workers=workers))
    rows = []
    base = median(results[OURS], "seconds")
    for name, found in results.items():
        seconds = median(found, "seconds")
        difference = "" if name == OURS else f"{in_process(home, task='compare', tool=name)['difference']:.3g}"
        rates = f"{options.subjects / seconds:.2f} | {megabytes / seconds:.0f} | {seconds / base:.1f}"
        costs = f"{median(found, 'cpu') / options.subjects:.3f} | {median(found, 'peak') / 2**20:.0f}"
        rows.append([name, f"{seconds:.2f}", rates, costs, difference])
    header = ["tool", "seconds", "subjects/s", "MB/s", "× ours", "CPU s/subject", "peak MiB", "largest difference, µV"]
    told = f"{options.subjects} subjects, {megabytes:.0f} MB, {workers} at once, median of {options.runs}"
    return table(f"Conversion: {told}", header, rows)


def readings(home: Path, options: Options) -> str:
    """Table: what was converted is opened, and every window read once in random batches of 64."""
    results: dict[str, list[dict]] = {name: [] for name in (OURS, *PEERS)}
    for _ in range(options.runs):
        for name, found in results.items():
            found.append(in_process(home, task="read", tool=name))
    base = {key: median(results[OURS], key) for key in ("opened", "seconds")}
    rows = []
    for name, found in results.items():
        opened, seconds = median(found, "opened"), median(found, "seconds")
        rates = f"{seconds:.2f} | {options.subjects * N_SAMPLES / seconds:.0f} | {seconds / base['seconds']:.1f}"
        memory = f"{median(found, 'peak') / 2**20:.0f}"
        rows.append([name, f"{opened:.3f}", f"{opened / base['opened']:.1f}", rates, memory])
    header = ["tool", "s to open", "× ours", "s to read", "windows/s", "× ours", "peak MiB"]
    return table(f"Reading all windows once in random batches of {BATCH}, median of {options.runs}", header, rows)


def others(home: Path, options: Options, cohort: dict) -> str:
    """Table: real DE features, the simulated cohort, and memory that does not grow with subjects."""
    rows: list[list] = [["simulated cohort, s a subject", f"{cohort['seconds'] / options.subjects:.2f}", ""]]
    root = options.data_root or Path(
        os.environ.get("VALENCE_FACED", Path(__file__).resolve().parents[3] / "shared/data/faced")
    )
    if (root / "EEG_Features/DE").is_dir():
        first = in_process(home, task="features", root=str(root))
        again = in_process(home, task="features", root=str(root), keep=True)
        rows.append([f"real DE features of {first['subjects']} subjects: conversion, s", f"{first['seconds']:.2f}", 20])
        rows.append(["opened again, s", f"{again['seconds']:.3f}", 1])
    else:
        rows.append([f"real DE features: none at {root}", "", ""])
    for n_subjects in (16, 123):
        found = in_process(home, task="grow", n_subjects=n_subjects)
        rows.append([f"peak memory of {n_subjects} subjects of windows, MiB", f"{found['peak'] / 2**20:.0f}", 3072])
        rows.append([f"their conversion, s ({n_subjects} links to the cohort's files)", f"{found['seconds']:.1f}", ""])
    return table("Others", ["what", "measured", "target, below"], rows)


def in_process(home: Path, **task: object) -> dict:
    """One measurement in a process of its own, whose cache is empty unless it is asked to keep it."""
    cache = home / "cache"
    if task["task"] in ("convert", "features", "grow") and not task.get("keep"):
        shutil.rmtree(cache, ignore_errors=True)
    told = subprocess.run(
        [sys.executable, __file__, "--measure", json.dumps({**task, "home": str(home)})],
        capture_output=True,
        env={**os.environ, "VALENCE_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        text=True,
        check=False,
    )
    if told.returncode:
        raise RuntimeError(f"{task} failed:\n{told.stderr}")
    return json.loads(told.stdout.splitlines()[-1])


def median(found: list[dict], key: str) -> float:
    return statistics.median(result[key] for result in found)


def table(title: str, header: list[str], rows: list[list]) -> str:
    """A Markdown table under its title."""
    lines = [header, ["---"] * len(header), *rows]
    return f"\n**{title}**\n\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
