"""The grid: names to cells, exclusions with reasons, baselines and controls first, ids that depend on content alone."""

import json

import pytest

from cluster import presets
from cluster.grid import as_dicts, bind, from_dict, make_grid
from valence.errors import BadInput

NAMES = {
    "classifiers": ["de_logistic", "EEGNet"],
    "strategies": ["none", "rsa", "aux_mse"],
    "targets": ["vaxis", "permuted", "random"],
    "seeds": [42, 7],
    "inputs": ["windows", "de"],
}


def cells(axis="a" * 16, **changes):
    recipes = presets.preset("quick").recipes
    grid = make_grid(**NAMES | changes)
    hashes = {"windows": "w" * 16, "de": "d" * 16}
    return bind(
        grid, dataset="faced", hashes=hashes, split="cohort-balanced:0", recipes=recipes, axis_digest=axis, weights={}
    )


def test_every_combination_once():
    found = cells()
    assert len(found) == 2 * 2 * (1 + 2 * 3)
    assert len({cell.cell_id for cell in found}) == len(found)
    assert {cell.target for cell in found} == {"none", "vaxis", "permuted_1", "random_1"}


def test_baselines_then_controls_then_targets():
    ranks = [{"none": 0, "permuted_1": 1, "random_1": 1, "vaxis": 2}[cell.target] for cell in cells()]
    assert ranks == sorted(ranks)


def test_the_baseline_is_always_there_and_shared_over_axes():
    found = cells(strategies=["rsa"])
    assert {cell.strategy for cell in found} == {"none", "rsa"}
    other = {cell.cell_id for cell in cells(axis="b" * 16)}
    shared = {cell.target for cell in cells() if cell.cell_id in other}
    assert shared == {"none", "random_1"}, "only targets made from the axis depend on it"


def test_a_classifier_without_its_input_is_excluded_with_a_reason():
    grid = make_grid(**NAMES | {"inputs": ["de"]})
    assert grid.classifiers == ["de_logistic"]
    assert {exclusion.classifier for exclusion in grid.exclusions} == {"EEGNet"}
    assert all("takes windows" in exclusion.reason for exclusion in grid.exclusions)
    with pytest.raises(BadInput, match="nothing to run"):
        make_grid(**NAMES | {"inputs": ["de"], "classifiers": ["EEGNet"]})


def test_names_are_written_one_way():
    assert {cell.target for cell in cells(targets=["permuted", "permuted_1", "permuted_2"])} == {
        "none", "permuted_1", "permuted_2",
    }  # fmt: skip
    with pytest.raises(BadInput, match="unknown target"):
        cells(targets=["permute"])


def test_cells_survive_a_plan_and_an_edited_plan_is_refused():
    found = cells()
    again = [from_dict(fields) for fields in json.loads(json.dumps(as_dicts(found)))]
    assert again == found
    fields = as_dicts(found)[0] | {"seed": 8}
    with pytest.raises(ValueError, match="edited or damaged"):
        from_dict(fields)


def test_seeds_start_with_the_studys():
    assert presets.seeds(2) == (42, 123)
    assert presets.seeds(7) == (42, 123, 456, 789, 2025, 1, 2)
    assert len(set(presets.seeds(200))) == 200
