"""Dropout with masks that are drawn elsewhere: for several cells in one network, and for one cell on several devices.

PyTorch's dropout draws where it is applied, from one generator. Cells batched into one network would share its numbers,
and the parts of a batch on several devices would each draw their own. Here every dropout of a forward pass asks for its
mask instead, in the order in which PyTorch would have drawn them.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional

Draw = Callable[[tuple[int, ...], float], torch.Tensor]
"""shape and probability to a mask of that shape: 0 where dropped, 1 / (1 - p) elsewhere"""


@contextmanager
def dropout_by(draw: Draw) -> Iterator[None]:
    """Inside, dropout and feature dropout of torch.nn, and that of attention, multiply by masks from `draw`.

    Not for several threads at once, nor for the dropout between layers of torch.nn.LSTM and GRU.
    """

    def dropout(input, p=0.5, training=True, inplace=False):
        return input * draw(tuple(input.shape), p) if training and p else input

    def feature_dropout(input, p=0.5, training=True, inplace=False):
        shape = tuple(input.shape[:2]) + (1,) * (input.ndim - 2)
        return input * draw(shape, p) if training and p else input

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


def draw_mask(shape: tuple[int, ...], p: float, *, device: torch.device | str) -> torch.Tensor:
    """A mask as PyTorch's own dropout would draw it next, from the default generator of the device."""
    if torch.device(device).type == "cuda" and shape[2:] != (1,) * len(shape[2:]):
        return torch.ops.aten.native_dropout(torch.ones(shape, device=device), p, True)[0]
    return torch.empty(shape, device=device).bernoulli_(1 - p).div_(1 - p)
