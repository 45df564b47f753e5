"""Projections of features and how alike their samples should be, to a loss: what contrastive strategies share."""

from typing import TYPE_CHECKING, ClassVar

import torch

from valence.feature_heads import ProjectionHead
from valence.option_ranges import above_zero
from valence.strategies import Batch, Strategy, constant_target, need_target

if TYPE_CHECKING:
    import numpy as np

    from valence.targets import Target

N_DIMS = 128
"""width of the projection, Khosla et al. 2020"""


class SoftSupcon(Strategy):
    """Base of supervised contrastive losses whose weights fall with the distance of target values.

    Parameters
    ----------
    temperature : τ, above 0.
    """

    name: ClassVar[str]
    family = "contrastive"
    kind = "values"
    values: torch.Tensor
    """divided by their largest difference"""

    def __init__(self, temperature: float = 0.07):
        super().__init__()
        self.temperature = above_zero(temperature, "temperature")

    def values_of(self, target: "Target") -> "np.ndarray | None":
        """The values that samples are compared by, (n_clips,) or (n_classes,)."""
        raise NotImplementedError

    def items_of(self, batch: Batch) -> torch.Tensor:
        """Which of these values each sample has, int64, (batch,)."""
        raise NotImplementedError

    def prepare(self, model, spec, n_features: int, target: "Target | None") -> None:
        values = torch.as_tensor(self.values_of(need_target(target, self.name)), dtype=torch.float32)
        largest = values.max() - values.min()
        if float(largest) < 1e-9:
            raise constant_target(self.name, "values")
        self.head = ProjectionHead(n_features, N_DIMS)
        self.register_buffer("values", values / largest)

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        projected = self.head(features)
        values = self.values[self.items_of(batch)]
        weights = (1 - (values[:, None] - values[None, :]).abs()).clamp(min=0)
        return soft_supcon(projected, weights, self.temperature)


def soft_supcon(projected: torch.Tensor, weights: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean over i of -1/W_i Σ_{j≠i} w_ij log( exp(z_i·z_j/τ) / Σ_{a≠i} exp(z_i·z_a/τ) ), W_i = Σ_{j≠i} w_ij; a scalar.

    Projections z (batch, n_dims) are of length 1, weights w (batch, batch). Samples with W_i = 0 are left out.
    """
    itself = torch.eye(len(projected), dtype=torch.bool, device=projected.device)
    similarity = projected @ projected.T / temperature
    # A large finite number in place of -inf: minus infinity times a weight of 0 would be nan.
    others = similarity.masked_fill(itself, torch.finfo(similarity.dtype).min / 4)
    log_share = similarity - torch.logsumexp(others, dim=1, keepdim=True)
    weights = weights.masked_fill(itself, 0)
    total = weights.sum(1)
    per_sample = -(weights * log_share).sum(1) / total.clamp(min=1e-12)
    counted = total > 1e-6
    return torch.where(counted, per_sample, torch.zeros_like(per_sample)).sum() / counted.sum().clamp(min=1)
