"""Views: never of other cells than they say, never stale, the declared family never smaller for a narrower command."""

import json

import pandas as pd
import pytest

from cluster import views
from cluster.binding import as_dicts
from cluster.store import Store
from tests.cluster.test_store import make_cell, make_row
from valence.errors import BadInput

SUBJECTS = [f"sub{number:03d}" for number in range(6)]
SEEDS = range(6)


def sweep_cells(strategies, plugins=""):
    cells = [make_cell(seed) for seed in SEEDS]
    for strategy in strategies:
        names = {"strategy": strategy, "target": "vaxis", "axis": "a" * 16, "lambda_": 1.0, "plugins": plugins}
        cells += [make_cell(seed, **names) for seed in SEEDS]
    return cells


def save_plan(store, name, cells):
    parts = {"train": ["t"], "validation": ["v"], "test": SUBJECTS}
    split = {"name": "s:0", **{name: {"subjects": subjects} for name, subjects in parts.items()}}
    data = {"splits": {"de": split}, "leakage": {"de": []}, "data": {"de": {"steps": [], "repairs": {}}}}
    plan = {"preset": "quick", "dataset": "d", **data, "exclusions": [], "axis_file": None}
    store.save_plan(json.loads(json.dumps({**plan, "cells": as_dicts(cells)})), name)


def commit(store, cells):
    for cell in cells:
        gain = {"none": 0.0, "rsa": 0.02, "aux_mse": -0.02}.get(cell.strategy, 0.01)
        scores = [0.3 + gain + 0.01 * ((7 * cell.seed + 3 * number) % 5) for number in range(len(SUBJECTS))]
        columns = {"test_subjects": SUBJECTS, "subject_balanced_accuracy": scores, "recall": [0.3] * 9}
        store.commit(make_row(cell, versions="{}", kappa=0.1, weighted_f1=0.2, **columns))


def build(store, plan=None, **options):
    options = {"tracking_uri": None, "partial": False, "say": lambda text: None} | options
    return views.build(store, plan=plan, **options)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    save_plan(store, "wide", sweep_cells(["rsa", "aux_mse"]))
    commit(store, sweep_cells(["rsa", "aux_mse"]))
    return store


def test_a_narrower_command_keeps_the_declared_family(store):
    wide = build(store, "wide").statistics
    save_plan(store, "narrow", sweep_cells(["rsa"]))
    narrow = build(store, "narrow").statistics
    assert set(wide["family_size"]) == {2}
    pd.testing.assert_frame_equal(wide, narrow)


def test_an_unfinished_wider_grid_does_not_block_a_finished_one(store):
    save_plan(store, "wider", sweep_cells(["rsa", "aux_mse", "supcon_clip"]))
    built = build(store, "wide")
    assert built.n_missing == 0
    assert set(built.statistics["family_size"]) == {3}, "the family is what was declared, not what was run"
    with pytest.raises(BadInput, match="6 of 24 cells are not committed"):
        build(store)
    partial = build(store, partial=True)
    assert partial.n_missing == 6


def test_a_report_that_was_interrupted_is_built_again(store, monkeypatch):
    build(store)
    before = (store.folder / "report.html").read_bytes()
    more = sweep_cells(["rsa", "aux_mse", "supcon_clip"])
    save_plan(store, "wider", more)
    commit(store, more)
    with monkeypatch.context() as patched:
        patched.setattr(views, "_render", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(store)
    build(store)
    assert (store.folder / "report.html").read_bytes() != before


def test_cells_of_an_edited_plugin_take_the_place_of_older_ones(store):
    for digest in ("1111", "2222"):
        cells = sweep_cells(["mine"], plugins=digest)
        save_plan(store, digest, cells)
        commit(store, cells)
    union = views.union_of_plans(list(store.plans().values()))
    assert {cell["plugins"] for cell in union["cells"]} == {"", "2222"}
    assert (build(store).statistics["strategy"] == "mine").sum() == 1


def test_damaged_views_count_as_absent_and_unchanged_ones_are_left_alone(store):
    build(store)
    report = store.folder / "report.html"
    stamp = report.stat().st_mtime_ns
    build(store)
    assert report.stat().st_mtime_ns == stamp
    (store.folder / "statistics.parquet").write_bytes(b"rubbish")
    (store.folder / "mlflow.json").write_bytes(b"\xff{")
    assert len(build(store).statistics) == 2
    assert report.stat().st_mtime_ns != stamp


def test_a_tracking_server_that_is_not_there_does_not_cost_the_table(store):
    built = build(store, tracking_uri="nonsense://nowhere")
    assert built.mirror_error
    assert len(built.statistics) == 2
