"""The parts of a training step: optimizer, learning rate, batch order, and how hard a loss pulls."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from valence.cell import Recipe

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


def make_optimizer(model: nn.Module, strategy: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over classifier and strategy; scalars of a strategy, like a temperature, do not decay."""
    own = list(strategy.parameters())
    scalars = [parameter for parameter in own if not parameter.ndim]
    groups: list[dict[str, Any]] = [
        {"params": list(model.parameters()) + [parameter for parameter in own if parameter.ndim]},
        {"params": scalars, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return OPTIMIZERS[recipe.optimizer](groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)


def learning_rate(recipe: Recipe, *, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up from 0 to the peak, then a cosine that reaches the final rate in the last step."""
    warmup, total = recipe.warmup_epochs * steps_per_epoch, recipe.epochs * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(total - 1 - warmup, 1)
    span = recipe.learning_rate - recipe.final_learning_rate
    return recipe.final_learning_rate + span * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def class_weights(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Weight of each class, float32, (n_classes,): n / (K · n_k) over labels (n,); 0 for a class without samples."""
    counts = torch.bincount(labels, minlength=n_classes).float()
    return torch.where(counts > 0, len(labels) / ((counts > 0).sum() * counts.clamp(min=1)), 0.0)


def shuffled(rows: np.ndarray, batch_size: int, order: torch.Generator) -> list[torch.Tensor]:
    """All rows in random order, in batches; a last batch of one is left out, as it has no variance to normalise by."""
    mixed = torch.from_numpy(rows)[torch.randperm(len(rows), generator=order)]
    batches = list(mixed.split(batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


def gradient_norm(loss: torch.Tensor, taps: Sequence[torch.Tensor]) -> torch.Tensor:
    """‖∂ loss/∂ taps‖, a scalar; 0 where the taps do not enter the loss."""
    gradients = torch.autograd.grad(loss, list(taps), retain_graph=True, allow_unused=True)
    squares = [gradient.square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros((), device=loss.device)
