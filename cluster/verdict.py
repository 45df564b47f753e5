"""Committed cells of a sweep to the verdict on a loss, for each classifier."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cluster.store import Store, replace
from valence.axis import Axis
from valence.datasets import DATASETS
from valence.errors import BadInput
from valence.loss_verdict import LossVerdict, loss_verdict
from valence.stats.saturation import Saturation, baseline_saturation
from valence.targets import TargetContext, make_target

REFERENCES = ("aux_mse", "kd_prototypes", "rsa", "supcon_clip")
"""losses of the literature that say whether this baseline can be helped at all"""
TARGETS = ("vaxis", "permuted_1", "random_1", "detached")
N_SEEDS = 10
"""the fewest with which an exact test survives Holm over a handful of losses with room to spare"""


def verdicts(store: Store, plan: dict, statistics: pd.DataFrame, strategies: Sequence[str]) -> list[LossVerdict]:
    """The verdict on each strategy with each classifier; also written to verdict.json in the sweep's folder."""
    found = []
    rows = store.rows([cell["cell_id"] for cell in plan["cells"]])
    for classifier, members in statistics.groupby("classifier", sort=True):
        saturation = _saturation(store, plan, rows[rows["classifier"] == classifier])
        for strategy in strategies:
            if (members["strategy"] == strategy).any():
                references = tuple(name for name in REFERENCES if name != strategy)
                found.append(loss_verdict(members, strategy=strategy, references=references, saturation=saturation))
    content = json.dumps([vars(one) for one in found], indent=1)
    replace(store.folder / "verdict.json", content.encode())
    return found


def _saturation(store: Store, plan: dict, rows: pd.DataFrame) -> Saturation | None:
    """Of the baseline's cells; None where there is no axis, or no features of three classes."""
    baseline = rows[(rows["strategy"] == "none") & (rows["status"] == "done")]
    if not plan["axis_file"] or baseline.empty:
        return None
    kind = DATASETS[plan["dataset"]]
    context = TargetContext(
        class_of_clip=kind.class_of_clip,
        n_classes=len(kind.classes),
        classes=tuple(kind.emotions or kind.classes),
        axis=Axis.load(store.folder / plan["axis_file"]),
        seed=0,
    )
    values = make_target("vaxis", context).class_values
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
