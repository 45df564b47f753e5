"""Cells on two processes under Ray Train: a killed one costs the epoch, not the cell, and changes no bit of it."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest

from cluster.context import Context, Execution
from cluster.data_parallel import devices_by_cell, run_cells
from cluster.request import execution_of
from cluster.session import Session, ray_session
from cluster.store import METRICS, Store
from tests.valence import training_world as world
from tests.valence.test_data_parallel import in_processes
from valence.classifiers import CLASSIFIERS
from valence.data_parallel import DataParallelRun
from valence.errors import BadInput
from valence.plugins import load_plugin
from valence.resident import resident
from valence.strategies import STRATEGIES
from valence.training import train_cell

N_EPOCHS = 4
PLUGIN = '''
import json, os, signal, time
from pathlib import Path
import torch
from valence.strategies import STRATEGIES, Strategy

FOLDER = Path({folder!r})

@STRATEGIES.register("told_and_killed")
class ToldAndKilled(Strategy):
    """Writes its loss of every step; the second process is killed once, in the second step of epoch 2."""
    kind, lambda_ = "values", 0.5

    def prepare(self, model, spec, n_features, target):
        self.register_buffer("values", torch.tensor(target.class_values, dtype=torch.float32))
        self.head = torch.nn.Linear(n_features, 1)

    def on_epoch(self, epoch, n_epochs):
        self.epoch, self.number = epoch, 0

    def loss(self, batch, logits, features):
        value = (self.head(features)[:, 0] - self.values[batch.labels]).square().mean()
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        with open(FOLDER / f"curve-{{rank}}", "a") as file:
            print(self.epoch, self.number, float(value.detach()).hex(), file=file)
        self.number += 1
        if rank == 1 and (self.epoch, self.number) == (2, 2) and not (FOLDER / "killed").exists():
            self.wait_until_kept()
            (FOLDER / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    def wait_until_kept(self):
        """Until Ray Train has taken in both epochs that were handed to it."""
        for _ in range(600):
            kept = list(FOLDER.glob("*/.train/*/checkpoint_manager_snapshot.json"))
            if kept and json.loads(kept[0].read_text())["current_report_index"] == 2:
                return
            time.sleep(0.1)
        raise TimeoutError(str(kept))
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "told_and_killed.py").write_text(PLUGIN.format(folder=str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    load_plugin("told_and_killed")
    yield "told_and_killed"
    STRATEGIES._entries.pop("told_and_killed")
    sys.modules.pop("told_and_killed")


def curve(folder, rank: int) -> list[tuple[tuple[int, int], float]]:
    lines = (line.split() for line in (folder / f"curve-{rank}").read_text().splitlines())
    return [((int(epoch), int(number)), float.fromhex(value)) for epoch, number, value in lines]


def context(folder, about, plugins=()) -> Context:
    (folder / "plans").mkdir(parents=True)
    return Context(
        folder=str(folder),
        prepared={"de": world.dataset("de")},
        splits={"de": world.split()},
        recipes={recipe.hash: recipe for recipe in about},
        inputs={"de_mlp": "de"},
        targets={("vaxis", 42): world.target()},
        execution=Execution(gpus_per_cell=2),
        plugins=plugins,
    )


def undisturbed(cell, about) -> tuple:
    """The cell in a process of a group that nothing happens to: scores and test logits."""
    held = resident(world.dataset("de"), world.split(), de_normalisation="train", device="cpu")
    run = DataParallelRun(cell, world.dataset("de"), about, world.target(), held)
    while run.advance():
        pass
    result = run.result()
    return result.metrics, result.test_logits


@pytest.mark.slow
def test_a_killed_process_changes_nothing(tmp_path, plugin, one_thread):
    about, steep = world.recipe(epochs=N_EPOCHS), world.recipe(epochs=N_EPOCHS, learning_rate=1e30, clip_norm=1e30)
    cell = dataclasses.replace(world.cell("de_mlp", plugin, about=about, lambda_=0.5), axis="0" * 16)
    diverging = world.cell("de_mlp", about=steep)
    folder, ended = tmp_path / "sweep", []
    told = context(folder, (about, steep), (plugin,))
    with ray_session() as session:
        session = dataclasses.replace(session, n_cpus=2)
        devices = devices_by_cell((cell, diverging), told.execution, session)
        assert devices == {cell: 2, diverging: 2}
        assert run_cells(devices, context=told, session=session, on_cell=ended.append) == []
    assert (tmp_path / "killed").exists()
    assert not (folder / ".train").exists()
    assert [one.status for one in ended] == ["done", "failed"]

    disturbed = [curve(tmp_path, rank) for rank in range(2)]
    for rank in range(2):
        (tmp_path / f"curve-{rank}").unlink()
    (metrics, logits), _ = in_processes(2, undisturbed, tmp_path, cell, about)
    for rank in range(2):
        whole = curve(tmp_path, rank)
        assert [place for place, _ in whole] == [(epoch, number) for epoch in range(N_EPOCHS) for number in range(4)]
        places = [place for place, _ in disturbed[rank]]
        # from the last epoch: what was lost of epoch 2 is done again, nothing before it
        assert {place for place in places if places.count(place) > 1} == {(2, 0), (2, 1)}
        assert set(disturbed[rank]) == set(whole)
    store = Store(folder)
    row = store.row(cell.cell_id)
    assert {name: row[name] for name in METRICS} == {name: metrics[name] for name in METRICS}
    found = tuple(row[name] for name in ("status", "mode", "cells_at_once", "attempts", "device", "windows"))
    assert found == ("done", "data-parallel", 1, 1, "cpu", 112 * N_EPOCHS)
    predictions = pd.read_parquet(folder / "predictions" / f"{cell.cell_id}.parquet")
    predictions = predictions[predictions["part"] == "test"]
    assert np.array_equal(np.stack(predictions["logits"]), logits)
    failed = store.row(diverging.cell_id)
    assert (failed["status"], failed["mode"], failed["attempts"]) == ("failed", "data-parallel", 1)
    assert "lower the recipe's learning rate" in failed["error"]

    (tmp_path / "curve-0").unlink()
    alone = train_cell(cell, world.dataset("de"), world.split(), about, world.target(), rewrites=False)
    one = [value for _, value in curve(tmp_path, 0)]
    np.testing.assert_allclose(one, [value for _, value in whole], rtol=1e-5)
    np.testing.assert_allclose(logits, alone.test_logits, atol=1e-4)


def test_cells_that_the_cluster_has_no_room_for():
    cell = world.cell("de_mlp", about=world.recipe())
    laptop = Session(n_cpus=2, n_gpus=0)
    assert devices_by_cell([cell], Execution(), laptop) == {}
    assert devices_by_cell([cell], Execution(gpus_per_cell=1), laptop) == {}
    assert devices_by_cell([cell], Execution(gpus_per_cell=2), laptop) == {cell: 2}
    with pytest.raises(BadInput, match="2 CPU cores, and no GPU"):
        devices_by_cell([cell], Execution(gpus_per_cell=3), laptop)
    with pytest.raises(BadInput, match="1 GPUs"):
        devices_by_cell([cell], Execution(gpus_per_cell=2), Session(n_cpus=64, n_gpus=1))


def test_the_row_of_a_classifier_asks_for_gpus(monkeypatch):
    row = dataclasses.replace(CLASSIFIERS["de_mlp"], gpus_per_cell=4)
    monkeypatch.setitem(CLASSIFIERS._entries, "de_mlp", row)
    cells = [world.cell(name, about=world.recipe()) for name in ("de_mlp", "de_logistic")]
    node = Session(n_cpus=64, n_gpus=8)
    assert devices_by_cell(cells, Execution(), node) == {cells[0]: 4}
    assert devices_by_cell(cells, Execution(gpus_per_cell=2), node) == dict.fromkeys(cells, 2)
    assert devices_by_cell(cells, Execution(gpus_per_cell=1), node) == {}
    assert devices_by_cell(cells, Execution(), Session(n_cpus=2, n_gpus=0)) == {}


def test_words_that_exclude_each_other():
    assert execution_of("auto", None, exact=False, gpus_per_cell=2).gpus_per_cell == 2
    with pytest.raises(BadInput, match="--gpus-per-cell 0"):
        execution_of("auto", None, exact=False, gpus_per_cell=0)
    with pytest.raises(BadInput, match="--mode graph with --gpus-per-cell 2"):
        execution_of("graph", None, exact=False, gpus_per_cell=2)
