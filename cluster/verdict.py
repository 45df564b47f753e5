"""Committed cells of a sweep to the verdict on a loss, for each classifier."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cluster.store import Store, replace
from valence.axis import Axis
from valence.datasets import DATASETS
from valence.errors import BadInput
from valence.loss_verdict import DOSE, Detached, LossVerdict, loss_verdict
from valence.stats.saturation import Saturation, baseline_saturation
from valence.strategy_options import Dose, default_dose
from valence.targets import TargetContext, make_target

REFERENCES = ("aux_mse", "kd_prototypes", "rsa", "supcon_clip")
"""losses of the literature that say whether this baseline can be helped at all"""
TARGETS = ("vaxis", "permuted_1", "random_1", "detached")
N_SEEDS = 10
"""the fewest with which an exact test survives Holm over a handful of losses with room to spare"""


def verdicts(store: Store, plan: dict, statistics: pd.DataFrame, judged: Sequence[Dose]) -> list[LossVerdict]:
    """The verdict on each dose with each classifier; also written to verdict.json in the sweep's folder.

    Parameters
    ----------
    plan : the grid of the command. The folder may hold other sweeps: nothing of them is read.
    """
    cells = pd.DataFrame(plan["cells"])
    rows = store.rows(cells["cell_id"])
    own = statistics[_of_plan(statistics, cells)]
    found = []
    for classifier, members in own.groupby("classifier", sort=True):
        trained = rows[rows["classifier"] == classifier]
        saturation = _saturation(store, plan, trained)
        for dose in judged:
            found.append(
                loss_verdict(
                    members,
                    dose=vars(dose),
                    references=[vars(default_dose(name)) for name in REFERENCES],
                    saturation=saturation,
                    detached=detached_of(trained, dose),
                    n_classes=len(DATASETS[plan["dataset"]].classes),
                )
            )
    content = json.dumps([vars(one) for one in found], indent=1)
    replace(store.folder / "verdict.json", content.encode())
    return found


def _of_plan(statistics: pd.DataFrame, cells: pd.DataFrame) -> np.ndarray:
    """Which comparisons are of these cells: same data, split, recipe, dose and plug-in, and an axis of theirs."""
    names = ["dataset", "split", "classifier", "dataset_hash", "recipe_hash", "weights", *DOSE, "plugins"]
    known = pd.MultiIndex.from_frame(cells[names].drop_duplicates())
    return pd.MultiIndex.from_frame(statistics[names]).isin(known) & statistics["axis"].isin(cells["axis"])


def detached_of(rows: pd.DataFrame, dose: Dose) -> Detached | None:
    """What a loss with its gradient stopped did, from the rows of one classifier; None where it was not run."""
    own = rows[rows["target"] == "detached"]
    for name, value in vars(dose).items():
        own = own[own[name] == value]
    if own.empty:
        return None
    baseline = rows[(rows["strategy"] == dose.kind.baseline) & (rows["status"] == "done")].set_index("seed")
    pairs = [
        (row, baseline.loc[row["seed"]])
        for row in own[own["status"] == "done"].to_dict("records")
        if row["seed"] in baseline.index
    ]
    if not pairs:
        return Detached(largest=np.nan, same_way=False)
    return Detached(
        largest=max(
            float(np.abs(np.subtract(row["subject_balanced_accuracy"], other["subject_balanced_accuracy"])).max())
            for row, other in pairs
        ),
        same_way=all(
            row["device"] == other["device"] == "cpu" and list(row["rewrites"]) == list(other["rewrites"])
            for row, other in pairs
        ),
    )


def _saturation(store: Store, plan: dict, rows: pd.DataFrame) -> Saturation | None:
    """Of the baseline's cells; None where there is no axis, or no features of three classes."""
    baseline = rows[(rows["strategy"] == "none") & (rows["status"] == "done")]
    if not plan["axis_file"] or baseline.empty:
        return None
    kind = DATASETS[plan["dataset"]]
    axis = Axis.load(store.folder / plan["axis_file"])
    values = make_target("vaxis", TargetContext.of(kind, [axis])).class_values
    assert values is not None
    features = [_clip_features(store, cell_id) for cell_id in baseline["cell_id"]]
    try:
        return baseline_saturation(features, np.array(kind.class_of_clip), values)
    except BadInput:  # fewer than three classes were tested
        return None


def _clip_features(store: Store, cell_id: str) -> np.ndarray:
    table = store.artifact("features", cell_id)
    column = table["features"].combine_chunks()
    return np.asarray(column.flatten()).reshape(len(table), -1)
