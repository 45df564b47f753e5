"""Shape distance: class means should be the prototypes up to a shift, a scale and a rotation.

Formula: L = min_R ‖R·μ̂ - C‖²_F over orthogonal R, with μ̂ the class means of the features and C the prototypes, both
centred over classes and scaled to unit Frobenius norm. R is found in each step and taken as a constant, so that
L = 2 - 2·‖μ̂ᵀ·C‖_* is differentiated as it would be with R moving along.
Source: Williams, Kunz, Kornblith & Linderman 2021, Generalized shape metrics on neural representations; the row
"Procrustes" of arXiv:2606.00129.
Deviations: features and prototypes of different widths are padded with zeros to the larger, which takes no learned map
and keeps L invariant to rotations of the features. R is the polar factor by matrix products in float64 and not by SVD,
which would make a GPU wait; directions in which μ̂ and C share less than 1e-6 pull less than they would. A class absent
from the batch is stood in for by its running mean (decay .99) without gradient; classes never seen are left out of both
sides, and fewer than three known classes give L = 0. Class means that are all equal give L = 2.
Features narrower than the number of classes less one limit the rank, and keep L above 0; it runs all the same.
"""

import torch

from valence.similarity import PrototypeGeometry, procrustes_distance
from valence.strategies import STRATEGIES


@STRATEGIES.register("procrustes")
class Procrustes(PrototypeGeometry):
    """Squared distance of class means and prototypes after the best rotation."""

    name = "procrustes"
    lambda_ = 0.05
    formula = "min_R ‖R·μ̂ - C‖²_F, μ̂ and C centred and of norm 1, R orthogonal, without gradient"
    source = "Williams 2021"

    def compare(self, means: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return procrustes_distance(means, self.coordinates, weights)
