"""Fixed filters are applied to the data once, in place of every batch, and change nothing but the time it takes."""

import dataclasses
import gc

import numpy as np
import pytest
import torch

from tests.valence import training_world as world
from valence import resident as residents
from valence.packing import train_group
from valence.resident import resident
from valence.strategies import STRATEGIES
from valence.training import CellRun, train_cell

pytestmark = pytest.mark.usefixtures("one_thread")
ONCE = "fixed filters once for all windows"


def run(about, *, strategy="none", **options):
    data = world.dataset("windows")
    held = resident(data, world.split(), de_normalisation="train", device="cpu")
    cell = world.cell("FBCNet", strategy, about=about)
    return CellRun(cell, data, about, None if strategy == "none" else world.target(), held, **options), held


def test_the_same_function_of_the_same_weights():
    filtered, held = run(world.recipe())
    plain, _ = run(world.recipe(), rewrites=False)
    assert ONCE in filtered.rewrites
    assert filtered.data.x.shape[0] == held.x.shape[0]
    assert filtered.data.x.numel() > held.x.numel()
    for one, other in zip(filtered.model.state_dict().items(), plain.model.state_dict().items(), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
    rows = torch.tensor([5, 17, 90])
    with torch.no_grad():
        got, expected = filtered.model.eval()(filtered.data.x[rows]), plain.model.eval()(held.x[rows])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_a_training_step_changes_by_rounding_only():
    about, data = world.recipe(epochs=1, batch_size=200), world.dataset("windows")
    cell = world.cell("FBCNet", about=about)
    fast, plain = (train_cell(cell, data, world.split(), about, None, rewrites=x) for x in (True, False))
    np.testing.assert_allclose(fast.test_logits, plain.test_logits, atol=3e-2)


def test_cells_together_share_it_and_nobody_keeps_it():
    gc.collect()
    first, _ = run(world.recipe())
    second, _ = run(world.recipe())
    assert first.data.x.data_ptr() == second.data.x.data_ptr()
    assert len(residents._filtered) == 1
    del first, second
    gc.collect()
    assert not residents._filtered


def test_a_group_in_one_network_reads_it():
    about = world.recipe(epochs=1)
    cells = [world.cell("FBCNet", about=about, seed=seed) for seed in (1, 2)]
    ended = list(
        train_group(
            cells, world.dataset("windows"), world.split(), about, {c.cell_id: None for c in cells}, mode="batched"
        )
    )
    assert all(one.outcome.mode == "batched" and ONCE in one.outcome.rewrites for one in ended)


def test_windows_that_change_and_losses_that_look_at_them_are_left_alone(monkeypatch):
    assert ONCE not in run(world.recipe(augmentation_p=0.6))[0].rewrites
    monkeypatch.setattr(STRATEGIES["aux_mse"], "reads_input", True)
    assert ONCE not in run(world.recipe(), strategy="aux_mse")[0].rewrites


def test_too_little_memory_for_it(monkeypatch):
    monkeypatch.setattr(residents, "CPU_BUDGET", 1000)
    assert ONCE not in run(world.recipe())[0].rewrites


def test_another_bank_of_filters_is_not_mistaken_for_it():
    first, held = run(world.recipe())
    front = torch.nn.Flatten(1, 1)
    other = residents.filtered(held, front, of="FBCNet")
    torch.testing.assert_close(other.x, held.x)
    assert dataclasses.replace(other, x=held.x).x is held.x
    assert first.data.x.shape != other.x.shape


def test_another_split_of_the_same_data_keeps_its_own_parts():
    """A cell of one split alive, a cell of another on the same windows: nobody trains on the other's test samples."""
    about, data = world.recipe(), world.dataset("windows")
    first, _ = run(about)
    other = dataclasses.replace(
        world.split(), name="cohort-balanced:1", train=world.split().test, test=world.split().train
    )
    held = resident(data, other, de_normalisation="train", device="cpu")
    second = CellRun(world.cell("FBCNet", about=about), data, about, None, held)
    np.testing.assert_array_equal(second.data.train, held.train)
    np.testing.assert_array_equal(second.data.test, held.test)
    assert not set(second.data.train) & set(second.data.test)
    assert set(first.data.train) & set(second.data.test)
