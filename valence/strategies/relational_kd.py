"""Relational distillation: class means should lie to each other as the prototypes do, in distances and in angles.

Formula: L = mean_{k<l} H(d_kl(μ), d_kl(C)) + 2 · mean_{j, k<l} H(cos_kjl(μ), cos_kjl(C)), with μ_k the mean features of
class k, C the prototypes, d_kl the Euclidean distance of k and l divided by the mean of all, cos_kjl the cosine of the
angle at j between k and l (three different classes), and H the Huber loss of width 1.
Source: Park, Kim, Lu & Cho 2019, Relational knowledge distillation (weights 1 and 2). Not in the study; its λ is .1,
and .2 a further dose.
Deviations: over class means and prototypes, where Park et al. take the samples of a batch. Means are over pairs and
triplets of different classes; their code also counts those in which a class is met twice, whose terms are 0. A class
absent from the batch is stood in for by its running mean (decay .99) without gradient; classes never seen are left out,
and so from the mean distance on both sides.
"""

import torch
from torch.nn import functional

from valence.feature_heads import ClassMeans
from valence.strategies import STRATEGIES, Batch, Strategy, constant_target, need_target

ANGLE_WEIGHT = 2.0
LEAST_SQUARE = 1e-12
"""added to squared lengths: the root has no gradient at 0"""


@STRATEGIES.register("relational_kd")
class RelationalKd(Strategy):
    """Huber losses between the distances and the angles of class means and those of prototypes."""

    family = "distillation"
    kind = "prototypes"
    lambda_ = 0.1
    formula = "Huber(distances of μ, of C) + 2 Huber(cosines of angles of μ, of C)"
    source = "Park 2019"
    pairs: torch.Tensor
    """float, (n_classes, n_classes), 1 for k < l"""
    triplets: torch.Tensor
    """float, (n_classes, n_classes, n_classes), 1 for a vertex j and ends k < l, all different"""
    wanted_distances: torch.Tensor
    """float, (n_classes, n_classes), not divided by their mean"""
    wanted_cosines: torch.Tensor
    """float, (n_classes, n_classes, n_classes)"""

    def prepare(self, model, spec, n_features, target):
        prototypes = torch.as_tensor(need_target(target, "relational_kd").prototypes, dtype=torch.float64)
        n_classes = len(prototypes)
        distances, cosines = relations(prototypes)
        pairs = torch.ones(n_classes, n_classes).triu(1)
        if float(distances[pairs > 0].max()) < 1e-5:
            raise constant_target("relational_kd", "prototypes")
        apart = 1 - torch.eye(n_classes)
        self.means = ClassMeans(n_classes, n_features)
        self.register_buffer("pairs", pairs)
        self.register_buffer("triplets", apart[:, :, None] * apart[:, None, :] * pairs)
        self.register_buffer("wanted_distances", distances.float())
        self.register_buffer("wanted_cosines", cosines.float())

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        means, known = self.means(features, batch.labels)
        distances, cosines = relations(means)
        counts = known.to(features.dtype)
        pairs = self.pairs * counts[:, None] * counts
        triplets = self.triplets * counts[:, None, None] * counts[:, None] * counts
        pull = huber(_scaled(distances, pairs), _scaled(self.wanted_distances, pairs), pairs)
        return pull + ANGLE_WEIGHT * huber(cosines, self.wanted_cosines, triplets)


def relations(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances and cosines of all angles between points.

    Parameters
    ----------
    points : (n, d).

    Returns
    -------
    (n, n) Euclidean distances; (n, n, n) cosines of the angle at the first point between the other two, 0 where one of
    them is the first point.
    """
    difference = points[None, :, :] - points[:, None, :]  # from the first to the second
    distances = (difference.square().sum(2) + LEAST_SQUARE).sqrt()
    unit = difference / distances[:, :, None]
    return distances, unit @ unit.transpose(1, 2)


def huber(got: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of Huber losses of width 1, a scalar; 0 where all weights are 0."""
    each = functional.smooth_l1_loss(got, wanted, reduction="none")
    return (weights * each).sum() / weights.sum().clamp(min=1)


def _scaled(distances: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Distances divided by their mean over the pairs."""
    return distances / ((pairs * distances).sum() / pairs.sum().clamp(min=1)).clamp(min=LEAST_SQUARE)
