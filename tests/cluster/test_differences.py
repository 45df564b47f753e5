"""Cells that are not of one kind: told by field, in the report too, and nothing is said where all is well."""

import pytest

from cluster.binding import as_dicts
from cluster.differences import differences
from cluster.store import Store
from tests.cluster.test_store import make_cell
from tests.cluster.test_views import build, commit, save_plan, sweep_cells
from valence.cell import SCIENCE_VERSION

RECIPES = {
    "r1": {"name": "a", "epochs": 50, "optimizer": "adam"},
    "r2": {"name": "b", "epochs": 9, "optimizer": "adam"},
}


def told(*cells):
    return differences(as_dicts(cells), [{"recipes": RECIPES}])


def test_cells_of_one_kind_are_not_talked_of():
    other_classifier = make_cell(1, classifier="other", recipe_hash="r2", dataset_hash="i")
    other_treatment = make_cell(0, strategy="rsa", target="vaxis", axis="a" * 16, lambda_=1.0)
    assert told(make_cell(0), make_cell(1), other_classifier, other_treatment) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dataset_hash": "i"}, "data differs: h (1 cells), i (1 cells)"),
        ({"split": "s:1"}, "split differs: s:0 (1 cells), s:1 (1 cells)"),
        ({"weights": "w"}, "pretrained weights differs: none (1 cells), w (1 cells)"),
        ({"recipe_hash": "r2"}, "recipe differs: r1 (1 cells), r2 (1 cells): epochs 50 or 9;"),
    ],
)
def test_the_field_that_differs_is_named(fields, expected):
    (line,) = told(make_cell(0, recipe_hash="r1"), make_cell(0, **({"recipe_hash": "r1"} | fields)))
    assert line.startswith(expected)


def test_cells_of_another_science_version_are_named():
    old = make_cell(0, science=SCIENCE_VERSION - 1)
    mixed, version = told(old, make_cell(0))
    assert mixed.startswith(f"science version differs: {old.science} (1 cells), {SCIENCE_VERSION} (1 cells)")
    assert version == f"1 cells are of science version {old.science}, this program's is {SCIENCE_VERSION}: not reused"
    assert told(old) == [version]


def test_several_classifiers_share_a_line():
    cells = [make_cell(0, classifier=name, dataset_hash=digest) for name in ("c", "d") for digest in ("h", "i")]
    (line,) = told(*cells)
    assert "each of 2 classifiers" in line


def test_the_report_says_what_differs(tmp_path):
    store = Store(tmp_path)
    cells = sweep_cells(["rsa"])
    save_plan(store, "old", cells)
    commit(store, cells)
    plain = build(store)
    assert plain.differences == ()
    assert "data differs" not in plain.report_path.read_text()
    new = [make_cell(cell.seed, dataset_hash="other") for cell in cells if cell.strategy == "none"]
    save_plan(store, "new", new)
    commit(store, new)
    built = build(store)
    assert len(built.differences) == 1
    assert "data differs: h (12 cells), other (6 cells)" in built.report_path.read_text()
