"""Regression of the target value from the penultimate features.

Formula: L = mean_i (w·h_i + b - a_{s_i})², with h_i the features of sample i and a_s the standardised target value of
its clip (of its class where the target has one value per class). w and b are learned.
Source: auxiliary-task regression, Caruana 1997, Multitask Learning; the row "EEG auxiliary MSE" of arXiv:2606.00129.
Deviations: none known; the study publishes no code, so the form is a reconstruction.
"""

import torch
from torch import nn

from valence.strategies import STRATEGIES, Batch, Strategy, need_target


@STRATEGIES.register("aux_mse")
class AuxMse(Strategy):
    """Mean squared error of a linear read-out of the target value."""

    kind = "values"
    lambda_ = 0.1
    formula = "mean (w·h_i + b - a_{s_i})²"
    source = "Caruana 1997"
    clip_values: torch.Tensor

    def prepare(self, model, spec, n_features, target):
        target = need_target(target, "aux_mse")
        self.head = nn.Linear(n_features, 1)
        self.register_buffer("clip_values", torch.as_tensor(target.clip_values, dtype=torch.float32))

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        predicted = self.head(features).squeeze(1)
        return (predicted - self.clip_values[batch.clips]).square().mean()
