"""Soft supervised contrast: clips whose target values are near should be near in a projection of the features.

Formula: L = mean_i -1/W_i Σ_{j≠i} w_ij log( exp(z_i·z_j/τ) / Σ_{a≠i} exp(z_i·z_a/τ) ), W_i = Σ_{j≠i} w_ij,
w_ij = max(0, 1 - |a_{s_i} - a_{s_j}| / d_max), τ = .07, z the L2-normed projection of h into 128 dimensions, and d_max
the largest difference between any two clips of the data set, so that a weight does not depend on the batch.
Source: Khosla et al. 2020, Supervised contrastive learning (τ, 128 dimensions); soft weights after EMOD,
arXiv:2511.05863; the row "soft supcon, clip" of arXiv:2606.00129.
Deviations: samples without any weight to another sample are left out of the mean; a batch of one gives L = 0.
"""

import torch

from valence.feature_heads import ProjectionHead
from valence.strategies import STRATEGIES, Batch, Strategy, constant_target, need_target

TEMPERATURE = 0.07
N_DIMS = 128


@STRATEGIES.register("supcon_clip")
class SupconClip(Strategy):
    """Supervised contrastive loss with weights that fall with the distance of the target values."""

    kind = "values"
    lambda_ = 0.5
    formula = "soft SupCon, w_ij = max(0, 1 - |a_{s_i} - a_{s_j}|/d_max), τ .07"
    source = "Khosla 2020"
    clip_values: torch.Tensor

    def prepare(self, model, spec, n_features, target):
        values = torch.as_tensor(need_target(target, "supcon_clip").clip_values, dtype=torch.float32)
        largest = values.max() - values.min()
        if float(largest) < 1e-9:
            raise constant_target("supcon_clip", "values")
        self.head = ProjectionHead(n_features, N_DIMS)
        self.register_buffer("clip_values", values / largest)

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        projected = self.head(features)
        values = self.clip_values[batch.clips]
        weights = (1 - (values[:, None] - values[None, :]).abs()).clamp(min=0)
        return soft_supcon(projected, weights)


def soft_supcon(projected: torch.Tensor, weights: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """The formula for projections (batch, n_dims) of length 1 and weights (batch, batch); a scalar."""
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
