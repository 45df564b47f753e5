"""A cell on several processes is the cell on one, in losses, gradients and scores; a kept epoch goes on to the bit."""

import dataclasses
import io
import itertools
import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.valence import training_world as world
from valence.classifiers import CLASSIFIERS, Classifier
from valence.data_parallel import DataParallelRun
from valence.errors import BadInput
from valence.resident import resident
from valence.shards import Draws, Shard
from valence.training import CellRun

pytestmark = pytest.mark.usefixtures("one_thread")
N_CHANS, N_TIMES = 4, 200
LAMBDA = 0.5
CASES = [
    ("de_transformer", "none", {}),
    ("de_transformer", "aux_mse", {}),
    ("de_transformer", "rsa", {}),
    ("de_transformer", "supcon_clip", {}),
    ("de_mlp", "kd_prototypes", {"class_weights": True}),
    ("de_gru", "rsa", {"optimizer": "adam"}),
    ("EEGNet", "supcon_clip", {}),  # batch normalisation
    ("ShallowFBCSPNet", "none", {"augmentation_p": 0.6}),
    ("Labram", "aux_mse", {}),  # stochastic depth
]
"""112 training samples in batches of 55, 55 and 2, on three processes: shares differ, and at the end one has none"""


def data_of(classifier: str):
    if CLASSIFIERS[classifier].input == "de":
        return world.dataset("de")
    data = world.dataset("windows")
    data.spec = dataclasses.replace(data.spec, n_chans=N_CHANS, sfreq=200, ch_names=("Fz", "Cz", "O1", "O2"))
    data.x = np.ascontiguousarray(data.x[:, :N_CHANS, :N_TIMES])
    data.hash = "four channels"
    return data


def recipe(**fields):
    return world.recipe(**({"epochs": 2, "batch_size": 55} | fields))


def make(kind: type[CellRun], classifier: str, strategy: str, fields: dict) -> CellRun:
    about, data = recipe(**fields), data_of(classifier)
    cell = world.cell(classifier, strategy, about=about, lambda_=0.0 if strategy == "none" else LAMBDA)
    held = resident(data, world.split(), de_normalisation="train", device="cpu")
    target = None if strategy == "none" else world.target()
    options = {"rewrites": False} if kind is CellRun else {}
    return kind(cell, data, about, target, held, **options)


def watched(run: CellRun) -> list[tuple[float, torch.Tensor]]:
    """Loss and gradient of every step that the run will do."""
    steps, own = [], run.backward

    def backward(*arguments, **options):
        loss = own(*arguments, **options)
        parameters = (*run.model.parameters(), *run.strategy.parameters())
        gradients = [parameter.grad.flatten().clone() for parameter in parameters if parameter.grad is not None]
        steps.append((float(loss.detach()), torch.cat(gradients)))
        return loss

    run.backward = backward
    return steps


def trained(kind: type[CellRun], case: tuple) -> tuple:
    run = make(kind, *case)
    steps = watched(run)
    while run.advance():
        pass
    result = run.result()
    return steps, result.metrics, result.test_logits


def in_processes(world_size: int, work, *arguments) -> list:
    """What `work` returns in each of the processes that share a gloo group."""
    context = torch.multiprocessing.get_context("fork")
    queue, folder = context.Queue(), arguments[0]
    processes = [
        context.Process(target=_join, args=((rank, world_size), folder, queue, work, arguments[1:]))
        for rank in range(world_size)
    ]
    for process in processes:
        process.start()
    found = dict(queue.get(timeout=240) for _ in processes)
    for process in processes:
        process.join()
    assert not any(isinstance(one, str) and one.startswith("failed") for one in found.values()), found
    return [torch.load(io.BytesIO(found[rank]), weights_only=False) for rank in range(world_size)]


def _join(place: tuple[int, int], folder, queue, work, arguments) -> None:
    torch.set_num_threads(1)
    rank, world_size = place
    try:
        dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world_size)
        buffer = io.BytesIO()
        torch.save(work(*arguments), buffer)
        queue.put((rank, buffer.getvalue()))
        dist.barrier()
        dist.destroy_process_group()
    except Exception as error:
        queue.put((rank, f"failed: {error!r}"))
        queue.close()
        queue.join_thread()
        os._exit(1)


def all_cases() -> list[tuple]:
    return [trained(DataParallelRun, case) for case in CASES]


@pytest.fixture(scope="module")
def on_three(tmp_path_factory):
    """Every case on three processes: steps, metrics and test logits, by rank."""
    return in_processes(3, all_cases, tmp_path_factory.mktemp("group"))


def has_batch_norm(classifier: str) -> bool:
    module = CLASSIFIERS[classifier].build(data_of(classifier).spec)
    return any(isinstance(part, _BatchNorm) for part in module.modules())


@pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join(case[:2]) for case in CASES])
def test_several_processes_train_as_one(on_three, number):
    case = CASES[number]
    first, *others = (found[number] for found in on_three)
    for other in others:
        for (loss, gradient), (other_loss, other_gradient) in zip(first[0], other[0], strict=True):
            assert loss == other_loss
            assert torch.equal(gradient, other_gradient)
        assert np.array_equal(first[2], other[2])
        assert first[1] == other[1]

    steps, metrics, logits = trained(CellRun, case)
    assert len(steps) == 2 * 3
    np.testing.assert_allclose([loss for loss, _ in first[0]], [loss for loss, _ in steps], rtol=1e-5)
    for (_, one), (_, other) in zip(first[0], steps, strict=True):
        assert float((one - other).norm()) <= 1e-3 * float(other.norm())
    assert float((first[0][0][1] - steps[0][1]).norm()) <= 1e-5 * float(steps[0][1].norm())
    # a bias that normalisation takes away again has no gradient but rounding, which Adam makes into steps
    if has_batch_norm(case[0]):
        np.testing.assert_allclose(first[2], logits, atol=2e-2)
    else:
        np.testing.assert_allclose(first[2], logits, atol=1e-3)
        assert first[1]["best_epoch"] == metrics["best_epoch"]
    assert first[1]["windows"] == metrics["windows"]
    if case[1] != "none":
        assert first[1]["gradient_ratio"] == pytest.approx(metrics["gradient_ratio"], rel=1e-4)


def curve_around_a_stop(case: tuple) -> tuple:
    """Undisturbed, and stopped after each epoch and gone on from what was written: losses, logits."""
    whole = trained(DataParallelRun, case)
    losses, state = [], None
    for _ in range(recipe(**case[2]).epochs):
        run = make(DataParallelRun, *case)
        steps = watched(run)
        if state is not None:
            run.restore(torch.load(io.BytesIO(state), weights_only=True))
        begun = run.epochs_done
        while run.epochs_done == begun:
            assert run.advance()
        losses += [loss for loss, _ in steps]
        buffer = io.BytesIO()
        torch.save(run.state(), buffer)
        state = buffer.getvalue()
    last = make(DataParallelRun, *case)
    last.restore(torch.load(io.BytesIO(state), weights_only=True))
    assert not last.advance()
    result = last.result()
    return [loss for loss, _ in whole[0]], losses, whole[1], result.metrics, whole[2], result.test_logits


@pytest.mark.parametrize("case", [("de_transformer", "rsa", {"epochs": 3}), ("EEGNet", "supcon_clip", {"epochs": 3})])
def test_a_kept_epoch_goes_on_to_the_bit(tmp_path, case):
    for whole, stopped, metrics, other_metrics, logits, other_logits in in_processes(
        2, curve_around_a_stop, tmp_path, case
    ):
        assert whole == stopped
        assert len(whole) == 9
        assert metrics == other_metrics
        assert np.array_equal(logits, other_logits)


@pytest.mark.parametrize(("size", "world_size"), [(37, 2), (1, 2), (3, 8), (64, 4)])
def test_every_row_is_computed_once(size, world_size):
    shards = [Shard(size, rank, world_size) for rank in range(world_size)]
    rows = itertools.chain(*(range(size)[shard.rows] for shard in shards if shard.counts))
    assert list(rows) == list(range(size))
    whole = torch.ones(size, 2)
    assert sum(float(shard.gradient(whole).sum()) for shard in shards) == 2 * size
    assert all(len(whole[shard.rows]) for shard in shards)


class TimeFirst(nn.Module):
    """Dropout of (time, batch, channels), of (batch · time, channels), and of a mask that all samples share."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        mixed = self.dropout(x.permute(2, 0, 1).contiguous()).permute(1, 0, 2)
        flat = self.dropout(mixed.flatten(0, 1)).view_as(mixed)
        return flat * self.dropout(torch.ones(1, *flat.shape[1:]))


def test_masks_are_cut_along_the_samples():
    module, x = TimeFirst().train(), torch.rand(5, 3, 4) + 1
    draws = Draws(module, x)
    assert draws.places == [(1, 1), (0, 4), None]
    torch.manual_seed(3)
    whole = module(x)
    parts = []
    for rank in range(2):
        torch.manual_seed(3)
        shard = Shard(5, rank, 2)
        with draws.whole_batch(shard):
            parts.append(module(x[shard.rows]))
    assert torch.equal(torch.cat(parts), whole)


class Neighbours(nn.Module):
    """Every sample has the mean of its batch subtracted: no two processes can each compute half of it."""

    def __init__(self, spec):
        super().__init__()
        self.final_layer = nn.Linear(spec.n_chans * spec.n_times * spec.n_bands, spec.n_outputs)

    def forward(self, x):
        return self.final_layer((x - x.mean(0)).flatten(1))


def refusal() -> str:
    with pytest.raises(BadInput) as caught:
        make(DataParallelRun, "neighbours", "none", {})
    return str(caught.value)


def test_a_classifier_that_mixes_samples_is_refused(tmp_path, monkeypatch):
    row = Classifier(name="neighbours", family="test", input="de", build=Neighbours)
    monkeypatch.setitem(CLASSIFIERS._entries, "neighbours", row)
    for message in in_processes(2, refusal, tmp_path):
        assert "neighbours on 2 devices" in message
        assert "other samples of its batch" in message
