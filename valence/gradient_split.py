"""Features and losses to their split: between classes and within, for variance and for gradients at the features.

In: features or gradients of samples, (n, D), and labels. Out: shares of a sum of squares, each beside what it is where
there is no structure. A target of classes can pull class means alone: what of its gradient lies outside their span, or
differs between samples of one class, is what reaches the residual.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from valence.classifiers import Classifier, Tapped, tapped
from valence.objective import Objective
from valence.probes import group_means
from valence.strategies import Batch, looks_twice

if TYPE_CHECKING:
    from valence.training import CellRun

SPAN = 1e-6
"""directions of class means with less than this share of the largest singular value are none"""


@dataclass(frozen=True, kw_only=True)
class VarianceShares:
    """Where features vary: shares of the sum of squares about the mean, together 1."""

    classes: float
    """between classes"""
    clips: float
    """between clips of one class"""
    samples: float
    """between samples of one clip: people, windows"""
    classes_by_chance: float
    clips_by_chance: float
    """the same of features that know neither: degrees of freedom over n - 1"""


def variance_shares(features: np.ndarray, labels: np.ndarray, clips: np.ndarray) -> VarianceShares | None:
    """Nested sums of squares of features (n, D); labels, clips (n,). None where nothing varies."""
    x = np.asarray(features, dtype=np.float64)
    x = x - x.mean(axis=0)
    total = float((x**2).sum())
    if total <= 1e-24 * max(x.size, 1):
        return None
    n_classes, n_clips = len(np.unique(labels)), len(np.unique(clips))
    between_classes, between_clips = (_between(x, np.unique(of, return_inverse=True)[1]) for of in (labels, clips))
    return VarianceShares(
        classes=between_classes / total,
        clips=(between_clips - between_classes) / total,
        samples=1 - between_clips / total,
        classes_by_chance=(n_classes - 1) / (len(x) - 1),
        clips_by_chance=(n_clips - n_classes) / (len(x) - 1),
    )


def _between(x: np.ndarray, groups: np.ndarray) -> float:
    """Sum of squares of group means about 0, each as often as it has samples."""
    counts = np.bincount(groups)
    return float((group_means(x, groups, len(counts)) ** 2 * counts[:, None]).sum())


@dataclass(frozen=True, kw_only=True)
class GradientShares:
    """Where a loss pulls: shares of the squared norm of its gradients at the features."""

    span: float
    """along differences between class means of the features"""
    span_by_chance: float
    """the same of a random direction: dimensions of the span over D"""
    classes: float
    """alike for all samples of a class: what moves class means"""
    classes_by_chance: float
    """the same of gradients independent between samples"""
    norm: float
    """root of the sum of squares"""


def class_span(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Orthonormal basis (D, rank) of the differences between class means of features (n, D), labels (n,)."""
    found = np.unique(labels, return_inverse=True)[1]
    means = group_means(features, found, int(found.max()) + 1)
    _, singular, right = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    return right[singular > SPAN * max(singular[0], 1e-300)].T


def gradient_shares(gradients: np.ndarray, labels: np.ndarray, span: np.ndarray) -> GradientShares | None:
    """Split gradients at the features.

    Parameters
    ----------
    gradients : (n, D), of one loss at the features of each sample.
    labels : (n,)
    span : (D, rank), of `class_span`, of as many samples as there are: those of a batch have noisy means.

    Returns
    -------
    None where the loss does not pull at all.
    """
    g = np.asarray(gradients, dtype=np.float64)
    total = float((g**2).sum())
    if total == 0:
        return None
    found = np.unique(labels, return_inverse=True)[1]
    return GradientShares(
        span=float(((g @ span) ** 2).sum()) / total,
        span_by_chance=span.shape[1] / g.shape[1],
        classes=_between(g, found) / total,
        classes_by_chance=(int(found.max()) + 1) / len(g),
        norm=float(np.sqrt(total)),
    )


def loss_gradients(
    objective: Objective, batch: Batch, out: Tapped, classifier: Classifier, *, second: Tapped | None = None
) -> dict[str, torch.Tensor | None]:
    """Gradients of both losses, as they enter the sum that is minimised, at the pooled features.

    Pooled features are means over time and tokens: the gradient at a feature is that of moving it by as much
    everywhere. A second look at a sample moves along with the first.

    Returns
    -------
    "task", "auxiliary": float (n, D), None for a loss that features do not enter (none, detached, or one that reads a
    layer inside the classifier).
    """
    task, auxiliary = objective.terms(batch, out, second=second)
    taps = out.taps if second is None else (*out.taps, *second.taps)
    return {
        "task": _at_features(task, taps, classifier, len(batch.x)),
        "auxiliary": _at_features(auxiliary, taps, classifier, len(batch.x)),
    }


def _at_features(
    loss: torch.Tensor, taps: tuple[torch.Tensor, ...], classifier: Classifier, n: int
) -> torch.Tensor | None:
    if not loss.requires_grad:
        return None
    gradients = torch.autograd.grad(loss, taps, retain_graph=True, allow_unused=True)
    pooled = [_pooled(gradient, classifier, n) for gradient in gradients if gradient is not None]
    return torch.stack(pooled).sum(0) if pooled else None


def _pooled(gradient: torch.Tensor, classifier: Classifier, n: int) -> torch.Tensor:
    """Gradient at a tap to (n, D): the sum over what `valence.classifiers.pool` takes the mean over."""
    if classifier.features_last:
        gradient = gradient.movedim(-1, 1)
    if len(gradient) != n:
        return gradient.unflatten(0, (n, -1)).sum(1)
    return gradient if gradient.ndim == 2 else gradient.flatten(2).sum(2)


def split_of_run(run: "CellRun", rows: torch.Tensor) -> Mapping[str, GradientShares | None]:
    """Split of both losses' gradients in a cell as it is now, in evaluation mode, by the class means of these samples.

    rows : int64, (n,), of the data set, on its device. The cell goes on as if nothing had been measured.
    """
    training = [module for module in run.model.modules() if module.training]
    recurrent = any(isinstance(module, nn.RNNBase) for module in run.model.modules())
    run.model.eval()
    try:
        # cuDNN's recurrent layers have no gradient in evaluation mode
        with tapped(run.model, run.classifier) as forward, torch.backends.cudnn.flags(enabled=not recurrent):
            fields = (run.data.x, run.data.labels, run.data.clips, run.data.subjects)
            x, labels, clips, subjects = (values.index_select(0, rows) for values in fields)
            batch = Batch(x=x, labels=labels, clips=clips, subjects=subjects, rows=rows)
            out = forward(x)
            changed = run.strategy.second_look(x) if looks_twice(run.strategy) else None
            second = None if changed is None else forward(changed)
            gradients = loss_gradients(run.objective, batch, out, run.classifier, second=second)
    finally:
        for module in training:
            module.training = True
    known = labels.cpu().numpy()
    span = class_span(out.features.detach().float().cpu().numpy(), known)
    return {
        name: None if gradient is None else gradient_shares(gradient.float().cpu().numpy(), known, span)
        for name, gradient in gradients.items()
    }
