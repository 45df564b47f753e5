"""Ensembles, what there is to gain: accuracy, number and correlation of members in, expected accuracy out.

Of k classes, let a member's score be d for the right class and 0 for others, plus Gaussian noise of variance 1, which
two members share with correlation rho. The average of M has noise of variance rho + (1 - rho) / M, so that its accuracy
is A(d / sqrt(rho + (1 - rho) / M)) with A(s) = ∫ φ(t) Φ(t + s)^(k - 1) dt. It is exact where logits of such members are
averaged, and near where probabilities are; with M the accuracy goes to A(d / sqrt(rho)).
"""

import numpy as np
from scipy import optimize, stats

from valence.errors import BadInput

NODES = 201
_T = np.linspace(-8, 8, NODES)
_DENSITY = stats.norm.pdf(_T) * (_T[1] - _T[0])


def accuracy_of(signal: float | np.ndarray, n_classes: int) -> np.ndarray:
    """A(signal): share of samples where the right one of k normal scores, raised by `signal`, is the largest."""
    return (_DENSITY * stats.norm.cdf(_T + np.asarray(signal, dtype=float)[..., None]) ** (n_classes - 1)).sum(-1)


def signal_of(accuracy: float, n_classes: int) -> float:
    """The signal with which a member is that accurate. Raises BadInput at or below chance, and at 1."""
    if not 1 / n_classes < accuracy < 1 - 1e-9:
        raise BadInput(
            f"accuracy {accuracy:.4f} of {n_classes} classes",
            allowed=f"above chance, {1 / n_classes:.4f}, and below 1",
            do="leave out the members that know nothing",
        )
    return float(optimize.brentq(lambda signal: float(accuracy_of(signal, n_classes)) - accuracy, 0.0, 40.0))


def expected_accuracy(accuracy: float, correlation: float, n_members: float, n_classes: int) -> float:
    """Accuracy of the average of members that are each so accurate and whose errors correlate so.

    Parameters
    ----------
    correlation : of the noise of two members; below 0 it is taken as 0.
    n_members : may be infinite.
    """
    share = max(correlation, 0.0)
    noise = share + (1 - share) / n_members
    if noise <= 0:
        return 1.0
    return float(accuracy_of(signal_of(accuracy, n_classes) / np.sqrt(noise), n_classes))
