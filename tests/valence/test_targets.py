"""Targets: what each holds, what a draw depends on, and names."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from tests.valence import training_world as world
from valence.errors import BadInput
from valence.stories import EMOTIONS
from valence.targets import (
    AXIS_ROWS,
    N_PROTOTYPE_DIMS,
    TARGETS,
    TargetContext,
    canonical_target,
    check_axis,
    make_target,
)

ALL = [canonical_target(name) for name in TARGETS]


def same(one, other) -> bool:
    names = ("class_values", "clip_values", "prototypes", "dissimilarity")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize("name", ALL)
def test_contract(name):
    made = world.target(name)
    assert made.name == name
    assert made.class_values.shape == (world.N_CLASSES,)
    np.testing.assert_allclose([made.class_values.mean(), made.class_values.std()], [0, 1], atol=1e-12)
    assert made.clip_values.shape == (world.N_CLIPS,)
    np.testing.assert_allclose(np.linalg.norm(made.prototypes, axis=1), 1)
    differences = np.abs(made.class_values[:, None] - made.class_values)
    np.testing.assert_allclose(made.dissimilarity, differences)
    for field in dataclasses.fields(made)[1:]:
        assert getattr(made, field.name).dtype == np.float64


@pytest.mark.parametrize("name", ALL)
def test_same_context_same_target(name):
    assert same(world.target(name), world.target(name))


def test_vaxis_holds_the_axis():
    made, axis = world.target("vaxis"), world.axis()
    np.testing.assert_allclose(made.class_values, axis.class_positions)
    np.testing.assert_allclose(made.clip_values, axis.class_positions[world.CLASS_OF_CLIP])
    rows = axis.centroids / np.linalg.norm(axis.centroids, axis=1)[:, None]
    np.testing.assert_allclose(made.prototypes @ made.prototypes.T, rows @ rows.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [8, 64, 65, 576, 4096])
def test_angles_between_classes_are_kept_for_any_width_of_the_llm(width):
    """Centred centroids have one dimension less than classes: the last coordinate of a wide LLM is zero."""
    axis = world.axis(width=width)
    made = make_target("vaxis", dataclasses.replace(world.context(), axis=axis)).prototypes
    assert made.shape == (world.N_CLASSES, N_PROTOTYPE_DIMS)
    rows = axis.centroids / np.linalg.norm(axis.centroids, axis=1)[:, None]
    np.testing.assert_allclose(made @ made.T, rows @ rows.T, rtol=0, atol=1e-12)


def test_coordinates_do_not_depend_on_the_basis_of_the_llm():
    """The same geometry, turned and mirrored: signs and order of coordinates are fixed."""
    axis, rng = world.axis(width=100), np.random.default_rng(3)
    turned = dataclasses.replace(axis, centroids=axis.centroids @ np.linalg.qr(rng.standard_normal((100, 100)))[0])
    first, second = (
        make_target("vaxis", dataclasses.replace(world.context(), axis=one)).prototypes for one in (axis, turned)
    )
    np.testing.assert_allclose(first, second, atol=1e-8)


def test_all_targets_have_one_shape():
    shapes = {world.target(name, width=width).prototypes.shape for name in ALL for width in (32, 576)}
    assert shapes == {(world.N_CLASSES, N_PROTOTYPE_DIMS)}


def test_classes_beyond_the_width_are_refused():
    names = tuple(f"class {number}" for number in range(N_PROTOTYPE_DIMS + 1))
    many = dataclasses.replace(world.context(), n_classes=len(names), classes=names, axis=None)
    with pytest.raises(BadInput, match="n_classes is 65"):
        make_target("random", many)
    most = make_target("random", dataclasses.replace(many, n_classes=N_PROTOTYPE_DIMS, classes=names[:-1]))
    np.testing.assert_allclose(most.prototypes @ most.prototypes.T, np.eye(N_PROTOTYPE_DIMS), atol=1e-12)


def test_permuted_moves_values_and_prototypes_together():
    for seed in range(50):
        made, kept = world.target("permuted", seed=seed), world.target("vaxis")
        order = [int(np.argmin(np.abs(kept.class_values - value))) for value in made.class_values]
        assert sorted(order) == list(range(world.N_CLASSES))
        assert order != sorted(order)
        np.testing.assert_allclose(made.prototypes, kept.prototypes[order], atol=1e-8)
        np.testing.assert_allclose(made.dissimilarity, kept.dissimilarity[np.ix_(order, order)])


def test_permuted_two_classes_are_always_swapped():
    two = dataclasses.replace(world.context(), n_classes=2, classes=EMOTIONS[:2], class_of_clip=(0, 1))
    axis = world.axis()
    axis = dataclasses.replace(
        axis, class_positions=np.array([-1.0, 1.0]), centroids=axis.centroids[:2], classes=axis.classes[:2]
    )
    for seed in range(10):
        assert make_target("permuted", dataclasses.replace(two, axis=axis, seed=seed)).class_values[0] == 1


@pytest.mark.parametrize("base", ["permuted", "random"])
def test_a_draw_depends_on_number_and_seed(base):
    first = world.target(f"{base}_1")
    assert not same(first, world.target(f"{base}_2"))
    assert not same(first, world.target(f"{base}_1", seed=43))


def test_random_does_not_depend_on_the_axis():
    without = dataclasses.replace(world.context(), axis=None)
    assert same(world.target("random", axis_seed=1), make_target("random", without))


def test_random_prototypes_are_orthonormal():
    prototypes = world.target("random").prototypes
    np.testing.assert_allclose(prototypes @ prototypes.T, np.eye(world.N_CLASSES), atol=1e-12)
    assert prototypes.shape[1] == 64


def test_random_prototypes_are_uniform():
    """A coordinate of a random direction in 64 dimensions is close to a Gaussian of variance 1/64."""
    entries = np.concatenate([world.target("random", seed=seed).prototypes[:, 0] for seed in range(200)])
    assert kstest(entries * 8, "norm").pvalue > 0.001


def test_names():
    assert canonical_target("permuted") == "permuted_1"
    assert canonical_target("permuted_1") == "permuted_1"
    assert canonical_target("random_12") == "random_12"
    assert canonical_target("vaxis") == "vaxis"
    for wrong in ("vaxis_2", "permuted_0", "permuted_", "permuted_x", "vaxes", "none"):
        with pytest.raises(BadInput):
            canonical_target(wrong)
    with pytest.raises(BadInput, match="did you mean vaxis"):
        canonical_target("vaxes")


@pytest.mark.parametrize("name", [name for name in ALL if name != "random_1"])
def test_an_axis_that_is_missing_or_does_not_fit(name):
    with pytest.raises(BadInput, match="without an axis"):
        make_target(name, dataclasses.replace(world.context(), axis=None))
    five = dataclasses.replace(world.context(), n_classes=5, classes=(*EMOTIONS[:4], "boredom"))
    with pytest.raises(
        BadInput, match=r"classes anger, .*tenderness, for recordings of the classes anger, .*boredom\n"
    ):
        make_target(name, five)


def test_recordings_of_fewer_classes_take_their_rows_of_an_axis():
    """SEED-V has five of the nine classes, in another order."""
    some = ("disgust", "fear", "sadness", "neutral", "joy")
    context = dataclasses.replace(world.context(), class_of_clip=np.arange(5).repeat(3), n_classes=5, classes=some)
    axis, target = context.axis, make_target("vaxis", context)
    rows = [EMOTIONS.index(name) for name in some]
    positions = axis.class_positions[rows]
    np.testing.assert_allclose(target.class_values, (positions - positions.mean()) / positions.std())
    centroids = axis.centroids[rows] - axis.centroids[rows].mean(axis=0)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    np.testing.assert_allclose(target.prototypes @ target.prototypes.T, centroids @ centroids.T, atol=1e-12)
    check_axis(axis, some)


def reordered(axis, order, names=None):
    rows = {part: None if getattr(axis, part) is None else getattr(axis, part)[order] for part in AXIS_ROWS}
    return dataclasses.replace(axis, classes=tuple(names or [axis.classes[index] for index in order]), **rows)


@pytest.mark.parametrize("name", [name for name in ALL if name != "random_1"])
def test_an_axis_in_another_order_of_classes_is_the_same_target(name):
    order = np.random.default_rng(1).permutation(world.N_CLASSES)
    axis = dataclasses.replace(
        world.axis(), standard_error=np.arange(9.0), interval=np.stack([np.arange(9.0), np.arange(9.0)], axis=1)
    )
    shouted = [EMOTIONS[index].upper() for index in order]
    for other in (reordered(axis, order), reordered(axis, order, shouted)):
        assert same(make_target(name, dataclasses.replace(world.context(), axis=other)), world.target(name))
        check_axis(other, EMOTIONS)


@pytest.mark.parametrize("name", [name for name in ALL if name != "random_1"])
def test_an_axis_of_as_many_other_classes_is_refused(name):
    for names in (("boredom", *EMOTIONS[1:]), (EMOTIONS[1], *EMOTIONS[1:])):
        axis = dataclasses.replace(world.axis(), classes=names)
        with pytest.raises(BadInput, match=f"classes {names[0]}, disgust.* recordings of the classes anger, disgust"):
            make_target(name, dataclasses.replace(world.context(), axis=axis))
        with pytest.raises(BadInput, match="of the classes anger, disgust"):
            check_axis(axis, EMOTIONS)


def test_each_class_has_a_name():
    with pytest.raises(BadInput, match="9 classes with the names anger, disgust"):
        make_target("random", dataclasses.replace(world.context(), classes=EMOTIONS[:8]))
    with pytest.raises(TypeError, match="classes"):
        TargetContext(class_of_clip=world.CLASS_OF_CLIP, n_classes=9, axis=None, seed=0)


def test_clips_have_their_own_positions_on_the_axis():
    made, axis = world.target("vaxis_clip"), world.axis()
    np.testing.assert_allclose(made.clip_values, axis.clip_positions)
    means = np.array([axis.clip_positions[label == world.CLASS_OF_CLIP].mean() for label in range(9)])
    np.testing.assert_allclose(made.class_values, (means - means.mean()) / means.std())
    np.testing.assert_array_equal(made.prototypes, world.target("vaxis").prototypes)
    assert not TARGETS["vaxis_clip"].by_default


@pytest.mark.parametrize(("positions", "told"), [(None, "no positions"), (np.arange(5.0), "positions of 5 clips")])
def test_an_axis_without_positions_of_these_clips_is_refused(positions, told):
    axis = dataclasses.replace(world.axis(), clip_positions=positions)
    with pytest.raises(BadInput, match=f"{told}[\\s\\S]*--stimuli"):
        make_target("vaxis_clip", dataclasses.replace(world.context(), axis=axis))
