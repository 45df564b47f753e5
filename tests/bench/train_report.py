"""Measurements of training to tables: rates, ratios, and hours of the whole grid."""

import os
import platform
import statistics
import time
from importlib.metadata import version

import pandas as pd

from cluster.cells import device_name
from cluster.speeds import Shape, is_measured, window_seconds
from tests.bench.train_sides import OURS
from valence.classifiers import CLASSIFIERS

N_STRATEGIES, N_SEEDS, EPOCHS, FACED_WINDOWS = 26, 5, 50, 6720
EVALUATION_SHARE = 0.25
"""added to training for evaluation, as in the 218 hours that the grid takes eager"""
FACED_SIZE = 32 * 2000
LIMITS_H = (25, 10)
MEASURED = ("windows_per_second", "cpu_windows_per_second", "start_up_s", "mode", "rewritten")


def machine(device: str) -> str:
    """The machine, the date and the versions, as a paragraph."""
    packages = ("torch", "braindecode", "skorch", "torcheeg", "pytorch_lightning")
    told = ", ".join(f"{name} {_version(name)}" for name in packages)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
    return (
        f"{device_name(device)}, {os.cpu_count()} cores, {platform.system()}; {time.strftime('%Y-%m-%d')}; "
        f"load at the start {load};\nPython {platform.python_version()}, {told}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "absent"


def progress(runs: list[dict]) -> str:
    """One line of a classifier that is done."""
    rates = ", ".join(
        f"{run['side']} {run['windows_per_second']:.0f}" if not run["error"] else f"{run['side']}: {run['error']}"
        for run in runs
        if run["repeat"] == 0
    )
    return f"  {runs[0]['classifier']}: {rates}"


def ratios(runs: pd.DataFrame, peers: list[str], rate: str = "windows_per_second") -> pd.DataFrame:
    """Ours over each peer: by classifier, the median over repeats of the ratio within a repeat."""
    rates = runs.pivot(index=["classifier", "repeat"], columns="side", values=rate)
    found = rates[peers].rdiv(rates[OURS], axis=0) if OURS in rates else rates[peers] * float("nan")
    return found.groupby("classifier").median()


def report(runs: pd.DataFrame, sides: list[str]) -> str:
    """Table of rates, ratios and start-up, with the geometric means and the names that are behind."""
    peers = [side for side in sides if side != OURS]
    runs = runs.reindex(columns=list(dict.fromkeys([*runs, *MEASURED])))
    middle = runs.groupby(["classifier", "side"])[["windows_per_second", "start_up_s"]].median()
    found, lines = ratios(runs, peers), []
    for name, own in runs.groupby("classifier"):
        ours = own[own["side"] == OURS].iloc[0]
        rates = [f"{middle.loc[(name, side), 'windows_per_second']:.1f}" for side in sides]
        times = [f"{found.loc[name, peer]:.2f}" for peer in peers]
        starts = " / ".join(f"{middle.loc[(name, side), 'start_up_s']:.1f}" for side in sides)
        how = f"{ours['mode']}{'; ' if ours['rewritten'] else ''}{ours['rewritten']}"
        lines.append([name, f"{ours['n_train']} / {ours['batch']}", *rates, *times, starts, how])
    header = ["classifier", "windows / batch", *(f"{side}, w/s" for side in sides), *(f"× {peer}" for peer in peers)]
    text = table("Training, windows per second", [*header, "start-up, s (same order)", "how ours trained"], lines)
    by_cpu = ratios(runs, peers, "cpu_windows_per_second")
    verdicts = [_verdict(found[peer].dropna(), by_cpu[peer].dropna(), peer) for peer in peers]
    return "\n".join([text, "", *verdicts, *_failures(runs)])


def _verdict(found: pd.Series, by_cpu: pd.Series, peer: str) -> str:
    if not len(found):
        return f"{peer}: nothing to compare with"
    behind = ", ".join(f"{name} ({ratio:.2f})" for name, ratio in found[found < 1].items())
    mean = statistics.geometric_mean(found)
    cpu = f", {statistics.geometric_mean(by_cpu):.2f} × for CPU seconds" if len(by_cpu) else ""
    return f"{peer}: {mean:.2f} × in the geometric mean over {len(found)}{cpu}; behind on {behind or 'none'}"


def _failures(runs: pd.DataFrame) -> list[str]:
    failed = runs[runs["error"] != ""].drop_duplicates(["classifier", "side"])
    return [f"failed: {row.side} with {row.classifier}: {row.error}" for row in failed.itertuples()]


def extrapolation(runs: pd.DataFrame, device: str, *, size: int) -> str:
    """Hours of the grid on this machine from its measured cells, and on one H200 from the speed table."""
    names = [name for name, row in CLASSIFIERS.items() if row.group == "roster" and row.input == "windows"]
    title = f"{len(names)} classifiers × {N_STRATEGIES} strategies × {N_SEEDS} seeds"
    lines = [f"\n**Grid of {title}, {EPOCHS} epochs of FACED ({FACED_WINDOWS * EPOCHS:,} windows a cell)**\n"]
    measured = runs[(runs["side"] == OURS) & (runs["error"] == "")]
    if len(measured):
        rates = measured.groupby("classifier")["windows_per_second"].median() * size / FACED_SIZE
        here = {name: hours(rate, evaluation=0) for name, rate in rates.items() if name in names}  # it is in the rates
        rest = "" if len(here) == len(names) else f"; {len(names) - len(here)} classifiers were not measured"
        lines.append(f"this machine ({device_name(device)}): {sum(here.values()):,.0f} hours{rest}; {_slowest(here)}")
    for what, mode, rewrites in (
        ("eager", "eager", False),
        ("fastest mode, as published", None, False),
        ("fastest mode and rewrites measured so far", None, True),
    ):
        shape = Shape(device="cuda", size=FACED_SIZE, batch=64, mode=mode, rewrites=rewrites)
        every = {name: hours(1 / window_seconds(name, shape)) for name in names}
        known = {name: value for name, value in every.items() if is_measured(name, "cuda")}
        lines.append(
            f"one H200, {what}: {sum(known.values()):.0f} hours of {len(known)} measured, "
            f"{sum(every.values()):.0f} with the others as the table guesses them "
            f"(limit {LIMITS_H[0]}, aim {LIMITS_H[1]}); {_slowest(every)}"
        )
    return "\n".join(lines)


def hours(windows_per_second: float, *, evaluation: float = EVALUATION_SHARE) -> float:
    """Of one classifier's part of the grid, evaluation included: so much of training is added for it."""
    cells = N_STRATEGIES * N_SEEDS
    return (1 + evaluation) * cells * EPOCHS * FACED_WINDOWS / windows_per_second / 3600


def _slowest(found: dict[str, float]) -> str:
    held = sorted(found.items(), key=lambda item: -item[1])[:8]
    return "held back by " + ", ".join(f"{name} {value:.1f} h" for name, value in held)


def table(title: str, header: list[str], rows: list[list]) -> str:
    """A Markdown table under its title."""
    lines = [header, ["---"] * len(header), *rows]
    return f"\n**{title}**\n\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
