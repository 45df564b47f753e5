"""Samples to logits: the classifiers of the grid, and the one tap through which strategies see their features."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

from valence.registry import Registry
from valence.signal import SignalSpec


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """One entry of the registry: how to build a classifier, and facts about it."""

    name: str
    family: str
    input: str
    """"windows": (batch, n_chans, n_times), or "de": (batch, n_chans, n_seconds, n_bands)"""
    build: Callable[[SignalSpec], nn.Module]
    """spec to a module that maps the input to logits (batch, n_outputs); imports what it needs when called"""
    windows_per_second: float
    """training samples a second on one CPU core, roughly: 5-s windows of 32 channels at 100 Hz, or clips of DE"""
    h200_windows_per_second: float | None = None
    """the same on one H200, alone, float32 with TF32: 10-s windows of 32 channels at 200 Hz; None: unmeasured"""
    tap: str = "final_layer"
    """dotted path of the module whose input is the penultimate features"""
    accelerate: Callable[[nn.Module], nn.Module] | None = None
    """the same function computed faster, as a replacement for what `build` returned; equal to rounding"""
    published: Mapping[str, float] = field(default_factory=dict)
    """balanced accuracy reported by others, by data set"""


CLASSIFIERS: Registry[Classifier] = Registry("classifier", __name__)


class Tapped(NamedTuple):
    """What one forward pass gives."""

    logits: torch.Tensor
    """(batch, n_outputs)"""
    features: torch.Tensor
    """(batch, D): the tap, averaged over its trailing dimensions"""
    tap: torch.Tensor
    """the input of the tapped module as it is; cross-entropy and auxiliary loss both pass through it"""


@contextmanager
def tapped(module: nn.Module, classifier: Classifier) -> Iterator[Callable[[torch.Tensor], Tapped]]:
    """Inside the context, a callable that gives logits and penultimate features in one forward pass.

    The features are those the classifier's last layer reads, pooled over time and space; they are part of the graph.
    """
    seen: list[torch.Tensor] = []
    hook = module.get_submodule(classifier.tap).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    def forward(x: torch.Tensor) -> Tapped:
        seen.clear()
        logits = module(x)
        (tap,) = seen
        seen.clear()
        return Tapped(logits, pool(tap), tap)

    try:
        yield forward
    finally:
        hook.remove()


def pool(features: torch.Tensor) -> torch.Tensor:
    """(batch, D, ...) to (batch, D): the mean over trailing dimensions."""
    return features if features.ndim == 2 else features.flatten(2).mean(2)
