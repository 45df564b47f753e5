"""Validity on planted data: the axis finds what was planted, nothing else does, and no label turns it round."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from tests.valence.planted_texts import fit_pca, planted_benchmark, planted_paraphrases, unit
from valence import validity
from valence.benchmark_texts import Texts
from valence.errors import BadInput
from valence.intervals import delong, fisher_interval, measure, pearson
from valence.validity import Paraphrases


@pytest.fixture(scope="module")
def planted():
    random = np.random.default_rng(5)
    direction = unit(random)
    paraphrases = planted_paraphrases(direction)
    return direction, paraphrases, fit_pca(paraphrases.activations, paraphrases.emotions, paraphrases.sets)


def by_predictor(rows, dimension="valence"):
    return {row["predictor"]: row for row in rows if row["dimension"] == dimension}


def test_auc_is_that_of_sklearn_with_and_without_ties():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 300).astype(float)
    for scores in (random.standard_normal(300) + truth, random.integers(0, 4, 300) + truth, np.zeros(300)):
        assert measure(scores, truth, kind="AUC").value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_delong_error_is_that_of_the_bootstrap_and_of_many_samples():
    random = np.random.default_rng(1)
    truth = np.repeat([0.0, 1.0], [120, 180])
    samples = [random.standard_normal(300) + 1.2 * truth for _ in range(600)]
    values = [roc_auc_score(truth, scores) for scores in samples]
    errors = [delong(scores, truth == 1)[1] for scores in samples]
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.08)
    covered = [found.low <= np.mean(values) <= found.high for found in (measure(s, truth, kind="AUC") for s in samples)]
    assert 0.92 <= np.mean(covered) <= 0.98
    draws = []
    for _ in range(1500):
        chosen = np.concatenate(
            [random.choice(np.flatnonzero(truth == label), (truth == label).sum()) for label in (0, 1)]
        )
        draws.append(roc_auc_score(truth[chosen], samples[0][chosen]))
    assert errors[0] == pytest.approx(np.std(draws), rel=0.1)


def test_pearson_and_its_interval_are_those_of_scipy():
    random = np.random.default_rng(2)
    x = random.standard_normal(40)
    y = 0.6 * x + random.standard_normal(40)
    reference = stats.pearsonr(x, y)
    found = pearson(x, y)
    assert found.value == pytest.approx(reference.statistic)
    interval = reference.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    low, high = fisher_interval(0.7, 9)
    assert high - low > 0.8, "nine classes say little"


def in_documents(random, *, n_groups=40, size=25, icc=0.3):
    """Scores and ratings, r = .5 (both parts), of texts in documents; both are alike within a document."""
    groups = np.repeat(np.arange(n_groups), size)
    mix = np.linalg.cholesky([[1.0, 0.5], [0.5, 1.0]])
    of_group = random.standard_normal((n_groups, 2)) @ mix.T
    own = random.standard_normal((len(groups), 2)) @ mix.T
    scores, ratings = (np.sqrt(icc) * of_group[groups] + np.sqrt(1 - icc) * own).T
    return scores, ratings, np.array([f"document {index}" for index in groups])


@pytest.mark.parametrize("kind", ["AUC", "r"])
def test_intervals_over_documents_hold_the_truth_and_those_over_texts_do_not(kind):
    random = np.random.default_rng(3)
    draws = []
    for _ in range(300):
        scores, truth, groups = in_documents(random)
        draws.append((scores, (truth > 0) * 1.0 if kind == "AUC" else truth, groups))
    # P(score of a positive > of a negative), positive where a normal of r = .5 is above 0: from a large sample
    scores, ratings = (random.standard_normal((400_000, 2)) @ np.linalg.cholesky([[1, 0.5], [0.5, 1]]).T).T
    truth = 0.5 if kind == "r" else roc_auc_score(ratings > 0, scores)

    def coverage(grouped):
        found = [measure(s, t, kind=kind, groups=g if grouped else None) for s, t, g in draws]
        return np.mean([one.low <= truth <= one.high for one in found])

    assert 0.90 <= coverage(grouped=True) <= 0.98
    assert coverage(grouped=False) < 0.88


@pytest.mark.parametrize("kind", ["AUC", "r"])
def test_groups_of_one_text_change_nothing_and_one_group_has_no_interval(kind):
    scores, truth, _ = in_documents(np.random.default_rng(4))
    truth = (truth > 0) * 1.0 if kind == "AUC" else truth
    names = np.arange(len(truth)).astype(str)
    assert measure(scores, truth, kind=kind, groups=names) == measure(scores, truth, kind=kind)
    one = measure(scores, truth, kind=kind, groups=np.full(len(truth), "all"))
    assert np.isnan(one.low)
    assert one.value == measure(scores, truth, kind=kind).value
    almost = names.copy()
    almost[1] = almost[0]  # sums over almost as many groups as texts: the textbook's interval
    found, plain = measure(scores, truth, kind=kind, groups=almost), measure(scores, truth, kind=kind)
    assert found.high - found.low == pytest.approx(plain.high - plain.low, rel=0.1)


def test_rows_of_texts_that_share_documents_have_the_interval_over_documents(planted):
    direction, _, axis = planted
    loaded, evaluation, _ = planted_benchmark(direction, name="emobank")
    part = loaded.evaluation
    groups = np.array([f"document {index // 20}" for index in range(len(part.groups))])
    loaded = replace(loaded, evaluation=replace(part, groups=groups))
    row = by_predictor(validity.axis_rows(loaded, evaluation, axis))["axis"]
    expected = measure(evaluation @ axis, part.scores["valence"], kind="r", groups=groups)
    assert (row["ci_low"], row["ci_high"]) == (expected.low, expected.high)
    assert row["ci_low"] != measure(evaluation @ axis, part.scores["valence"], kind="r").low


@pytest.mark.parametrize(
    ("scores", "truth", "kind", "message"),
    [
        ([1.0, 2.0], [1.0, 1.0], "AUC", "all of one value"),
        ([1.0, 2.0], [0.0, 3.0], "AUC", "other than 0 and 1"),
        ([1.0, np.nan], [0.0, 1.0], "AUC", "not finite"),
        ([1.0], [0.0, 1.0], "r", r"\(1,\) and truth \(2,\)"),
        ([1.0, 2.0], [0.0, 1.0], "kappa", "kappa"),
    ],
)
def test_what_cannot_be_measured(scores, truth, kind, message):
    with pytest.raises(BadInput, match=message):
        measure(np.array(scores), np.array(truth), kind=kind)


def test_the_axis_predicts_what_was_planted(planted):
    direction, _, axis = planted
    loaded, evaluation, _ = planted_benchmark(direction)
    rows = by_predictor(validity.axis_rows(loaded, evaluation, axis))
    # two normal classes one apart: AUC = Phi(1 / sqrt 2)
    assert rows["axis"]["value"] == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.05)
    assert rows["axis"]["ci_low"] < rows["axis"]["value"] < rows["axis"]["ci_high"]
    assert rows["axis"]["study"].startswith(".832")
    assert rows["axis projected out"]["value"] == 0.5


def test_ratings_are_measured_for_valence_and_arousal(planted):
    direction, _, axis = planted
    loaded, evaluation, training = planted_benchmark(direction, name="emobank")
    rows = validity.axis_rows(loaded, evaluation, axis) + validity.probe_rows(loaded, training, evaluation)
    valence, arousal = by_predictor(rows), by_predictor(rows, "arousal")
    assert valence["axis"]["value"] == pytest.approx(np.sqrt(0.5), abs=0.07)
    assert abs(arousal["axis"]["value"]) < 0.12
    assert valence["probe"]["value"] == pytest.approx(np.sqrt(0.5), abs=0.1)
    assert valence["axis projected out"]["value"] == 0.0


def test_flipped_labels_mirror_the_value_and_never_turn_the_axis(planted):
    direction, _, axis = planted
    loaded, evaluation, training = planted_benchmark(direction)
    part = loaded.evaluation
    flipped = replace(
        loaded, evaluation=Texts(texts=part.texts, scores={"valence": 1 - part.scores["valence"]}, groups=part.groups)
    )
    for rows in (
        lambda data: validity.axis_rows(data, evaluation, axis),
        lambda data: validity.probe_rows(data, training, evaluation),
    ):
        before, after = by_predictor(rows(loaded)), by_predictor(rows(flipped))
        for predictor in before:
            assert after[predictor]["value"] == pytest.approx(1 - before[predictor]["value"])
    assert by_predictor(validity.axis_rows(flipped, evaluation, axis))["axis"]["value"] < 0.35


def test_the_sign_is_that_of_the_stories(planted):
    _direction, paraphrases, axis = planted
    turned = replace(paraphrases, activations=-paraphrases.activations)
    assert fit_pca(turned.activations, turned.emotions, turned.sets) @ axis < -0.95


def test_projecting_out_leaves_nothing_of_one_direction_and_the_rest_of_two(planted):
    direction, paraphrases, axis = planted
    loaded, evaluation, training = planted_benchmark(direction, strength=2.0, n_training=600)
    rest = (validity.project_out(training, axis), validity.project_out(evaluation, axis))
    one = by_predictor(
        validity.probe_rows(loaded, *rest) + validity.refitted_rows(loaded, evaluation, axis, paraphrases, fit_pca)
    )
    assert one["probe"]["value"] < 0.62, "what is left is that the axis is fitted with noise"
    other = unit(np.random.default_rng(9))
    other -= (other @ axis) * axis
    label = loaded.training.scores["valence"], loaded.evaluation.scores["valence"]
    rest = [part + 2 * np.outer(of, other) for part, of in zip(rest, label, strict=True)]
    assert by_predictor(validity.probe_rows(loaded, *rest))["probe"]["value"] > 0.8


def test_the_refitted_axis_finds_a_second_planted_direction(planted):
    _direction, paraphrases, axis = planted
    other = unit(np.random.default_rng(9))
    other -= (other @ axis) * axis
    other /= np.linalg.norm(other)
    values = (paraphrases.activations @ axis > 0) * 2.0 - 1
    richer = replace(paraphrases, activations=paraphrases.activations + 1.5 * np.outer(values, other))
    loaded, evaluation, _ = planted_benchmark(other, strength=2.0)
    row = by_predictor(validity.refitted_rows(loaded, evaluation, axis, richer, fit_pca))
    assert row["axis refitted after projecting out"]["value"] > 0.85


def test_random_directions_are_at_chance_on_average(planted):
    direction, paraphrases, axis = planted
    random = np.random.default_rng(0)
    loaded, evaluation, _ = planted_benchmark(direction, strength=1.0)
    row = by_predictor(validity.random_rows(loaded, evaluation, paraphrases, seed=0))["random directions"]
    # oriented by the stories, they keep a share of the axis: |cosine| of a random direction, on average
    expected = stats.norm.cdf(np.abs([unit(random) @ direction for _ in range(4000)]) / np.sqrt(2)).mean()
    assert row["value"] == pytest.approx(expected, abs=0.03)
    axis_value = by_predictor(validity.axis_rows(loaded, evaluation, axis))["axis"]["value"]
    assert row["range_low"] < 0.5 < row["range_high"] < axis_value
    assert np.isnan(row["ci_low"]) and np.isnan(row["ci_high"]), "a range over directions is no interval"  # noqa: PT018


def test_the_probe_learns_from_training_texts_alone(planted):
    direction, _, _ = planted
    other = unit(np.random.default_rng(11))
    loaded, evaluation, _ = planted_benchmark(direction, strength=3.0)
    _, _, training = planted_benchmark(other, strength=3.0, seed=3)
    value = by_predictor(validity.probe_rows(loaded, training, evaluation))["probe"]["value"]
    assert value == pytest.approx(
        measure(evaluation @ other, loaded.evaluation.scores["valence"], kind="AUC").value, abs=0.1
    )
    assert by_predictor(validity.probe_rows(loaded, training, evaluation))["probe"]["n_training"] == 300


def test_the_probe_refuses_a_shared_group_and_has_no_row_for_few_texts(planted):
    direction, _, _ = planted
    loaded, evaluation, training = planted_benchmark(direction, n_training=10)
    assert validity.probe_rows(loaded, training, evaluation) == []
    shared = replace(loaded, training=replace(loaded.training, groups=loaded.evaluation.groups[:10]))
    with pytest.raises(AssertionError, match="share a group"):
        validity.probe_rows(shared, training, evaluation)


def test_the_dose_curve_rises_to_the_whole_axis(planted):
    direction, _, _ = planted
    paraphrases = planted_paraphrases(direction, n=15, strength=0.25)
    loaded, evaluation, _ = planted_benchmark(direction, strength=2.0)
    rows = list(validity.dose_curve({"sst2": (loaded, evaluation)}, paraphrases, fit_pca, n_draws=8))
    doses = {n: [row["value"] for row in rows if row["n_paraphrases"] == n] for n in (1, 3, 5, 9, 15)}
    assert sum(map(len, doses.values())) == len(rows)
    assert [len(values) for values in doses.values()] == [8, 8, 8, 8, 1]
    assert np.mean(doses[1]) + 0.1 < np.mean(doses[9])
    whole = fit_pca(paraphrases.activations, paraphrases.emotions, paraphrases.sets)
    assert doses[15] == [measure(evaluation @ whole, loaded.evaluation.scores["valence"], kind="AUC").value]
    again = list(validity.dose_curve({"sst2": (loaded, evaluation)}, paraphrases, fit_pca, n_draws=8))
    assert again == rows


def test_prototypes_are_built_from_positive_and_negative_stories():
    stories = np.eye(4)[[0, 1, 2, 3]]
    emotions = np.array(["joy", "anger", "neutral", "amusement"])
    texts = np.eye(4)
    scores = validity.prototype_scores(texts, stories, emotions)
    np.testing.assert_allclose(scores, [1 / np.sqrt(2), -1, 0, 1 / np.sqrt(2)])


def test_no_paraphrases_are_bad_input():
    empty = np.array([])
    with pytest.raises(BadInput, match="write paraphrases first"):
        Paraphrases(activations=np.zeros((0, 3)), emotions=empty, sets=empty, stories=empty)
