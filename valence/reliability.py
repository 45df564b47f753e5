"""Predictions to how far their probabilities can be believed: reliability curve, temperature, and what it changes."""

import numpy as np
import pandas as pd
from scipy import optimize

from valence import metrics

TEMPERATURES = (0.02, 50.0)
"""between which one is looked for"""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T at which softmax(logits / T) is likeliest; fit it on validation samples.

    Of an ensemble, logits are the log-probabilities of the mixture: pool, then calibrate (Rahaman & Thiery 2021,
    Uncertainty quantification and deep ensembles). Source: Guo et al. 2017, On calibration of modern neural networks.

    Parameters
    ----------
    logits : float, (n, n_classes).
    labels : int64, (n,).

    Returns
    -------
    T, within `TEMPERATURES`. The likelihood is convex in 1 / T, so there is one best.
    """
    logits = np.asarray(logits, dtype=np.float64)

    def slope(log_sharpness: float) -> float:
        chances = metrics.probabilities(logits * np.exp(log_sharpness))
        expected = (chances * logits).sum(1)
        return float((expected - logits[np.arange(len(labels)), labels]).mean())

    low, high = -np.log(TEMPERATURES[1]), -np.log(TEMPERATURES[0])
    if slope(low) >= 0:  # no sharpness is too little: the answers are worth nothing
        return TEMPERATURES[1]
    if slope(high) <= 0:
        return TEMPERATURES[0]
    return float(np.exp(-optimize.brentq(slope, low, high, xtol=1e-10)))


def reliability_curve(logits: np.ndarray, labels: np.ndarray, *, n_bins: int = 15) -> pd.DataFrame:
    """Accuracy against confidence, in the bins of `valence.metrics.calibration_error`.

    Returns
    -------
    One row a bin of equal width on (0, 1]: low, high, n, confidence and accuracy (null where nobody is in it).
    """
    chances = metrics.probabilities(logits)
    confidence, is_right = chances.max(1), chances.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    n = np.bincount(bins, minlength=n_bins)
    sums = {
        "confidence": np.bincount(bins, weights=confidence, minlength=n_bins),
        "accuracy": np.bincount(bins, weights=is_right, minlength=n_bins),
    }
    edges = np.arange(n_bins + 1) / n_bins
    means = {name: np.divide(total, n, out=np.full(n_bins, np.nan), where=n > 0) for name, total in sums.items()}
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, **means})
