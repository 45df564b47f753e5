"""Regression of the target value from the penultimate features.

Formula: L = mean_i (w·h_i + b - a_{s_i})², with h_i the features of sample i and a_s the standardised target value of
its clip (of its class where the target has one value per class). w and b are learned.
Source: auxiliary-task regression, Caruana 1997, Multitask Learning; the row "EEG auxiliary MSE" of arXiv:2606.00129,
and its rows of data fractions .1, .25, .5 and 1: option `share`.
Deviations: none known; the study publishes no code, so the form is a reconstruction. Which pairs of clip and subject
the loss reads at a share below 1 is not reported: a hash of the two chooses them, the same for every seed, classifier
and length of window. The mean is over the chosen samples of a batch, and 0 where it has none; cross-entropy reads all.
"""

import torch

from valence.option_ranges import fraction
from valence.strategies import STRATEGIES, Batch
from valence.value_regression import ValueRegression

N_HASHES = 2**31


@STRATEGIES.register("aux_mse")
class AuxMse(ValueRegression):
    """Mean squared error of a linear read-out of the target value.

    Parameters
    ----------
    share : the part of the training clips × subjects that the loss reads, above 0 and at most 1.
    """

    lambda_ = 0.1

    def __init__(self, share: float = 1.0):
        super().__init__()
        self.share = fraction(share, "share", whole=True)

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        if self.share == 1:
            return super().loss(batch, logits, features)
        pairs = batch.subjects * len(self.clip_values) + batch.clips
        chosen = (hashed(pairs) < round(self.share * N_HASHES)).to(features.dtype)
        return (chosen * self.squared_errors(batch, features)).sum() / chosen.sum().clamp(min=1)


def hashed(numbers: torch.Tensor) -> torch.Tensor:
    """Whole numbers of 0 to 2^31 - 2 to ones that look drawn from 0 to 2^31 - 1, int64: "lowbias32" in 31 bits.

    The mixer is Wellons's, of the package hash-prospector; products of 31 and 32 bits stay below 2^63.
    """
    mixed = numbers + 1  # 0 would stay 0
    mixed = ((mixed ^ (mixed >> 16)) * 0x7FEB352D) & (N_HASHES - 1)
    mixed = ((mixed ^ (mixed >> 15)) * 0x846CA68B) & (N_HASHES - 1)
    return mixed ^ (mixed >> 16)
