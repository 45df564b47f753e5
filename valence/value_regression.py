"""Features to a target's value by one linear layer: what the strategies share that regress on it.

Formula: L = mean_i (w·h_i + b - a_{s_i})², with h_i the features of sample i and a_s the standardised target value of
its clip (of its class where the target has one value per class). w and b are learned.
Source: auxiliary-task regression, Caruana 1997, Multitask Learning.
"""

import torch
from torch import nn

from valence.strategies import Batch, Strategy, need_target


class ValueRegression(Strategy):
    """Mean squared error of a linear read-out of the target value."""

    family = "regression"
    kind = "values"
    formula = "mean (w·h_i + b - a_{s_i})²"
    source = "Caruana 1997"
    head: nn.Linear
    clip_values: torch.Tensor
    """float, (n_clips,)"""

    def prepare(self, model, spec, n_features, target):
        target = need_target(target, type(self).__name__)
        self.head = nn.Linear(n_features, 1)
        self.register_buffer("clip_values", torch.as_tensor(target.clip_values, dtype=torch.float32))

    def squared_errors(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """(w·h_i + b - a_{s_i})² of each sample, (batch,)."""
        return (self.head(features).squeeze(1) - self.clip_values[batch.clips]).square()

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.squared_errors(batch, features).mean()
