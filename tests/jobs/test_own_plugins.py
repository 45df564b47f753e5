"""A loss, a classifier and a data set of one's own, each the template in one file: a verdict with one command."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from cluster.store import Store
from tests.valence import training_world as world
from valence.axis import Axis


@pytest.fixture
def axis(tmp_path):
    """An axis file, so that no LLM has to be read."""
    made = world.axis()
    path = tmp_path / "axis.safetensors"
    made.save(path)
    return path


def template(repository, tmp_path, name):
    return shutil.copy(repository / "valence" / "templates" / name, tmp_path)


def test_the_readme_shows_the_template(repository):
    shown = re.search(r"## Your own loss.*?```python\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)[1]
    assert len(shown.splitlines()) < 30
    assert "".join(shown.split()) in "".join((repository / "valence/templates/my_loss.py").read_text().split())


def test_a_loss_of_ones_own_gets_a_verdict(job, repository, de_root, axis, tmp_path):
    out, plugin = tmp_path / "out", template(repository, tmp_path, "my_loss.py")
    words = ("--plugin", plugin, "--strategies", "my_loss", "--verdict", "--axis", axis, "--out", out)
    data = ("--dataset", "faced", "--data-root", de_root, "--classifiers", "de_mlp", "--preset", "verdict")
    found = job(*words, *data, "--seeds", "2", "--recipe", "epochs=2")
    assert found.returncode == 0, found.stdout + found.stderr
    # none, the loss with four targets, four losses of the literature; 2 seeds of each
    assert "18 cells, 18 new" in found.stdout
    text = found.stdout[found.stdout.index("Verdict on my_loss λ=.1 with de_mlp") :]
    for part in (
        "1. Is the baseline saturated?",
        "2. Does my_loss λ=.1 help?",
        "3. Content:",
        "Structure:",
        "4. Control of",
    ):
        assert part in text
    assert "with its gradient stopped the loss changes nothing, as it should" in text
    (verdict,) = json.loads((out / "verdict.json").read_text())
    assert verdict["effect"] == "undecided", "two seeds decide nothing"
    statistics = pd.read_parquet(out / "statistics.parquet")
    own = statistics[(statistics["strategy"] == "my_loss") & (statistics["target"] == "detached")]
    assert len(own) == 1
    assert (own["delta"] == 0).all()

    text = (tmp_path / "my_loss.py").read_text()
    (tmp_path / "my_loss.py").write_text(text.replace("return 1 -", "return float('nan') *"))
    broken = job(*words, *data, "--seeds", "2", "--recipe", "epochs=2")
    assert broken.returncode == 1
    assert "8 new" in broken.stdout, "its cells, and only they, are trained anew"
    rows = Store(out).rows()
    errors = rows.loc[rows["status"] == "failed", "error"]
    assert len(errors) == 8
    assert errors.str.contains("is nan in epoch 0").all()


def test_a_loss_that_ignores_the_batch_fails_with_one_clear_message(job, de_root, tmp_path):
    plugin = tmp_path / "idle_loss.py"
    plugin.write_text(
        "from valence.strategies import STRATEGIES, Strategy\n\n\n"
        "@STRATEGIES.register('idle')\n"
        "class Idle(Strategy):\n"
        "    kind, lambda_ = 'values', 0.1\n\n"
        "    def loss(self, batch, logits, features):\n"
        "        return features.detach().mean()\n"
    )
    out = tmp_path / "out"
    data = ("--dataset", "faced", "--data-root", de_root, "--classifiers", "de_mlp", "--preset", "verdict")
    found = job(*data, "--plugin", plugin, "--strategies", "idle", "--targets", "random", "--seeds", "1", "--out", out)
    assert found.returncode == 1, found.stdout + found.stderr
    rows = Store(out).rows()
    (error,) = rows.loc[rows["strategy"] == "idle", "error"]
    assert "depends on neither logits nor features" in error


def test_a_classifier_of_ones_own_is_asked_whether_aligning_it_helps(job, repository, axis, tmp_path):
    out, plugin = tmp_path / "out", template(repository, tmp_path, "my_classifier.py")
    data_plugin = template(repository, tmp_path, "my_data.py")
    (tmp_path / "mine").mkdir()
    for number in range(8):
        np.save(tmp_path / f"mine/p{number}.npy", np.random.default_rng(number).normal(0, 10, size=(9, 4, 2560)))
    found = job(
        "--plugin", f"{plugin},{data_plugin}", "--classifiers", "my_classifier", "--verdict", "--dataset", "mine",
        "--data-root", tmp_path / "mine", "--axis", axis, "--seeds", "2", "--recipe", "epochs=2", "--out", out,
        "--preset", "verdict",
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("Verdict on ") == 4
    assert Axis.load(axis).digest in set(Store(out).rows()["axis"])
