"""What the control says of the engine, on tables whose truth is planted."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from valence.stats.control import attainable_level, control_findings
from valence.stats.multiplicity import holm

N_STRATEGIES = 4


def comparisons(p: np.ndarray, world: str, *, delta=0.02, n_seeds=12, gain=0.03, ci_high=0.05) -> pd.DataFrame:
    """p (n_repetitions, n_strategies) of content contrasts; the gains over no alignment have the same p."""
    rows = []
    for repetition, line in enumerate(p):
        for number, (value, corrected) in enumerate(zip(line, holm(line, family_size=len(line)))):
            shared = {
                "world": world, "repetition": repetition, "strategy": f"s{number}", "target": "vaxis", "p": value,
                "p_holm": corrected, "n_seeds": n_seeds, "ci_high": ci_high,
            }  # fmt: skip
            rows += [
                shared | {"comparison": "content", "delta": delta},
                shared | {"comparison": "baseline", "delta": gain},
            ]
    return pd.DataFrame(rows)


def all_worlds(no_axis: np.ndarray, *, found=True, false=False, hurts=False, vague=False) -> pd.DataFrame:
    one = np.array([[0.001, 0.5, 0.5, 0.5]])
    helped = comparisons(one if found else one * 0 + 0.5, "unsaturated", gain=-0.03 if hurts else 0.03)
    saturated = comparisons(one if false else one * 0 + 0.5, "saturated", ci_high=0.04 if vague else 0.01)
    return pd.concat([helped, saturated, comparisons(no_axis, "no_axis", n_seeds=8)])


def drawn(n: int, *, seed=0) -> np.ndarray:
    """p values of a sign-flip over 8 seeds under the null: uniform over the multiples of 2/256."""
    return np.random.default_rng(seed).integers(1, 129, (n, N_STRATEGIES)) / 128


def test_an_engine_that_finds_what_is_there_and_nothing_else():
    found = control_findings(all_worlds(drawn(20)))
    assert found["holds"].all(), found.to_dict("records")
    assert list(found["n"]) == [4, 4, 20, 80]


@pytest.mark.parametrize(
    ("changes", "row"),
    [({"found": False}, 0), ({"hurts": True}, 0), ({"false": True}, 1), ({"vague": True}, 1)],
    ids=["finds nothing", "finds what hurts less", "finds too much", "cannot tell"],
)
def test_a_broken_engine_is_told(changes, row):
    found = control_findings(all_worlds(drawn(20), **changes))
    assert not found["holds"][row]
    assert found["holds"].drop(row).all()


def test_too_many_false_positives_are_told():
    shrunk = drawn(40) ** 3  # p values that are too small
    found = control_findings(all_worlds(shrunk))
    assert not found["holds"][2]
    assert not found["holds"][3]


def test_an_honest_engine_is_rarely_blamed():
    blamed = np.mean([not control_findings(all_worlds(drawn(20, seed=seed)))["holds"][2:].all() for seed in range(200)])
    assert blamed < 0.12


def test_attainable_levels_are_those_of_the_sign_flip():
    assert attainable_level(5) == 0
    assert attainable_level(6) == pytest.approx(0.03125)
    assert attainable_level(8) == pytest.approx(6 / 128)
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])  # every sum of signs is different
    exact = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert exact.pvalue == pytest.approx(2 / 2**6)


def test_nothing_run_holds_nothing():
    empty = comparisons(np.empty((0, N_STRATEGIES)), "no_axis")
    table = all_worlds(drawn(2))
    found = control_findings(pd.concat([table[table["world"] == "unsaturated"], empty]))
    assert list(found["holds"]) == [True, False, False, False]
