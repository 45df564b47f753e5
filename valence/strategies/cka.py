"""Kernel alignment: class means and prototypes should have the same inner products between classes, up to scale.

Formula: L = 1 - CKA(μ, C), CKA = ‖Cᵀ·μ‖²_F / (‖μᵀ·μ‖_F · ‖Cᵀ·C‖_F), with μ the class means of the features and C the
prototypes, both centred over classes.
Source: Kornblith, Norouzi, Lee & Hinton 2019, Similarity of neural network representations revisited (linear CKA).
Deviations: the paper compares samples, here classes are; a class absent from the batch is stood in for by its running
mean (decay .99) without gradient; classes never seen are left out of both sides, and fewer than three known classes
give L = 0. Class means that are all equal give L = 1.
Features narrower than the number of classes less one limit the rank, and keep L above 0; it runs all the same.
"""

import torch

from valence.similarity import PrototypeGeometry, linear_cka
from valence.strategies import STRATEGIES


@STRATEGIES.register("cka")
class Cka(PrototypeGeometry):
    """One minus the linear CKA of class means and prototypes."""

    name = "cka"
    lambda_ = 0.1
    formula = "1 - ‖Cᵀ·μ‖²_F / (‖μᵀ·μ‖_F · ‖Cᵀ·C‖_F), μ and C centred over classes"
    source = "Kornblith 2019"

    def compare(self, means: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return 1 - linear_cka(means, self.coordinates, weights)
