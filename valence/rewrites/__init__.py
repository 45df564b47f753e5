"""Classifiers to the same function in a faster order, found by structure; parameters and state dicts stay as they are.

A rewrite changes how a module computes, never what: outputs, gradients and running statistics equal the module's own
to rounding. Modules, names and parameters stay in place.
"""

import torch
from torch import nn

from valence.rewrites.chain_search import rewrite_chains
from valence.rewrites.convolutions import rewrite_convolutions
from valence.rewrites.fronts import fixed_front, rewrite_front
from valence.rewrites.trace import record

__all__ = ["fixed_front", "rewrite"]


def rewrite(module: nn.Module, x: torch.Tensor) -> tuple[str, ...]:
    """Let a classifier compute in a faster order, in place.

    Parameters
    ----------
    x : float, (2 or more, ...), samples of the shape it will be trained on.

    Returns
    -------
    tuple of str : what was rewritten, in words; empty where nothing fits.
    """
    trace = record(module, x)
    return (*rewrite_front(trace, module, x), *rewrite_chains(trace), *rewrite_convolutions(trace))
