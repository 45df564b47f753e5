"""Regression of the target value whose strength is learned: homoscedastic uncertainty of the two tasks.

Formula: the sum that is minimised is e^{-s₁}·CE + s₁ + e^{-s₂}·L + s₂ with L = mean_i (w·h_i + b - a_{s_i})²; s₁ and
s₂, log variances, are learned, start at 0 and do not decay. There is no λ.
Source: Kendall, Gal & Cipolla 2018, Multi-task learning using uncertainty to weigh losses; the row
"uncertainty-weighted" of arXiv:2606.00129.
Deviations: Kendall et al. halve s₁, s₂ and e^{-s₂}. At rest the two tasks then weigh 1/(2 CE) and 1/(2 L), and 1/CE and
1/L here: the same to each other.
"""

import torch
from torch import nn

from valence.strategies import STRATEGIES
from valence.value_regression import ValueRegression


@STRATEGIES.register("uncertainty")
class Uncertainty(ValueRegression):
    """Cross-entropy and regression, each divided by its learned variance."""

    lambda_ = 1.0
    weighted = False
    formula = "e^{-s₁} CE + s₁ + e^{-s₂} mean (w·h_i + b - a_{s_i})² + s₂"
    source = "Kendall 2018"

    def prepare(self, model, spec, n_features, target):
        super().prepare(model, spec, n_features, target)
        self.log_variance_of_entropy = nn.Parameter(torch.zeros(()))
        self.log_variance_of_values = nn.Parameter(torch.zeros(()))

    def weigh(self, entropy, auxiliary, lambda_):
        of_entropy, of_values = self.log_variance_of_entropy, self.log_variance_of_values
        return torch.exp(-of_entropy) * entropy + of_entropy, torch.exp(-of_values) * auxiliary + of_values
