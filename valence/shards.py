"""A batch on several processes: each computes some of its rows, and what a layer needs of all rows is exchanged.

Three things tie the samples of a training batch together inside a classifier, and each is made to be what it is in one
process: the random masks of dropout are drawn for the whole batch and cut to the process's rows, batch normalisation
takes its statistics from all rows, and outputs are gathered for a loss of the whole batch. Uses the default group of
torch.distributed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.nn import functional

from valence.dropout_masks import draw_mask, dropout_by

Shape = tuple[int, ...]


class LostPeer(RuntimeError):
    """Another process of this cell is gone; nothing is known of the cell itself."""


class CannotShard(Exception):
    """The rows of a batch cannot be computed by themselves."""


def add_up(tensor: torch.Tensor) -> torch.Tensor:
    """Sum over processes, in place; the same bits everywhere. Raises LostPeer where one of them is gone."""
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:
        raise LostPeer(f"an exchange between processes failed: {error}") from error
    return tensor


def share(tensor: torch.Tensor) -> None:
    """The first process's values, everywhere, in place. Raises LostPeer where a process is gone."""
    values = tensor.contiguous()
    try:
        dist.broadcast(values, 0)
        tensor.copy_(values)
    except RuntimeError as error:
        raise LostPeer(f"an exchange between processes failed: {error}") from error


class _AddUp(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum over processes."""

    @staticmethod
    def forward(ctx, tensor: torch.Tensor) -> torch.Tensor:
        return add_up(tensor.clone())

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return add_up(gradient.clone())


@dataclass(frozen=True)
class Shard:
    """The rows of a batch that one process computes.

    Where there are fewer rows than processes, some have none: they compute the first row, which counts nothing, so that
    all take part in every exchange.
    """

    size: int
    """rows of the whole batch"""
    rank: int
    world: int
    """processes"""

    @classmethod
    def of(cls, size: int) -> "Shard":
        """This process's share of so many rows."""
        return cls(size, dist.get_rank(), dist.get_world_size())

    @property
    def bounds(self) -> tuple[int, int]:
        """First row and the one after the last; equal where there are none."""
        begin, end = (number * self.size // self.world for number in (self.rank, self.rank + 1))
        return begin, end

    @property
    def counts(self) -> bool:
        """False where what is computed counts nothing."""
        begin, end = self.bounds
        return end > begin

    @property
    def rows(self) -> slice:
        """The rows to compute."""
        return slice(*self.bounds) if self.counts else slice(0, 1)

    def gathered(self, own: torch.Tensor) -> torch.Tensor:
        """Own rows (n, ...) to those of all processes, (size, ...), without gradient."""
        whole = own.new_zeros(self.size, *own.shape[1:])
        if self.counts:
            whole[self.rows] = own.detach()
        return add_up(whole)

    def gradient(self, whole: torch.Tensor) -> torch.Tensor:
        """Of a gradient (size, ...) the part at the rows computed here."""
        own = whole[self.rows]
        return own if self.counts else torch.zeros_like(own)


class Draws:
    """Which random masks a forward pass asks for, and along which dimension of each the samples lie.

    Parameters
    ----------
    forward : a forward pass in training mode; it is called with two and with three samples.
    x : at least three samples.

    Raises
    ------
    CannotShard : where the masks do not follow the number of samples.
    """

    def __init__(self, forward: Callable[[torch.Tensor], object], x: torch.Tensor):
        two, three = (_shapes_asked_for(forward, x[:size]) for size in (2, 3))
        if len(two) != len(three):
            raise CannotShard("how many dropout masks it draws depends on the number of samples")
        self.places = [_place(*shapes) for shapes in zip(two, three)]
        self._device = x.device

    @contextmanager
    def whole_batch(self, shard: Shard) -> Iterator[None]:
        """Inside, a forward pass over the shard's rows computes what one over the whole batch would compute there."""
        supply = iter(self.places)

        def cut(mask: Callable[[Shape], torch.Tensor], shape: Shape) -> torch.Tensor:
            place = next(supply)
            if place is None:
                return mask(shape)
            dimension, each = place
            rows = shard.rows
            if shape[dimension] != each * (rows.stop - rows.start):
                raise CannotShard(f"a dropout mask of {rows.stop - rows.start} samples is {shape}")
            drawn = mask((*shape[:dimension], each * shard.size, *shape[dimension + 1 :]))
            return drawn.narrow(dimension, each * rows.start, each * (rows.stop - rows.start))

        def bernoulli(p: torch.Tensor) -> torch.Tensor:
            # stochastic depth: one probability for all samples
            return cut(lambda shape: own_bernoulli(p.flatten()[0].expand(shape).contiguous()), tuple(p.shape))

        def draw(shape: Shape, p: float) -> torch.Tensor:
            return cut(lambda whole: draw_mask(whole, p, device=self._device), shape)

        def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
            if not training:
                return own_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
            return _batch_norm(x, running_mean, running_var, weight, bias, momentum, eps, counts=shard.counts)

        own_bernoulli, own_norm = torch.bernoulli, functional.batch_norm
        with (
            dropout_by(draw),
            _replaced(torch, "bernoulli", bernoulli),
            _replaced(functional, "batch_norm", batch_norm),
        ):
            yield


def _shapes_asked_for(forward: Callable[[torch.Tensor], object], x: torch.Tensor) -> list[Shape]:
    shapes: list[Shape] = []

    def note(shape: Shape, p: float) -> torch.Tensor:
        shapes.append(shape)
        return torch.ones(shape, device=x.device)

    with dropout_by(note), _replaced(torch, "bernoulli", lambda p: note(tuple(p.shape), 0.0)), torch.no_grad():
        forward(x)
    return shapes


def _place(two: Shape, three: Shape) -> tuple[int, int] | None:
    """Dimension of the samples and entries for each; None for a mask that all samples share."""
    if two == three:
        return None
    differ = [number for number, (a, b) in enumerate(zip(two, three)) if a != b]
    each = three[differ[0]] - two[differ[0]] if differ else 0
    if len(two) != len(three) or len(differ) != 1 or two[differ[0]] != 2 * each:
        raise CannotShard(f"a dropout mask is {two} for two samples and {three} for three")
    return differ[0], each


@contextmanager
def _replaced(place: object, name: str, replacement: object) -> Iterator[None]:
    own = getattr(place, name)
    setattr(place, name, replacement)
    try:
        yield
    finally:
        setattr(place, name, own)


def _batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    momentum: float,
    eps: float,
    *,
    counts: bool,
) -> torch.Tensor:
    """torch.nn.functional.batch_norm in training mode, with the statistics of the rows of all processes."""
    across = [0, *range(2, x.ndim)]
    n_channels = x.shape[1]
    factor = float(counts)
    count = x.new_full((1,), factor * x.numel() / n_channels)
    sums = _AddUp.apply(torch.cat([factor * x.sum(across), count]))
    total = sums[-1].detach()
    mean = sums[:-1] / total
    shape = (1, n_channels) + (1,) * (x.ndim - 2)
    centred = x - mean.view(shape)
    variance = _AddUp.apply(factor * centred.square().sum(across)) / total
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (total / (total - 1).clamp(min=1)), momentum)
    scaled = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        scaled = scaled * weight.view(shape)
    return scaled if bias is None else scaled + bias.view(shape)
