"""Class means and the geometry of a target to how alike they are: what losses of representational similarity share."""

from typing import TYPE_CHECKING, ClassVar

import torch

from valence.feature_heads import ClassMeans
from valence.polar import polar_factor
from valence.strategies import Batch, Strategy, constant_target, need_target

if TYPE_CHECKING:
    from valence.targets import Target

MIN_CLASSES = 3
"""two classes make one distance, which is like any other"""
LEAST_SPREAD = 1e-10
"""rows that differ by less, in squares and of their own, differ by rounding"""


class ClassGeometry(Strategy):
    """Base of losses that compare the class means of features with a target, over the classes known so far.

    A class absent from the batch is stood in for by its running mean without gradient, one never seen is left out, and
    with fewer than three known classes the loss is 0.
    """

    name: ClassVar[str]
    family = "representational similarity"

    def prepare_means(self, n_classes: int, n_features: int) -> None:
        """Make the running class means, and note where features are too narrow for any geometry of so many classes."""
        self.means = ClassMeans(n_classes, n_features)
        if n_features < n_classes:
            self.notes = (f"features of width {n_features} give the means of {n_classes} classes that rank at most",)

    def compare(self, means: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The loss of class means (n_classes, n_features), weights (n_classes,) 1 for a known class; a scalar."""
        raise NotImplementedError

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        means, known = self.means(features, batch.labels)
        loss = self.compare(means, known.to(means.dtype))
        return torch.where(known.sum() >= MIN_CLASSES, loss, torch.zeros_like(loss))


class DistanceCorrelation(ClassGeometry):
    """Base of one minus the correlation of two dissimilarity matrices."""

    kind = "dissimilarity"
    rows: torch.Tensor
    columns: torch.Tensor
    wanted: torch.Tensor

    def prepare(self, model, spec, n_features: int, target: "Target | None") -> None:
        dissimilarity = torch.as_tensor(need_target(target, self.name).dissimilarity, dtype=torch.float32)
        n_classes = len(dissimilarity)
        rows, columns = torch.triu_indices(n_classes, n_classes, offset=1)
        wanted = dissimilarity[rows, columns]
        if not wanted.numel() or float(wanted.max() - wanted.min()) < 1e-9:
            raise constant_target(self.name, "dissimilarities")
        self.prepare_means(n_classes, n_features)
        for name, value in (("rows", rows), ("columns", columns), ("wanted", wanted)):
            self.register_buffer(name, value)

    def compare(self, means: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        means = centred_to_unit(means, weights)  # so that means which differ by rounding alone have no distances
        difference = means[self.rows] - means[self.columns]
        distances = (difference.square().sum(1) + 1e-12).sqrt()  # the root has no gradient at 0
        return 1 - pearson(distances, self.wanted, weights[self.rows] * weights[self.columns])


class PrototypeGeometry(ClassGeometry):
    """Base of losses that see prototypes up to a rotation: they are kept as coordinates in their own span."""

    kind = "prototypes"
    coordinates: torch.Tensor
    """(n_classes, at most n_classes)"""

    def prepare(self, model, spec, n_features: int, target: "Target | None") -> None:
        prototypes = torch.as_tensor(need_target(target, self.name).prototypes, dtype=torch.float64)
        basis, lengths, _ = torch.linalg.svd(prototypes, full_matrices=False)
        coordinates = basis * lengths
        if not float((coordinates - coordinates.mean(0)).square().sum()) > LEAST_SPREAD * len(prototypes):
            raise constant_target(self.name, "prototypes")
        self.prepare_means(len(prototypes), n_features)
        self.register_buffer("coordinates", coordinates.float())


def pearson(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted Pearson correlation of two vectors; 0, without gradient, where x or y does not vary."""
    weights = weights / weights.sum().clamp(min=1e-12)
    x_mean = (weights * x).sum()
    x, y = x - x_mean, y - (weights * y).sum()
    x_var, y_var = (weights * x.square()).sum(), (weights * y.square()).sum()
    varies = (x_var > 1e-12 * x_mean.square()) & (x_var > 0) & (y_var > 0)
    spread = torch.where(varies, x_var * y_var, torch.ones_like(x_var)).sqrt()
    return torch.where(varies, (weights * x * y).sum() / spread, torch.zeros_like(spread))


def centred_to_unit(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Rows (n, d) less their weighted mean, with Frobenius norm 1; all 0, without gradient, where they do not differ.

    Weights (n,) are 1, or 0 for a row that is left out and comes out as 0.
    """
    kept = weights[:, None]
    centred = kept * (rows - (kept * rows).sum(0) / weights.sum().clamp(min=1))
    square = centred.square().sum()
    differ = (square > LEAST_SPREAD * (kept * rows).square().sum()) & (square > 0)
    length = torch.where(differ, square, torch.ones_like(square)).sqrt()
    return torch.where(differ, centred / length, torch.zeros_like(centred))


def linear_cka(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """‖Yᵀ·X‖²_F / (‖Xᵀ·X‖_F · ‖Yᵀ·Y‖_F) of x (n, d) and y (n, e) centred over rows of weight 1; 0 where x or y is flat.

    By the n × n matrices X·Xᵀ and Y·Yᵀ, which have the same products.
    """
    x, y = centred_to_unit(x, weights), centred_to_unit(y, weights)
    x_products, y_products = x @ x.T, y @ y.T
    # With traces of 1 the two squared norms are 1/n² or more together: the floor is for rows that do not differ.
    norms = (x_products.square().sum() * y_products.square().sum()).clamp(min=1e-6)
    return (x_products * y_products).sum() / norms.sqrt()


def procrustes_distance(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """min over orthogonal R of ‖X·R − Y‖²_F, X and Y centred over rows of weight 1 and scaled to norm 1; 0 to 2.

    The narrower of x (n, d) and y (n, e) is padded with zeros, which the minimum does not show: 2 − 2·tr(Rᵀ·Xᵀ·Y) with
    R the polar factor of Xᵀ·Y. R has no gradient. 2 where x or y is flat.
    """
    cross = centred_to_unit(y, weights).double().T @ centred_to_unit(x, weights).double()
    return (2 - 2 * (polar_factor(cross) * cross).sum()).to(x.dtype)
