"""Projections of features to their similarity with the prototypes of a target: what two strategies share."""

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from valence.feature_heads import ProjectionHead
from valence.strategies import Strategy, need_target

if TYPE_CHECKING:
    from valence.targets import Target

LEAST_TEMPERATURE = 0.01
"""of CLIP, Radford et al. 2021"""


class PrototypeSimilarity(Strategy):
    """Base of losses on z·Cᵀ/τ, with z the L2-normed projection of h, C the prototypes and τ learned."""

    name: ClassVar[str]
    kind = "prototypes"
    first_temperature: ClassVar[float]
    """τ is learned as its logarithm, from here on"""
    prototypes: torch.Tensor

    def prepare(self, model, spec, n_features: int, target: "Target | None") -> None:
        prototypes = torch.as_tensor(need_target(target, self.name).prototypes, dtype=torch.float32)
        self.head = ProjectionHead(n_features, prototypes.shape[1])
        self.log_temperature = nn.Parameter(torch.tensor(math.log(self.first_temperature)))
        self.register_buffer("prototypes", prototypes)

    def similarity(self, features: torch.Tensor) -> torch.Tensor:
        """z·Cᵀ/τ of features (batch, n_features): (batch, n_classes)."""
        temperature = self.log_temperature.clamp(min=math.log(LEAST_TEMPERATURE)).exp()
        return self.head(features) @ self.prototypes.T / temperature
