"""What the tests of comparisons share."""

import numpy as np

EFFECTS = {
    ("EEGNet", "rsa", "vaxis"): -0.05,
    ("EEGNet", "rsa", "permuted_1"): -0.05,
    ("EEGNet", "rsa", "random_1"): -0.05,
    ("EEGNet", "kd_prototypes", "vaxis"): 0.04,
}
QUIET = {"seeds": 0.003, "subjects": 0.002, "noise": 0.01}


def one(table, **key):
    """The one row of a statistics table with these values."""
    rows = table[np.logical_and.reduce([table[name] == value for name, value in key.items()])]
    assert len(rows) == 1, f"{len(rows)} rows for {key}"
    return rows.iloc[0]


def by_hand(rows, strategy, target, classifier="EEGNet", against="none"):
    """Paired differences of one arm from a baseline, (n_seeds, n_subjects), by plain loops."""
    part = rows[rows["classifier"] == classifier]
    arm = part[(part["strategy"] == strategy) & (part["target"] == target)].sort_values("seed")
    none = part[(part["strategy"] == against) & (part["target"] == "none")].sort_values("seed")
    return np.array(arm["subject_balanced_accuracy"].tolist()) - np.array(none["subject_balanced_accuracy"].tolist())
