"""Stage axis: is it there, and is it valence? Positions of the classes and their values in, nulls out.

Nine classes are nine values, however many clips or texts share them, so every null here is one over classes. What was
chosen on the way (the sign, a component, a layer) is chosen again inside it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from valence.arrangements import arranged
from valence.axis import labelled_texts
from valence.axis_checks import held_out_set_correlation
from valence.axis_methods import Labelled, Method, choose_method
from valence.axis_resampling import leave_one_class_out
from valence.axis_threshold import LEVEL
from valence.axis_threshold import detection_threshold as detection_threshold
from valence.errors import BadInput

STATISTIC = "|r| of class positions with the classes' values"
ROUNDING = 1e-9
"""correlations nearer than this are the same"""


@dataclass(frozen=True, kw_only=True)
class Null:
    """An observed statistic and what it is where there is nothing to find."""

    name: str
    statistic: str
    """in words"""
    observed: float
    p_value: float
    """share of the null at least as large; where it was sampled, with the observed one counted in"""
    n: int
    """members of the null"""
    exact: bool
    """whether these are all"""
    mean: float
    quantile_95: float
    largest: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def null_of_permuted_classes(positions: np.ndarray, values: np.ndarray, *, seed: int = 0) -> Null:
    """|r| of class positions with the classes' values, against every arrangement of the values over the classes.

    Parameters
    ----------
    positions : (n_classes,), or (n_candidates, n_classes) where the best of several layers or components was taken:
        the largest |r| is the statistic, inside the null as well. The absolute value holds the choice of the sign.
    values : (n_classes,), what the axis is claimed to follow: mean ratings, or the codes −1, 0, +1. Arrangements that
        give the same values count once: 362,880 for nine different values, 630 for four, one and four codes.
    seed : of the sample where there are more than 362,880 arrangements.

    A direction that was fitted with the polarity of the classes needs `null_of_refitted_axes`.
    Raises BadInput for shapes that differ, fewer than 3 classes, or what is constant or not finite.
    """
    candidates = np.atleast_2d(np.asarray(positions, dtype=np.float64))
    values = np.asarray(values, dtype=np.float64)
    for array, name in ((values[None], "values"), (candidates, "positions")):
        _check(array, name, values.size)
    orders, exact = arranged(values, seed)
    null = np.abs(_standardised(orders) @ _standardised(candidates).T / values.size).max(axis=1)
    observed = float(np.abs(_standardised(values[None]) @ _standardised(candidates).T / values.size).max())
    chosen = f", the largest of {len(candidates)} candidates" if len(candidates) > 1 else ""
    return _null("permuted classes", f"{STATISTIC}{chosen}", observed, null, exact)


def null_of_refitted_axes(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    *,
    classes: tuple[str, ...],
    method: str = "pca",
    codes: np.ndarray | None = None,
) -> Null:
    """r of held-out positions with the classes' codes, against every arrangement of the codes, the axis refitted.

    The statistic of the supervised methods, which fit any codes perfectly where there are more dimensions than
    classes: the axis of the other story sets, applied to a set it has not seen (mean over sets); with one set, to the
    class that was left out. Codes and their negatives give the same r: one of each pair is computed.

    Raises BadInput as `valence.axis.fit_axis`.
    """
    row, labelled = _labelled(activations, emotions, sets, classes, method, codes)
    distinct, exact = arranged(labelled.codes, seed=0)
    half = [codes for codes in distinct if codes[np.flatnonzero(codes)[0]] > 0]
    if len(half) * 2 != len(distinct):  # unequal numbers of positive and negative classes: negatives are not among them
        half = list(distinct)
    null = np.array([_held_out_r(labelled, row, codes) for codes in half])
    observed = _held_out_r(labelled, row, labelled.codes)
    kind = "the set" if len(set(labelled.sets)) > 1 else "the class"
    statistic = f"r of the classes' codes with positions on an axis ({method}) fitted without {kind} they are of"
    return _null("permuted classes, axis refitted", statistic, observed, null, exact)


def null_of_axis(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    values: np.ndarray,
    *,
    classes: tuple[str, ...],
    method: str = "pca",
    codes: np.ndarray | None = None,
) -> Null:
    """The exact null that a method allows: `null_of_refitted_axes` for one that is told the polarity of the classes,
    else `null_of_permuted_classes` of the fitted positions with the values, (n_classes,).
    """
    if choose_method(method).supervised:
        return null_of_refitted_axes(activations, emotions, sets, classes=classes, method=method, codes=codes)
    row, labelled = _labelled(activations, emotions, sets, classes, method, codes)
    return null_of_permuted_classes(labelled.centroids @ row.fit_labelled(labelled)[0], values)


def null_of_random_directions(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    values: np.ndarray,
    *,
    classes: tuple[str, ...],
    method: str = "pca",
    codes: np.ndarray | None = None,
    n: int = 10_000,
    seed: int = 0,
) -> Null:
    """|r| of class positions with values: the fitted axis, against random directions in the span of the activations.

    Directions are uniform on the unit sphere of the space that the centred texts span. Classes are few and their means
    lie in few dimensions, so that many a random direction orders them well: this null tells how remarkable the
    fitted direction is in this space, not how remarkable the space is.

    Raises BadInput as `valence.axis.fit_axis`, and for values of another length.
    """
    observed = axis_correlation(activations, emotions, sets, values, classes=classes, method=method, codes=codes)
    labelled = labelled_texts(activations, emotions, sets, classes, codes)
    texts = labelled.activations - labelled.activations.mean(axis=0)
    _, sizes, basis = np.linalg.svd(texts, full_matrices=False)
    spanned = labelled.centroids @ basis[sizes > 1e-9 * sizes[0]].T
    directions = np.random.default_rng(seed).normal(size=(spanned.shape[1], n))
    projected = _standardised((spanned @ directions).T)
    null = np.abs(projected @ _standardised(np.asarray(values, dtype=float)[None])[0]) / len(classes)
    return _null("random directions", f"{STATISTIC} (fitted by {method})", observed, null, exact=False)


def null_of_other_activations(name: str, observed: float, found: Sequence[float]) -> Null:
    """An observed `axis_correlation` against those of activations that hold no valence.

    found : one for each untrained network of the LLM's shape, or each draw of nonce-word stories.
    """
    if not len(found):
        raise BadInput(f"no activations for the null {name!r}", allowed="at least one draw", do="give some")
    return _null(name, STATISTIC, observed, np.asarray(found), exact=False)


def axis_correlation(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    values: np.ndarray,
    *,
    classes: tuple[str, ...],
    method: str = "pca",
    codes: np.ndarray | None = None,
) -> float:
    """|r| of the class positions on an axis fitted to these texts with the classes' values, (n_classes,).

    Raises BadInput as `valence.axis.fit_axis`, and for values of another length or all the same.
    """
    row, labelled = _labelled(activations, emotions, sets, classes, method, codes)
    values = np.asarray(values, dtype=np.float64)
    _check(values[None], "values", len(classes))
    projected = labelled.centroids @ row.fit_labelled(labelled)[0]
    return float(abs(np.corrcoef(projected, values)[0, 1]))


def _held_out_r(labelled: Labelled, method: Method, codes: np.ndarray) -> float:
    """r of codes with positions on axes that are fitted, with these codes, without the set (or class) in question."""
    recoded = replace(labelled, codes=codes)
    if len(set(labelled.sets)) > 1:
        found = held_out_set_correlation(recoded, method, codes)
        return 0.0 if found is None else found
    left_out = leave_one_class_out(recoded, method=method)
    if left_out is None:
        raise BadInput(
            "one story set with fewer than two positive and two negative classes",
            allowed="several sets, or more classes: an axis has to be tried on what it was not fitted to",
            do="add a story set",
        )
    return float(np.corrcoef(left_out, codes)[0, 1])


def _labelled(activations, emotions, sets, classes, method, codes) -> tuple[Method, Labelled]:
    row = choose_method(method)
    labelled = labelled_texts(activations, emotions, sets, classes, codes)
    if row.of_texts:
        return row, labelled
    # the means of each set are all that counts: as many texts as sets times classes
    n_sets, n_classes, width = labelled.means.shape
    names = np.repeat(sorted(set(labelled.sets)), n_classes)
    return row, Labelled(
        labelled.means.reshape(-1, width), np.tile(np.array(classes), n_sets), names, classes, labelled.codes
    )


def _null(name: str, statistic: str, observed: float, null: np.ndarray, exact: bool) -> Null:
    as_large = int(np.sum(null >= observed - ROUNDING))
    return Null(
        name=name,
        statistic=statistic,
        observed=observed,
        p_value=as_large / len(null) if exact else (1 + as_large) / (1 + len(null)),
        n=len(null),
        exact=exact,
        mean=float(null.mean()),
        quantile_95=float(np.quantile(null, 1 - LEVEL)),
        largest=float(null.max()),
    )


def _standardised(rows: np.ndarray) -> np.ndarray:
    """Rows z-scored, so that a product of two over their length is r."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred / centred.std(axis=1, keepdims=True)


def _check(rows: np.ndarray, name: str, n_classes: int) -> None:
    if rows.ndim == 2 and rows.shape[1] == n_classes >= 3 and np.isfinite(rows).all() and np.ptp(rows, axis=1).all():
        return
    raise BadInput(
        f"{name} of shape {rows.shape} for {n_classes} classes",
        allowed="one finite number for each of three or more classes, not all the same",
        do="correct them",
    )
