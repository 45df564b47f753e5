"""Scores against scikit-learn, and encoding strength against a plain computation."""

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.decomposition import PCA

from valence import metrics
from valence.probes import axis_encoding, group_means


@pytest.fixture(params=["all classes", "a class missing"])
def predictions(request):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 9, 200)
    if request.param == "a class missing":
        labels[labels == 4] = 5
    logits = rng.standard_normal((200, 9)).astype(np.float32) * 2
    logits[np.arange(200), labels] += 1
    return logits, labels


@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn on a class that is predicted and never there
def test_scores_against_sklearn(predictions):
    logits, labels = predictions
    got, predicted = metrics.scores(logits, labels), logits.argmax(1)
    shares = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(1, keepdims=True)
    expected = {
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "kappa": reference.cohen_kappa_score(labels, predicted),
        "weighted_f1": reference.f1_score(labels, predicted, average="weighted"),
        "accuracy": reference.accuracy_score(labels, predicted),
        "cross_entropy": reference.log_loss(labels, shares, labels=np.arange(9)),
        "brier": np.mean(np.sum((shares - np.eye(9)[labels]) ** 2, axis=1)),
        "calibration_error": calibration_by_hand(shares, labels),
    }
    assert got == pytest.approx(expected, rel=1e-9)


def calibration_by_hand(shares, labels, n_bins=15):
    """Guo et al. 2017, equations 2 to 5, bin by bin."""
    confidence, right = shares.max(1), shares.argmax(1) == labels
    error = 0.0
    for number in range(n_bins):
        inside = (confidence > number / n_bins) & (confidence <= (number + 1) / n_bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def test_calibration_of_a_forecaster_that_is_right_as_often_as_it_says():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), 20_000)
    labels = (shares.cumsum(1) < rng.random((20_000, 1))).sum(1)
    assert metrics.calibration_error(np.log(shares), labels) < 0.02
    assert metrics.calibration_error(5 * np.log(shares), labels) > 0.15
    assert metrics.brier(np.log(shares), labels) < metrics.brier(5 * np.log(shares), labels)
    assert metrics.brier(np.array([[1e4, 0.0]]), np.array([1])) == 2


def test_recall_per_class(predictions):
    logits, labels = predictions
    predicted = logits.argmax(1)
    got = metrics.recalls(metrics.confusion(labels, predicted, 9))
    for label in range(9):
        if (labels == label).any():
            assert got[label] == pytest.approx((predicted[labels == label] == label).mean())
        else:
            assert np.isnan(got[label])


def test_confusion_against_sklearn(predictions):
    logits, labels = predictions
    expected = reference.confusion_matrix(labels, logits.argmax(1), labels=np.arange(9))
    np.testing.assert_array_equal(metrics.confusion(labels, logits.argmax(1), 9), expected)


def test_kappa_is_missing_where_there_is_one_class():
    assert metrics.kappa(metrics.confusion(np.zeros(5, int), np.zeros(5, int), 3)) is None


def test_cross_entropy_of_large_logits():
    assert metrics.cross_entropy(np.array([[1e4, 0.0]]), np.array([0])) == 0
    assert metrics.cross_entropy(np.array([[1e4, 0.0]]), np.array([1])) == pytest.approx(1e4)


def test_encoding_against_pca():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, 300)
    features = rng.standard_normal((300, 12)) + rng.standard_normal((9, 12))[labels]
    values = rng.standard_normal(9)
    means = np.stack([features[labels == label].mean(0) for label in range(9)])
    component = PCA(1).fit_transform(means)[:, 0]
    expected = abs(np.corrcoef(component, values)[0, 1])
    assert axis_encoding(features, labels, values) == pytest.approx(expected, rel=1e-9)


def test_encoding_of_a_planted_axis():
    rng = np.random.default_rng(0)
    labels, values = np.repeat(np.arange(9), 10), rng.standard_normal(9)
    features = values[labels][:, None] * rng.standard_normal(20) + 0.01 * rng.standard_normal((90, 20))
    assert axis_encoding(features, labels, -values) > 0.999


def test_encoding_is_missing_where_it_means_nothing():
    labels = np.repeat(np.arange(9), 2)
    assert axis_encoding(np.ones((18, 4)), labels, np.arange(9.0)) is None
    assert axis_encoding(np.random.default_rng(0).random((18, 4)), labels, np.ones(9)) is None
    assert axis_encoding(np.random.default_rng(0).random((18, 4)), labels % 2, np.arange(9.0)) is None


def test_group_means():
    features = np.array([[1.0, 2], [3, 4], [5, 6]])
    got = group_means(features, np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(got, [[2, 3], [np.nan, np.nan], [5, 6]])
