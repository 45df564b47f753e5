"""Rows of a kept cell: the same numbers as the probes give, planted truths, and a reason where there is no number."""

from dataclasses import replace

import numpy as np
import pytest

from tests.valence import planted_cells as planted
from tests.valence.training_world import CLASS_OF_CLIP, N_CLIPS
from valence.brain.rows import table
from valence.cell_probes import CLASS, DECODED, LAYER, RESIDUAL, SHARES, rows
from valence.probes import axis_encoding


@pytest.fixture(scope="module")
def planted_cell():
    target = planted.target()
    cell = planted.cell(target, axis=3.0, used=0.0, residual=4.0, width=32)
    rng = np.random.default_rng(0)
    layers = {"blocks.0": rng.normal(size=(N_CLIPS, 16)), "blocks.1": cell.clip_features}
    return target, replace(cell, layers=layers)


def by_key(found):
    return {(row.analysis, row.protocol, row.item): row for row in found}


def test_rows_hold_every_probe_and_find_what_was_planted(planted_cell):
    target, cell = planted_cell
    order = np.random.default_rng(1).normal(size=N_CLIPS)
    found = by_key(rows(cell, target, covariates={"order": order}))
    own = cell.part == "test"
    strength = found[CLASS, "class orders", "planted"]
    assert strength.value == pytest.approx(
        axis_encoding(cell.features[own], cell.labels[own], target.class_values), 1e-3
    )
    assert strength.p < 0.01
    assert found[CLASS, "random directions", "planted"].p < 0.01
    best = found[RESIDUAL, "best of 5 components", "planted"]
    assert best.value > 0.95
    assert best.p < 0.01
    assert best.n == 19
    assert best.ci_low < best.ci_high
    assert found[RESIDUAL, "component of validation subjects", "planted"].value > 0.95
    for protocol, least in (("leave-clip-out", 0.7), ("leave-class-out", 0.4), ("leave-subject-out", 0.7)):
        assert found[DECODED, protocol, "planted"].value > least
        assert found[DECODED, protocol, "order"].value < 0.5  # far below 0 where nothing is there
        assert found[DECODED, protocol, "order"].p > 0.01
    shares = [row.value for row in found.values() if row.analysis == SHARES]
    assert sum(shares) == pytest.approx(1)


def test_layers_come_in_their_order_and_tell_where_a_target_appears(planted_cell):
    target, cell = planted_cell
    found = [row for row in rows(cell, target) if row.analysis == LAYER]
    assert [row.protocol.split(", ")[0] for row in found] == ["blocks.0", "blocks.0", "blocks.1", "blocks.1"]
    by_clip = {row.protocol: row for row in found}
    assert by_clip["blocks.0, leave-clip-out"].value < 0.6
    assert by_clip["blocks.1, leave-clip-out"].value > 0.7


def test_what_was_not_kept_is_a_reason_and_never_a_number(planted_cell):
    target, cell = planted_cell
    found = by_key(rows(planted.without(cell, "features", "layers", "head"), target))
    assert found[CLASS, "class orders", "planted"].value > 0.9  # of clip features, which every cell has
    assert found[RESIDUAL, "best of 5 components", "planted"].ci_low is None
    for key in ((RESIDUAL, "component of validation subjects", "planted"), (DECODED, "leave-subject-out", "")):
        assert found[key].value is None
        assert "--keep" in found[key].reason
    nothing = rows(planted.without(cell, "features", "clip_features", "layers"), target)
    assert all(row.value is None and row.reason for row in nothing)
    assert table(nothing)["value"].isna().all()


def test_a_target_of_classes_has_no_residual_and_the_rest_is_there(planted_cell):
    target, cell = planted_cell
    of_classes = replace(target, clip_values=target.class_values[CLASS_OF_CLIP])
    found = rows(cell, of_classes)
    residual = [row for row in found if row.analysis == RESIDUAL]
    assert len(residual) == 1
    assert "one value a class" in residual[0].reason
    assert all(row.value is not None for row in found if row.analysis != RESIDUAL)


def test_subjects_are_those_of_the_test_part(planted_cell):
    target, cell = planted_cell
    found = by_key(rows(cell, target))
    assert found[DECODED, "leave-subject-out", "planted"].n == 23
    scrambled = cell.features.copy()
    scrambled[cell.part == "validation"] = np.random.default_rng(2).normal(size=scrambled.shape)[
        cell.part == "validation"
    ]
    other = by_key(rows(replace(cell, features=scrambled), target))
    key = (RESIDUAL, "component of validation subjects", "planted")
    assert abs(other[key].value) < found[key].value
    assert {k: v for k, v in other.items() if k != key} == {k: v for k, v in found.items() if k != key}
