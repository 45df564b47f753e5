"""The grid: names to cells, exclusions with reasons, baselines and controls first, ids that depend on content alone."""

import json

import pytest

from cluster import presets
from cluster.binding import as_dicts, bind, depth, earlier_cell, from_dict
from cluster.grid import Given, make_grid
from valence.classifiers import CLASSIFIERS
from valence.datasets import DATASETS
from valence.errors import BadInput
from valence.prepared import signal_spec

NAMES = {
    "classifiers": ["de_logistic", "EEGNet"],
    "strategies": ["none", "rsa", "aux_mse"],
    "targets": ["vaxis", "permuted", "random"],
    "seeds": [42, 7],
}


def given(dataset="faced", inputs=("windows", "de"), **changes):
    kind, recipes = DATASETS[dataset], presets.preset("quick").recipes
    specs = {input: signal_spec(kind, input, recipes[input]) for input in inputs}
    facts = {"classes": tuple(name.casefold() for name in kind.emotions or kind.classes), "has_ratings": True}
    return Given(**{"specs": specs, "n_axes": 1} | facts | changes)


def grid_of(*, inputs=("windows", "de"), **changes):
    facts = {"given": given(inputs=inputs)}
    return make_grid(**NAMES | facts | changes)


def cells(axis="a" * 16, axes=(), **changes):
    recipes = presets.preset("quick").recipes
    grid = grid_of(**changes)
    hashes = {"windows": "w" * 16, "de": "d" * 16}
    return bind(
        grid,
        dataset="faced",
        hashes=hashes,
        split="cohort-balanced:0",
        recipes=recipes,
        axis_digests=[axis, *axes],
        weights={},
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
    grid = grid_of(inputs=["de"])
    assert grid.classifiers == ["de_logistic"]
    assert {exclusion.classifier for exclusion in grid.exclusions} == {"EEGNet"}
    assert all("takes windows" in exclusion.reason for exclusion in grid.exclusions)
    with pytest.raises(BadInput, match="nothing to run"):
        grid_of(inputs=["de"], classifiers=["EEGNet"])


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


def test_doses_are_cells_of_their_own_and_the_default_is_one_whatever_its_spelling():
    found = cells(classifiers=["de_mlp"], strategies=["rsa:lambda=.5/1", "rsa"], targets=["vaxis"], seeds=[1])
    doses = [(cell.strategy, cell.lambda_, cell.options) for cell in found]
    assert doses == [("none", 0, ""), ("rsa", 0.5, ""), ("rsa", 1, "")]
    matched = cells(classifiers=["de_mlp"], strategies=["rsa:ratio=.3"], targets=["vaxis"], seeds=[1])[-1]
    assert (matched.gradient_match, matched.lambda_) == (0.3, 0)
    assert len({cell.pair_id for cell in [*found, matched]}) == 1, "they start from the same weights"


def test_a_teacher_is_a_cell_of_the_grid_with_the_same_target():
    found = cells(classifiers=["de_mlp"], strategies=["axis_teacher"], targets=["vaxis", "random"], seeds=[1])
    assert {(cell.strategy, cell.target) for cell in found} == {
        ("none", "none"),
        *((name, target) for name in ("aux_mse_strong", "axis_teacher") for target in ("vaxis", "random_1")),
    }
    ids = {cell.cell_id for cell in found}
    for cell in found:
        earlier = earlier_cell(cell)
        assert depth(cell) == (earlier is not None)
        assert earlier is None or (earlier.cell_id in ids and earlier.target == cell.target)


def test_adapters_bring_their_frozen_backbone_and_their_baseline():
    found = cells(classifiers=["EEGNet"], strategies=["lora"], targets=["vaxis"], seeds=[1])
    assert [cell.strategy for cell in found if cell.target == "none"] == ["full_head", "none"]
    by_name = {cell.strategy: cell for cell in found}
    assert earlier_cell(by_name["lora"]) == earlier_cell(by_name["full_head"]) == by_name["none"]


def test_what_cannot_run_is_excluded_with_its_reason():
    names = {"classifiers": ["de_mlp"], "seeds": [1]}
    grid = grid_of(**names, strategies=["distance_ce", "multi_llm", "rsa"], targets=["vaxis", "detached", "identity"])
    reasons = {(one.strategy, one.target): one.reason for one in grid.exclusions}
    assert "place of cross-entropy" in reasons["distance_ce", "detached"]
    assert "LLM" in reasons["multi_llm", "vaxis"]
    assert "not dissimilarity" in reasons["rsa", "identity"]
    ran = {(one.dose.strategy, one.target) for one in grid.combinations}
    assert ran == {("none", "none"), ("distance_ce", "vaxis"), ("rsa", "vaxis"), ("rsa", "detached")}
    without = grid_of(**names, strategies=["aux_mse"], targets=["behaviour"], given=given(has_ratings=False))
    assert "self-ratings" in without.exclusions[0].reason


def test_several_axes_are_in_the_identity_of_what_reads_them_whatever_the_target():
    names = {"classifiers": ["de_mlp"], "strategies": ["multi_llm", "aux_mse"], "seeds": [1]}
    one, other = (cells(axes=[axis * 16], **names, targets=["vaxis", "random"], given=given(n_axes=2)) for axis in "bc")
    shared = {cell.cell_id for cell in one} & {cell.cell_id for cell in other}
    assert {(cell.strategy, cell.target) for cell in one if cell.cell_id in shared} == {
        ("none", "none"), ("aux_mse", "vaxis"), ("aux_mse", "random_1"),
    }  # fmt: skip


def test_groups_stand_for_their_members():
    assert len(presets.expanded(["strategies25"])) == 25
    grid = grid_of(
        classifiers=["de_mlp"], strategies=presets.expanded(["paper25"]), targets=["vaxis"], given=given(n_axes=2)
    )
    assert not [one for one in grid.exclusions if "builds on" in one.reason]
    ran = {one.dose for one in grid.combinations if one.target == "vaxis"}
    assert len(ran) == 23, "two rows of the study are not cells of their own"


@pytest.mark.parametrize(
    ("word", "match"),
    [
        ("rsa:lambda=-1", "lambda is -1"),
        ("rsa:lambda=inf", "lambda is inf"),
        ("rsa:lambda", "FIELD=VALUE"),
        ("rsa:tau=2", "unknown field of strategy rsa"),
        ("rsa:ratio=0", "ratio above 0"),
        ("rsa:ratio=1:lambda=1", "lambda or ratio"),
        ("none:lambda=1", "no strength"),
        ("distance_ce:lambda=1", "no strength"),
        ("distance_ce:tau=x", "a finite number"),
        ("rssa", "unknown strategy"),
    ],
)
def test_bad_words_for_a_strategy(word, match):
    with pytest.raises(BadInput, match=match):
        cells(strategies=[word])


def test_every_default_target_and_strategy_of_the_presets_is_known():
    for preset in presets.PRESETS.values():
        assert set(preset.classifiers) <= set(CLASSIFIERS)
        grid_of(
            classifiers=["de_mlp"],
            strategies=presets.expanded(preset.strategies or ["none"]),
            targets=presets.expanded(preset.targets or ["vaxis"]),
        )
