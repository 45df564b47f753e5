"""Stage brain: folds of a nested ridge and many targets in, the statistic of each with the whole pipeline refit out.

Targets are values of classes (n_classes,) and what clips differ by within their class: y = D·c + e. With the maps of
`valence.brain.ridge` the inner error of every fold and λ is a quadratic form in c, so that those of all targets are
one product of their monomials, (n_targets, n_monomials), with a matrix of coefficients; predictions are linear in c.
Nothing is approximated: λ is chosen anew for each target, in each fold.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from valence.arrangements import arranged
from valence.brain.ridge import Fold, row_correlations

BLOCK_BYTES = 200_000_000
"""of the largest array at a time"""
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""predictions and targets, (n_targets, n_predictions) each, pooled over folds, to (n_targets,) or (n_targets, n)"""


@dataclass(frozen=True, eq=False)
class Orders:
    """Values of the classes in many orders."""

    values: np.ndarray
    """float64, (n_orders, n_classes)"""
    rest: np.ndarray
    """float64, (n_clips,), what clips differ by from their class; it stays with them"""
    labels: np.ndarray
    """int, (n_clips,), class of each clip"""
    own: np.ndarray
    """float64, (n_classes,), as they are"""
    words: str
    """what they are"""


def class_orders(
    clip_values: np.ndarray, class_of_clip: np.ndarray, *, within: np.ndarray | None = None, seed: int = 0
) -> Orders:
    """Every distinct order of the classes' means; a sample where there are more than nine classes have (`arranged`).

    Parameters
    ----------
    clip_values : (n_clips,)
    within : (n_classes,), a code: classes of the same code change places with each other alone.
    """
    labels = np.unique(class_of_clip, return_inverse=True)[1]
    means = np.bincount(labels, weights=clip_values) / np.bincount(labels)
    rest = clip_values - means[labels]
    if np.abs(rest).max() <= 1e-9 * np.abs(clip_values).max():
        rest = np.zeros_like(rest)
    means = np.round(means, 12)  # ties are ties
    if within is None:
        values, complete = arranged(means, seed)
        n_all = math.factorial(len(means))
    else:
        values, complete, n_all = _within(means, within, seed)
    if not complete:
        words = f"{len(values):,} random class permutations"
    elif len(values) == n_all:
        words = f"all {n_all:,} class permutations"
    else:
        words = f"all {n_all:,} class permutations, {len(values):,} of them distinct"
    words += " within the sign" if within is not None else ""
    words += "; differences within a class stay with their clips" if rest.any() else ""
    return Orders(np.asarray(values, dtype=np.float64), rest, labels, means, words)


def _within(means: np.ndarray, codes: np.ndarray, seed: int) -> tuple[np.ndarray, bool, int]:
    """Orders that keep classes among those of their code: values, whether they are all, and how many all are."""
    rows, complete, n_all = np.tile(means, (1, 1)), True, 1
    for code in np.unique(codes):
        places = np.flatnonzero(codes == code)
        orders, whole = arranged(means[places], seed)
        complete, n_all = complete and whole, n_all * math.factorial(len(places))
        rows = np.repeat(rows, len(orders), axis=0)
        rows[:, places] = np.tile(orders, (len(rows) // len(orders), 1))
    return rows, complete, n_all


def refitted(folds: Sequence[Fold], orders: Orders, statistic: Statistic = row_correlations) -> np.ndarray:
    """The statistic of each order with the pipeline refit: float64, (n_orders,), or (n_orders, n) of n statistics."""
    n_classes, n_lambdas = orders.values.shape[1], len(folds[0].inner)
    design = np.eye(n_classes)[orders.labels]
    coefficients = np.concatenate([_error_coefficients(fold, design, orders.rest) for fold in folds], axis=1)
    maps = [_prediction_maps(fold, design, orders.rest) for fold in folds]
    clips = np.concatenate([fold.test for fold in folds])
    widest = max(coefficients.shape[1], len(clips) * 4, n_lambdas * max(len(fold.test) for fold in folds))
    block = max(1, BLOCK_BYTES // (8 * widest))
    found = []
    for start in range(0, len(orders.values), block):
        values = orders.values[start : start + block]
        errors = (_monomials(values) @ coefficients).reshape(len(values), len(folds), n_lambdas)
        chosen = errors.argmin(axis=2)
        ones = np.column_stack([values, np.ones(len(values))])
        predictions = np.concatenate(
            [_chosen(ones, mapped, chosen[:, number]) for number, mapped in enumerate(maps)], axis=1
        )
        targets = values[:, orders.labels[clips]] + orders.rest[clips]
        found.append(statistic(predictions, targets))
    return np.concatenate(found)


def _monomials(values: np.ndarray) -> np.ndarray:
    """All products of two classes' values, the values, and 1: (n_orders, n(n + 1)/2 + n + 1)."""
    upper = np.triu_indices(values.shape[1])
    return np.concatenate([values[:, upper[0]] * values[:, upper[1]], values, np.ones((len(values), 1))], axis=1)


def _error_coefficients(fold: Fold, design: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Sum of squared inner errors as a polynomial in the class values: (n_monomials, n_lambdas)."""
    by_class, fixed = fold.inner @ design[fold.train], fold.inner @ rest[fold.train]
    squares = np.einsum("lia,lib->lab", by_class, by_class)
    squares = squares + np.triu(squares, 1) + np.tril(squares, -1)  # a·b and b·a are one monomial
    upper = np.triu_indices(design.shape[1])
    linear = 2 * np.einsum("lia,li->la", by_class, fixed)
    return np.concatenate([squares[:, *upper], linear, (fixed**2).sum(axis=1, keepdims=True)], axis=1).T


def _prediction_maps(fold: Fold, design: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Predictions by class values and 1: (n_lambdas, n_classes + 1, n_test)."""
    by_class, fixed = fold.predict @ design[fold.train], fold.predict @ rest[fold.train]
    return np.concatenate([by_class, fixed[:, :, None]], axis=2).transpose(0, 2, 1)


def _chosen(values: np.ndarray, maps: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Predictions of each order by the map of the λ it chose: (n_orders, n_test)."""
    found = np.empty((len(values), maps.shape[2]))
    for number, one in enumerate(maps):
        of_it = chosen == number
        if of_it.any():
            found[of_it] = values[of_it] @ one
    return found


def sample(orders: Orders, n: int, *, seed: int = 0) -> Orders:
    """n of the orders drawn at random, for what is dear, with the classes' own means in front; all where no more."""
    if len(orders.values) <= n:
        return orders
    drawn = np.random.default_rng(seed).integers(len(orders.values), size=n - 1)
    values = np.concatenate([orders.own[None], orders.values[drawn]])
    return replace(orders, values=values, words=f"{n:,} random ones of {orders.words}")
