"""Regression of the target value from the penultimate features, five times as strong as aux_mse.

Formula: L = mean_i (w·h_i + b - a_{s_i})², see valence.value_regression; λ = .5.
Source: auxiliary-task regression, Caruana 1997, Multitask Learning; the row "EEG auxiliary MSE λ .5" of
arXiv:2606.00129.
Deviations: as of aux_mse.
"""

from valence.strategies import STRATEGIES
from valence.value_regression import ValueRegression


@STRATEGIES.register("aux_mse_strong")
class AuxMseStrong(ValueRegression):
    """Mean squared error of a linear read-out of the target value, at λ = .5."""

    lambda_ = 0.5
