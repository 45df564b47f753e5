"""The recipe ladder as a user runs it: steps of a file of one's own, resumed, with ensembles and a page."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cluster.store import Store
from jobs.recipe_ladder import main
from tests.valence.pages import Elements
from valence.datasets.simulated import write_cohort
from valence.ensemble import ensemble
from valence.kept import read_kept
from valence.worlds import World

STEPS = """
description = "two steps and an ensemble"
dataset = "simulated"
classifier = "de_mlp"
seeds = [1, 2]
[recipe]
epochs = 2
[[step]]
name = "baseline"
study = 0.5
[[step]]
name = "augmentation"
recipe = { augmentation_p = 0.6 }
[[step]]
name = "random prototypes"
strategy = "kd_prototypes"
target = "random"
[[step]]
name = "deeper"
deeper = true
[[step]]
name = "longer"
recipe = { epochs = 4 }
[[step]]
name = "together"
ensemble = ["baseline", "longer"]
study = 0.6
"""


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    """Words of the command, and its folder after it ran once."""
    folder = tmp_path_factory.mktemp("ladder")
    root = write_cohort(folder / "cohort", n_subjects=6, world=World(), parts=(3, 1, 2), inputs=("de",))
    (folder / "steps.toml").write_text(STEPS)
    out = folder / "out"
    words = ["--ladder", str(folder / "steps.toml"), "--data-root", str(root), "--split", "standard", "--out", str(out)]
    assert main(words) == 0
    return words, out


def test_every_step_is_a_row(climbed):
    _, out = climbed
    table = pd.read_parquet(out / "ladder.parquet").set_index("step")
    assert list(table.index) == ["baseline", "augmentation", "random prototypes", "deeper", "longer", "together"]
    assert "band features" in table.loc["augmentation", "reason"]
    assert "no deeper form" in table.loc["deeper", "reason"]
    assert table.loc["random prototypes", "against"] == "baseline"
    assert table.loc["longer", "against"] == "random prototypes"
    rows = Store(out).rows()
    assert len(rows) == 6
    for step, strategy, epochs in (
        ("baseline", "none", 2),
        ("random prototypes", "kd_prototypes", 2),
        ("longer", "kd_prototypes", 4),
    ):
        n_windows = rows["windows"].min() * epochs // 2
        cells = rows[(rows["strategy"] == strategy) & (rows["windows"] == n_windows)].sort_values("seed")
        assert cells["seed"].tolist() == [1, 2]
        by_subject = np.stack(cells["subject_balanced_accuracy"])
        assert table.loc[step, "balanced_accuracy"] == pytest.approx(by_subject.mean(), abs=1e-9)
    delta = table["balanced_accuracy"]["random prototypes"] - table["balanced_accuracy"]["baseline"]
    assert table.loc["random prototypes", "delta"] == pytest.approx(delta, abs=1e-9)
    assert table.loc["together", "n_members"] == 4
    assert table.loc["together", "study"] == 0.6


def test_the_ensemble_is_that_of_the_kept_predictions(climbed):
    _, out = climbed
    rows = Store(out).rows()
    longest = rows["windows"].max()
    ids = rows.loc[(rows["strategy"] == "none") | (rows["windows"] == longest), "cell_id"]
    found, scores = ensemble(read_kept(out, ids))
    assert found.n_members == 4
    table = pd.read_parquet(out / "ladder.parquet").set_index("step")
    by_subject = table.loc["together", "balanced_accuracy"]
    assert scores["balanced_accuracy"] == pytest.approx(by_subject, abs=0.02)  # all samples, or the mean over subjects
    rules = pd.read_parquet(out / "ensembles.parquet")
    assert rules["rule"].tolist() == ["uniform", "weighted", "greedy", "residual_diversity", "best_single"]
    assert len(pd.read_parquet(out / "contributions.parquet")) == 4
    kept = read_kept(out, ids)
    assert all(cell.features is not None and cell.layers for cell in kept)
    for cell in kept:
        weight, bias = cell.head
        np.testing.assert_allclose(cell.features @ weight.T + bias, cell.logits, atol=1e-3)


def test_the_same_command_finds_all_of_it_there(climbed, capsys):
    words, out = climbed
    before = {path.name: pq.read_table(path) for path in (out / "cells").iterdir()}
    page = (out / "ladder.html").read_bytes()
    assert main(words) == 0
    assert "6 cells, 0 new, 0 failed" in capsys.readouterr().out
    assert {path.name: pq.read_table(path) for path in (out / "cells").iterdir()} == before
    assert (out / "ladder.html").read_bytes() == page


def test_the_page_is_whole_and_closed(climbed):
    _, out = climbed
    page = (out / "ladder.html").read_text()
    for word in ("random prototypes", "together", "no deeper form", "greedy"):
        assert word in page
    for tag, attributes in Elements(page).found:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert not attributes.get("src")
    assert (out / "mlflow.db").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--ladder", "facd"], "unknown ladder 'facd'"),
        (["--classifier", "EEGNett"], "EEGNett"),
        (["--seeds", "9"], "1 to 5"),
        (["--recipe", "epoch=3"], "unknown field"),
        (["--ladder", "faced"], "no folder given"),
    ],
)
def test_bad_words(words, told, capsys, tmp_path):
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err
