"""Modes agree with eager training; groups lose nothing to errors or to memory; a pack changes no cell."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.valence import training_world as world
from tests.valence.traced_run import TracedRun
from valence import packing
from valence.batched import BatchedRuns, CannotBatch
from valence.classifiers import CLASSIFIERS, Classifier
from valence.errors import BadInput
from valence.packing import train_group
from valence.resident import resident
from valence.results import Result
from valence.strategies import STRATEGIES
from valence.training import CellRun, train_cell

pytestmark = pytest.mark.usefixtures("one_thread")
STRATEGIES_OF_LANES = ("none", "rsa", "supcon_clip", "kd_prototypes", "aux_mse")


@pytest.fixture
def traced(monkeypatch):
    """The mode graph on a CPU, its captured step replaced by a traced one."""
    monkeypatch.setitem(packing.MODES, "graph", TracedRun)
    monkeypatch.setattr(packing, "check_mode", lambda mode, device: None)
    monkeypatch.setattr(TracedRun, "n_captured", 0)


def cells_of(classifier, about, *, strategies=STRATEGIES_OF_LANES, lambda_=0.5):
    return [
        world.cell(classifier, strategy, about=about, lambda_=lambda_ if strategy != "none" else 0.0, seed=42 + number)
        for number, strategy in enumerate(strategies)
    ]


def targets_of(cells):
    return {cell.cell_id: None if cell.strategy == "none" else world.target(seed=cell.seed) for cell in cells}


def trained(cells, about, *, data=None, **options) -> list:
    data = data or world.dataset(CLASSIFIERS[cells[0].classifier].input)
    ended = list(train_group(cells, data, world.split(), about, targets_of(cells), **options))
    by_id = {one.cell.cell_id: one for one in ended}
    assert len(by_id) == len(ended) == len(cells)
    return [by_id[cell.cell_id] for cell in cells]


def assert_close(one: Result, other: Result, *, atol: float) -> None:
    np.testing.assert_allclose(one.test_logits, other.test_logits, atol=atol)
    for name in ("best_epoch", "windows"):
        assert one.metrics[name] == other.metrics[name]
    if one.metrics["gradient_ratio"] is not None:
        assert one.metrics["gradient_ratio"] == pytest.approx(other.metrics["gradient_ratio"], rel=1e-3)


@pytest.mark.parametrize("classifier", ["de_mlp", "EEGNet", "EEGConformer", "ATCNet", "BDTCN"])
@pytest.mark.parametrize("mode", ["graph", "batched"])
def test_a_group_gives_what_each_cell_gives_alone(traced, classifier, mode):
    """Several strategies and seeds at once, with augmentation, class weights and a ragged last batch."""
    windows = CLASSIFIERS[classifier].input == "windows"
    about = world.recipe(epochs=2, class_weights=True, augmentation_p=0.6 if windows else 0.0)
    cells = cells_of(classifier, about)
    together, alone = trained(cells, about, mode=mode), trained(cells, about)
    for one, other in zip(together, alone, strict=True):
        assert (one.outcome.mode, one.cells_at_once) == (mode, len(cells))
        assert (other.outcome.mode, other.cells_at_once) == ("eager", 1)
        assert_close(one.outcome, other.outcome, atol=2e-2)
    assert TracedRun.n_captured == (len(cells) if mode == "graph" else 0)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("mode", ["graph", "batched", "compiled"])
def test_modes_agree_closely_where_nothing_amplifies_rounding(traced, mode, optimizer):
    about = world.recipe(epochs=2, optimizer=optimizer, clip_norm=0.5)
    strategies = STRATEGIES_OF_LANES if mode != "compiled" else ("aux_mse",)
    cells = cells_of("de_mlp", about, strategies=strategies)
    for one, other in zip(trained(cells, about, mode=mode), trained(cells, about), strict=True):
        assert one.outcome.mode == mode
        assert_close(one.outcome, other.outcome, atol=1e-4)


def test_a_cell_is_bit_identical_whatever_pack_it_ran_in():
    about = world.recipe(epochs=2, augmentation_p=0.6)
    cells = cells_of("EEGNet", about)
    data = world.dataset("windows")
    alone = train_cell(cells[1], data, world.split(), about, world.target(seed=cells[1].seed))
    for group in (cells, cells[::-1], cells[1:2]):
        (one,) = [each for each in trained(group, about) if each.cell == cells[1]]
        assert one.outcome.metrics == alone.metrics
        np.testing.assert_array_equal(one.outcome.test_logits, alone.test_logits)
        np.testing.assert_array_equal(one.outcome.clip_features, alone.clip_features)


def test_cells_advanced_in_turns_are_bit_identical():
    """The random numbers of each cell are its own: dropout and augmentation of one do not move the other's."""
    about = world.recipe(epochs=2, augmentation_p=0.6)
    data = world.dataset("windows")
    held = resident(data, world.split(), de_normalisation="train", device="cpu")
    cells = cells_of("EEGNet", about)
    runs = [CellRun(cell, data, about, targets_of([cell])[cell.cell_id], held) for cell in cells]
    while any([run.advance() for run in runs]):
        torch.rand(3)
    for run, one in zip(runs, trained(cells, about), strict=True):
        np.testing.assert_array_equal(run.result().test_logits, one.outcome.test_logits)


@pytest.mark.parametrize("mode", ["eager", "graph", "batched"])
def test_a_diverging_cell_fails_alone(traced, mode):
    about = world.recipe(epochs=2, clip_norm=1e30)
    cells = [world.cell("de_mlp", "aux_mse", about=about, lambda_=strength, seed=42) for strength in (0.1, 1e38, 0.2)]
    ended = trained(cells, about, mode=mode)
    assert isinstance(ended[1].outcome, FloatingPointError)
    assert "epoch 0" in str(ended[1].outcome)
    for position in (0, 2):
        expected = trained(cells[position : position + 1], about)[0]
        assert_close(ended[position].outcome, expected.outcome, atol=5e-6)


def test_early_stopping_ends_each_lane_by_itself():
    about = world.recipe(epochs=12, patience_epochs=1, learning_rate=1e-2)
    cells = cells_of("de_mlp", about)
    together, alone = trained(cells, about, mode="batched"), trained(cells, about)
    assert len({one.outcome.metrics["windows"] for one in alone}) > 1
    for one, other in zip(together, alone, strict=True):
        assert_close(one.outcome, other.outcome, atol=0.05)


class OutOfMemoryBeyond(torch.nn.Module):
    """A classifier of which no more than a few fit into memory at once."""

    limit, alive = 3, 0

    def __init__(self, spec):
        super().__init__()
        self.final_layer = torch.nn.Linear(spec.n_chans * spec.n_times * spec.n_bands, spec.n_outputs)

    def forward(self, x):
        return self.final_layer(x.flatten(1))

    def train(self, mode=True):
        if mode and not hasattr(self, "counted"):
            self.counted = True
            OutOfMemoryBeyond.alive += 1
            if OutOfMemoryBeyond.alive > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return super().train(mode)

    def __del__(self):
        if hasattr(self, "counted"):
            OutOfMemoryBeyond.alive -= 1


@pytest.fixture
def plugged(monkeypatch):
    def plug(build, name="plugged"):
        row = Classifier(name=name, family="test", input="de", build=build)
        monkeypatch.setitem(CLASSIFIERS._entries, name, row)

    return plug


def test_out_of_memory_halves_the_group_and_loses_nothing(traced, plugged):
    plugged(OutOfMemoryBeyond)
    about = world.recipe(epochs=1)
    cells = [world.cell("plugged", about=about, seed=seed) for seed in range(7)]
    monitored = trained(cells, about, mode="graph")
    assert [one.cells_at_once for one in monitored] == [3, 3, 3, 3, 3, 3, 1]
    assert all(isinstance(one.outcome, Result) for one in monitored)
    for one in monitored:
        assert_close(one.outcome, trained([one.cell], about)[0].outcome, atol=5e-6)


def test_out_of_memory_for_one_cell_is_its_failure(traced, plugged, monkeypatch):
    plugged(OutOfMemoryBeyond)
    monkeypatch.setattr(OutOfMemoryBeyond, "limit", 0)
    about = world.recipe(epochs=1)
    ended = trained([world.cell("plugged", about=about, seed=seed) for seed in range(3)], about, mode="graph")
    assert all(isinstance(one.outcome, torch.OutOfMemoryError) for one in ended)


class Looks(torch.nn.Module):
    """Its forward pass depends on the values it sees, which no captured or batched step can."""

    def __init__(self, spec):
        super().__init__()
        self.final_layer = torch.nn.Linear(spec.n_chans, spec.n_outputs)

    def forward(self, x):
        mean = x.mean((2, 3))
        return self.final_layer(mean * 2 if mean.sum() > 0 else mean)


@pytest.mark.parametrize("mode", ["graph", "batched"])
def test_what_cannot_be_captured_or_batched_trains_eagerly_and_says_so(traced, plugged, mode):
    plugged(Looks)
    about = world.recipe(epochs=2)
    cells = [world.cell("plugged", about=about, seed=seed) for seed in range(2)]
    for one, other in zip(trained(cells, about, mode=mode), trained(cells, about), strict=True):
        assert one.outcome.mode == "eager"
        np.testing.assert_allclose(one.outcome.test_logits, other.outcome.test_logits, atol=1e-6)


def test_a_strategy_that_adds_to_the_classifier_is_not_batched(monkeypatch):
    class Wrapping(STRATEGIES["none"]):
        def wrap(self, model):
            return model

    about, data = world.recipe(), world.dataset()
    held = resident(data, world.split(), de_normalisation="train", device="cpu")
    run = CellRun(world.cell("de_mlp", about=about), data, about, None, held)
    run.strategy = Wrapping()
    with pytest.raises(CannotBatch, match="adds to the classifier"):
        BatchedRuns([run])


def test_a_classifier_that_cannot_take_the_shape_is_a_failed_cell_with_one_message():
    about = world.recipe(epochs=1)
    data = world.dataset("windows")
    (ended,) = list(
        train_group(
            [world.cell("de_mlp", about=about)],
            data,
            world.split(),
            about,
            {world.cell("de_mlp", about=about).cell_id: None},
        )
    )
    assert isinstance(ended.outcome, BadInput)
    assert "de_mlp" in str(ended.outcome)


def test_unknown_modes_and_graphs_on_a_cpu_are_refused():
    about = world.recipe(epochs=1)
    for mode in ("quick", "graph"):
        with pytest.raises(BadInput, match=mode):
            trained([world.cell("de_mlp", about=about)], about, mode=mode)


def test_answers_to_test_samples_that_are_not_finite_fail_the_cell():
    """They are not committed as chance accuracy."""
    about, data = world.recipe(epochs=1), world.dataset("windows")
    data.x[data.subjects == 5, 0, 0] = np.inf
    data.hash = "inf in the test samples"
    (ended,) = trained([world.cell("ShallowFBCSPNet", about=about)], about, data=data)
    assert isinstance(ended.outcome, FloatingPointError)
    assert "test samples" in str(ended.outcome)


@pytest.mark.parametrize("error", [ValueError("a mistake in a plug-in"), MemoryError()])
def test_an_error_of_one_strategy_in_a_batch_fails_its_cell_alone(monkeypatch, error):
    def loss(self, batch, logits, features):
        raise error

    monkeypatch.setattr(STRATEGIES["rsa"], "loss", loss)
    about = world.recipe(epochs=1)
    ended = trained(cells_of("de_mlp", about), about, mode="batched")
    for one in ended:
        assert isinstance(one.outcome, Exception if one.cell.strategy == "rsa" else Result)


class LostDevice(torch.nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.final_layer = torch.nn.Linear(spec.n_chans, spec.n_outputs)

    def forward(self, x):
        if self.training:
            raise torch.AcceleratorError("an illegal memory access was encountered")
        return self.final_layer(x.mean((2, 3)))


@pytest.mark.parametrize("mode", ["eager", "graph", "batched"])
def test_a_lost_device_is_nobodys_failure(traced, plugged, mode):
    """The process is given up, and its cells are trained in another one."""
    plugged(LostDevice)
    about = world.recipe(epochs=1)
    with pytest.raises(torch.AcceleratorError):
        trained([world.cell("plugged", about=about, seed=seed) for seed in range(2)], about, mode=mode)


def test_cells_that_cannot_share_a_network_train_beside_those_that_can():
    about = world.recipe(epochs=2)
    names = {"aux_mse": 0.1, "pretrain_finetune": 1.0, "rsa": 1.0}
    cells = [world.cell("de_mlp", name, about=about, lambda_=strength) for name, strength in names.items()]
    cells[1] = dataclasses.replace(cells[1], options="frozen=true")
    ended = {one.cell.strategy: one.outcome.mode for one in trained(cells, about, mode="batched")}
    assert ended == {"aux_mse": "batched", "pretrain_finetune": "eager", "rsa": "batched"}
