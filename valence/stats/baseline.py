"""The results table to one row a classifier: how well it decodes with no alignment at all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from valence.stats.arms import BASELINE, BLOCK, arms, checked
from valence.stats.paired import complete, two_way_interval

METRICS = ("balanced_accuracy", "kappa", "weighted_f1", "accuracy", "cross_entropy")


def baseline_table(rows: pd.DataFrame, *, n_bootstrap: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Accuracy of every classifier under the strategy `none`.

    Returns
    -------
    One row a (dataset, split, classifier, recipe): n_seeds, n_subjects, n_failed; mean balanced accuracy over seeds and
    test subjects with its two-way interval ci_low, ci_high (below MIN_TEST_SUBJECTS too narrow for new subjects);
    sd_seeds; chance (1 / classes, null where no recall was stored); and `test_` with the mean over seeds of every
    metric in the table, computed over all test samples at once.
    """
    rows = checked(rows)
    rows = rows[rows["strategy"] == BASELINE]
    found = rows.groupby(list(BLOCK), dropna=False, sort=True)
    table = [_row(dict(zip(BLOCK, key, strict=True)), cells, n_bootstrap, seed) for key, cells in found]
    return pd.DataFrame(table, columns=[*BLOCK[:4], *_COLUMNS, *(f"test_{name}" for name in METRICS)])


_COLUMNS = ("n_seeds", "n_subjects", "n_failed", "mean", "ci_low", "ci_high", "sd_seeds", "chance")


def _row(key: dict[str, object], cells: pd.DataFrame, n_bootstrap: int, seed: int) -> dict[str, object]:
    [arm] = arms(cells).values()
    table = complete(arm.table).to_numpy(dtype=float)
    [[low, high]] = two_way_interval(table, n_bootstrap=n_bootstrap, seed=seed)
    done = cells[cells["status"] == "done"]
    return {
        **key,
        "n_seeds": table.shape[0],
        "n_subjects": table.shape[1],
        "n_failed": arm.n_failed,
        "mean": table.mean() if table.size else np.nan,
        "ci_low": low,
        "ci_high": high,
        "sd_seeds": table.mean(axis=1).std(ddof=1) if len(table) > 1 else np.nan,
        "chance": _chance(done),
        **{f"test_{name}": done[name].astype(float).mean() if name in done else np.nan for name in METRICS},
    }


def _chance(cells: pd.DataFrame) -> float:
    sizes = {len(recall) for recall in cells.get("recall", ()) if isinstance(recall, Sequence | np.ndarray)}
    return 1 / max(sizes) if sizes else np.nan
