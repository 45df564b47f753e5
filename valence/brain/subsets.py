"""Stage brain: which clips carry the r of a cell. A cohort and a target in, r over parts of the clips out.

Parts: all classes but one, each in turn; the nine clips of anger, amusement and tenderness, which the study picked, and
the rest. The study's cell was chosen by its r over all clips and its nine clips by their r in that cell, on recordings
that are the same for every user of the data set. So beside the table there are what the best cell of permuted classes
gives in the same clips, and what the best three of all classes give where classes are permuted.
"""

import itertools
from typing import Any

import numpy as np

from valence.brain.class_null import CLIPS, ROUNDING, ClassNull, class_null, levels, unit_columns
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import cells_of
from valence.brain.rows import NotPossible, Row, or_reason

CELL = "PO3 gamma"
PICKED = ("anger", "amusement", "tenderness")
CHOSEN = (f"clips of {', '.join(PICKED)}", "clips of the other classes")
TRIPLES = f"{CELL}, three classes minus the rest"
N_ORDERS = 20_000
FEWEST_CLASSES = 4
"""three classes have six orders: no p below .17"""


def subset_masks(classes: tuple[str, ...], class_of_clip: np.ndarray) -> dict[str, np.ndarray]:
    """Name of a part of the clips to which clips are in it: bool, (n_clips,)."""
    present = [label for label in range(len(classes)) if (class_of_clip == label).any()]
    masks = {"all clips": np.ones(len(class_of_clip), dtype=bool)}
    if set(PICKED) <= {classes[label] for label in present}:
        picked = np.isin(class_of_clip, [classes.index(name) for name in PICKED])
        masks |= dict(zip(CHOSEN, (picked, ~picked)))
    return masks | {f"without {classes[label]}": class_of_clip != label for label in present}


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """r of the study's cell and of the strongest one over parts of the clips, and the best three classes."""
    level = levels(cohort, target)[CLIPS]
    names = [name.lower() for name in cells_of(cohort)]
    masks = subset_masks(cohort.classes, cohort.class_of_clip)
    found: list[Row] = []
    with or_reason(found, analysis="subset", protocol=CELL):
        if CELL.lower() not in names:
            raise NotPossible(f"the data set has no {CELL}")
        column = level.features[:, names.index(CELL.lower())]
        found += _rows_of_cell(column, level.values, level.labels, masks)
        with or_reason(found, analysis="subset", protocol=TRIPLES):
            found += _rows_of_triples(column, level.values, level.labels, cohort.classes)
    null = class_null(level.values, level.labels, n_orders=N_ORDERS)
    return found + _rows_of_top(level.features, null, masks, cells_of(cohort))


def _rows_of_cell(
    column: np.ndarray, values: np.ndarray, labels: np.ndarray, masks: dict[str, np.ndarray]
) -> list[Row]:
    """The study's cell, whatever is strongest here: the classes of each part are permuted on their own."""
    found: list[Row] = []
    for name, mask in masks.items():
        with or_reason(found, analysis="subset", protocol=CELL, item=name):
            null = class_null(values[mask], labels[mask], n_orders=N_ORDERS)
            r = float(null.r(column[mask, None])[0])
            permuted = np.concatenate([np.abs(block[:, 0]) for block in null.blocks(column[mask, None])])
            few = len(np.unique(labels[mask])) < FEWEST_CLASSES
            p = None if few else float(np.mean(permuted >= abs(r) - ROUNDING))
            note = "three classes: no permutation of them could give a small p" if few else ""
            if name in CHOSEN:
                note = "; ".join(filter(None, [note, "picked by the study in these clips: see the best three classes"]))
            about: dict[str, Any] = {
                "analysis": "subset",
                "protocol": CELL,
                "item": name,
                "null": null.words,
                "note": note,
            }
            found.append(Row(**about, value=r, p=p, n=int(mask.sum())))
    return found


def _rows_of_triples(column: np.ndarray, values: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> list[Row]:
    """|r| in three classes minus |r| in the rest, for the three where it is largest, chosen anew in every order."""
    present = np.unique(labels)
    if len(present) < 2 * FEWEST_CLASSES - 1:
        raise NotPossible(f"{len(present)} classes: too few for three of them against the rest")
    triples = list(itertools.combinations(present.tolist(), 3))
    null = class_null(values, labels, n_orders=2_000)
    targets = np.concatenate([null.observed[None], null.orders])
    gaps = np.stack([_gap(column, targets, np.isin(labels, triple)) for triple in triples], axis=1)
    best = int(np.argmax(gaps[0]))
    largest = gaps[1:].max(axis=1)
    about: dict[str, Any] = {
        "analysis": "subset",
        "protocol": TRIPLES,
        "n": len(labels),
    }
    words = f"{null.words}, the best of {len(triples)} triples chosen in each"
    observed = Row(
        **about,
        item=", ".join(classes[label] for label in triples[best]),
        value=float(gaps[0, best]),
        p=float(np.mean(largest >= gaps[0, best] - ROUNDING)),
        null=words,
        note="the three classes whose |r| is furthest above that of the rest",
    )
    return [observed, Row(**about, item="mean of the null", value=float(largest.mean()), null=words)]


def _gap(column: np.ndarray, targets: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """|r| over some clips minus |r| over the others, with each target: float64, (n_targets,)."""
    inside, outside = _r_of_rows(column[mask], targets[:, mask]), _r_of_rows(column[~mask], targets[:, ~mask])
    return np.abs(inside) - np.abs(outside)


def _r_of_rows(columns: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """r of each target with a column of its own, (n_targets, n_clips), or with one for all, (n_clips,)."""
    return (unit_columns(np.atleast_2d(columns).T).T * unit_columns(targets.T).T).sum(axis=1)


def _rows_of_top(
    features: np.ndarray, null: ClassNull, masks: dict[str, np.ndarray], names: tuple[str, ...]
) -> list[Row]:
    """The cell with the largest |r| over all clips, chosen anew under each permutation."""
    top = int(np.argmax(np.abs(null.r(features))))
    observed = {name: _r_of_rows(features[mask, top], null.observed[None, mask])[0] for name, mask in masks.items()}
    permuted: dict[str, list[np.ndarray]] = {name: [] for name in masks}
    for start, block in zip(range(0, null.n, 2_000), null.blocks(features, size=2_000)):
        chosen = features.T[np.abs(block).argmax(axis=1)]
        targets = null.orders[start : start + len(block)]
        for name, mask in masks.items():
            permuted[name].append(np.abs(_r_of_rows(chosen[:, mask], targets[:, mask])))
    return [
        Row(
            analysis="subset",
            protocol=f"strongest cell, {names[top]}",
            item=name,
            value=float(observed[name]),
            p=None
            if name in CHOSEN
            else float(np.mean(np.concatenate(permuted[name]) >= abs(observed[name]) - ROUNDING)),
            n=int(mask.sum()),
            null=f"|r| of the cell that is strongest over all clips, chosen in each of {null.words}",
            note="picked by the study in these clips: see the best three classes" if name in CHOSEN else "",
        )
        for name, mask in masks.items()
    ]
