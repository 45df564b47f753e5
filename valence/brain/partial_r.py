"""Stage brain: what of the r of ridge is left beyond the sign of valence and beyond what goes along with it.

Predictions and target, pooled over folds, lose a straight line in what is held constant; the rest is correlated. Beyond
the sign, classes change places within their sign alone: that null keeps all that good and bad explain. Beyond reports,
order and length there is no p: a permuted target has nothing to do with what is held constant, the target itself has,
and what pooled predictions are without an effect depends on just that.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import share_as_large
from valence.brain.nulls import covariates
from valence.brain.permutations import Orders, Statistic, class_orders, refitted
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, Fold, flat, linear_folds, predicted, protocols, row_correlations
from valence.brain.rows import NotPossible, Row, or_reason
from valence.intervals import correlation

CODE, WITHIN = "beyond the -/0/+ code", "within sign"


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Partial r leaving a clip and a class out: beyond the sign, within signs, beyond each covariate and all."""
    found: list[Row] = []
    signs = cohort.signs[cohort.class_of_clip]
    for name in (CLIP_OUT, CLASS_OUT):
        folds = linear_folds(flat(cohort.clip_means()), protocols(cohort)[name])
        with or_reason(found, analysis="ridge partial", protocol=name, item=CODE):
            orders = class_orders(target.clip_values, cohort.class_of_clip, within=cohort.signs)
            found += _rows(folds, target, name, orders, _of_signs(signs, target.clip_values), "")
        with or_reason(found, analysis="ridge partial", protocol=name, item="covariates"):
            known = covariates(cohort)
            if not known:
                raise NotPossible("the data set has no covariate: reports, order of presentation, length of clips")
            given = {f"beyond {item}": values[:, None] for item, values in known.items()}
            given["beyond all of these"] = np.column_stack(list(known.values()))
            held = {item: (values, np.ones(len(signs), dtype=bool)) for item, values in given.items()}
            found += _rows(folds, target, name, None, held, _correlated(known, target.clip_values))
    return found


Held = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""name to what is held constant, (n_clips, n_given), and which clips are taken, bool (n_clips,)"""


def partial_statistic(clips: np.ndarray, held: Held) -> Statistic:
    """Partial r of pooled predictions and targets, one for each entry. clips : (n_predictions,), of each prediction."""
    projections = []
    for given, taken in held.values():
        places = np.flatnonzero(taken[clips])
        basis = np.column_stack([np.ones(len(places)), given[clips][places]])
        projections.append((places, np.eye(len(places)) - basis @ np.linalg.pinv(basis)))

    def statistic(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
        found = [
            row_correlations(predictions[:, places] @ rest, targets[:, places] @ rest) for places, rest in projections
        ]
        return np.stack(found, axis=1)

    return statistic


def _of_signs(signs: np.ndarray, values: np.ndarray) -> Held:
    """The code as a line, the three signs as they are, and single signs whose classes differ in value."""
    if not len(np.unique(signs)) > 1:
        raise NotPossible("all classes have one sign")
    everything = np.ones(len(signs), dtype=bool)
    three = (signs[:, None] == np.unique(signs)[1:]).astype(np.float64)
    held = {CODE: (signs[:, None].astype(np.float64), everything), WITHIN: (three, everything)}
    for word, sign in (("negative", -1), ("positive", 1)):
        held[f"{WITHIN}, {word}"] = (np.zeros((len(signs), 0)), signs == sign)
    left = {name: (given, taken) for name, (given, taken) in held.items() if _varies(values, given, taken)}
    if not left:
        raise NotPossible("the target is a function of the sign of its class: nothing is left of it")
    return left


def _varies(values: np.ndarray, given: np.ndarray, taken: np.ndarray) -> bool:
    basis = np.column_stack([np.ones(int(taken.sum())), given[taken]])
    rest = values[taken] - basis @ np.linalg.lstsq(basis, values[taken], rcond=None)[0]
    return bool(np.abs(rest).max() > 1e-9 * np.abs(values).max())


def _correlated(known: Mapping[str, np.ndarray], values: np.ndarray) -> str:
    told = ", ".join(f"{item} {correlation(other, values):+.2f}" for item, other in known.items())
    return f"r with the target over clips: {told}"


def _rows(
    folds: Sequence[Fold], target: BrainTarget, name: str, orders: Orders | None, held: Held, note: str
) -> list[Row]:
    """A row an entry; with p where there are orders that keep what is held constant."""
    predictions, clips, _ = predicted(folds, target.clip_values)
    statistic = partial_statistic(clips, held)
    observed = statistic(predictions[None], target.clip_values[clips][None])[0]
    null = None if orders is None else refitted(folds, orders, statistic)
    made = []
    for at, ((item, (_, taken)), value) in enumerate(zip(held.items(), observed, strict=True)):
        words, p = "", None
        if orders is not None and null is not None:
            p = share_as_large(value, null[:, at])
            words = f"one-sided, {orders.words}, whole pipeline refit; without an effect {null[:, at].mean():+.3f}"
        made.append(
            Row(
                analysis="ridge partial",
                protocol=name,
                item=item,
                value=float(value),
                p=p,
                n=int(taken[clips].sum()),
                null=words,
                note=note,
            )
        )
    return made
