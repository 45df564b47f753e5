"""Representational similarity: the distances between class means should follow those of the target.

Formula: L = 1 - pearson(triu RDM(μ), triu M), with μ_k the mean features of class k, RDM their Euclidean distances,
and M the dissimilarity of the target (|a_k - a_l| for an axis: the Euclidean distance on a line, so both sides of the
correlation are the same measure). Pearson makes L indifferent to the scale of the features.
Source: Kriegeskorte, Mur & Bandettini 2008, Representational similarity analysis; the row "RSA" of arXiv:2606.00129.
Deviations: a class absent from the batch is stood in for by its running mean (decay .99) without gradient; classes
never seen are left out, and fewer than three known classes give L = 0.
Features narrower than the number of classes make the RDM rank-limited; the loss is defined and runs all the same.
"""

import torch

from valence.feature_heads import ClassMeans
from valence.strategies import STRATEGIES, Batch, Strategy, constant_target, need_target

MIN_CLASSES = 3
"""with two classes there is one distance, and no correlation"""


@STRATEGIES.register("rsa")
class Rsa(Strategy):
    """One minus the correlation of two dissimilarity matrices."""

    kind = "dissimilarity"
    lambda_ = 1.0
    formula = "1 - pearson(triu RDM(μ), triu M), RDM Euclidean"
    source = "Kriegeskorte 2008"
    rows: torch.Tensor
    columns: torch.Tensor
    wanted: torch.Tensor

    def prepare(self, model, spec, n_features, target):
        dissimilarity = torch.as_tensor(need_target(target, "rsa").dissimilarity, dtype=torch.float32)
        n_classes = len(dissimilarity)
        rows, columns = torch.triu_indices(n_classes, n_classes, offset=1)
        wanted = dissimilarity[rows, columns]
        if not wanted.numel() or float(wanted.max() - wanted.min()) < 1e-9:
            raise constant_target("rsa", "dissimilarities")
        self.means = ClassMeans(n_classes, n_features)
        for name, value in (("rows", rows), ("columns", columns), ("wanted", wanted)):
            self.register_buffer(name, value)

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        means, known = self.means(features, batch.labels)
        difference = means[self.rows] - means[self.columns]
        distances = (difference.square().sum(1) + 1e-12).sqrt()  # the root has no gradient at 0
        weights = (known[self.rows] & known[self.columns]).to(features.dtype)
        loss = 1 - pearson(distances, self.wanted, weights)
        return torch.where(known.sum() >= MIN_CLASSES, loss, torch.zeros_like(loss))


def pearson(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted Pearson correlation of two vectors; 0, without gradient, where x or y does not vary."""
    weights = weights / weights.sum().clamp(min=1e-12)
    x_mean = (weights * x).sum()
    x, y = x - x_mean, y - (weights * y).sum()
    x_var, y_var = (weights * x.square()).sum(), (weights * y.square()).sum()
    varies = (x_var > 1e-12 * x_mean.square()) & (x_var > 0) & (y_var > 0)
    spread = torch.where(varies, x_var * y_var, torch.ones_like(x_var)).sqrt()
    return torch.where(varies, (weights * x * y).sum() / spread, torch.zeros_like(spread))
