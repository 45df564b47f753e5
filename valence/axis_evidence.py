"""Stage validity: an axis, its texts and nonce stories in, what speaks for it out: r, exact p, nulls and a verdict.

Nothing here is measured on what a direction was fitted to. A method that is told the polarity of the classes orders
them by it in pure noise as well, where there are more dimensions than classes: its r is that of story sets it has not
seen, and its p is from axes refitted to every arrangement of the classes.
"""

from collections.abc import Mapping

import numpy as np

from valence.axis import labelled_texts
from valence.axis_checks import held_out_set_correlation
from valence.axis_methods import choose_method
from valence.axis_nulls import Null, axis_correlation, null_of_axis, null_of_random_directions
from valence.axis_pca import polarity
from valence.axis_resampling import leave_one_class_out
from valence.axis_threshold import LEVEL, detection_threshold
from valence.stories import EMOTIONS

PERMUTED, RANDOM = "permuted classes", "random directions"


def evidence(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    *,
    method: str,
    classes: tuple[str, ...] = EMOTIONS,
    seed: int = 0,
    nulls: Mapping[str, Null] | None = None,
) -> dict[str, object]:
    """What texts, (n_texts, d_model), say of an axis that is fitted to them.

    nulls : of `nulls_of_texts`, where they are there already.

    Returns
    -------
    dict of

    - r_codes : r of the classes' codes with their positions, which the direction was not told of: |r| of the fitted
      positions for "pca", r of held-out positions (as `polarity_r`) for a supervised method
    - p_codes : exact, over all arrangements of the codes (`null_of_axis`)
    - p_random : against directions of the space of the texts (`null_of_random_directions`); nan for a supervised
      method, which no random direction can match
    - detection_threshold : |r| over as many classes with two-sided p = .05
    - detected : whether p_codes is below .05 and r_codes reaches the threshold

    Raises BadInput as `valence.axis.fit_axis`.
    """
    texts = (activations, emotions, sets)
    r = polarity_r(*texts, method=method, classes=classes)
    if nulls is None:
        nulls = nulls_of_texts(*texts, method=method, classes=classes, seed=seed)
    p = nulls[PERMUTED].p_value
    p_random = nulls[RANDOM].p_value if RANDOM in nulls else float("nan")
    threshold = detection_threshold(len(classes))
    return {
        "r_codes": r,
        "p_codes": p,
        "p_random": p_random,
        "detection_threshold": threshold,
        "detected": bool(p < LEVEL and r >= threshold),
    }


def nulls_of_texts(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    *,
    method: str,
    classes: tuple[str, ...] = EMOTIONS,
    seed: int = 0,
) -> dict[str, Null]:
    """The nulls that need no other texts and no other network, by name; random directions for "pca" alone.

    Raises BadInput as `valence.axis.fit_axis`.
    """
    texts, codes = (activations, emotions, sets), polarity(classes)
    nulls = {PERMUTED: null_of_axis(*texts, codes, classes=classes, method=method)}
    if not choose_method(method).supervised:
        nulls[RANDOM] = null_of_random_directions(*texts, codes, classes=classes, method=method, seed=seed)
    return nulls


def polarity_r(
    activations: np.ndarray, emotions: np.ndarray, sets: np.ndarray, *, method: str, classes: tuple[str, ...] = EMOTIONS
) -> float:
    """r of the classes' codes with positions on an axis that is not told of them.

    |r| of the fitted positions for an unsupervised method. For a supervised one the mean over sets of r with a set's
    positions on the axis of the other sets; with one set, r with positions of classes left out in turn; nan where
    there is neither.
    """
    row, codes = choose_method(method), polarity(classes)
    if not row.supervised:
        return axis_correlation(activations, emotions, sets, codes, classes=classes, method=method)
    labelled = labelled_texts(activations, emotions, sets, classes, None)
    found = held_out_set_correlation(labelled, row, codes)
    if len(set(labelled.sets)) == 1:
        left_out = leave_one_class_out(labelled, method=row)
        found = None if left_out is None else float(np.corrcoef(left_out, codes)[0, 1])
    return float("nan") if found is None else found
