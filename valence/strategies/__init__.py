"""Batches to an auxiliary loss: how a classifier's features are pulled towards a target during training.

The loss of training is CE + lambda_ * L. A strategy says the form of L; a target (valence.targets) says what the
features are aligned to. Any strategy takes any target, so every control is the same loss with another target.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from valence.errors import BadInput
from valence.registry import Registry
from valence.signal import SignalSpec

if TYPE_CHECKING:
    from valence.targets import Target


@dataclass
class Batch:
    """One batch of training samples, all on one device."""

    x: torch.Tensor
    """float, (batch, n_chans, n_times) windows or (batch, n_chans, n_seconds, n_bands) DE"""
    labels: torch.Tensor
    """int64, (batch,), class"""
    clips: torch.Tensor
    """int64, (batch,), index of the clip"""
    subjects: torch.Tensor
    """int64, (batch,), index of the subject"""


class Strategy(nn.Module):
    """Base of all strategies; every method does nothing by default.

    What a strategy learns are its own parameters, trained by the classifier's optimizer. `loss` may not draw random
    numbers: the classifier's dropout masks would then differ from those of the strategy `none`.
    """

    kind: ClassVar[str] = "none"
    """which part of a target it reads: "none", "values", "prototypes" or "dissimilarity" """
    lambda_: ClassVar[float] = 0.0
    """default strength"""
    reads_input: ClassVar[bool] = False
    """whether its loss looks at Batch.x, the windows; those of a classifier whose fixed filters are applied to the data
    once are filtered ones otherwise"""
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The classifier as it will be trained, for strategies that add to it (adapters)."""
        return model

    def prepare(self, model: nn.Module, spec: SignalSpec, n_features: int, target: "Target | None") -> None:
        """Make parameters and buffers. Called once, before training, with the seed of the strategy set."""

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The auxiliary loss L of one batch, a scalar; logits (batch, n_outputs), features (batch, n_features)."""
        return logits.new_zeros(())

    def on_epoch(self, epoch: int) -> None:
        """Called before epoch 0, 1, ..."""


STRATEGIES: Registry[type[Strategy]] = Registry("strategy", __name__)


def need_target(target: "Target | None", strategy: str) -> "Target":
    """The target. Raises BadInput where there is none."""
    if target is None:
        raise BadInput(
            f"strategy {strategy!r} without a target",
            allowed="a target, such as vaxis, permuted or random",
            do="name one with --targets, or use the strategy none",
        )
    return target


def constant_target(strategy: str, what: str) -> BadInput:
    """The error for a target in which nothing differs."""
    return BadInput(
        f"strategy {strategy!r} with a target whose {what} are all equal",
        allowed="a target that tells classes apart",
        do="take another target, or leave this pair out of the grid",
    )
