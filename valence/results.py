"""Predictions to the result of a cell: its scores, its test logits, its clip features."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from valence import metrics
from valence.probes import axis_encoding, group_means
from valence.resident import Resident
from valence.targets import Target

if TYPE_CHECKING:
    from valence.prepared import Prepared

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Result:
    """What a cell gives. Scores are of the test samples at the best epoch; missing is None."""

    metrics: dict[str, float | None]
    """scores of valence.metrics; validation_balanced_accuracy, validation_kappa, best_epoch (from 0); gradient_ratio
    (median over epochs of ‖λ ∂L/∂h‖ / ‖∂CE/∂h‖ in the first batch); axis_encoding; windows (samples trained on, all
    epochs together)"""
    recall: np.ndarray
    """(n_classes,), nan for a class without test samples"""
    subject_balanced_accuracy: dict[str, float]
    """by test subject"""
    test_logits: np.ndarray
    """float32, (n_test, n_classes)"""
    test_index: np.ndarray
    """int64, (n_test,), rows of Prepared"""
    validation_logits: np.ndarray
    """float32, (n_validation, n_classes), of the best epoch"""
    validation_index: np.ndarray
    """int64, (n_validation,), rows of Prepared"""
    clip_features: np.ndarray
    """float32, (n_clips, D), mean penultimate features of test samples; nan for a clip without any"""
    test_features: np.ndarray
    """float32, (n_test, D), penultimate features"""
    validation_features: np.ndarray | None = None
    """float32, (n_validation, D); None where they were not asked for"""
    layers: Mapping[str, np.ndarray] | None = None
    """dotted path of a layer, in the order of computation, to float32 (n_clips, D): its output, pooled, mean over the
    test samples of a clip; None where not asked for"""
    mode: str = "eager"
    """how it was trained, see valence.packing"""
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """state of the classifier at the best epoch, on its device"""
    rewrites: tuple[str, ...] = ()
    """what was computed in a faster order, see valence.rewrites"""
    notes: tuple[str, ...] = ()
    """what the strategy has to say of this cell, in words"""


def predict(model: nn.Module, forward, data: Resident, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, n_classes) and features (n, D), float32, of rows in evaluation mode, on the device of the data."""
    model.eval()
    logits, features = [], []
    with torch.no_grad():  # not inference mode: EEGMiner puts what it computes back into its parameters
        for chosen in torch.from_numpy(rows).to(data.x.device).split(EVALUATION_BATCH):
            out = forward(data.x.index_select(0, chosen))
            logits.append(out.logits.float())
            features.append(out.features.float())
    return torch.cat(logits), torch.cat(features)


def result_of(
    logits: np.ndarray,
    features: np.ndarray,
    *,
    data: Resident,
    prepared: "Prepared",
    target: Target | None,
    trained: dict[str, float | None],
    validation_logits: np.ndarray,
    validation_features: np.ndarray | None = None,
    layers: Mapping[str, np.ndarray] | None,
    mode: str,
    rewrites: tuple[str, ...],
    weights: Mapping[str, torch.Tensor],
    notes: tuple[str, ...],
) -> Result:
    """The result of a cell from what it says about the test samples.

    Parameters
    ----------
    logits, features : float32, (n_test, n_classes) and (n_test, D).
    layers : of test samples, (n_test, D) each.
    trained : what training itself gave, see Result.metrics.
    """
    labels, clips, subjects = (
        np.asarray(values)[data.test] for values in (prepared.labels, prepared.clips, prepared.subjects)
    )
    n_classes = logits.shape[1]
    predicted = logits.argmax(1)
    by_subject = {
        prepared.subject_names[subject]: metrics.balanced_accuracy(
            metrics.confusion(labels[subjects == subject], predicted[subjects == subject], n_classes)
        )
        for subject in np.unique(subjects)
    }
    values = None if target is None else target.class_values
    encoding = None if values is None else axis_encoding(features, labels, values)
    n_clips = int(np.max(prepared.clips)) + 1
    return Result(
        metrics={**metrics.scores(logits, labels), **trained, "axis_encoding": encoding},
        recall=metrics.recalls(metrics.confusion(labels, predicted, n_classes)),
        subject_balanced_accuracy=by_subject,
        test_logits=logits,
        test_index=data.test.astype(np.int64),
        validation_logits=validation_logits,
        validation_index=data.validation.astype(np.int64),
        clip_features=group_means(features, clips, n_clips).astype(np.float32),
        test_features=features,
        validation_features=validation_features,
        layers=None
        if layers is None
        else {path: group_means(values, clips, n_clips).astype(np.float32) for path, values in layers.items()},
        mode=mode,
        rewrites=rewrites,
        weights=weights,
        notes=notes,
    )
