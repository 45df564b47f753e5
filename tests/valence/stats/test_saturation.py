"""Whether a baseline encodes the axis: by hand, against scipy's permutation test, and with planted truths."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from valence.errors import BadInput
from valence.probes import axis_encoding
from valence.stats import baseline_saturation
from valence.stats.saturation import N_DRAWN

LABELS = np.repeat(np.arange(9), [3, 3, 3, 3, 4, 3, 3, 3, 3])
VALUES = np.array([-1.2, -0.9, -0.8, -1.1, 0.05, 0.8, 1.3, 1.0, 0.85])


def planted(random, *, strength, noise=1.0, n_seeds=4, width=16, values=VALUES, labels=LABELS):
    """Clip features of seeds: the axis along a direction of each, and noise of each class and clip."""
    found = []
    for _ in range(n_seeds):
        direction = random.standard_normal(width)
        classes = noise * random.standard_normal((len(values), width))
        clips = 0.1 * noise * random.standard_normal((len(labels), width))
        found.append(strength * np.outer(values, direction)[labels] + classes[labels] + clips)
    return found


def by_hand(features, labels, values):
    """Strengths of every permutation, (n_permutations, n_seeds), by loops over numpy's corrcoef."""
    components = []
    for one in features:
        means = np.stack([one[labels == label].mean(axis=0) for label in range(len(values))])
        covariance = (means - means.mean(axis=0)) @ (means - means.mean(axis=0)).T
        components.append(np.linalg.eigh(covariance)[1][:, -1])
    return np.array(
        [
            [abs(np.corrcoef(component, values[list(order)])[0, 1]) for component in components]
            for order in itertools.permutations(range(len(values)))
        ]
    )


def small(seed=0, n_classes=5):
    random = np.random.default_rng(seed)
    labels, values = np.repeat(np.arange(n_classes), 2), VALUES[[0, 2, 4, 5, 7, 8]][:n_classes]
    return planted(random, strength=0.6, n_seeds=3, width=6, values=values, labels=labels), labels, values


def test_by_hand():
    features, labels, values = small()
    found, null = baseline_saturation(features, labels, values), by_hand(features, labels, values)
    np.testing.assert_allclose(found.strengths, null[0], rtol=1e-12)
    means = null.mean(axis=1)
    assert found.strength == pytest.approx(means[0])
    assert found.p == np.mean(means >= means[0] - 1e-12)
    assert found.null_mean == pytest.approx(means.mean())
    assert found.null_95 == pytest.approx(np.quantile(means, 0.95))
    assert (found.n_permutations, found.exact, found.n_classes) == (120, True, 5)


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_scipys_permutation_test(seed):
    features, labels, values = small(seed, n_classes=6)
    [one] = features[:1]
    means = np.stack([one[labels == label].mean(axis=0) for label in range(6)])
    component = np.linalg.svd(means - means.mean(axis=0))[0][:, 0]

    def strength(ordered):
        return abs(stats.pearsonr(component, ordered).statistic)

    reference = stats.permutation_test(
        (values,), strength, permutation_type="pairings", n_resamples=np.inf, alternative="greater"
    )
    found = baseline_saturation([one], labels, values)
    assert found.p == reference.pvalue
    assert found.strength == pytest.approx(reference.statistic)
    np.testing.assert_allclose(found.null_95, np.quantile(reference.null_distribution, 0.95), rtol=1e-10)


def test_strengths_are_those_of_the_probe():
    """With as many samples of every clip, the probe of a cell and the clip features say the same."""
    features = planted(np.random.default_rng(3), strength=0.3)
    found = baseline_saturation(features, LABELS, VALUES)
    np.testing.assert_allclose(found.strengths, [axis_encoding(one, LABELS, VALUES) for one in features], rtol=1e-12)


def test_features_along_the_axis_give_the_least_p():
    found = baseline_saturation(planted(np.random.default_rng(0), strength=3.0, noise=0.01), LABELS, VALUES)
    assert found.p == 1 / math.factorial(9)
    assert found.strength > 0.99
    assert found.n_permutations == math.factorial(9)
    assert found.p_floor == found.p
    assert found.strength > found.null_95
    # |r| is blind to the sign: reversed values are the true ones wherever they are a permutation of them
    even = np.arange(-4.0, 5.0)
    features = planted(np.random.default_rng(0), strength=3.0, noise=0.01, values=even)
    mirrored = baseline_saturation(features, LABELS, even)
    assert mirrored.p == mirrored.p_floor == 2 / math.factorial(9)


def test_p_of_noise_is_uniform():
    random = np.random.default_rng(5)
    labels, values = np.repeat(np.arange(6), 3), VALUES[[0, 1, 4, 5, 6, 7]]
    found = [
        baseline_saturation(
            planted(random, strength=0.0, n_seeds=3, width=8, values=values, labels=labels), labels, values
        ).p
        for _ in range(400)
    ]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert stats.binom.ppf(0.001, 400, 0.05) <= np.sum(np.array(found) <= 0.05) <= stats.binom.ppf(0.999, 400, 0.05)


def test_p_of_noise_that_the_seeds_share_is_uniform_too():
    """Networks that learn one and the same order of classes, not the axis: seeds must not count as evidence each."""
    random = np.random.default_rng(6)
    labels, values, found = np.repeat(np.arange(6), 3), VALUES[[0, 1, 4, 5, 6, 7]], []
    for _ in range(400):
        shared = random.standard_normal(6)
        features = planted(random, strength=3.0, noise=0.2, n_seeds=5, width=8, values=shared, labels=labels)
        found.append(baseline_saturation(features, labels, values).p)
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_neither_scale_nor_order_of_classes_matters():
    features, random = planted(np.random.default_rng(1), strength=0.4), np.random.default_rng(2)
    plain = baseline_saturation(features, LABELS, VALUES)
    order = random.permutation(9)
    mixed = baseline_saturation(
        [1e-6 * one @ np.linalg.qr(random.standard_normal((16, 16)))[0] + 5 for one in features],
        np.argsort(order)[LABELS],
        -3 * VALUES[order] + 7,
    )
    np.testing.assert_allclose(mixed.strengths, plain.strengths, rtol=1e-6)
    assert mixed.p == pytest.approx(plain.p, abs=5 / math.factorial(9))


def test_clips_and_classes_without_features_are_left_out():
    features = planted(np.random.default_rng(1), strength=0.4)
    without = [one.copy() for one in features]
    for one in without:
        one[0] = np.nan  # one of three clips of anger
        one[9:12] = np.nan  # all of sadness
    found = baseline_saturation(without, LABELS, VALUES)
    kept = np.isfinite(without[0]).all(axis=1)
    relabelled = LABELS[kept] - (LABELS[kept] > 3)
    expected = baseline_saturation([one[kept] for one in without], relabelled, np.delete(VALUES, 3))
    assert (found.n_classes, found.n_permutations) == (8, math.factorial(8))
    assert (found.strength, found.p) == (expected.strength, expected.p)


def test_a_network_whose_features_do_not_vary_is_left_out():
    features = planted(np.random.default_rng(1), strength=0.4, n_seeds=3)
    dead = np.full_like(features[0], 0.3)
    found, alone = baseline_saturation([*features, dead], LABELS, VALUES), baseline_saturation(features, LABELS, VALUES)
    assert np.isnan(found.strengths[3])
    assert (found.strength, found.p) == (alone.strength, alone.p)
    nothing = baseline_saturation([dead], LABELS, VALUES)
    assert np.isnan([nothing.strength, nothing.p, nothing.null_95]).all()
    assert nothing.n_permutations == 0


def test_more_classes_than_can_be_enumerated_are_drawn():
    labels, values = np.arange(12).repeat(2), np.arange(12.0)
    random = np.random.default_rng(0)
    drawn = baseline_saturation(planted(random, strength=2.0, noise=0.1, values=values, labels=labels), labels, values)
    assert (drawn.exact, drawn.n_permutations) == (False, N_DRAWN)
    assert drawn.p == 1 / (N_DRAWN + 1)
    noise = planted(random, strength=0.0, values=values, labels=labels)
    assert baseline_saturation(noise, labels, values, seed=1).p == pytest.approx(
        baseline_saturation(noise, labels, values, seed=2).p, abs=0.01
    )


@pytest.mark.parametrize(
    ("features", "labels", "values", "told"),
    [
        ([], LABELS, VALUES, "of no seed"),
        ([np.ones((27, 4))], LABELS, VALUES, r"shapes \(27, 4\), 28 clips"),
        ([np.ones(28)], LABELS, VALUES, r"shapes \(28,\)"),
        ([np.ones((28, 4))], LABELS, VALUES[:8], "classes up to 8"),
        ([np.ones((28, 4))], LABELS, np.where(VALUES > 1, np.nan, VALUES), "nan"),
        ([np.ones((28, 4))], LABELS, VALUES * 0, "features of 9 classes, with 1 different values"),
        ([np.where(LABELS[:, None] < 2, 1.0, np.nan) * np.ones(4)], LABELS, VALUES, "features of 2 classes"),
    ],
)
def test_what_does_not_fit_is_refused(features, labels, values, told):
    with pytest.raises(BadInput, match=told):
        baseline_saturation(features, labels, values)
