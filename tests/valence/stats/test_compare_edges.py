"""Nothing unusual in the results table breaks a comparison, and whatever is left out is counted."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.valence.stats.planted import EFFECTS, QUIET, by_hand, one
from tests.valence.synthetic_rows import AXIS, difference_table, results_table
from valence.errors import BadInput
from valence.stats import MIN_TEST_SUBJECTS, compare, sign_flip, two_way_interval


def test_failed_and_missing_cells_are_left_out_and_counted():
    failures = {("EEGNet", "rsa", "vaxis", 3): "CUDA out of memory", ("EEGNet", "none", "none", 5): "killed"}
    rows = results_table(classifiers=["EEGNet"], failures=failures)
    gone = (rows["strategy"] == "rsa") & (rows["target"] == "vaxis") & (rows["seed"] == 7)
    table = compare(rows[~gone], n_bootstrap=100)
    row = one(table, strategy="rsa", target="vaxis", comparison="baseline")
    assert (row["n_seeds"], row["n_missing"], row["n_failed"]) == (7, 3, 2)
    kept = [0, 1, 2, 4, 6, 8, 9]
    complete = results_table(classifiers=["EEGNet"])
    assert row["delta"] == pytest.approx(by_hand(complete, "rsa", "vaxis")[kept].mean())
    content = one(table, strategy="rsa", comparison="content")
    assert (content["n_seeds"], content["n_missing"], content["n_failed"]) == (8, 2, 1)
    structure = one(table, strategy="rsa", comparison="structure")
    assert (structure["n_seeds"], structure["n_missing"], structure["n_failed"]) == (9, 1, 1)


def test_an_arm_that_failed_whole_has_no_numbers_but_a_row():
    failures = {("EEGNet", "rsa", "vaxis", seed): "boom" for seed in range(6)}
    rows = results_table(classifiers=["EEGNet"], failures=failures, n_seeds=6)
    row = one(compare(rows, n_bootstrap=100), strategy="rsa", target="vaxis", comparison="baseline")
    assert row[["delta", "ci_low", "p", "p_holm", "mde", "baseline"]].isna().all()
    assert (row["verdict"], row["n_seeds"], row["n_subjects"], row["family_size"]) == ("undecided", 0, 0, 4)


def test_a_value_that_is_not_a_number_costs_its_seed():
    rows = results_table(classifiers=["EEGNet"], n_seeds=6)
    at = rows.index[(rows["strategy"] == "rsa") & (rows["target"] == "vaxis")][2]
    rows.at[at, "subject_balanced_accuracy"] = [np.nan, None, *rows.at[at, "subject_balanced_accuracy"][2:]]
    row = one(compare(rows, n_bootstrap=100), strategy="rsa", target="vaxis", comparison="baseline")
    assert (row["n_seeds"], row["n_missing"], row["n_failed"], row["n_subjects"]) == (5, 1, 0, 20)
    assert np.isfinite(row["p"])


def test_one_seed_has_an_estimate_and_no_p():
    row = compare(results_table(classifiers=["EEGNet"], n_seeds=1)).iloc[0]
    assert np.isfinite(row["delta"])
    assert row[["p", "p_holm", "p_subjects", "ci_low", "ci_high", "mde", "sd_seeds"]].isna().all()
    assert row["verdict"] == "undecided"
    assert row["seeds_needed"] >= 6


@pytest.mark.parametrize("n_subjects", [1, 2, 3])
def test_with_few_test_subjects_no_verdict_is_drawn(n_subjects):
    """Neither of an effect as plain as day nor of equivalence: the next subject may differ."""
    large = one(
        compare(results_table(classifiers=["EEGNet"], n_subjects=n_subjects, effects=EFFECTS, spread=QUIET)),
        strategy="rsa",
        target="vaxis",
        comparison="baseline",
    )
    none = compare(results_table(classifiers=["EEGNet"], n_subjects=n_subjects, spread={}))
    assert large["ci_high"] < 0
    assert large["p_holm"] < 0.05
    assert np.isnan(large["p_subjects"]) == (n_subjects == 1)
    assert np.isnan(large["mde"])
    assert pd.isna(large["seeds_needed"])  # subjects are the limit
    assert (none["ci90_high"] == 0).all()
    assert {large["verdict"], *none["verdict"]} == {"undecided"}


def test_from_the_bound_on_verdicts_are_drawn():
    rows = results_table(classifiers=["EEGNet"], n_subjects=MIN_TEST_SUBJECTS, effects=EFFECTS, spread=QUIET)
    row = one(compare(rows), strategy="rsa", target="vaxis", comparison="baseline")
    assert row["verdict"] == "hurts"
    assert np.isfinite(row["mde"])


@pytest.mark.parametrize("n_subjects", [MIN_TEST_SUBJECTS, MIN_TEST_SUBJECTS + 1])
def test_the_bound_holds_where_subjects_differ_most(n_subjects):
    """Nulls with spread dominated by subjects: p and interval keep their promise at the bound."""
    random = np.random.default_rng(0)
    n_tables, false, covered = 600, 0, 0
    for _ in range(n_tables):
        table = difference_table(random, 10, n_subjects, seeds=0.003, subjects=0.02, noise=0.01)
        [[low, high]] = two_way_interval(table, n_bootstrap=300)
        covered += low <= 0 <= high
        false += sign_flip(table) < 0.05
    assert false <= stats.binom.ppf(0.999, n_tables, 0.05)
    assert covered >= stats.binom.ppf(0.001, n_tables, 0.95)


def test_identical_to_the_baseline_is_no_difference():
    rows = results_table(classifiers=["EEGNet"], spread={}, n_seeds=6)
    table = compare(rows)
    assert (table["delta"] == 0).all()
    assert (table["p"] == 1).all()
    assert (table["verdict"] == "equivalent").all()


def test_a_classifier_without_baseline_is_named():
    rows = results_table(classifiers=["EEGNet", "de_mlp"], n_seeds=2)
    rows = rows[~((rows["classifier"] == "de_mlp") & (rows["strategy"] == "none"))]
    with pytest.raises(BadInput, match=r"de_mlp.*0 baselines"):
        compare(rows)


def test_a_cell_given_twice_is_refused():
    rows = results_table(classifiers=["EEGNet"], n_seeds=2)
    with pytest.raises(BadInput, match="repeated: 1"):
        compare(pd.concat([rows, rows[rows["seed"] == 1]]))


def test_a_missing_column_is_named():
    with pytest.raises(BadInput, match="subject_balanced_accuracy"):
        compare(results_table(classifiers=["EEGNet"], n_seeds=1).drop(columns="subject_balanced_accuracy"))


def test_no_rows_give_no_comparisons_with_the_same_columns():
    rows = results_table(classifiers=["EEGNet"], n_seeds=2)
    assert list(compare(rows.iloc[:0]).columns) == list(compare(rows).columns)
    assert len(compare(rows[rows["strategy"] == "none"])) == 0


def test_two_axes_are_two_comparisons_that_share_random_controls():
    rows = results_table(classifiers=["EEGNet"], strategies={"rsa": 1.0}, n_seeds=6)
    second = rows[rows["axis"] == AXIS].assign(axis="ffff000011112222")
    table = compare(pd.concat([rows, second]), n_bootstrap=100)
    assert len(table[table["comparison"] == "baseline"]) == 5
    content = table[table["comparison"] == "content"]
    assert sorted(content["axis"]) == [AXIS, "ffff000011112222"]
    assert set(content["against"]) == {"permuted_1, random_1"}
    assert set(table.loc[(table["comparison"] == "baseline") & (table["target"] == "vaxis"), "family_size"]) == {2}


def test_strengths_are_compared_with_controls_of_the_same_strength():
    weak = results_table(classifiers=["EEGNet"], strategies={"rsa": 1.0}, n_seeds=6)
    strong = weak[weak["strategy"] == "rsa"].assign(lambda_=5.0)
    content = compare(pd.concat([weak, strong]), n_bootstrap=100).query("comparison == 'content'")
    assert sorted(content["lambda_"]) == [1.0, 5.0]
