"""Targets of plug-ins: what a builder gives is brought to one scale, or refused with what is wrong."""

import numpy as np
import pytest

from tests.valence import training_world as world
from valence.errors import BadInput
from valence.targets import TARGETS, Parts, TargetBuilder, make_target

VALUES = np.arange(9.0)
SQUARE = np.abs(VALUES[:, None] - VALUES)
ROWS = np.random.default_rng(0).standard_normal((9, 70))


@pytest.fixture
def made(monkeypatch):
    """Makes the target "own" of a plug-in whose builder gives such parts."""

    def make(parts, *, kinds=frozenset(), n_axes=1):
        builder = TargetBuilder(
            build=lambda *_: Parts(**parts), needs_axis=False, numbered=False, meaning="", kinds=frozenset(kinds)
        )
        monkeypatch.setitem(TARGETS._entries, "own", builder)
        return make_target("own", world.context(n_axes=n_axes))

    len(TARGETS)  # all built-in ones are there before another joins
    return make


def test_parts_come_in_one_scale(made):
    target = made(
        {
            "values": VALUES.astype(int).tolist(),
            "clip_values": np.arange(28.0),
            "prototypes": ROWS * 1e6,
            "dissimilarity": SQUARE * 1e-3,
            "several": np.stack([VALUES, VALUES**2]),
        },
        kinds=("values", "prototypes", "dissimilarity", "several"),
        n_axes=2,
    )
    np.testing.assert_allclose(target.class_values, (VALUES - 4) / VALUES.std())
    np.testing.assert_allclose(target.clip_values, (np.arange(28) - 13.5) / np.arange(28).std())
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    np.testing.assert_allclose(target.prototypes @ target.prototypes.T, unit @ unit.T, atol=1e-12)
    np.testing.assert_array_equal(target.dissimilarity, SQUARE * 1e-3)
    np.testing.assert_allclose(target.several[1], (VALUES**2 - np.mean(VALUES**2)) / np.std(VALUES**2))


def changed(array, at, value):
    array = np.array(array, dtype=float)
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("part", "given", "told"),
    [
        ("values", VALUES[:8], r"its values have the shape \(8,\)\n.*finite numbers, 9\n"),
        ("values", SQUARE, r"its values have the shape \(9, 9\)"),
        ("values", np.float64(3), r"its values have the shape \(\)"),
        ("values", changed(VALUES, 3, np.nan), "its values have numbers that are not finite"),
        ("values", changed(VALUES, 3, np.inf), "its values have numbers that are not finite"),
        ("values", VALUES * 0 + 0.1, "its values have no differences"),
        ("values", VALUES * 0, "its values have no differences"),
        ("values", ["low"] * 9, "its values have what is no array of numbers"),
        ("values", [None, [1.0]], "its values have what is no array of numbers"),
        ("clip_values", VALUES, r"its values of clips have the shape \(9,\)\n.*finite numbers, 28\n"),
        ("clip_values", np.full(28, 2.5), "its values of clips have no differences"),
        ("clip_values", changed(range(28), 0, np.nan), "its values of clips have numbers that are not finite"),
        ("prototypes", ROWS[:8], r"its prototypes have the shape \(8, 70\)\n.*finite numbers, 9 × any\n"),
        ("prototypes", ROWS[:, 0], r"its prototypes have the shape \(9,\)"),
        ("prototypes", ROWS[:, :0], r"its prototypes have the shape \(9, 0\)"),
        ("prototypes", ROWS[..., None], r"its prototypes have the shape \(9, 70, 1\)"),
        ("prototypes", changed(ROWS, 3, 0.0), "its prototypes have a row of length 0"),
        ("prototypes", ROWS[:1] * np.arange(1, 10)[:, None], "its prototypes have no differences"),
        ("prototypes", changed(ROWS, (2, 2), np.nan), "its prototypes have numbers that are not finite"),
        ("dissimilarity", SQUARE[:5], r"its dissimilarities have the shape \(5, 9\)"),
        ("dissimilarity", changed(SQUARE, (0, 1), 7), "its dissimilarities have no symmetry"),
        ("dissimilarity", SQUARE + 1, "its dissimilarities have no symmetry, or a class that is not 0 from itself"),
        ("dissimilarity", -SQUARE, "its dissimilarities have negative numbers"),
        ("dissimilarity", SQUARE * 0, "its dissimilarities have no differences"),
        ("several", VALUES, r"its values on several axes have the shape \(9,\)\n.*two or more × 9\n"),
        ("several", SQUARE[:1], r"its values on several axes have the shape \(1, 9\)"),
        ("several", np.stack([VALUES, VALUES * 0]), "its values on several axes have no differences"),
    ],
)
def test_parts_that_are_not_what_they_should_be_are_refused(made, part, given, told):
    with pytest.raises(BadInput, match=f"target 'own': {told}"):
        made({part: given})


@pytest.mark.parametrize("kind", ["values", "several", "prototypes", "dissimilarity"])
def test_a_kind_that_is_promised_and_not_there_is_refused(made, kind):
    with pytest.raises(BadInput, match=f"serves losses that read {kind}"):
        made({}, kinds=(kind,), n_axes=2)


def test_several_axes_are_asked_for_where_there_are_several(made):
    made({"values": VALUES}, kinds=("values", "several"), n_axes=1)
    with pytest.raises(BadInput, match="has no several"):
        made({"values": VALUES}, kinds=("values", "several"), n_axes=2)


def test_a_target_is_not_changed_by_what_its_builder_does_later(made):
    given = SQUARE.copy()
    target = made({"dissimilarity": given, "values": VALUES})
    given[0, 1] = 99
    assert target.dissimilarity[0, 1] == 1
