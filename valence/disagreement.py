"""Answers of several classifiers to how they agree: kappa of each pair, shared errors, what at least one knew."""

import numpy as np


def kappa_matrix(predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Cohen's kappa of every pair of classifiers' answers; labels play no part.

    Parameters
    ----------
    predicted : int, (n_members, n), classes answered.

    Returns
    -------
    float64, (n_members, n_members); 1 on the diagonal, nan for a pair that always gives one and the same class.
    """
    n_members, n = predicted.shape
    chosen = (predicted[:, :, None] == np.arange(n_classes)).astype(np.float32)
    flat = chosen.reshape(n_members, -1)
    agreement = (flat @ flat.T).astype(np.float64) / n
    shares = chosen.mean(1, dtype=np.float64)
    by_chance = shares @ shares.T
    varies = by_chance < 1 - 1e-12
    return np.divide(agreement - by_chance, 1 - by_chance, out=np.full_like(agreement, np.nan), where=varies)


def shared_errors(right: np.ndarray) -> np.ndarray:
    """Share of samples that both of a pair get wrong, (n_members, n_members); a member's own errors on the diagonal.

    Parameters
    ----------
    right : bool, (n_members, n).
    """
    wrong = (~right).astype(np.float32)
    return (wrong @ wrong.T).astype(np.float64) / right.shape[1]


def right_by_number(right: np.ndarray) -> np.ndarray:
    """Share of samples that exactly 0, 1, … of the members get right, (n_members + 1,): 1 less the first is a bound
    that no choice among members can pass."""
    return np.bincount(right.sum(0), minlength=len(right) + 1) / right.shape[1]


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Every pair once, (n_pairs,)."""
    return matrix[np.triu_indices(len(matrix), k=1)]
