"""Targets: what each holds, what a draw depends on, and names."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from tests.valence import training_world as world
from valence.axis import fit_axis
from valence.concepts import AROUSAL, fit_concept
from valence.errors import BadInput
from valence.stories import EMOTIONS
from valence.targets import (
    AXIS_ROWS,
    N_PROTOTYPE_DIMS,
    PARTS,
    TARGETS,
    TargetContext,
    canonical_target,
    check_axis,
    make_target,
)

ALL = [canonical_target(name) for name in TARGETS]
WITH_AXIS = [name for name in ALL if TARGETS[name.removesuffix("_1")].needs_axis]
SHAPES = {
    "class_values": (world.N_CLASSES,),
    "clip_values": (world.N_CLIPS,),
    "prototypes": (world.N_CLASSES, N_PROTOTYPE_DIMS),
    "dissimilarity": (world.N_CLASSES, world.N_CLASSES),
    "several": (3, world.N_CLASSES),
}


def builder_of(name):
    return TARGETS[name.removesuffix("_1")]


def same(one, other) -> bool:
    """Whether two targets have the same parts, and the same numbers in them."""
    pairs = [(getattr(one, part), getattr(other, part)) for part in SHAPES]
    return all((a is None and b is None) or (a is not None and np.array_equal(a, b)) for a, b in pairs)


@pytest.mark.parametrize("name", ALL)
def test_contract(name):
    made = world.target(name, n_axes=3)
    assert made.name == name
    assert made.classes == EMOTIONS
    assert made.detached == (name == "detached")
    there = {part: getattr(made, part) for part in SHAPES if getattr(made, part) is not None}
    assert {PARTS[kind] for kind in builder_of(name).kinds} <= set(there)
    for part, array in there.items():
        assert array.shape == SHAPES[part]
        assert array.dtype == np.float64
    for part in ("class_values", "several"):
        for row in np.atleast_2d(there.get(part, np.empty((0, 9)))):
            np.testing.assert_allclose([row.mean(), row.std()], [0, 1], atol=1e-12)
    if "prototypes" in there:
        np.testing.assert_allclose(np.linalg.norm(made.prototypes, axis=1), 1)
    if "class_values" in there:
        differences = np.abs(made.class_values[:, None] - made.class_values)
        np.testing.assert_allclose(made.dissimilarity, differences)


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


def test_prototypes_of_all_targets_have_one_shape():
    made = [world.target(name, width=width).prototypes for name in ALL for width in (32, 576)]
    assert {rows.shape for rows in made if rows is not None} == {(world.N_CLASSES, N_PROTOTYPE_DIMS)}


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


@pytest.mark.parametrize("name", WITH_AXIS)
def test_an_axis_that_is_missing_or_does_not_fit(name):
    with pytest.raises(BadInput, match="without an axis"):
        make_target(name, dataclasses.replace(world.context(), axis=None))
    five = dataclasses.replace(world.context(), n_classes=5, classes=(*EMOTIONS[:4], "boredom"))
    told = r"classes anger, .*tenderness, for recordings of the classes anger, .*boredom\n"
    told = "does not know the classes boredom" if builder_of(name).emotions else told
    with pytest.raises(BadInput, match=told):
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


@pytest.mark.parametrize("name", WITH_AXIS)
def test_an_axis_in_another_order_of_classes_is_the_same_target(name):
    order = np.random.default_rng(1).permutation(world.N_CLASSES)
    axis = dataclasses.replace(
        world.axis(), standard_error=np.arange(9.0), interval=np.stack([np.arange(9.0), np.arange(9.0)], axis=1)
    )
    shouted = [EMOTIONS[index].upper() for index in order]
    for other in (reordered(axis, order), reordered(axis, order, shouted)):
        made = make_target(name, dataclasses.replace(world.context(n_axes=2), axis=other, further_axes=(other,)))
        plain = dataclasses.replace(world.context(n_axes=2), axis=axis, further_axes=(axis,))
        assert same(made, make_target(name, plain))
        check_axis(other, EMOTIONS)


@pytest.mark.parametrize("name", WITH_AXIS)
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
    made, axis = world.target("clip_text"), world.axis()
    np.testing.assert_allclose(made.clip_values, axis.clip_positions)
    means = np.array([axis.clip_positions[label == world.CLASS_OF_CLIP].mean() for label in range(9)])
    np.testing.assert_allclose(made.class_values, (means - means.mean()) / means.std())
    np.testing.assert_array_equal(made.prototypes, world.target("vaxis").prototypes)
    assert not TARGETS["clip_text"].by_default


@pytest.mark.parametrize(("positions", "told"), [(None, "no positions"), (np.arange(5.0), "positions of 5 clips")])
def test_an_axis_without_positions_of_these_clips_is_refused(positions, told):
    axis = dataclasses.replace(world.axis(), clip_positions=positions)
    with pytest.raises(BadInput, match=f"{told}[\\s\\S]*--stimuli"):
        make_target("clip_text", dataclasses.replace(world.context(), axis=axis))


def test_arousal_by_hand():
    """Centroids on two dimensions, x the valence and y the arousal of the class: the positions are those along y."""
    arousal = np.array([1.0, 0.2, 1.4, -0.9, -1.1, 0.8, 0.1, 1.2, -0.7])  # in the order of EMOTIONS
    valence = np.array([-1.0, -1.2, -0.9, -1.1, 0.0, 1.1, 1.2, 0.9, 1.0])
    axis = dataclasses.replace(
        world.axis(), centroids=np.column_stack([valence, arousal]), direction=np.array([1.0, 0.0])
    )
    made = make_target("arousal", dataclasses.replace(world.context(), axis=axis)).class_values
    # high: anger, fear, amusement, joy; low: sadness, neutral, tenderness
    x = (-1.0 - 0.9 + 1.1 + 0.9) / 4 - (-1.1 + 0.0 + 1.0) / 3
    y = (1.0 + 1.4 + 0.8 + 1.2) / 4 - (-0.9 - 1.1 - 0.7) / 3
    positions = x * valence + y * arousal
    np.testing.assert_allclose(made, (positions - positions.mean()) / positions.std(), rtol=1e-12)
    assert np.corrcoef(made, arousal)[0, 1] > 0.99


def test_arousal_is_the_recipe_of_concepts():
    """The same activations, as an axis of valence whose centroids the target reads, and as an axis of arousal."""
    rng = np.random.default_rng(4)
    labels, sets = np.tile(EMOTIONS, 8), np.repeat(["one", "two"], 36)
    activations = rng.standard_normal((72, 20)) + rng.standard_normal((9, 20))[np.tile(range(9), 8)]
    axis = fit_axis(activations, labels, sets)
    made = make_target("arousal", dataclasses.replace(world.context(), axis=axis))
    reference = fit_concept(activations, labels, sets, codes=AROUSAL)
    order = [reference.classes.index(name) for name in EMOTIONS]
    np.testing.assert_allclose(made.class_values, reference.class_positions[order], rtol=1e-9)


def test_arousal_does_not_depend_on_the_order_of_labels():
    order = np.random.default_rng(2).permutation(world.N_CLASSES)
    context = world.context()
    labels = np.argsort(order)[world.CLASS_OF_CLIP]
    mixed = dataclasses.replace(context, classes=tuple(EMOTIONS[index] for index in order), class_of_clip=labels)
    made, plain = make_target("arousal", mixed), world.target("arousal")
    assert made.classes == mixed.classes
    np.testing.assert_allclose(made.class_values, plain.class_values[order], rtol=1e-12)
    np.testing.assert_allclose(made.clip_values, plain.clip_values, rtol=1e-12)


def test_behaviour_is_what_people_said():
    ratings, made = world.ratings(), world.target("behaviour")
    np.testing.assert_allclose(made.clip_values, (ratings - ratings.mean()) / ratings.std())
    means = np.array([ratings[label == world.CLASS_OF_CLIP].mean() for label in range(9)])
    np.testing.assert_allclose(made.class_values, (means - means.mean()) / means.std())
    assert made.prototypes is None


def test_clips_that_nobody_rated_take_the_mean_of_their_class():
    ratings = world.ratings()
    ratings[[0, 14]] = np.nan  # one of three of anger, one of four of neutral
    made = make_target("behaviour", dataclasses.replace(world.context(), ratings=ratings))
    known = ratings.copy()
    known[0], known[14] = (ratings[1] + ratings[2]) / 2, np.mean(ratings[[12, 13, 15]])
    np.testing.assert_allclose(made.clip_values, (known - known.mean()) / known.std())
    ratings[:3] = np.nan
    with pytest.raises(BadInput, match="no ratings of clips of anger"):
        make_target("behaviour", dataclasses.replace(world.context(), ratings=ratings))
    with pytest.raises(BadInput, match="the data set has no self-ratings"):
        make_target("behaviour", dataclasses.replace(world.context(), ratings=None))
    with pytest.raises(BadInput, match=r"shape \(27,\) for 28 clips"):
        make_target("behaviour", dataclasses.replace(world.context(), ratings=ratings[1:]))


def test_rank_is_the_sign_of_valence():
    signs = np.array([-1, -1, -1, -1, 0, 1, 1, 1, 1])
    made = world.target("rank")
    np.testing.assert_allclose(made.class_values, signs / np.sqrt(8 / 9))
    np.testing.assert_array_equal(made.clip_values, made.class_values[world.CLASS_OF_CLIP])


def test_identity_tells_every_class_from_every_other():
    made = world.target("identity")
    np.testing.assert_array_equal(made.prototypes @ made.prototypes.T, np.eye(9))
    np.testing.assert_array_equal(made.dissimilarity, 1 - np.eye(9))
    assert made.class_values is None
    assert builder_of("identity").kinds == {"prototypes"}


def test_detached_is_the_axis_but_for_its_mark():
    made, axis = world.target("detached", n_axes=2), world.target("vaxis", n_axes=2)
    assert same(made, axis)
    assert (made.detached, axis.detached) == (True, False)


@pytest.mark.parametrize("name", ["vaxis", "detached"])
def test_several_axes_are_the_positions_on_each(name):
    context = world.context(n_axes=3)
    np.testing.assert_allclose(make_target(name, context).several, [axis.class_positions for axis in context.axes])
    assert world.target(name).several is None


def test_several_axes_are_permuted_alike():
    made, kept = world.target("permuted", n_axes=3), world.target("vaxis", n_axes=3)
    order = [int(np.argmin(np.abs(kept.class_values - value))) for value in made.class_values]
    np.testing.assert_allclose(made.several, kept.several[:, order])


def test_several_random_axes_are_drawn_apart():
    made = world.target("random", n_axes=3)
    assert np.abs(np.corrcoef(np.vstack([made.several, made.class_values])) - np.eye(4)).max() < 0.95
    alone = world.target("random")
    np.testing.assert_array_equal(made.class_values, alone.class_values)
    np.testing.assert_array_equal(made.prototypes, alone.prototypes)
    assert alone.several is None


def test_why_a_target_does_not_serve():
    told = {"classes": EMOTIONS, "has_ratings": False}
    assert TARGETS["vaxis"].unfit("several", **told) is None
    assert TARGETS["identity"].unfit("dissimilarity", **told) == (
        "it serves losses that read prototypes, not dissimilarity"
    )
    assert TARGETS["behaviour"].unfit("values", **told) == "the data set has no self-ratings"
    assert TARGETS["behaviour"].unfit("values", classes=EMOTIONS, has_ratings=True) is None
    for name in ("rank", "arousal"):
        assert TARGETS[name].unfit("values", classes=("JOY", "Fear", "sadness"), has_ratings=False) is None
        assert "does not know the classes boredom" in TARGETS[name].unfit(
            "values", classes=("joy", "boredom"), has_ratings=False
        )
    assert TARGETS["rank"].unfit("values", classes=("fear", "anger"), has_ratings=False) == (
        "it is the same for fear, anger"
    )
    with pytest.raises(BadInput, match="'rank': it is the same for anger, disgust"):
        make_target(
            "rank", dataclasses.replace(world.context(), n_classes=2, classes=EMOTIONS[:2], class_of_clip=(0, 1))
        )
