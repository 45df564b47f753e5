"""The benchmark of training measures what it says: the same windows through every side, times that add up."""

import importlib.util

import numpy as np
import pandas as pd
import pytest

from tests.bench import train, train_report, train_sides, train_speeds
from tests.bench.train_sides import OURS, SIDES, Clock, Task, measure, write_windows

N_TRAIN, EPOCHS = 32, 3


def a_task(folder, side: str, **fields) -> Task:
    facts = {"classifier": "ShallowFBCSPNet", "n_train": N_TRAIN, "batch": 16, "n_times": 200, "sfreq_hz": 100.0}
    return Task(**(facts | {"side": side, "folder": str(folder), "epochs": EPOCHS, "threads": 1} | fields))


@pytest.fixture
def windows(tmp_path):
    write_windows(tmp_path, n_windows=60, n_chans=8, n_times=200)
    return tmp_path


@pytest.mark.parametrize("side", SIDES)
def test_every_side_trains_on_the_same_number_of_windows(windows, monkeypatch, one_thread, side):
    """What went through the classifier in training mode, and in evaluation mode, is counted by a hook of its own."""
    if side == "torcheeg" and importlib.util.find_spec("torcheeg") is None:
        pytest.skip("torcheeg is not installed")
    seen = {True: 0, False: 0}
    build = train_sides.build_classifier

    def count(module, inputs):
        if not module.training or len(inputs[0]) == 16:  # what rewrites try on two windows is no training
            seen[module.training] += len(inputs[0])

    def counted(*arguments):
        module = build(*arguments)
        module.register_forward_pre_hook(count)
        return module

    monkeypatch.setattr("tests.bench.train_sides.build_classifier", counted)
    monkeypatch.setattr("valence.assembly.build_classifier", counted)
    for kind, name in ((train_sides.Strategy, "on_epoch"), (train_sides.CellRun, "result")):
        monkeypatch.setattr(kind, name, getattr(kind, name))  # a measurement replaces it: put back afterwards
    told = measure(a_task(windows, side))
    assert seen[True] == N_TRAIN * EPOCHS
    assert seen[False] >= EPOCHS * N_TRAIN * train_sides.VALIDATION_SHARE
    assert told["n_windows"] == N_TRAIN * (EPOCHS - 1)
    assert told["cells"] == 1
    begin, end = told["steady"]
    assert told["begun"] < begin < end
    assert told["cpu"] > 0


def test_what_counts_begins_after_the_first_epoch_of_every_cell():
    """Ours: two cells in turns. A peer: two cells one after the other, the second's first epoch left out."""
    together = [(t, t) for t in (0.0, 0.5, 10.0, 11.0, 20.0, 21.0)]
    told = train_sides._steady(a_task(".", OURS), together, (30.0, 30.0), 2)
    assert told == {"steady": (11.0, 30.0), "cpu": 19.0, "n_windows": 2 * 2 * N_TRAIN}
    in_turn = [(t, t) for t in (0.0, 10.0, 12.0, 14.0, 30.0, 33.0)]
    told = train_sides._steady(a_task(".", "PyTorch loop"), in_turn, (36.0, 36.0), 2)
    assert told == {"steady": (26.0, 36.0), "cpu": 4.0 + 6.0, "n_windows": 2 * 2 * N_TRAIN}


def test_processes_at_once_count_from_the_first_begin_to_the_last_end():
    tasks = [a_task(".", OURS, seeds=(seed,)) for seed in (1, 2)]
    part = {"n_windows": 64, "cpu": 4.0, "cells": 1, "memory_mb": 100.0}
    told = [{**part, "steady": (10.0, 14.0)}, {**part, "steady": (11.0, 18.0)}]
    line = train.joined(tasks, told, 3.0)
    assert line["windows_per_second"] == 128 / 8
    assert line["cpu_windows_per_second"] == 128 / 8
    assert line["start_up_s"] == pytest.approx(18 - 3 - 8 * 3 / 2)
    assert (line["cells"], line["memory_mb"], line["error"]) == (2, 200.0, "")
    assert train.joined(tasks, [told[0], {"error": "OSError: gone"}], 3.0)["error"] == "OSError: gone"


def runs() -> pd.DataFrame:
    """Two classifiers, two repeats; the machine was twice as slow in the second."""
    rates = {("A", OURS): 300, ("A", "loop"): 100, ("B", OURS): 50, ("B", "loop"): 100}
    return pd.DataFrame(
        [
            {"classifier": name, "side": side, "repeat": repeat, "windows_per_second": rate / (1 + repeat)}
            | {
                "cpu_windows_per_second": rate,
                "error": "",
                "n_train": 64,
                "batch": 64,
                "start_up_s": 1.0,
                "mode": "eager",
                "rewritten": "",
            }
            for (name, side), rate in rates.items()
            for repeat in (0, 1)
        ]
    )


def test_report_names_those_behind_and_those_that_failed():
    text = train_report.report(runs(), [OURS, "loop"])
    mean = f"{np.sqrt(3 * 0.5):.2f} ×"
    assert f"loop: {mean} in the geometric mean over 2, {mean} for CPU seconds; behind on B (0.50)" in text
    broken = runs()
    broken.loc[broken["classifier"].eq("B") & broken["side"].eq(OURS), ["error", "windows_per_second"]] = ["no", np.nan]
    text = train_report.report(broken, [OURS, "loop"])
    assert "loop: 3.00 × in the geometric mean over 1, " in text
    assert "behind on none" in text
    assert f"failed: {OURS} with B: no" in text


def test_hours_of_the_grid():
    """The eager grid of the 32 classifiers measured on an H200 takes the 218 hours that the study tells."""
    assert train_report.hours(1000) == pytest.approx(1.25 * 26 * 5 * 336_000 / 1000 / 3600)
    text = train_report.extrapolation(runs(), "cpu", size=64_000)
    assert "one H200, eager: 218 hours of 32 measured" in text


def test_noise_is_pink_and_of_the_scale_of_training(tmp_path):
    write_windows(tmp_path, n_windows=20, n_chans=4, n_times=2000)
    x = np.load(tmp_path / "x.npy")
    power = (np.abs(np.fft.rfft(x)) ** 2).mean((0, 1))
    frequencies = np.arange(1, 1001)
    slope = np.polyfit(np.log(frequencies[3:800]), np.log(power[4:801]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)
    assert x.std() == pytest.approx(1, abs=0.01)


def test_slow_classifiers_take_few_windows():
    tasks = {name: train.task_of(name, train.Options()) for name in ("SyncNet", "EEGSym")}
    assert tasks["EEGSym"].n_train < tasks["SyncNet"].n_train
    for task in tasks.values():
        assert task.n_train % task.batch == 0
        assert task.n_train >= 8
    assert train.task_of("EEGNet", train.Options(windows=48, batch=64)).n_train == 32


def test_a_row_of_the_speed_table_is_of_cpu_time(tmp_path):
    run = train.joined(
        [a_task(tmp_path, OURS)],
        [{"n_windows": 64, "cpu": 2.0, "cells": 1, "memory_mb": 55.4, "steady": (0.0, 9.0), "rewritten": "a"}],
        0.0,
    )
    row = train_speeds.table_row({**run, "mode": "eager"})
    # 64 windows in 2 CPU seconds, in which a quarter as many were predicted at a third of the cost
    assert (row["windows_per_second"], row["memory_mb"], row["rewrites"]) == (34.67, 55, "yes")
    assert list(row) == list(train_speeds.read_speeds().columns)


def test_a_clock_tells_when_epochs_began():
    clock = Clock("cpu")
    clock.begin()
    clock.begin()
    assert clock.epochs[0] <= clock.epochs[1]
