"""The four verdicts, and what an undecided one is told."""

import numpy as np
import pytest

from valence.stats.verdict import verdict

BASE = {"alpha": 0.05, "equivalence": 0.01, "delta": 0.02, "p_holm": 0.01, "n_subjects": 4}
WIDE = {"ci_low": -0.03, "ci_high": 0.03, "ci90_low": -0.02, "ci90_high": 0.02}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ci_low": 0.01, "ci_high": 0.03}, "helps"),
        ({"ci_low": -0.03, "ci_high": -0.01, "delta": -0.02}, "hurts"),
        ({"ci_low": 0.01, "ci_high": 0.03, "p_holm": 0.05}, "undecided"),  # p must lie below alpha
        ({"ci_low": -0.001, "ci_high": 0.03}, "undecided"),  # p is small but the interval holds 0
        ({"ci90_low": -0.009, "ci90_high": 0.009}, "equivalent"),  # though the 95 % interval is wider than the bounds
        ({"ci90_low": -0.009, "ci90_high": 0.011}, "undecided"),
        ({"ci90_low": -0.011, "ci90_high": 0.009}, "undecided"),
        # small but certain: an effect, whatever its size
        ({"ci_low": 0.001, "ci_high": 0.005, "ci90_low": 0.002, "ci90_high": 0.004}, "helps"),
        ({"ci_low": 0.01, "ci_high": 0.03, "n_subjects": 3}, "undecided"),
        ({"ci90_low": -0.009, "ci90_high": 0.009, "n_subjects": 3}, "undecided"),
        (dict.fromkeys(["delta", "p_holm", *WIDE], np.nan), "undecided"),
    ],
)
def test_verdict(changes, expected):
    assert verdict(BASE | WIDE | changes) == expected
