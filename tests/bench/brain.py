"""All class permutations of the nested ridge: this project's in full, scikit-learn's by refitting a sample of them.

python -m tests.bench.brain [--data-root DIR] [--sample N] [--repeats N]

The peer is what its documentation says: StandardScaler and RidgeCV (leave-one-out, closed form) in a pipeline, fitted
anew in every fold for every permutation. Both get the same features, folds, penalties and orders, one after the other;
r of every sampled order is compared. Without --data-root the features are random numbers of FACED's shape.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

import valence  # noqa: F401  before braindecode
from tests.memory import peak_mib
from valence.brain.cohort import load_cohort
from valence.brain.permutations import class_orders, refitted
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, LAMBDAS, flat, linear_folds
from valence.datasets.faced import Faced
from valence.faced_files import MEAN_VALENCE, FacedFiles

LABELS = np.array(FacedFiles.class_of_clip)
GROUPS = {CLIP_OUT: np.arange(len(LABELS)), CLASS_OUT: LABELS}


def features(data_root: Path | None) -> np.ndarray:
    """Cohort tensor, (28, 150)."""
    if data_root is None:
        return np.random.default_rng(0).normal(size=(len(LABELS), 150))
    return flat(load_cohort(Faced(data_root)).clip_means())


def by_peer(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    """r of one order, the pipeline refit."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import LeaveOneGroupOut
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predictions = np.empty(len(y))
    for train, test in LeaveOneGroupOut().split(x, groups=groups):
        predictions[test] = make_pipeline(StandardScaler(), RidgeCV(LAMBDAS)).fit(x[train], y[train]).predict(x[test])
    return float(np.corrcoef(predictions, y)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--sample", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    x, y = features(options.data_root), np.array(MEAN_VALENCE)
    orders = class_orders((y - y.mean()) / y.std(), LABELS)
    drawn = np.random.default_rng(0).integers(len(orders.values), size=options.sample)
    print(
        f"{'protocol':16} {'orders':>8} {'ours, s':>9} {'peer, s each':>13} {'peer, all':>10} {'ratio':>8} {'|Δr|':>8}"
    )
    for name, groups in GROUPS.items():
        seconds = []
        for _ in range(options.repeats):
            started = time.perf_counter()
            ours = refitted(linear_folds(x, groups), orders)
            seconds.append(time.perf_counter() - started)
        by_peer(x, y, groups)  # imports
        started = time.perf_counter()
        theirs = [by_peer(x, orders.values[order][LABELS] + orders.rest, groups) for order in drawn]
        each = (time.perf_counter() - started) / options.sample
        mine, total = statistics.median(seconds), each * len(orders.values)
        differ = np.abs(ours[drawn] - theirs).max()
        hours = f"{total / 3600:.1f} h"
        print(f"{name:16} {len(ours):8,} {mine:9.2f} {each:13.4f} {hours:>10} {total / mine:8,.0f} {differ:8.1e}")
    print(f"largest memory of this process {peak_mib():.0f} MiB")


if __name__ == "__main__":
    main()
