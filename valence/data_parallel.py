"""One cell on several devices: every process computes some rows of each batch, and all hold the same weights.

The same cell, batches, masks and loss as in one process; results differ by rounding. Every process draws the batch
order, the augmentation and the dropout masks of the whole batch from the cell's own random numbers, computes its rows,
and gathers the logits and features of all. The loss of the whole batch, and its gradient at logits and features, is
then computed everywhere; each process carries that gradient back through its own rows, and the sum over processes is
the gradient. Uses the default group of torch.distributed (see cluster.data_parallel for what starts one).
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from valence.cell import Cell, Recipe
from valence.classifiers import Tapped, tapped
from valence.errors import BadInput
from valence.resident import Resident
from valence.results import predict
from valence.shards import CannotShard, Draws, Shard, add_up, share
from valence.strategies import looks_twice
from valence.targets import Target
from valence.training import CellRun

if TYPE_CHECKING:
    from valence.prepared import Prepared

TRIAL_SIZE = 4
TRIAL_TOLERANCE = 1e-3
"""of the largest value"""


class DataParallelRun(CellRun):
    """One of several processes that train a cell together; every method is called by all of them alike.

    Layers are computed as their authors wrote them: a faster form takes statistics of its own rows alone.

    Raises
    ------
    BadInput : for a classifier in which a sample's features depend on the others in a way that is not known here.
    """

    mode = "data-parallel"

    def __init__(
        self,
        cell: Cell,
        prepared: "Prepared",
        recipe: Recipe,
        target: Target | None,
        data: Resident,
        *,
        weights: Path | None = None,
        earlier: Path | None = None,
    ):
        super().__init__(cell, prepared, recipe, target, data, rewrites=False, weights=weights, earlier=earlier)
        if looks_twice(self.strategy) or cell.gradient_match:
            what = "gradient matching" if cell.gradient_match else f"strategy {cell.strategy!r}, which looks twice"
            raise BadInput(f"{what}, on several devices", allowed="one device", do="leave --gpus-per-cell out")
        for tensor in (*self.model.state_dict().values(), *self.strategy.state_dict().values()):
            share(tensor)  # equal already, unless the processes' libraries differ
        try:
            self._draws = self._tried()
        except CannotShard as error:
            raise BadInput(
                f"{cell.classifier} on {dist.get_world_size()} devices: {error}",
                allowed="classifiers that treat every sample of a batch by itself, batch normalisation apart",
                do="train it on one device",
            ) from error

    def backward(self, forward: Callable[..., Tapped], rows: torch.Tensor, *, measure: bool) -> torch.Tensor:
        """The loss of a whole batch, a scalar, equal on all processes, as are the gradients in the parameters."""
        batch = self.batch(rows)
        shard = Shard.of(len(rows))
        with self._draws.whole_batch(shard):
            out = forward(batch.x[shard.rows])
        ends = (out.logits, out.features)
        logits, features = (shard.gathered(end).requires_grad_() for end in ends)
        task, auxiliary = self.objective.terms(batch, Tapped(logits, features, ()))
        loss = task + auxiliary
        if measure and auxiliary.requires_grad:
            self.objective.keep_ratio(
                *(_norm_at_taps(term, (logits, features), out, shard) for term in (auxiliary, task))
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # what the loss itself reads, such as a strategy's head, has its whole gradient on every process
        for gradient in self._gradients():
            gradient /= shard.world
        torch.autograd.backward(*_through_own_rows(ends, (logits.grad, features.grad), shard))
        self._add_up_gradients()
        return loss

    def predictions(self, forward: Callable[..., Tapped], rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and features of all the rows, each process predicting some."""
        shard = Shard.of(len(rows))
        logits, features = predict(self.model, forward, self.data, rows[shard.rows])
        return shard.gathered(logits), shard.gathered(features)

    def _gradients(self) -> list[torch.Tensor]:
        parameters = [parameter for part in self.clipped for parameter in part]
        return [parameter.grad for parameter in parameters if parameter.grad is not None]

    def _add_up_gradients(self) -> None:
        gradients = self._gradients()
        for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
            alike = [gradient for gradient in gradients if gradient.dtype == dtype]
            total = add_up(torch.cat([gradient.flatten() for gradient in alike]))
            for gradient, summed in zip(alike, total.split([gradient.numel() for gradient in alike])):
                gradient.copy_(summed.view_as(gradient))

    def _tried(self) -> Draws:
        """The masks of this classifier, after a trial: two halves of a few samples must give what all of them give."""
        trial = copy.deepcopy(self.model).train()
        for module in trial.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        before = {name: buffer.clone() for name, buffer in trial.named_buffers()}
        device = self.data.x.device
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
            stack.enter_context(torch.no_grad())
            forward = stack.enter_context(tapped(trial, self.classifier))
            x = torch.randn(TRIAL_SIZE, *self.data.x.shape[1:], device=device)
            draws = Draws(forward, x)
            shards = (Shard(TRIAL_SIZE, 0, 1), Shard(TRIAL_SIZE, 0, 2), Shard(TRIAL_SIZE, 1, 2))
            whole, *halves = (_outputs_and_random(forward, draws, x, shard) for shard in shards)
        if any(not torch.equal(before[name], buffer) for name, buffer in trial.named_buffers()):
            raise CannotShard("it keeps statistics of batches that are no batch normalisation's")
        outputs = zip(whole[:2], *(half[:2] for half in halves))
        alike = [_alike(torch.cat(apart), at_once) for at_once, *apart in outputs]
        alike += [torch.equal(whole[2], half[2]) for half in halves]
        if not all(alike):
            raise CannotShard("a sample's features or random numbers depend on the other samples of its batch")
        return draws


def _outputs_and_random(
    forward: Callable[..., Tapped], draws: Draws, x: torch.Tensor, shard: Shard
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits and features at the shard's rows, and the random numbers that come next."""
    torch.manual_seed(0)
    with draws.whole_batch(shard):
        out = forward(x[shard.rows])
    following = torch.cat([torch.rand(8), torch.rand(8, device=x.device).cpu()])
    return out.logits, out.features, following


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() <= TRIAL_TOLERANCE * other.abs().max())


def _through_own_rows(
    ends: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None], shard: Shard
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Logits and features as computed here, and what of the whole batch's gradients belongs to them."""
    pairs = zip(ends, gradients)
    known = [(end, gradient) for end, gradient in pairs if gradient is not None and end.requires_grad]
    return [end for end, _ in known], [shard.gradient(gradient) for _, gradient in known]


def _norm_at_taps(loss: torch.Tensor, whole: Sequence[torch.Tensor], out: Tapped, shard: Shard) -> torch.Tensor:
    """‖∂ loss/∂ taps‖ over the whole batch, see valence.optimisation.gradient_ratio."""
    gradients = torch.autograd.grad(loss, whole, retain_graph=True, allow_unused=True)
    ends, own = _through_own_rows((out.logits, out.features), gradients, shard)
    at_taps = torch.autograd.grad(ends, out.taps, own, retain_graph=True, allow_unused=True) if ends else ()
    squares = [gradient.square().sum() for gradient in at_taps if gradient is not None]
    return add_up(torch.stack(squares).sum() if squares else loss.new_zeros(())).sqrt()
