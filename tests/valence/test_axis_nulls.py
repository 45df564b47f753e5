"""Nulls of the axis: brute force, sklearn-free references, planted truth, and how often they reject by chance."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tests.valence.planted_axis import VALENCE, planted
from valence import arrangements
from valence.arrangements import arranged
from valence.axis import fit_axis
from valence.axis_methods import METHODS
from valence.axis_nulls import (
    axis_correlation,
    detection_threshold,
    null_of_axis,
    null_of_other_activations,
    null_of_permuted_classes,
    null_of_random_directions,
    null_of_refitted_axes,
)
from valence.axis_pca import polarity, set_means, sign
from valence.axis_threshold import threshold_of_sign_rule
from valence.errors import BadInput
from valence.stories import EMOTIONS

CODES = polarity(EMOTIONS)
STUDY = {
    "Qwen3-0.6B": 0.933, "Qwen3-1.7B": 0.930, "Qwen3-4B": 0.944, "Qwen3-8B": 0.941, "Qwen3-14B": 0.944,
    "Qwen3-32B": 0.937, "Mistral-7B": 0.935, "Llama-4-Scout": 0.826, "Gemma-27B": 0.807, "Gemma-4-31B": 0.715,
    "Phi-2": 0.651, "Pythia-1.4B": 0.276, "TinyLlama-1.1B": 0.128, "BLOOM-560M": 0.031,
}  # fmt: skip
"""arXiv:2606.00129, r of the clip positions with the mean self-rated valence of 28 clips"""
SEVEN = ("anger", "disgust", "fear", "neutral", "amusement", "inspiration", "joy")
SIX = tuple(name for name in SEVEN if name != "neutral")
RATED = VALENCE[[EMOTIONS.index(name) for name in SEVEN]]


@pytest.mark.parametrize("values", [[0.3, -1.0, 0.7, 2.0, 1.1], [-1, -1, 0, 1, 1], [1, 0, 0, 0, 0]])
@pytest.mark.parametrize("n_candidates", [1, 3])
def test_the_exact_null_is_that_of_every_permutation_by_brute_force(values, n_candidates):
    positions = np.random.default_rng(3).normal(size=(n_candidates, 5))

    def largest(order):
        return max(abs(np.corrcoef(row, order)[0, 1]) for row in positions)

    brute = np.array([largest(order) for order in itertools.permutations(values)])
    null = null_of_permuted_classes(positions, values)
    assert null.exact
    assert null.observed == pytest.approx(largest(values))
    assert null.p_value == pytest.approx(np.mean(brute >= largest(values) - 1e-9))
    assert null.mean == pytest.approx(brute.mean())
    assert null.largest == pytest.approx(brute.max())


def test_arrangements_are_all_and_each_once():
    for values, n in (([1, 2, 3, 4], 24), ([0, 0, 1, 1, 1], 10), (CODES, 630), (VALENCE, math.factorial(9))):
        rows, exact = arranged(np.asarray(values, dtype=float), seed=0)
        assert exact
        assert rows.shape == (n, len(values))
        assert len({row.tobytes() for row in rows[:5000]}) == min(n, 5000)
        np.testing.assert_allclose(
            np.sort(rows[:: max(1, n // 500)], axis=1), [sorted(values)] * len(rows[:: max(1, n // 500)])
        )


def test_more_arrangements_than_can_be_counted_are_sampled(monkeypatch):
    monkeypatch.setattr(arrangements, "N_SAMPLED", 2000)
    positions = np.arange(12.0)
    null = null_of_permuted_classes(positions, positions)
    assert (null.exact, null.n) == (False, 2000)
    assert null.p_value == 1 / 2001


def test_the_null_of_nine_classes_is_near_the_t_distribution():
    positions = np.random.default_rng(0).normal(size=9)
    null = null_of_permuted_classes(positions, VALENCE)
    assert null.n == 362_880
    assert null.quantile_95 == pytest.approx(detection_threshold(9), abs=0.02)
    by_code = null_of_permuted_classes(CODES, CODES)
    assert (by_code.n, by_code.p_value) == (630, pytest.approx(2 / 630)), "the code and its negative"


def test_detection_threshold_is_that_of_pearson_and_reproduces_the_study():
    for n, sides in ((9, 2), (9, 1), (28, 2)):
        r = detection_threshold(n, sides=sides)
        exact = stats.beta(n / 2 - 1, n / 2 - 1, loc=-1, scale=2).sf(r) * sides
        assert exact == pytest.approx(0.05, abs=1e-9)
    assert detection_threshold() == pytest.approx(0.6664, abs=1e-4)
    below = {n_sides: {name for name, r in STUDY.items() if r < detection_threshold(n_sides[0], sides=n_sides[1])}
             for n_sides in ((28, 2), (9, 1), (9, 2))}  # fmt: skip
    three = {"Pythia-1.4B", "TinyLlama-1.1B", "BLOOM-560M"}
    assert below[28, 2] == below[9, 1] == three
    assert below[9, 2] == three | {"Phi-2"}, "by .015: with nine values and a free sign it is undecided"
    for wrong in ({"n": 2}, {"level": 0.0}, {"sides": 3}):
        with pytest.raises(BadInput, match="detection threshold"):
            detection_threshold(**wrong)


def test_the_threshold_holds_the_choice_of_the_sign_and_reproduces_the_study():
    """Mean self-rated valence of FACED's classes, 1 … 7, over 123 subjects."""
    rated = np.array([1.703, 1.638, 1.566, 1.858, 3.177, 4.227, 4.788, 4.372, 4.433])
    by_joy, by_stories = (threshold_of_sign_rule(rated, sign_rule=rule) for rule in ("joy", "stories"))
    assert {name for name, r in STUDY.items() if r < by_joy} == {"Pythia-1.4B", "TinyLlama-1.1B", "BLOOM-560M"}
    assert by_stories == pytest.approx(detection_threshold(), abs=0.003)
    assert detection_threshold(sides=1) < by_joy < by_stories
    # two thousand axes of noise, each fitted and signed by the rule itself
    random, found = np.random.default_rng(2), {"joy": [], "stories": []}
    for _ in range(2000):
        positions = random.normal(size=9)
        for rule, correlations in found.items():
            turned = positions * sign(positions, EMOTIONS, rule=rule)
            correlations.append(np.corrcoef(turned, rated)[0, 1])
    for rule, threshold in (("joy", by_joy), ("stories", by_stories)):
        n = np.sum(np.array(found[rule]) >= threshold)
        low, high = stats.binom.interval(0.999, 2000, 0.05)
        assert low <= n <= high, (rule, n)
    with pytest.raises(BadInput, match=r"values of shape \(8,\)"):
        threshold_of_sign_rule(rated[1:])
    with pytest.raises(BadInput, match="sign rule 'best'"):
        threshold_of_sign_rule(rated, sign_rule="best")


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_axis_is_there(method):
    activations, emotions, sets, _ = planted()
    axis = fit_axis(activations, emotions, sets, method=method, n_bootstrap=0)
    assert null_of_permuted_classes(axis.class_positions, VALENCE).p_value < 0.001
    if method == "lda":  # a fit a code; fewer classes, the same code
        keep = np.isin(emotions, SEVEN)
        activations, emotions, sets = activations[keep], emotions[keep], sets[keep]
    classes = SEVEN if method == "lda" else EMOTIONS
    null = null_of_refitted_axes(activations, emotions, sets, classes=classes, method=method)
    assert (null.n, null.exact) == (70 if method == "lda" else 315, True)
    assert null.observed > 0.95
    assert null.p_value == pytest.approx(1 / null.n)


def rate_of_rejections(p_values, level):
    """How many of the p values are within a level, and the band of a binomial of that level, 99.9 % wide."""
    n = int(np.sum(np.array(p_values) <= level))
    low, high = stats.binom.interval(0.999, len(p_values), level)
    return n, low, high


def test_without_an_axis_the_exact_null_rejects_as_often_as_its_level_says():
    p_values = []
    for seed in range(200):
        activations, emotions, sets, _ = planted(
            strength=0.0, n=3, seed=seed, d_model=12, classes=SEVEN, values=np.zeros(7)
        )
        axis = fit_axis(activations, emotions, sets, classes=SEVEN, n_bootstrap=0)
        p_values.append(null_of_permuted_classes(axis.class_positions, RATED).p_value)
    n, low, high = rate_of_rejections(p_values, 0.05)
    assert low <= n <= high, f"{n} of 200"
    assert n >= 2, "and does reject"
    assert abs(np.mean(p_values) - 0.5) < 0.08


@pytest.mark.parametrize("method", ["pca", "mean_difference", "contrast_pairs"])
def test_without_an_axis_refitted_axes_reject_as_often_as_their_level_says(method):
    p_values = []
    for seed in range(200):
        activations, emotions, sets, _ = planted(
            strength=0.0, n=3, seed=seed, d_model=12, classes=SIX, values=np.zeros(6)
        )
        p_values.append(null_of_refitted_axes(activations, emotions, sets, classes=SIX, method=method).p_value)
    n, low, high = rate_of_rejections(p_values, 0.1)
    assert low <= n <= high, f"{n} of 200"
    assert n >= 2


def test_a_supervised_method_fits_any_codes_and_its_null_is_not_fooled():
    """On noise alone the positions follow the codes perfectly; held-out sets do not."""
    activations, emotions, sets, _ = planted(strength=0.0, d_model=200)
    in_sample = axis_correlation(activations, emotions, sets, CODES, classes=EMOTIONS, method="mean_difference")
    assert in_sample > 0.9
    null = null_of_refitted_axes(activations, emotions, sets, classes=EMOTIONS, method="mean_difference")
    assert null.p_value > 0.05


def test_the_best_of_several_layers_pays_for_its_choice():
    random = np.random.default_rng(5)
    layers = random.normal(size=(20, 9))
    best = layers[np.argmax([abs(np.corrcoef(layer, VALENCE)[0, 1]) for layer in layers])]
    alone, chosen = null_of_permuted_classes(best, VALENCE), null_of_permuted_classes(layers, VALENCE)
    assert alone.observed == pytest.approx(chosen.observed)
    assert chosen.p_value > 5 * alone.p_value


def test_refitted_axes_by_hand():
    """One arrangement after the other: fit on one set, apply to the other, in both directions."""
    activations, emotions, sets, _ = planted(strength=0.5, n=4, classes=SEVEN, values=RATED)
    a, b = set_means(activations, emotions, sets, SEVEN)

    def statistic(codes):
        found = []
        for fitted, tried in ((a, b), (b, a)):
            direction = fitted[codes > 0].mean(axis=0) - fitted[codes < 0].mean(axis=0)
            found.append(np.corrcoef(tried @ direction, codes)[0, 1])
        return np.mean(found)

    codes = polarity(SEVEN)
    every = np.array([statistic(np.array(order)) for order in set(itertools.permutations(codes))])
    null = null_of_refitted_axes(activations, emotions, sets, classes=SEVEN, method="mean_difference")
    assert len(every) == 2 * null.n == 140
    assert null.observed == pytest.approx(statistic(codes), abs=2e-6)
    assert null.p_value == pytest.approx(np.mean(every >= statistic(codes) - 1e-5))
    assert null.quantile_95 == pytest.approx(np.quantile(every, 0.95), abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_the_null_of_an_axis_is_the_one_that_its_method_allows(method):
    activations, emotions, sets, _ = planted(strength=0.0, n=3, classes=SEVEN, values=np.zeros(7))
    null = null_of_axis(activations, emotions, sets, RATED, classes=SEVEN, method=method)
    fitted = fit_axis(activations, emotions, sets, classes=SEVEN, method=method, n_bootstrap=0)
    if method == "pca":
        assert null.p_value == null_of_permuted_classes(fitted.class_positions, RATED).p_value
    else:
        assert null == null_of_refitted_axes(activations, emotions, sets, classes=SEVEN, method=method)


def test_random_directions():
    activations, emotions, sets, _ = planted(strength=4.0, d_model=100)
    null = null_of_random_directions(activations, emotions, sets, VALENCE, classes=EMOTIONS, n=2000)
    assert null.observed > 0.97
    assert null.p_value < 0.05
    absent, emotions, sets, _ = planted(strength=0.0, identity=1.0, d_model=100)
    values = np.random.default_rng(1).normal(size=9)
    null = null_of_random_directions(absent, emotions, sets, values, classes=EMOTIONS, n=4000)
    assert null.p_value > 0.05
    assert null.quantile_95 == pytest.approx(detection_threshold(9), abs=0.05), "isotropic class means: free values"


def test_random_directions_lie_in_the_span():
    """Of texts in three dimensions of a hundred: the null is that of these three coordinates."""
    random = np.random.default_rng(0)
    small, emotions, sets, _ = planted(d_model=3)
    rotation = np.linalg.qr(random.normal(size=(100, 3)))[0]
    wide = null_of_random_directions(small @ rotation.T, emotions, sets, VALENCE, classes=EMOTIONS, n=20_000)
    narrow = null_of_random_directions(small, emotions, sets, VALENCE, classes=EMOTIONS, n=20_000)
    assert wide.mean == pytest.approx(narrow.mean, abs=0.01)
    assert wide.quantile_95 == pytest.approx(narrow.quantile_95, abs=0.01)


def test_activations_of_other_networks_or_texts():
    null = null_of_other_activations("untrained network", 0.9, [0.1, 0.5, 0.95, 0.2])
    assert (null.p_value, null.n, null.exact, null.largest) == (pytest.approx(2 / 5), 4, False, 0.95)
    with pytest.raises(BadInput, match="at least one draw"):
        null_of_other_activations("nonce", 0.9, [])


def test_evaluation_labels_choose_nothing():
    """With the ratings turned round, every number of the fit stays, and so does every |r| and p."""
    activations, emotions, sets, _ = planted(strength=1.0)
    for method in METHODS:
        axis = fit_axis(activations, emotions, sets, method=method, n_bootstrap=0)
        ours = null_of_permuted_classes(axis.class_positions, VALENCE)
        flipped = null_of_permuted_classes(axis.class_positions, -VALENCE)
        assert (ours.observed, ours.p_value) == (pytest.approx(flipped.observed), flipped.p_value)
        same = axis_correlation(activations, emotions, sets, VALENCE, classes=EMOTIONS, method=method)
        turned = axis_correlation(activations, emotions, sets, -VALENCE, classes=EMOTIONS, method=method)
        assert same == pytest.approx(turned)
    # one class is coded positive and tells so by itself: the sign is that of the stories, whatever people rate
    signed = fit_axis(activations, emotions, sets, n_bootstrap=0)
    assert np.corrcoef(signed.class_positions, VALENCE)[0, 1] > 0
    assert np.corrcoef(signed.class_positions, -VALENCE)[0, 1] < 0


@pytest.mark.parametrize(
    ("positions", "values"),
    [(np.arange(8.0), VALENCE), (np.ones(9), VALENCE), (np.full(9, np.nan), VALENCE), (VALENCE, np.ones(9)),
     (np.arange(2.0), np.arange(2.0))],
)  # fmt: skip
def test_what_the_null_refuses(positions, values):
    with pytest.raises(BadInput, match="of shape"):
        null_of_permuted_classes(positions, values)


def test_one_set_of_few_classes_cannot_be_tried_on_anything():
    activations, emotions, sets, _ = planted(sets=("a",), classes=("fear", "joy"), values=[-1, 1])
    with pytest.raises(BadInput, match="one story set"):
        null_of_refitted_axes(activations, emotions, sets, classes=("fear", "joy"), method="mean_difference")
    nine, emotions, sets, _ = planted(sets=("a",))
    null = null_of_refitted_axes(nine, emotions, sets, classes=EMOTIONS, method="mean_difference")
    assert null.p_value < 0.02
    assert "without the class" in null.statistic
