"""Dropout with masks that are drawn elsewhere: for several cells in one network, and for one cell on several devices.

PyTorch's dropout draws where it is applied, from one generator. Cells batched into one network would share its numbers,
and the parts of a batch on several devices would each draw their own. Here every dropout of a forward pass asks for its
mask instead, in the order in which PyTorch would have drawn them.
"""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Mask:
    """A mask that a dropout asks for: 0 where dropped, 1 / (1 - p) elsewhere."""

    drawn: tuple[int, ...]
    """shape in which it is drawn"""
    order: tuple[int, ...]
    """dimensions of what was drawn, in the order of the mask's"""
    p: float

    def draw(self, device: torch.device | str) -> torch.Tensor:
        """The mask as PyTorch would draw it next, from the default generator of the device."""
        return draw_mask(self.drawn, self.p, device=device).permute(self.order)


def mask_of(input: torch.Tensor, p: float) -> Mask:
    """The mask of an input. PyTorch draws in the order of memory, which a permuted input does not have."""
    dimensions = range(input.ndim)
    if not draws_in_memory_order(input.device.type):
        return Mask(tuple(input.shape), tuple(dimensions), p)
    strides = input.stride()
    by_stride = sorted(dimensions, key=lambda dimension: -strides[dimension])
    drawn = tuple(input.shape[dimension] for dimension in by_stride)
    return Mask(drawn, tuple(by_stride.index(dimension) for dimension in dimensions), p)


@functools.cache
def draws_in_memory_order(kind: str) -> bool:
    """Whether PyTorch fills a permuted tensor in the order of memory: it depends on the processor."""
    permuted = torch.ones(5, 7, device=kind).T
    with torch.random.fork_rng(devices=None if kind == "cuda" else []):
        torch.manual_seed(0)
        by_pytorch = torch.dropout(permuted, 0.5, True)
        torch.manual_seed(0)
        return torch.equal(by_pytorch, draw_mask((5, 7), 0.5, device=kind).T)


@contextmanager
def dropout_masks(give: Callable[[Mask], torch.Tensor]) -> Iterator[None]:
    """Inside, dropout and feature dropout of torch.nn, and that of attention, multiply by what `give` returns.

    Not for several threads at once, nor for the dropout between layers of torch.nn.LSTM and GRU.
    """

    def dropout(input, p=0.5, training=True, inplace=False):
        return input * give(mask_of(input, p)) if training and p else input

    def feature_dropout(input, p=0.5, training=True, inplace=False):
        shape = tuple(input.shape[:2]) + (1,) * (input.ndim - 2)
        return input * give(Mask(shape, tuple(range(input.ndim)), p)) if training and p else input

    def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        if not dropout_p:
            return own["scaled_dot_product_attention"](
                query, key, value, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
            )
        scores = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
        if is_causal or enable_gqa:
            raise NotImplementedError("attention with dropout that is causal or grouped")
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        return dropout(scores.softmax(-1), dropout_p) @ value

    ours = {
        "dropout": dropout,
        "dropout1d": feature_dropout,
        "dropout2d": feature_dropout,
        "dropout3d": feature_dropout,
        "scaled_dot_product_attention": attention,
    }
    own = {name: getattr(functional, name) for name in ours}
    for name, replacement in ours.items():
        setattr(functional, name, replacement)
    try:
        yield
    finally:
        for name, original in own.items():
            setattr(functional, name, original)


def dropout_by(draw: Callable[[tuple[int, ...], float], torch.Tensor]):
    """The same with a function of the shape in which a mask is drawn, and of p."""
    return dropout_masks(lambda mask: draw(mask.drawn, mask.p).permute(mask.order))


def draw_mask(shape: tuple[int, ...], p: float, *, device: torch.device | str) -> torch.Tensor:
    """A mask as PyTorch's own dropout of a contiguous input would draw it next, from the default generator."""
    of_whole_features = len(shape) > 2 and set(shape[2:]) == {1}
    if torch.device(device).type == "cuda" and not of_whole_features:
        return torch.ops.aten.native_dropout(torch.ones(shape, device=device), p, True)[0]
    return torch.empty(shape, device=device).bernoulli_(1 - p).div_(1 - p)
