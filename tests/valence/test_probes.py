"""Class encodings against every permutation by hand, scipy and drawn directions; residual and class never mix."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA

from valence.probes import axis_encoding, class_component, class_encodings, unit


def components(n: int, n_classes: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, n_classes)))


def test_the_component_is_that_of_sklearn():
    means = np.random.default_rng(0).normal(size=(9, 40)) * np.linspace(3, 0.2, 40)
    scores = PCA(1).fit_transform(means)[:, 0]
    assert abs(class_component(means) @ unit(scores)) == pytest.approx(1, rel=1e-12)
    assert class_component(means[:2]) is None
    assert class_component(np.ones((9, 4))) is None


def test_strengths_are_those_of_axis_encoding():
    rng = np.random.default_rng(1)
    features, labels, values = rng.normal(size=(90, 12)), np.repeat(np.arange(9), 10), rng.normal(size=9)
    means = np.stack([features[labels == label].mean(0) for label in range(9)])
    found = class_encodings(class_component(means)[None], values)
    assert found.strengths[0] == pytest.approx(axis_encoding(features, labels, values), rel=1e-12)


@pytest.mark.parametrize("values", [[0.3, -1.0, 2.0, 0.7, -0.2, 0.9], [-1.0, -1, 0, 1, 1, 1]])
def test_p_is_the_share_of_every_permutation(values):
    several = components(5, 6)
    found = class_encodings(several, np.array(values))
    assert found.exact
    for number, one in enumerate(several):
        null = np.array([abs(stats.pearsonr(one, order)[0]) for order in itertools.permutations(values)])
        assert found.p[number] == pytest.approx(np.mean(null >= found.strengths[number] - 1e-9))
        assert found.null_mean[number] == pytest.approx(null.mean())


def test_nine_classes_have_all_orders_and_blocks_change_nothing():
    values, several = np.random.default_rng(2).normal(size=9), components(130, 9)
    found = class_encodings(several, values)
    assert found.n_orders == 362_880
    single = [class_encodings(one[None], values) for one in several[[0, 64, 129]]]
    np.testing.assert_allclose(found.p[[0, 64, 129]], [one.p[0] for one in single])
    critical = stats.t.ppf(0.975, 7) / np.sqrt(7 + stats.t.ppf(0.975, 7) ** 2)
    np.testing.assert_allclose(found.null_95.mean(), critical, atol=0.01)  # .67


def test_p_of_random_directions_is_that_of_drawn_ones():
    values, several = np.random.default_rng(3).normal(size=9), components(4, 9)
    found = class_encodings(several, values)
    drawn = np.abs(unit(np.random.default_rng(4).normal(size=(100_000, 9))) @ several.T)
    np.testing.assert_allclose(found.p_random, (drawn >= found.strengths).mean(axis=0), atol=0.006)
    np.testing.assert_allclose(found.p_random, [stats.pearsonr(one, values)[1] for one in several], rtol=1e-9)


def test_p_is_uniform_without_an_effect():
    p = class_encodings(components(2_000, 7), np.random.default_rng(5).normal(size=7)).p
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_more_classes_than_can_be_enumerated_are_drawn():
    found = class_encodings(components(2, 11), np.random.default_rng(6).normal(size=11))
    assert not found.exact
    assert (found.p > 0).all()
