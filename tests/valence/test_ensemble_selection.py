"""Rules of ensembles against searches by hand, convex solvers, and members with a planted structure."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize
from sklearn.metrics import balanced_accuracy_score

from tests.valence.planted_members import planted
from valence.ensemble import fit, members
from valence.ensemble_selection import (
    RULES,
    Sample,
    accuracies,
    best_prefix,
    greedy,
    residual_correlations,
    residual_diversity,
    softmax,
    weighted,
)


def validation(n_members: int = 8, **planting) -> Sample:
    return members(planted(n_members, n_samples=planting.pop("n_samples", (270, 90)), **planting)).validation


@pytest.mark.parametrize("n_samples", [28, 56, 280])  # of few samples accuracies tie, and entropies decide
def test_greedy_takes_in_each_round_what_a_search_by_hand_takes(n_samples):
    sample = validation(7, signal=np.linspace(0.6, 1.2, 7), n_samples=(n_samples, 90), n_subjects=(1, 1))
    chances, labels = softmax(sample.logits.astype(float)), sample.labels
    order: list[int] = []
    for _ in range(6):
        found = []
        for member in range(7):
            mean = chances[[*order, member]].mean(0)
            entropy = -np.log(mean[np.arange(len(labels)), labels]).mean()
            found.append((-round(balanced_accuracy_score(labels, mean.argmax(1)), 9), entropy, member))
        order.append(min(found)[2])
        np.testing.assert_allclose(greedy(sample, len(order), "softmax"), np.bincount(order, minlength=7) / len(order))


def test_greedy_repeats_a_member_that_is_far_better():
    weights = greedy(validation(5, signal=np.array([3.0, 0.3, 0.3, 0.3, 0.3])), 6, "softmax")
    assert weights[0] >= 0.5


def test_greedy_of_a_hundred_members_is_quick():
    sample = validation(100, n_samples=(1932, 90))
    began = time.thread_time()
    weights = greedy(sample, 20, "softmax")
    assert time.thread_time() - began < 1.0
    assert weights.sum() == pytest.approx(1)


def test_weights_are_those_of_a_convex_solver():
    sample = validation(6, signal=np.linspace(0.2, 1.6, 6), n_samples=(900, 90))
    likelihood = softmax(sample.logits.astype(float))[:, np.arange(900), sample.labels]

    def entropy(weights):
        return -np.log(weights @ likelihood).mean()

    solved = optimize.minimize(
        entropy,
        np.full(6, 1 / 6),
        method="SLSQP",
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-12},
    )
    found = weighted(sample, None, "softmax")
    assert entropy(found) <= solved.fun + 1e-5
    np.testing.assert_allclose(found, solved.x, atol=0.02)
    assert entropy(found) < entropy(np.full(6, 1 / 6)) - 1e-3
    assert entropy(found) < min(entropy(one) for one in np.eye(6)) - 1e-3


def test_residual_correlation_of_logits_is_the_planted_one_and_corrcoefs():
    sample = validation(6, correlation=0.35, n_samples=(4500, 90), clusters=np.array([0, 0, 0, 1, 1, 1]))
    found = residual_correlations(sample)
    np.testing.assert_allclose(np.diag(found), 1, rtol=1e-5)
    np.testing.assert_allclose(found[:3, :3][np.triu_indices(3, 1)], 0.35, atol=0.03)
    np.testing.assert_allclose(found[:3, 3:], 0, atol=0.03)
    residuals = []
    for logits in sample.logits.astype(float):
        logits = logits - logits.mean(1, keepdims=True)
        for label in range(9):
            logits[sample.labels == label] -= logits[sample.labels == label].mean(0)
        residuals.append(logits.ravel())
    np.testing.assert_allclose(found, np.corrcoef(residuals), atol=1e-4)


def test_residual_correlation_of_features_ignores_their_rotation_and_their_classes():
    random = np.random.default_rng(0)
    sample = validation(3)
    first, other = random.standard_normal((270, 5)), random.standard_normal((270, 8))
    turned = (
        first @ np.linalg.qr(random.standard_normal((5, 5)))[0] + 10 * random.standard_normal((9, 5))[sample.labels]
    )
    found = residual_correlations(replace(sample, features=(first, turned, other)))
    assert found[0, 1] == pytest.approx(1, abs=1e-4)
    assert found[0, 2] < 0.15
    kernels = []
    for features in (first, other):
        features = features.copy()
        for label in range(9):
            features[sample.labels == label] -= features[sample.labels == label].mean(0)
        kernels.append((features @ features.T).ravel())
    by_kernels = kernels[0] @ kernels[1] / np.linalg.norm(kernels[0]) / np.linalg.norm(kernels[1])
    assert found[0, 2] == pytest.approx(by_kernels, rel=1e-4)


def test_diversity_takes_one_of_each_cluster_and_gains_by_it():
    clusters = np.array([0, 0, 0, 0, 1, 2, 3])
    kept = planted(7, correlation=0.9, clusters=clusters, n_samples=(900, 4500))
    given = members(kept)
    diverse = fit(given.validation, given.names, "residual_diversity", size=4)
    assert sorted(clusters[diverse.weights > 0]) == [0, 1, 2, 3]
    alike = given.only([0, 1, 2, 3])
    of_one_cluster = fit(alike.validation, alike.names)
    gain = diverse.scores(given.test)["balanced_accuracy"] - of_one_cluster.scores(alike.test)["balanced_accuracy"]
    assert gain > 0.05


def test_diversity_leaves_out_a_member_that_only_guesses():
    signals = np.array([1.2, 1.2, 1.2, 1.2, 0.0])
    sample = validation(5, signal=signals, correlation=0.6, clusters=np.array([0, 0, 0, 0, 1]), n_samples=(900, 90))
    assert residual_correlations(sample)[4, :4].max() < 0.1, "it is the most diverse of all"
    assert residual_diversity(sample, 4, "softmax")[4] == 0


def test_snapshots_leave_out_the_epochs_before_training_got_anywhere():
    sample = validation(10, signal=np.r_[np.zeros(6), np.full(4, 1.5)], correlation=0.2, n_samples=(900, 90))
    np.testing.assert_allclose(RULES["snapshots"](sample, None, "softmax"), np.r_[np.zeros(6), np.full(4, 0.25)])
    np.testing.assert_allclose(RULES["snapshots"](sample, 2, "softmax"), np.r_[np.zeros(8), np.full(2, 0.5)])


def test_best_prefix_and_accuracies_by_hand():
    sample = validation(5, signal=np.array([1.5, 1.0, 1.0, 0.0, 0.0]))
    chances = softmax(sample.logits.astype(float))
    scores = [balanced_accuracy_score(sample.labels, chances[:n].mean(0).argmax(1)) for n in range(1, 6)]
    assert best_prefix(sample, np.arange(5), "softmax") == int(np.argmax(scores)) + 1
    expected = [balanced_accuracy_score(sample.labels, logits.argmax(1)) for logits in sample.logits]
    np.testing.assert_allclose(accuracies(sample), expected)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_weights_are_shares_and_do_not_depend_on_the_order_of_members(rule):
    sample = validation(8, signal=np.linspace(0.5, 1.5, 8))
    weights = RULES[rule](sample, 4, "softmax")
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    if rule != "snapshots":
        order = np.random.default_rng(0).permutation(8)
        np.testing.assert_allclose(RULES[rule](sample.only(order), 4, "softmax"), weights[order], atol=1e-6)
