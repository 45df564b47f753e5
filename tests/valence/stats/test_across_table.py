"""The results table to what holds across classifiers: by hand, with gaps, with a planted saturation."""

import numpy as np
import pandas as pd
import pytest

from tests.valence.stats.planted import by_hand, one
from tests.valence.synthetic_rows import CLASSIFIERS, cell, results_table
from valence.stats.across import across_classifiers
from valence.stats.across_table import ALL, balanced, mixed_table, saturation_table
from valence.stats.mixed import PLANNED, mixed_model

SKILLS = {f"net_{number:02d}": 0.3 + 0.03 * number for number in range(12)}


def saturating_sweep(n_seeds=6, n_subjects=8):
    """A strategy that gains below .45, and one that does nothing."""
    random, rows = np.random.default_rng(0), []
    for classifier, skill in SKILLS.items():
        for strategy, effect in {"none": 0.0, "rsa": 0.5 * max(0.45 - skill, 0), "aux_mse": 0.0}.items():
            rows += [
                cell(
                    classifier=classifier,
                    strategy=strategy,
                    target="none" if strategy == "none" else "vaxis",
                    lambda_=0.0 if strategy == "none" else 1.0,
                    seed=seed,
                    accuracies=skill + effect + random.normal(0, 0.004) + random.normal(0, 0.01, n_subjects),
                    subjects=[f"sub{number}" for number in range(n_subjects)],
                )
                for seed in range(n_seeds)
            ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def rows():
    return results_table(effects={(name, "rsa", "vaxis"): -0.03 for name in CLASSIFIERS}, n_seeds=6, n_subjects=8)


def test_mixed_table_is_the_fit_of_the_differences_by_hand(rows):
    table = mixed_table(rows, family_size=25)
    names, strategies = sorted(CLASSIFIERS), ("aux_mse", "kd_prototypes", "rsa", "supcon_clip")
    differences = np.array([[by_hand(rows, strategy, "vaxis", name) for name in names] for strategy in strategies])
    fit = mixed_model(differences, family_size=25)
    planned = table[table["terms"] == " + ".join(f"(1 | {name})" for name in PLANNED)]
    np.testing.assert_allclose(planned["delta"], differences.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(planned["p_holm"], fit.p_holm)
    assert len(table) == 2 * len(strategies)
    assert set(table["n_classifiers"]) == {4}
    assert set(table["left_out"]) == {""}
    hurts = table[table["strategy"] == "rsa"]
    assert (hurts["ci_high"] < 0).all()


def test_what_is_not_complete_is_left_out_and_named(rows):
    gone = (rows["classifier"] == "EEGNet") & (rows["strategy"] == "rsa")
    failed = (rows["classifier"] == "de_mlp") & (rows["strategy"] == "aux_mse") & (rows["seed"] == 3)
    [whole] = balanced(rows[~gone & ~failed])
    assert len(whole.doses) == 4
    assert len(whole.classifiers) == 3
    assert "EEGNet" in whole.left_out
    assert "1 of 6 seeds" in whole.left_out
    assert whole.differences.shape == (4, 3, 5, 8)
    many = (rows["strategy"] == "rsa") & (rows["classifier"] != "EEGNet")
    [without] = balanced(rows[~many])
    assert len(without.doses) == 3
    assert len(without.classifiers) == 4
    assert without.left_out.startswith("rsa")


def test_a_planted_saturation_is_found_where_it_is():
    rows = saturating_sweep()
    table = saturation_table(rows)
    gains, nothing = one(table, strategy="rsa"), one(table, strategy="aux_mse")
    assert gains["finding"] == "saturates"
    assert gains["change_low"] <= 0.45 <= gains["change_high"]
    assert gains["p_holm"] < 0.05
    assert nothing["p_holm"] > 0.05
    assert table.iloc[0]["strategy"] == ALL
    assert np.isnan(table.iloc[0]["p_holm"])
    differences = np.array([by_hand(rows, "rsa", "vaxis", name).mean(axis=1) for name in sorted(SKILLS)])
    none = [rows[(rows["classifier"] == name) & (rows["strategy"] == "none")] for name in sorted(SKILLS)]
    baselines = np.array([np.mean(part["subject_balanced_accuracy"].tolist(), axis=1) for part in none])
    assert gains["slope"] == pytest.approx(across_classifiers(differences, baselines).slope)


def test_too_little_gives_no_rows(rows):
    assert saturation_table(rows).empty  # four classifiers
    assert mixed_table(rows[rows["classifier"] == "EEGNet"]).empty
    assert mixed_table(rows[rows["seed"] == 0]).empty
    single = mixed_table(rows[rows["strategy"].isin(["none", "rsa"])])
    assert len(single) == 2
    assert single["p"].notna().all()
