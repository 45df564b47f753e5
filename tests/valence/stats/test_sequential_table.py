"""Rows of an unfinished sweep to decisions, and the cells that are still needed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.valence.stats.planted import EFFECTS, by_hand, one
from tests.valence.synthetic_rows import results_table
from valence.errors import BadInput
from valence.stats.paired import two_way_variance
from valence.stats.sequential import Looks
from valence.stats.sequential_table import cells_to_add, sequential_decisions
from valence.stats.spending import nominal_levels

SEEDS = list(range(20))
SPREAD = {"seeds": 0.008, "subjects": 0.002, "noise": 0.01}


def sweep(n_seeds, **fields):
    facts = {"classifiers": ["EEGNet"], "effects": EFFECTS, "spread": SPREAD, "random_state": 3}
    return results_table(n_seeds=n_seeds, **(facts | fields))


@pytest.fixture(scope="module")
def full():
    return sweep(20)


def first(rows, n):
    return rows[rows["seed"] < n]


def test_effects_stop_early_and_nulls_as_equivalent(full):
    table = sequential_decisions(full, seeds=SEEDS, family_size=25)
    key = {"target": "vaxis", "comparison": "baseline"}
    hurts, null = one(table, strategy="rsa", **key), one(table, strategy="aux_mse", **key)
    assert (hurts["decision"], one(table, strategy="kd_prototypes", **key)["decision"]) == ("hurts", "helps")
    assert null["decision"] == "equivalent"
    assert set(table.loc[table["kind"] == "vaxis against none", "family_size"]) == {25}
    assert (table["seeds_more"] == 0).all()
    assert hurts["ci_low"] < -0.05 < hurts["ci_high"] < 0
    assert one(table, strategy="rsa", comparison="content", target="vaxis")["decision"] == "equivalent"


def test_numbers_of_the_first_look_are_those_by_hand(full):
    [row] = (
        sequential_decisions(first(full, 7), seeds=SEEDS)
        .query("strategy == 'aux_mse' and target == 'vaxis' and comparison == 'baseline'")
        .to_dict("records")
    )
    differences = by_hand(full, "aux_mse", "vaxis")[:5]  # two further seeds make no look
    assert row["delta"] == pytest.approx(differences.mean())
    assert (row["n_seeds"], row["n_seeds_asked"], row["decision"], row["seeds_more"]) == (5, 7, "go on", 3)
    assert row["seeds_expected"] in (10, 15, 20)
    level = nominal_levels((0.25, 0.5, 0.75, 1.0), 0.05)[0]
    variance = two_way_variance(differences)
    margin = stats.t.isf(level / 2, variance.df) * np.sqrt(variance.total)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((row["delta"] - margin, row["delta"] + margin))
    assert margin > stats.t.isf(0.025, variance.df) * np.sqrt(variance.total) * 2


def test_a_decision_does_not_change_when_later_cells_come(full):
    early = sequential_decisions(first(full, 10), seeds=SEEDS)
    late = sequential_decisions(full, seeds=SEEDS)
    stopped = early["decision"] != "go on"
    assert stopped.any()
    assert not stopped.all()
    columns = ["strategy", "target", "comparison", "decision", "delta", "ci_low", "p_sequential"]
    same = late.loc[stopped, columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(early.loc[stopped, columns].reset_index(drop=True), same)


def test_cells_to_add_are_what_goes_on_its_controls_and_its_baseline(full):
    rows = first(full, 5)
    table = sequential_decisions(rows, seeds=SEEDS)
    assert set(table["decision"]) >= {"go on"}
    cells = cells_to_add(rows, table, seeds=SEEDS)
    assert set(cells["seed"]) == {5, 6, 7, 8, 9}
    assert "none" in set(cells["strategy"])
    stopped = table.assign(decision=np.where(table["strategy"] == "rsa", table["decision"], "equivalent"))
    only = cells_to_add(rows, stopped.assign(decision=stopped["decision"].replace("hurts", "go on")), seeds=SEEDS)
    assert set(only["strategy"]) == {"none", "rsa"}
    grown = pd.concat([rows, full.merge(only[["strategy", "target", "seed"]])])
    again = sequential_decisions(grown, seeds=SEEDS)
    assert set(again.loc[again["strategy"] != "rsa", "n_seeds"]) == {5}
    content = stopped.assign(decision=np.where(stopped["comparison"] == "content", "go on", "futile"), seeds_more=5)
    needed = cells_to_add(rows, content, seeds=SEEDS)
    assert set(needed["target"]) == {"vaxis", "permuted_1", "random_1"}
    assert cells_to_add(rows, content.assign(decision="futile"), seeds=SEEDS).empty


def test_failed_cells_are_asked_for_and_not_paired():
    rows = sweep(5, failures={("EEGNet", "rsa", "vaxis", 2): "boom"})
    row = one(sequential_decisions(rows, seeds=SEEDS), strategy="rsa", target="vaxis", comparison="baseline")
    assert (row["n_seeds"], row["n_seeds_asked"]) == (4, 5)
    every = {("EEGNet", "rsa", "vaxis", seed): "boom" for seed in SEEDS}
    row = one(
        sequential_decisions(sweep(20, failures=every), seeds=SEEDS),
        strategy="rsa",
        target="vaxis",
        comparison="baseline",
    )
    assert (row["decision"], row["n_seeds"]) == ("undecided", 0)
    assert np.isnan(row["delta"])
    assert np.isnan(row["p_sequential"])


def test_too_few_subjects_or_seeds_say_so():
    few = sequential_decisions(sweep(10, n_subjects=3), seeds=SEEDS)
    assert set(few["decision"]) == {"futile"}
    assert (few["seeds_more"] == 0).all()
    none = sequential_decisions(sweep(3), seeds=SEEDS)
    assert set(none["decision"]) == {"go on"}
    assert set(none["seeds_more"]) == {2}
    assert none["seeds_expected"].isna().all()
    assert none["p_sequential"].isna().all()


@pytest.mark.parametrize("seeds", [[1, 2, 3], [*range(19), 3]])
def test_seeds_that_do_not_fit_the_looks_are_refused(full, seeds):
    with pytest.raises(BadInput, match="for looks after"):
        sequential_decisions(full, seeds=seeds)


@pytest.mark.parametrize("fields", [{"n_seeds": (10, 5)}, {"n_seeds": (1, 5)}, {"futility": 1.0}, {"alpha": 0.7}])
def test_a_design_that_cannot_be_is_refused(fields):
    with pytest.raises(BadInput):
        Looks(**fields)
