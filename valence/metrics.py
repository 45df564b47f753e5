"""Predictions to scores: what a result row says about the test samples of a cell."""

import numpy as np


def confusion(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts (n_classes, n_classes), int64: true class by predicted class."""
    cells = np.asarray(labels) * n_classes + np.asarray(predicted)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def recalls(counts: np.ndarray) -> np.ndarray:
    """Recall per class (n_classes,); nan for a class that does not occur."""
    occurring = counts.sum(1)
    return np.divide(
        np.diag(counts), occurring, out=np.full(len(counts), np.nan), where=occurring > 0, casting="unsafe"
    )


def balanced_accuracy(counts: np.ndarray) -> float:
    """Mean recall over the classes that occur."""
    return float(np.nanmean(recalls(counts)))


def kappa(counts: np.ndarray) -> float | None:
    """Cohen's kappa; None where one class is all there is, in labels and predictions."""
    total = counts.sum()
    by_chance = counts.sum(0) @ counts.sum(1) / total**2
    return None if by_chance == 1 else float((np.trace(counts) / total - by_chance) / (1 - by_chance))


def weighted_f1(counts: np.ndarray) -> float:
    """F1 per class, weighted by how often the class occurs; a class never predicted and never there scores 0."""
    occurring, predicted = counts.sum(1), counts.sum(0)
    f1 = 2 * np.diag(counts) / np.maximum(occurring + predicted, 1)
    return float((f1 * occurring).sum() / occurring.sum())


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood, nats, without label smoothing; logits (n, n_classes)."""
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(1))
    return float((log_total - shifted[np.arange(len(labels)), labels]).mean())


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits (n, n_classes), float64."""
    logits = np.asarray(logits, dtype=np.float64)
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def calibration_error(logits: np.ndarray, labels: np.ndarray, *, n_bins: int = 15) -> float:
    """Expected calibration error: |confidence - accuracy| of samples binned by confidence, weighted by their number.

    Source: Guo et al. 2017, On calibration of modern neural networks; bins of equal width on (0, 1].
    """
    chances = probabilities(logits)
    confidence, right = chances.max(1), chances.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(labels))


def brier(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance of the predicted probabilities from the label's, summed over classes; 0 to 2."""
    chances = probabilities(logits)
    chances[np.arange(len(labels)), labels] -= 1
    return float(np.square(chances).sum(1).mean())


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """All scores of logits (n, n_classes) against labels (n,)."""
    counts = confusion(labels, logits.argmax(1), logits.shape[1])
    return {
        "balanced_accuracy": balanced_accuracy(counts),
        "kappa": kappa(counts),
        "weighted_f1": weighted_f1(counts),
        "accuracy": float(np.trace(counts) / counts.sum()),
        "cross_entropy": cross_entropy(logits, labels),
        "calibration_error": calibration_error(logits, labels),
        "brier": brier(logits, labels),
    }
