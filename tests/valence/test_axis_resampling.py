"""Resampling of paraphrases, sets and emotions: by hand, and on planted truth."""

import itertools

import numpy as np
import pytest

from tests.valence.planted_axis import VALENCE, planted
from valence.axis import fit_axis, labelled_texts
from valence.axis_methods import METHODS
from valence.axis_pca import polarity, positions, set_means
from valence.axis_resampling import leave_one_class_out, over_sets
from valence.stories import EMOTIONS

CODES = polarity(EMOTIONS)


def by_hand(means, sample, direction):
    """Class positions of the mean difference over a sample of sets, drawn with replacement."""
    centroids = np.mean([means[index] for index in sample], axis=0)
    found = centroids[CODES > 0].mean(axis=0) - centroids[CODES < 0].mean(axis=0)
    return positions(centroids, found / np.linalg.norm(found) * np.sign(found @ direction))


@pytest.mark.parametrize("sets", [("a", "b"), ("a", "b", "c")])
def test_the_bootstrap_over_sets_is_exact(sets):
    """Against every ordered sample: S ** S of them, each as likely."""
    activations, emotions, names, _ = planted(sets=sets, noise=2.0, identity=1.5)
    labelled = labelled_texts(activations, emotions, names)
    method = METHODS["mean_difference"]
    direction, _ = method.fit_labelled(labelled)
    result = over_sets(labelled, direction, method=method)
    means = set_means(activations, emotions, names, EMOTIONS)
    every = np.array(
        [by_hand(means, sample, direction) for sample in itertools.product(range(len(sets)), repeat=len(sets))]
    )
    assert (result["how"], result["n_samples"]) == ("exact", {2: 3, 3: 10}[len(sets)])
    np.testing.assert_allclose(result["standard_error"], every.std(axis=0), atol=2e-6)
    np.testing.assert_allclose(result["range"], [every.min(axis=0), every.max(axis=0)], atol=2e-6)


def test_many_sets_are_left_out_in_turn():
    sets = tuple("abcdefg")
    activations, emotions, names, _ = planted(sets=sets, noise=2.0, identity=1.5, n=4)
    labelled = labelled_texts(activations, emotions, names)
    method = METHODS["mean_difference"]
    direction, _ = method.fit_labelled(labelled)
    result = over_sets(labelled, direction, method=method)
    means = set_means(activations, emotions, names, EMOTIONS)
    left_out = np.array([by_hand(means, [k for k in range(7) if k != out], direction) for out in range(7)])
    expected = np.sqrt(6 / 7 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    assert result["how"] == "jackknife"
    np.testing.assert_allclose(result["standard_error"], expected, atol=2e-6)


def test_one_set_says_nothing_about_sets():
    labelled = labelled_texts(*planted(sets=("a",))[:3])
    result = over_sets(labelled, labelled.centroids[0], method=METHODS["pca"])
    assert (result["how"], result["standard_error"]) == ("one set", None)


@pytest.mark.parametrize("method", METHODS)
def test_an_emotion_that_is_left_out_is_predicted(method):
    labelled = labelled_texts(*planted()[:3])
    held_out = leave_one_class_out(labelled, method=METHODS[method])
    assert np.corrcoef(held_out, VALENCE)[0, 1] > 0.97


def test_a_left_out_emotion_has_no_part_in_its_own_axis():
    """Moved anywhere across the axis of the others, it is found where it was moved to; and by hand."""
    activations, emotions, sets, direction = planted()
    labelled = labelled_texts(activations, emotions, sets)
    before = leave_one_class_out(labelled, method=METHODS["pca"])
    moved = activations.copy()
    moved[emotions == "joy"] += 1e3 * np.random.default_rng(0).normal(size=activations.shape[1])
    after = leave_one_class_out(labelled_texts(moved, emotions, sets), method=METHODS["pca"])
    assert abs(after[EMOTIONS.index("joy")] - before[EMOTIONS.index("joy")]) > 5
    centroids = set_means(moved, emotions, sets, EMOTIONS).mean(axis=0)
    rest = centroids[[name != "joy" for name in EMOTIONS]]
    axis = np.linalg.svd(rest - rest.mean(axis=0), full_matrices=False)[2][0]
    axis = axis * np.sign(axis @ direction)
    expected = (centroids[EMOTIONS.index("joy")] @ axis - (rest @ axis).mean()) / (rest @ axis).std()
    assert after[EMOTIONS.index("joy")] == pytest.approx(expected)


def test_noise_predicts_no_left_out_emotion_by_any_method():
    """The supervised methods fit the codes of noise perfectly; left out, the classes fall anywhere."""
    for method in METHODS.values():
        found = []
        for seed in range(20):
            labelled = labelled_texts(*planted(strength=0.0, seed=seed, n=3, d_model=100)[:3])
            held_out = leave_one_class_out(labelled, method=method)
            found.append(np.corrcoef(held_out, CODES)[0, 1])
        assert np.mean(found) < 0.25, method.name


@pytest.mark.parametrize("method", METHODS)
def test_the_notes_hold_all_of_it(method):
    axis = fit_axis(*planted()[:3], method=method, n_bootstrap=0)
    assert axis.notes["over_sets"]["n_samples"] == 3
    assert len(axis.notes["held_out"]["class_positions"]) == 9
    assert axis.notes["codes"] == CODES.tolist()
    assert axis.notes["warnings"] == []


def test_a_warning_where_left_out_emotions_fall_elsewhere():
    axis = fit_axis(*planted(strength=0.0)[:3], method="mean_difference", n_bootstrap=0)
    assert any("left out of the fit does not fall" in warning for warning in axis.notes["warnings"])
