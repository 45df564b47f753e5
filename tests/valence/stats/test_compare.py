"""From the results table to verdicts: planted truths come back, and nothing unusual in the table breaks it."""

import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests.valence.stats.planted import EFFECTS, QUIET, by_hand, one
from tests.valence.synthetic_rows import STRATEGIES, results_table
from valence.stats import baseline_table, compare


@pytest.fixture(scope="module")
def planted():
    rows = results_table(classifiers=["EEGNet", "de_mlp"], effects=EFFECTS, spread=QUIET)
    return rows, compare(rows)


def test_planted_effects_get_their_verdicts(planted):
    _, table = planted
    key = {"classifier": "EEGNet", "comparison": "baseline"}
    hurts = one(table, strategy="rsa", target="vaxis", **key)
    helps = one(table, strategy="kd_prototypes", target="vaxis", **key)
    assert (hurts["verdict"], helps["verdict"]) == ("hurts", "helps")
    assert hurts["ci_low"] < -0.05 < hurts["ci_high"]
    assert helps["ci_low"] < 0.04 < helps["ci_high"]
    null = table[(table["classifier"] == "de_mlp") & (table["comparison"] == "baseline")]
    assert set(null["verdict"]) == {"equivalent"}
    assert null["seeds_needed"].isna().all()


def test_content_and_structure_separate(planted):
    _, table = planted
    key = {"classifier": "EEGNet", "target": "vaxis", "comparison": "content"}
    assert one(table, strategy="rsa", **key)["verdict"] == "equivalent"
    assert one(table, strategy="kd_prototypes", **key)["verdict"] == "helps"
    structure = {"classifier": "EEGNet", "comparison": "structure", "target": "permuted_1, random_1"}
    assert one(table, strategy="rsa", **structure)["verdict"] == "hurts"
    assert one(table, strategy="kd_prototypes", **structure)["verdict"] == "equivalent"


def test_deltas_are_the_formulas(planted):
    rows, table = planted
    axis, permuted, random = (by_hand(rows, "rsa", target) for target in ("vaxis", "permuted_1", "random_1"))
    key = {"classifier": "EEGNet", "strategy": "rsa"}
    baseline = one(table, target="vaxis", comparison="baseline", **key)
    assert baseline["delta"] == pytest.approx(axis.mean())
    assert baseline["sd_seeds"] == pytest.approx(axis.mean(axis=1).std(ddof=1))
    content = one(table, comparison="content", **key)
    assert content["delta"] == pytest.approx((axis - (permuted + random) / 2).mean())
    assert content["sd_seeds"] == pytest.approx((axis - (permuted + random) / 2).mean(axis=1).std(ddof=1))
    assert one(table, comparison="structure", **key)["delta"] == pytest.approx(((permuted + random) / 2).mean())
    none = rows[(rows["classifier"] == "EEGNet") & (rows["strategy"] == "none")]
    assert baseline["baseline"] == pytest.approx(np.mean(none["subject_balanced_accuracy"].tolist()))
    assert content["baseline"] == baseline["baseline"]


def test_kinds_of_control_weigh_the_same_however_many_draws():
    rows = results_table(
        classifiers=["EEGNet"], strategies={"rsa": 1.0}, targets=("vaxis", "permuted_1", "permuted_2", "random_1")
    )
    permuted = (by_hand(rows, "rsa", "permuted_1") + by_hand(rows, "rsa", "permuted_2")) / 2
    expected = (permuted + by_hand(rows, "rsa", "random_1")).mean() / 2
    structure = one(compare(rows, n_bootstrap=100), comparison="structure")
    assert structure["delta"] == pytest.approx(expected)
    assert structure["target"] == "permuted_1, permuted_2, random_1"


def test_holm_inside_the_classifier_and_bh_over_all(planted):
    _, table = planted
    confirmatory = table[(table["comparison"] == "baseline") & (table["target"] == "vaxis")]
    for _, family in confirmatory.groupby("classifier"):
        np.testing.assert_allclose(family["p_holm"], multipletests(family["p"], method="holm")[1])
        assert set(family["family_size"]) == {len(STRATEGIES)}
        assert family["family"].nunique() == 1
    np.testing.assert_allclose(confirmatory["p_bh"], multipletests(confirmatory["p"], method="fdr_bh")[1])
    assert set(confirmatory["exploratory_size"]) == {2 * len(STRATEGIES)}
    assert not table["p"].isna().any()


def test_a_declared_family_is_adjusted_for_whole(planted):
    rows, _ = planted
    table = compare(rows, n_bootstrap=100, family_size=25)
    confirmatory = table[(table["comparison"] == "baseline") & (table["target"] == "vaxis")]
    assert set(confirmatory["family_size"]) == {25}
    assert one(confirmatory, classifier="EEGNet", strategy="rsa")["p_holm"] == pytest.approx(25 * 2 / 2**10)
    assert one(confirmatory, classifier="EEGNet", strategy="rsa")["verdict"] == "hurts"
    assert set(table.loc[table["comparison"] == "content", "family_size"]) == {4}


def test_five_seeds_cannot_decide_and_say_how_many_can():
    rows = results_table(classifiers=["EEGNet"], effects=EFFECTS, spread=QUIET, n_seeds=5)
    row = one(compare(rows), strategy="rsa", target="vaxis", comparison="baseline")
    assert row["p"] == row["p_floor"] == 0.0625
    assert row["verdict"] == "undecided"
    assert np.isnan(row["mde"])
    assert row["seeds_needed"] == 8  # the fewest with 4 x 2 / 2**n below .05


def test_wide_null_is_undecided_and_needs_more_seeds():
    rows = results_table(classifiers=["EEGNet"], spread={"seeds": 0.03, "subjects": 0.0, "noise": 0.02})
    table = compare(rows, n_bootstrap=500)
    undecided = table[table["verdict"] == "undecided"]
    assert len(undecided) == len(table)
    assert (undecided["seeds_needed"] > undecided["n_seeds"]).all()


def test_verdicts_of_planted_nulls_are_rarely_wrong():
    """Family-wise: in at most 5 % of the classifiers, give or take, is any of 4 nulls called an effect."""
    wrong = 0
    for state in range(60):
        rows = results_table(
            classifiers=["EEGNet"],
            targets=("vaxis",),
            n_seeds=8,
            n_subjects=8,
            random_state=state,
            spread={"seeds": 0.01, "subjects": 0.01, "noise": 0.03},
        )
        wrong += compare(rows, n_bootstrap=200)["verdict"].isin(["helps", "hurts"]).any()
    assert wrong <= stats.binom.ppf(0.999, 60, 0.05)


def test_a_row_does_not_depend_on_the_others_nor_on_their_order(planted):
    rows, table = planted
    alone = compare(rows[rows["classifier"] == "EEGNet"].sample(frac=1, random_state=1))
    columns = ["strategy", "target", "comparison", "delta", "ci_low", "ci_high", "p", "p_holm", "verdict"]
    same = table[table["classifier"] == "EEGNet"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone[columns], same[columns], rtol=1e-12)


def test_the_table_survives_parquet(planted, tmp_path):
    rows, table = planted
    assert pa.Table.from_pandas(table).column("seeds_needed").null_count == table["seeds_needed"].isna().sum() > 0
    table.to_parquet(tmp_path / "s.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "s.parquet"), table)
    rows.drop(columns="error").to_parquet(tmp_path / "r.parquet")  # lists come back as arrays
    again = compare(pd.read_parquet(tmp_path / "r.parquet"))
    pd.testing.assert_frame_equal(again, table)


def test_speed_of_a_sweep():
    targets = ("vaxis", *(f"{kind}_{draw}" for kind in ("permuted", "random") for draw in (1, 2, 3, 4, 5, 6)))
    rows = results_table(strategies={"rsa": 1.0}, targets=targets)  # 4 classifiers x 13 comparisons
    started = time.perf_counter()
    table = compare(rows)
    assert len(table[table["comparison"] == "baseline"]) == 52
    assert time.perf_counter() - started < 10


def test_baseline_table():
    rows = results_table(classifiers=["EEGNet", "de_mlp"], failures={("EEGNet", "none", "none", 4): "boom"})
    table = baseline_table(rows, n_bootstrap=500)
    row = one(table, classifier="EEGNet")
    none = rows[(rows["classifier"] == "EEGNet") & (rows["strategy"] == "none") & (rows["seed"] != 4)]
    accuracies = np.array(none["subject_balanced_accuracy"].tolist())
    assert row["mean"] == pytest.approx(accuracies.mean())
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    assert row["sd_seeds"] == pytest.approx(accuracies.mean(axis=1).std(ddof=1))
    assert (row["n_seeds"], row["n_failed"], row["chance"]) == (9, 1, pytest.approx(1 / 9))
    assert row["test_kappa"] == pytest.approx(none["kappa"].astype(float).mean())
