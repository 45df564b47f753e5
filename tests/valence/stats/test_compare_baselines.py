"""Matched baselines, doses and roles of targets: what is compared with what, and which family it belongs to."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from tests.valence.stats.planted import QUIET, by_hand, one
from tests.valence.synthetic_rows import results_table
from valence.errors import BadInput
from valence.stats import compare

MATCHED = {"lora": "full_head", "ia3": "full_head"}
STRATEGIES = {"lora": 0.1, "ia3": 0.1, "rsa": 1.0}
TARGETS = ("vaxis", "permuted_1", "random_1", "detached", "arousal")
EFFECTS = {
    ("EEGNet", "full_head", "none"): -0.08,
    ("EEGNet", "lora", "vaxis"): 0.04,
    **{("EEGNet", "ia3", target): 0.03 for target in ("vaxis", "permuted_1", "random_1")},
}


@pytest.fixture(scope="module")
def adapted():
    rows = results_table(
        classifiers=["EEGNet"], strategies=STRATEGIES, targets=TARGETS, effects=EFFECTS, spread=QUIET, matched=MATCHED
    )
    return rows, compare(rows, n_bootstrap=500)


def kind_of(row) -> str:
    return row["family"].split(":")[0]


def test_an_arm_is_compared_with_its_matched_baseline(adapted):
    rows, table = adapted
    for strategy, against in (*MATCHED.items(), ("rsa", "none"), ("full_head", "none")):
        target = "none" if strategy == "full_head" else "vaxis"
        row = one(table, strategy=strategy, target=target, comparison="baseline")
        assert row["against"] == against
        assert row["delta"] == pytest.approx(by_hand(rows, strategy, target, against=against).mean())
        baseline = rows[rows["strategy"] == against]["subject_balanced_accuracy"].tolist()
        assert row["baseline"] == pytest.approx(np.mean(baseline))
    lora = one(table, strategy="lora", target="vaxis", comparison="baseline")
    assert lora["verdict"] == "helps"  # though far below the network without alignment
    assert by_hand(rows, "lora", "vaxis").mean() < -0.03


def test_structure_and_content_of_a_matched_arm(adapted):
    rows, table = adapted
    structure = one(table, strategy="ia3", comparison="structure")
    controls = (by_hand(rows, "ia3", name, against="full_head") for name in ("permuted_1", "random_1"))
    assert structure["delta"] == pytest.approx(sum(part.mean() for part in controls) / 2)
    assert (structure["against"], structure["verdict"]) == ("full_head", "helps")
    content = one(table, strategy="ia3", comparison="content")
    assert (content["against"], content["verdict"]) == ("permuted_1, random_1", "equivalent")
    assert content["baseline"] == structure["baseline"]


def test_the_matched_baseline_is_in_a_family_of_its_own(adapted):
    _, table = adapted
    row = one(table, strategy="full_head")
    assert (kind_of(row), row["family_size"], row["verdict"]) == ("matched baselines against none", 1, "hurts")
    assert row["exploratory_size"] == 1
    confirmatory = table[table["family"].str.startswith("vaxis against none:")]
    assert sorted(confirmatory["strategy"]) == ["ia3", "lora", "rsa"]
    assert set(confirmatory["family_size"]) == {3}


def test_each_role_of_a_target_is_a_kind_of_its_own(adapted):
    _, table = adapted
    kinds = {
        "vaxis": "vaxis against none",
        "permuted_1": "controls against none",
        "random_1": "controls against none",
        "detached": "detached against none",
        "arousal": "other targets against none",
    }
    for target, kind in kinds.items():
        rows = table[(table["comparison"] == "baseline") & (table["target"] == target)]
        assert {kind_of(row) for _, row in rows.iterrows()} == {kind}
        assert set(rows["family_size"]) == {6 if kind == "controls against none" else 3}
    assert set(table.loc[table["comparison"] == "structure", "target"]) == {"permuted_1, random_1"}
    assert len(table[table["comparison"] == "content"]) == 3


def test_a_strategy_without_target_that_nothing_is_matched_with():
    rows = results_table(classifiers=["EEGNet"], strategies={"rsa": 1.0}, matched=MATCHED, n_seeds=6)
    row = one(compare(rows, n_bootstrap=100), strategy="full_head")
    assert kind_of(row) == "strategies without a target against none"


def test_a_missing_matched_baseline_is_named(adapted):
    rows, _ = adapted
    with pytest.raises(BadInput, match=r"EEGNet .*has 0 baselines 'full_head' for ia3, lora\n"):
        compare(rows[rows["strategy"] != "full_head"])
    with pytest.raises(BadInput, match=r"has 0 baselines\n"):
        compare(rows[rows["strategy"] != "none"])


def test_of_several_set_ups_of_a_baseline_the_default_one_is_taken(adapted):
    rows, table = adapted
    other = rows[rows["strategy"] == "full_head"].assign(options="width=2")
    other["subject_balanced_accuracy"] = [[0.9] * 20] * len(other)
    again = compare(pd.concat([rows, other]), n_bootstrap=100)
    key = {"strategy": "lora", "target": "vaxis", "comparison": "baseline"}
    assert one(again, **key)["delta"] == one(table, **key)["delta"]
    families = again[again["strategy"] == "full_head"]
    assert sorted(families["options"]) == ["", "width=2"]
    assert set(families["family_size"]) == {2}
    twice = rows.assign(options=rows["options"].where(rows["strategy"] != "full_head", "width=3"))
    with pytest.raises(BadInput, match="has 2 baselines 'full_head' for ia3, lora"):
        compare(pd.concat([twice, other]), n_bootstrap=100)


def test_rows_that_name_two_baselines_for_a_strategy_are_refused(adapted):
    rows, _ = adapted
    mixed = rows.assign(compared_with=rows["compared_with"].where(rows["seed"] > 0, "none"))
    with pytest.raises(BadInput, match="cells of ia3 are compared with full_head and with none"):
        compare(mixed)


def test_a_failed_cell_that_does_not_say_is_compared_as_the_others_are(adapted):
    rows, _ = adapted
    gone = (rows["strategy"] == "lora") & (rows["seed"] == 9)
    nulls = rows.assign(compared_with=rows["compared_with"].mask(gone), status=rows["status"].mask(gone, "failed"))
    nulls.loc[gone, ["test_subjects", "subject_balanced_accuracy"]] = None
    row = one(compare(nulls, n_bootstrap=100), strategy="lora", target="vaxis", comparison="baseline")
    assert (row["against"], row["n_seeds"], row["n_failed"]) == ("full_head", 9, 1)
    assert row["delta"] == pytest.approx(by_hand(rows, "lora", "vaxis", against="full_head")[:9].mean())


def test_a_table_of_before_is_read_as_without_options(adapted):
    rows, _ = adapted
    plain = rows[~rows["strategy"].isin([*MATCHED, "full_head"])]
    before = plain.drop(columns=["options", "gradient_match", "compared_with"])
    pd.testing.assert_frame_equal(compare(before, n_bootstrap=100), compare(plain, n_bootstrap=100))
    nulls = plain.assign(options=None, gradient_match=np.nan, compared_with=None)
    pd.testing.assert_frame_equal(compare(nulls, n_bootstrap=100), compare(plain, n_bootstrap=100))


DOSES = [
    ("distance_ce", 1.0, "", 0.0),
    ("distance_ce", 1.0, "tau=2", 0.0),
    ("rsa", 1.0, "", 0.0),
    ("rsa", 5.0, "", 0.0),
    ("rsa", 0.0, "", 0.3),
]


def test_doses_are_arms_of_their_own_in_one_family():
    rows = results_table(classifiers=["EEGNet"], strategies=DOSES, spread=QUIET, n_seeds=6)
    table = compare(rows, n_bootstrap=200)
    tested = table[(table["comparison"] == "baseline") & (table["target"] == "vaxis")]
    assert sorted(zip(tested["strategy"], tested["lambda_"], tested["options"], tested["gradient_match"])) == sorted(
        DOSES
    )
    assert set(tested["family_size"]) == {5}
    np.testing.assert_allclose(tested["p_holm"], multipletests(tested["p"], method="holm")[1])
    for comparison in ("content", "structure"):
        assert len(table[table["comparison"] == comparison]) == 5
    for name, lambda_, options, ratio in DOSES:
        key = {"strategy": name, "lambda_": lambda_, "options": options, "gradient_match": ratio}
        same = rows[np.logical_and.reduce([rows[field] == value for field, value in key.items()])]
        part = pd.concat([rows[rows["strategy"] == "none"], same])
        axis, *controls = (by_hand(part, name, target).mean() for target in ("vaxis", "permuted_1", "random_1"))
        assert one(table, comparison="content", **key)["delta"] == pytest.approx(axis - np.mean(controls))
