"""Cells that build on others: trained after them, on their weights, within one sweep and in later ones."""

import pandas as pd

from cluster.store import Store

STUDENT = """
import pathlib

from torch.nn import functional

from valence.strategies import STRATEGIES, Earlier, Strategy


@STRATEGIES.register("fragile")
class Fragile(Strategy):
    kind = "values"
    lambda_ = 0.1

    def loss(self, batch, logits, features):
        if pathlib.Path("{flag}").exists():
            raise RuntimeError("this loss cannot be computed")
        return features.square().mean()


@STRATEGIES.register("student")
class Student(Strategy):
    kind = "values"
    lambda_ = 0.1
    earlier = Earlier("fragile", "logits")

    def loss(self, batch, logits, features):
        return functional.mse_loss(logits, self.earlier_logits[batch.rows])
"""


def words(de_root, out, strategies, *more):
    data = ("--dataset", "faced", "--data-root", de_root, "--out", out)
    grid = ("--classifiers", "de_logistic", "--strategies", strategies, "--targets", "random", "--seeds", "2")
    return (*data, *grid, *more)


def trained(out):
    return {path.stem: path.read_bytes() for path in (out / "trained").glob("*.safetensors")}


def ids(out, strategy):
    rows = Store(out).rows()
    return set(rows.loc[rows["strategy"] == strategy, "cell_id"])


def test_teachers_are_cells_trained_once_and_again_only_where_their_weights_are_gone(job, de_root, tmp_path):
    out = tmp_path / "out"
    first = job(*words(de_root, out, "axis_teacher"))
    assert first.returncode == 0, first.stdout + first.stderr
    assert "6 cells, 6 new" in first.stdout  # none, teacher and student of each seed
    kept = trained(out)
    assert set(kept) == ids(out, "aux_mse_strong")

    more = job(*words(de_root, out, "axis_teacher,axis_teacher:temperature=2"))
    assert "8 cells, 2 new" in more.stdout, "the teachers are there: nothing is trained again for their sake"

    lost = sorted(kept)[0]
    (out / "trained" / f"{lost}.safetensors").unlink()
    row = out / "cells" / f"{lost}.parquet"
    before = (row.read_bytes(), row.stat().st_mtime_ns)
    last = job(*words(de_root, out, "axis_teacher,axis_teacher:temperature=2/4"))
    assert last.returncode == 0, last.stdout + last.stderr
    assert trained(out) == kept, "the same cell gives the same weights"
    assert (row.read_bytes(), row.stat().st_mtime_ns) == before, "a committed row is never written again"
    rows = pd.read_parquet(out / "cells")
    assert len(rows) == 10
    assert (rows["status"] == "done").all()


def test_a_cell_whose_earlier_one_failed_says_so_and_is_retried_with_it(job, de_root, tmp_path):
    flag, out, plugin = tmp_path / "broken", tmp_path / "out", tmp_path / "pair_of_losses.py"
    flag.touch()
    plugin.write_text(STUDENT.format(flag=flag))
    arguments = words(de_root, out, "student", "--plugin", plugin)
    failed = job(*arguments)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    rows = Store(out).rows().set_index("strategy")
    assert set(rows.loc["fragile", "status"]) == set(rows.loc["student", "status"]) == {"failed"}
    assert rows.loc["student", "error"].str.contains("builds on fragile, cell").all()
    flag.unlink()
    retried = job(*arguments, "--retry-failed")
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert "6 cells, 4 new" in retried.stdout
    assert set(trained(out)) == ids(out, "fragile")
