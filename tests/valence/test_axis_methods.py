"""Methods of the axis: a planted direction, sklearn as reference, and what is refused."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf, ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tests.valence.planted_axis import VALENCE, angle_degrees, planted
from valence.axis import fit_axis
from valence.axis_methods import METHODS, _ledoit_wolf, choose_method, two_class_discriminant
from valence.axis_pca import polarity, set_means
from valence.errors import BadInput
from valence.stories import EMOTIONS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_every_method_finds_the_planted_direction(method, seed):
    activations, emotions, sets, direction = planted(seed=seed)
    axis = fit_axis(activations, emotions, sets, method=method, n_bootstrap=0)
    assert angle_degrees(axis.direction, direction) < 15
    assert np.corrcoef(axis.class_positions, VALENCE)[0, 1] > 0.97
    assert axis.notes["held_out"]["correlation_with_codes"] > 0.9
    assert axis.notes["sets"]["held_out_correlation"] > 0.9
    assert axis.method == method
    mirrored = fit_axis(-activations, emotions, sets, method=method, n_bootstrap=0)
    np.testing.assert_allclose(mirrored.direction, -axis.direction, atol=1e-7)


def test_lda_takes_the_shape_of_the_noise_away_and_the_others_do_not():
    """Noise that is strong along one direction, and class means that lean into it by chance."""
    activations, emotions, sets, direction = planted(noise=0.5, identity=0.0, style=0.0, strength=1.0)
    random = np.random.default_rng(1)
    loud = random.normal(size=activations.shape[1])
    loud -= loud @ direction * direction
    loud /= np.linalg.norm(loud)
    activations = activations + 20.0 * random.normal(size=(len(activations), 1)) * loud
    found = {name: angle_degrees(row.fit(activations, emotions, sets, EMOTIONS)[0], direction)
             for name, row in METHODS.items()}  # fmt: skip
    assert found["lda"] < 20 < 30 < found["mean_difference"], found


@pytest.mark.parametrize(("n", "d"), [(60, 5), (60, 40), (30, 200)])
def test_lda_is_that_of_sklearn(n, d):
    random = np.random.default_rng(n + d)
    mixing = random.normal(size=(d, d))
    positive = random.normal(size=(n, d)) @ mixing + 0.5
    negative = random.normal(size=(n + 7, d)) @ mixing * 1.5
    reference = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf(), priors=[0.5, 0.5])
    reference.fit(np.concatenate([positive, negative]), np.repeat([1, 0], [n, n + 7]))
    np.testing.assert_allclose(two_class_discriminant(positive, negative), reference.coef_[0], rtol=1e-6, atol=1e-9)
    shrinkage, scale = _ledoit_wolf(positive - positive.mean(axis=0))
    covariance, expected = ledoit_wolf(positive)
    assert shrinkage == pytest.approx(expected, rel=1e-9)
    assert scale == pytest.approx(np.trace(covariance) / d, rel=1e-9)


def test_lda_of_texts_centres_each_set_as_sklearn_on_centred_texts():
    activations, emotions, sets, _ = planted(style=5.0)
    centred = activations.copy()
    for name in "ab":
        centred[sets == name] -= set_means(activations, emotions, sets, EMOTIONS)["ab".index(name)].mean(axis=0)
    side = np.array([polarity(EMOTIONS)[EMOTIONS.index(emotion)] for emotion in emotions])
    reference = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf(), priors=[0.5, 0.5])
    reference.fit(centred[side != 0], side[side != 0])
    direction, _ = METHODS["lda"].fit(activations, emotions, sets, EMOTIONS)
    assert angle_degrees(direction, reference.coef_[0]) < 1e-4


def test_pca_and_differences_by_hand():
    activations, emotions, sets, _ = planted(noise=3.0)
    means = set_means(activations, emotions, sets, EMOTIONS)
    centroids = means.mean(axis=0)
    pca, explained = METHODS["pca"].fit(activations, emotions, sets, EMOTIONS)
    reference = PCA(n_components=1).fit(centroids)
    assert abs(pca @ reference.components_[0]) == pytest.approx(1.0)
    assert explained == pytest.approx(reference.explained_variance_ratio_[0])
    difference = centroids[5:].mean(axis=0) - centroids[:4].mean(axis=0)
    found, share = METHODS["mean_difference"].fit(activations, emotions, sets, EMOTIONS)
    np.testing.assert_allclose(found, difference / np.linalg.norm(difference))
    total = np.sum((centroids - centroids.mean(axis=0)) ** 2)
    assert share == pytest.approx(9 * np.var(centroids @ found) / total)
    assert share < explained, "nothing explains more than PC1"
    pairs = np.array([means[s, p] - means[s, q] for s in range(2) for p in range(5, 9) for q in range(4)])
    signs = np.random.default_rng(0).choice([-1, 1], size=(400, 32))
    stacked = (signs[:, :, None] * pairs).reshape(-1, pairs.shape[1])
    by_random_order = PCA(n_components=1).fit(stacked).components_[0]  # as Zou et al., each pair in random order
    contrast, _ = METHODS["contrast_pairs"].fit(activations, emotions, sets, EMOTIONS)
    assert angle_degrees(contrast, by_random_order * np.sign(contrast @ by_random_order)) < 2
    assert contrast @ difference > 0


def test_neutral_stories_do_not_move_the_supervised_methods():
    activations, emotions, sets, _ = planted()
    moved = activations.copy()
    moved[emotions == "neutral"] += 50 * np.random.default_rng(0).normal(size=activations.shape[1])
    for name in ("mean_difference", "contrast_pairs"):
        before = METHODS[name].fit(activations, emotions, sets, EMOTIONS)[0]
        np.testing.assert_allclose(METHODS[name].fit(moved, emotions, sets, EMOTIONS)[0], before, atol=1e-9)


def test_what_is_refused():
    activations, emotions, sets, _ = planted()
    with pytest.raises(BadInput, match=r"unknown axis method 'pac'[\s\S]*pca, mean_difference, lda, contrast_pairs"):
        choose_method("pac")
    keep = np.isin(emotions, ["anger", "fear"])
    for name in ("mean_difference", "lda", "contrast_pairs"):
        with pytest.raises(BadInput, match="at least one class coded positive and one negative"):
            METHODS[name].fit(activations[keep], emotions[keep], sets[keep], ("anger", "fear"))
    same = np.ones_like(activations)
    for row in METHODS.values():
        with pytest.raises(BadInput, match="same"):
            row.fit(same, emotions, sets, EMOTIONS)
