"""Contrast by rank: of two samples, the one whose target value is nearer should be nearer in the projection.

Formula: L = -1/(N·(N-1)) Σ_i Σ_{j≠i} log( exp(s_ij/τ) / Σ_{k≠i: |a_i - a_k| ≥ |a_i - a_j|} exp(s_ik/τ) ), with
s_ij = -‖z_i - z_j‖₂, a_i the target value of sample i's clip, τ = 2 (option `temperature`), z the L2-normed
projection of h into 128 dimensions.
Source: Zha, Cao, Son, Yang & Katabi 2023, Rank-N-Contrast: learning continuous representations for regression (s, τ).
Deviations: the paper takes the encoder's features themselves, which its second stage reads; here z, whose scale does
not depend on the classifier, and whose distances are 2 at most: exp(s/τ) spans a factor of e. Distances of target
values that differ by less than 1e-9 of the largest count as equal. A batch of one gives L = 0.
"""

import numpy as np
import torch

from valence.contrast import N_DIMS
from valence.feature_heads import ProjectionHead
from valence.option_ranges import above_zero
from valence.strategies import STRATEGIES, Batch, Strategy, constant_target, need_target


@STRATEGIES.register("rank_n_contrast")
class RankNContrast(Strategy):
    """Contrastive loss over the order of distances between target values.

    Parameters
    ----------
    temperature : τ, above 0.
    """

    family = "contrastive"
    kind = "values"
    lambda_ = 0.1
    formula = "-mean_{i,j≠i} log exp(s_ij/τ) / Σ_{k≠i: |a_i - a_k| ≥ |a_i - a_j|} exp(s_ik/τ), s = -‖z_i - z_j‖₂, τ 2"
    source = "Zha 2023"
    ranks: torch.Tensor
    """int64, (n_clips, n_clips), rank of the distance of two clips among all distances"""

    def __init__(self, temperature: float = 2.0):
        super().__init__()
        self.temperature = above_zero(temperature, "temperature")

    def prepare(self, model, spec, n_features, target):
        values = np.asarray(need_target(target, "rank_n_contrast").clip_values, dtype=np.float64)
        if np.ptp(values) < 1e-9:
            raise constant_target("rank_n_contrast", "values")
        # As ranks, equal distances are equal: those of -1 to 0 and of 0 to 1 may differ in the last bit.
        distances = np.abs(values[:, None] - values[None, :]) / np.ptp(values)
        ranks = np.unique(distances.round(9), return_inverse=True)[1].reshape(distances.shape)
        self.head = ProjectionHead(n_features, N_DIMS)
        self.register_buffer("ranks", torch.as_tensor(ranks, dtype=torch.int64))

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        projected = self.head(features)
        # not by matrix products, which lose the distance of two samples that are near
        distances = torch.cdist(projected, projected, compute_mode="donot_use_mm_for_euclid_dist")
        return rank_n_contrast(-distances / self.temperature, self.ranks[batch.clips[:, None], batch.clips])


def rank_n_contrast(similarity: torch.Tensor, ranks: torch.Tensor) -> torch.Tensor:
    """L for s/τ (batch, batch) and ranks of the distances of target values, int64, (batch, batch); a scalar.

    With the samples of each row in falling order of rank, every denominator is a running sum: memory grows with the
    square of the batch.
    """
    n = len(similarity)
    itself = torch.eye(n, dtype=torch.bool, device=similarity.device)
    falling, order = ranks.masked_fill(itself, -1).sort(dim=1, descending=True, stable=True)  # itself comes last
    similarity = similarity.gather(1, order)
    rising = -falling
    last_alike = torch.searchsorted(rising, rising, right=True) - 1
    denominators = similarity.logcumsumexp(dim=1).gather(1, last_alike)
    return (denominators - similarity)[:, : n - 1].sum() / max(n * (n - 1), 1)
