"""Stage brain: an axis of nine classes on a data set of some of them, as SEED-V has. A cohort and an axis in; the
axis carried over and fitted anew, and what either is worth in each cell, as rows, out.

Carried over, classes keep their positions on the axis of all nine. Fitted anew, the direction comes from the centroids
of these classes alone, by the axis's own method and rule of sign. SEED-V's clips come in three sessions of fifteen, on
three days: what differs between sessions is taken out, or a session is left out, in rows of their own.
"""

from dataclasses import dataclass

import numpy as np

from valence.axis import Axis
from valence.axis_methods import choose_method
from valence.axis_pca import positions, sign
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import cells_of, class_orders, correlations, share_as_large
from valence.brain.rows import NotPossible, Row, or_reason
from valence.errors import BadInput

CARRIED, ANEW = "axis carried over", "axis fitted anew"
N_FREE = 2_000
"""permutations of clips without regard to class"""


@dataclass(frozen=True)
class Anew:
    """An axis of some of the classes of another."""

    class_positions: np.ndarray
    """float64, (n_classes,), z-scored"""
    explained_variance: float
    cosine: float
    """of its direction with that of the axis of all classes"""


def places_of(axis: Axis, classes: tuple[str, ...]) -> list[int]:
    """Where the classes are in an axis. Raises BadInput for one that it does not have."""
    if unknown := [name for name in classes if name not in axis.classes]:
        raise BadInput(
            f"axis of {axis.llm}: no class {', '.join(unknown)}",
            allowed=", ".join(axis.classes),
            do="name the data set's classes by the stories' emotions, or fit an axis of these classes",
        )
    return [axis.classes.index(name) for name in classes]


def carried_over(axis: Axis, classes: tuple[str, ...]) -> np.ndarray:
    """Positions of some classes on the axis, z-scored over them: float64, (n_classes,)."""
    found = axis.class_positions[places_of(axis, classes)]
    return (found - found.mean()) / found.std()


def fitted_anew(axis: Axis, classes: tuple[str, ...]) -> Anew:
    """The axis of these classes alone, from their centroids.

    Raises NotPossible where its method needs more than the centroids; BadInput as `places_of`, and where the rule of
    sign has no answer.
    """
    centroids = axis.centroids[places_of(axis, classes)]
    method = choose_method(axis.method)
    if method.of_texts:
        raise NotPossible(f"an axis by {axis.method} is fitted to single texts, which its file does not hold")
    direction, explained = method.fit(centroids, np.array(classes), np.zeros(len(classes), dtype=int), classes)
    direction = direction * sign(centroids @ direction, classes, rule=str(axis.notes.get("sign_rule", "stories")))
    return Anew(positions(centroids, direction), explained, float(direction @ axis.direction))


def axis_targets(cohort: Cohort, axis: Axis) -> tuple[BrainTarget, BrainTarget]:
    """Both as targets of every analysis: carried over, and fitted anew. Raises as `fitted_anew`."""
    values = (carried_over(axis, cohort.classes), fitted_anew(axis, cohort.classes).class_positions)
    made = []
    for name, of_classes in zip((CARRIED, ANEW), values):
        clips = of_classes[cohort.class_of_clip]
        scored = (clips - clips.mean()) / clips.std()
        made.append(BrainTarget(name=name, clip_values=scored, class_values=of_classes))
    return made[0], made[1]


def rows(cohort: Cohort, axis: Axis | None, *, seed: int = 0) -> list[Row]:
    """How far both agree, the best cell of each with its null, and what of it is the session.

    Raises NotPossible without an axis, and where the cohort has all of its classes.
    """
    if axis is None:
        raise NotPossible("the target is no axis")
    if len(cohort.classes) == len(axis.classes):
        raise NotPossible("the data set has all classes of the axis: there is nothing to fit anew")
    targets = axis_targets(cohort, axis)
    made = _agreement(cohort, axis, targets)
    for target in targets:
        made += _best_cell(cohort, target, seed)
        with or_reason(made, analysis="axis in cells", protocol=target.name, item="sessions"):
            made += _by_session(cohort, target, seed)
    return made


def _agreement(cohort: Cohort, axis: Axis, targets: tuple[BrainTarget, BrainTarget]) -> list[Row]:
    """Carried over against fitted anew, and each against the −/0/+ code, over classes."""
    carried, anew = (np.asarray(target.class_values) for target in targets)
    n = len(carried)
    pairs = {
        f"{CARRIED} against {ANEW}": (carried, anew),
        f"{CARRIED} against the code -, 0, +": (carried, cohort.signs.astype(np.float64)),
        f"{ANEW} against the code -, 0, +": (anew, cohort.signs.astype(np.float64)),
    }
    made = []
    for protocol, (first, second) in pairs.items():
        r = float(np.corrcoef(first, second)[0, 1])
        orders, words = class_orders(first, np.arange(n))
        p = share_as_large(r, correlations(second[:, None], orders)[:, 0])
        told = f"one-sided, {words}: p cannot be below {1 / len(orders):.2g}"
        made.append(Row(analysis="axis on classes", protocol=protocol, item="r", value=r, p=p, n=n, null=told))
    found = fitted_anew(axis, cohort.classes)
    for item, value in (("variance explained", found.explained_variance), ("cosine of directions", found.cosine)):
        made.append(Row(analysis="axis on classes", protocol=ANEW, item=item, value=value, n=n))
    return made


def _best_cell(cohort: Cohort, target: BrainTarget, seed: int) -> list[Row]:
    """The cell of largest |r|, and how large that is with classes, and with clips, permuted."""
    features, names = cohort.clip_means().reshape(len(cohort.class_of_clip), -1), cells_of(cohort)
    r = correlations(features, target.clip_values)
    best = int(np.nanargmax(np.abs(r)))
    orders, words = class_orders(target.clip_values, cohort.class_of_clip, seed=seed)
    free = np.random.default_rng(seed).permuted(np.tile(target.clip_values, (N_FREE, 1)), axis=1)
    free[0] = target.clip_values
    made = []
    for kind, null, told in (
        ("classes permuted", orders, f"{words}: p cannot be below {1 / len(orders):.2g}"),
        ("clips permuted", free, f"{N_FREE:,} permutations of clips, as if clips of a class had nothing in common"),
    ):
        largest = np.nanmax(np.abs(correlations(features, null)), axis=1)
        shared = f"{target.name}, {kind}"
        p, n = share_as_large(abs(r[best]), largest), len(features)
        made.append(
            Row(
                analysis="axis in cells",
                protocol=shared,
                item=f"best cell, {names[best]}",
                value=float(r[best]),
                p=p,
                n=n,
                null=f"largest |r| of {len(names)} cells, {told}",
            )
        )
        limit = float(np.quantile(largest, 0.95))
        made.append(
            Row(analysis="axis in cells", protocol=shared, item="95 % of the null", value=limit, n=len(null), null=told)
        )
    return made


def _by_session(cohort: Cohort, target: BrainTarget, seed: int) -> list[Row]:
    """The best cell with session means taken out, and the best cell of other sessions in the one left out."""
    if cohort.sessions is None or len(np.unique(cohort.sessions)) < 2:
        raise NotPossible("all clips were shown in one session")
    features, names = cohort.clip_means().reshape(len(cohort.class_of_clip), -1), cells_of(cohort)
    inside = [np.flatnonzero(cohort.sessions == session) for session in np.unique(cohort.sessions)]
    centred = features.copy()
    for clips in inside:
        centred[clips] -= features[clips].mean(axis=0)
    orders, words = class_orders(target.clip_values, cohort.class_of_clip, seed=seed)
    r = correlations(centred, target.clip_values)
    best = int(np.nanargmax(np.abs(r)))
    largest = np.nanmax(np.abs(correlations(centred, orders)), axis=1)
    r_all = correlations(features, target.clip_values)
    old = int(np.nanargmax(np.abs(r_all)))
    left_out = float(r_left_out(features, target.clip_values[None], inside)[0])
    null = r_left_out(features, orders, inside)
    n = len(features)
    protocol, told = f"{target.name}, sessions centred", f"largest |r| of {len(names)} cells, {words}"
    return [
        Row(
            analysis="axis in cells",
            protocol=protocol,
            item=f"best cell, {names[best]}",
            value=float(r[best]),
            p=share_as_large(abs(r[best]), largest),
            null=told,
            n=n,
        ),
        Row(
            analysis="axis in cells",
            protocol=protocol,
            item=f"the cell that is best uncentred, {names[old]}",
            value=float(r[old]),
            note=f"{r_all[old]:+.3f} with differences between sessions left in",
            n=n,
        ),
        Row(
            analysis="axis in cells",
            protocol=f"{target.name}, leave-session-out",
            item="best cell of the other sessions, with its sign, mean over sessions",
            value=left_out,
            p=share_as_large(left_out, null),
            null=f"one-sided, {words}, choice of the cell inside",
            n=n,
        ),
    ]


def r_left_out(features: np.ndarray, values: np.ndarray, inside: list[np.ndarray]) -> np.ndarray:
    """r in each session at the cell where |r| is largest in all others, with its sign there; mean over sessions.

    Parameters
    ----------
    features : float, (n_clips, n_cells)
    values : float, (n_targets, n_clips)
    inside : clips of each session.

    Returns
    -------
    float64, (n_targets,)
    """
    found = []
    for clips in inside:
        others = np.setdiff1d(np.arange(len(features)), clips)
        chosen = correlations(features[others], values[:, others])
        best = np.nanargmax(np.abs(chosen), axis=1)[:, None]
        judged = correlations(features[clips], values[:, clips])
        found.append((np.take_along_axis(judged, best, 1) * np.sign(np.take_along_axis(chosen, best, 1)))[:, 0])
    return np.mean(found, axis=0)
