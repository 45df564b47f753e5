"""Ensembles: gains as planted, scores as sklearn has them, and test labels that choose nothing."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, cohen_kappa_score, log_loss

from tests.valence.planted_members import planted, with_test_labels
from valence.disagreement import kappa_matrix, off_diagonal, right_by_number, shared_errors
from valence.ensemble import by_strength, by_subject, ensemble, fit, leave_one_out, members, single_accuracies
from valence.ensemble_controls import equal_size_controls
from valence.ensemble_headroom import accuracy_of, expected_accuracy, signal_of
from valence.ensemble_report import (
    contribution_against,
    contributions,
    gain_over_controls,
    gain_over_singles,
    headroom,
    rules_table,
    weights_table,
)
from valence.ensemble_selection import RULES, right, softmax
from valence.errors import BadInput
from valence.metrics import calibration_error
from valence.reliability import TEMPERATURES, fit_temperature, reliability_curve


def averaged(kept, part, weights):
    rows = kept[0].rows(part)
    return sum(weight * softmax(cell.logits[rows].astype(float)) for cell, weight in zip(kept, weights)), rows


def test_scores_of_a_weighted_mixture_are_those_of_sklearn():
    kept = planted(6, signal=np.linspace(0.5, 1.5, 6))
    found, scores = ensemble(kept, "weighted")
    chances, rows = averaged(kept, "test", found.weights)
    labels = kept[0].labels[rows]
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, chances.argmax(1)))
    assert scores["cross_entropy"] == pytest.approx(log_loss(labels, chances), rel=1e-6)
    brier = brier_score_loss(labels, chances, labels=range(9), scale_by_half=False)
    assert scores["brier"] == pytest.approx(brier, rel=1e-6)


def test_pooled_logits_are_the_geometric_mean_of_probabilities():
    kept = planted(4)
    given = members(kept)
    found = fit(given.validation, given.names, pool="logits")
    geometric = stats.gmean([softmax(cell.logits[cell.rows("test")].astype(float)) for cell in kept], axis=0)
    np.testing.assert_allclose(
        softmax(found.mixture(given.test)), geometric / geometric.sum(1, keepdims=True), rtol=1e-5
    )


def test_members_are_chosen_for_what_is_pooled():
    """A member that shouts is one voice among probabilities, and the only one among logits."""
    kept = planted(6, signal=np.array([0.5, 1, 1, 1, 1, 1]))
    kept[0] = replace(kept[0], logits=60 * kept[0].logits)
    given = members(kept)
    by_pool = {pool: fit(given.validation, given.names, "greedy", size=6, pool=pool) for pool in ("softmax", "logits")}
    assert by_pool["logits"].weights[0] == 0
    for pool, found in by_pool.items():
        best = found.scores(given.validation)["balanced_accuracy"]
        assert best >= replace(by_pool["softmax"], pool=pool).scores(given.validation)["balanced_accuracy"] - 1e-9
    assert not np.array_equal(by_pool["logits"].weights, by_pool["softmax"].weights)


@pytest.mark.parametrize("correlation", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("n_members", [2, 5, 10])
def test_gain_of_an_average_is_the_closed_form_of_planted_correlation(n_members, correlation):
    kept = planted(n_members, correlation=correlation, n_samples=(9, 18_000), n_subjects=(1, 10), seed=n_members)
    given = members(kept)
    found = fit(given.validation, given.names, pool="logits")
    observed = found.scores(given.test)["balanced_accuracy"]
    single = float(accuracy_of(1.0, 9))
    expected = expected_accuracy(single, correlation, n_members, 9)
    assert abs(observed - expected) < 4 * np.sqrt(expected * (1 - expected) / 18_000)
    assert expected - single > 10 * np.sqrt(expected * (1 - expected) / 18_000), "the gain is no rounding error"


def test_closed_form_is_a_normal_quantile_for_two_classes_and_its_inverse_for_any():
    # the difference of two scores has variance 2
    np.testing.assert_allclose(accuracy_of(1.3, 2), stats.norm.cdf(1.3 / np.sqrt(2)), rtol=1e-8)
    for accuracy, n_classes in itertools.product((0.3, 0.6755, 0.99), (5, 9)):
        assert float(accuracy_of(signal_of(accuracy, n_classes), n_classes)) == pytest.approx(accuracy, rel=1e-9)
    with pytest.raises(BadInput, match="above chance"):
        signal_of(0.1, 9)
    assert expected_accuracy(0.6, 1.0, 10, 9) == pytest.approx(0.6)


def test_headroom_finds_the_planted_correlation_and_what_it_leaves_to_gain():
    kept = planted(10, correlation=0.4, n_samples=(2700, 9000))
    told = headroom(members(kept), pool="logits")
    # residuals lose each class's mean, and logits are centred over classes: neither changes a correlation of noise
    assert told["residual_correlation"] == pytest.approx(0.4, abs=0.02)
    assert told["observed"] == pytest.approx(told["expected"], abs=0.02)
    assert told["single"] < told["observed"] < told["limit"] + 0.01
    assert told["one_right"] > told["observed"]
    chance = headroom(members(planted(4, signal=0.0, n_samples=(90, 9000), seed=3)))
    assert np.isnan(chance["expected"]) or chance["gain"] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_test_labels_choose_nothing(rule):
    kept = planted(12, signal=np.linspace(0.6, 1.2, 12), n_samples=(180, 360))
    labels = kept[0].labels[kept[0].rows("test")]
    random = np.random.default_rng(0)
    first = ensemble(kept, rule, temperature=True)[0]
    for other in (random.permutation(labels), np.zeros_like(labels), (labels + 1) % 9):
        again, scores = ensemble(with_test_labels(kept, other), rule, temperature=True)
        np.testing.assert_array_equal(again.weights, first.weights)
        assert again.temperature == first.temperature
        assert scores["balanced_accuracy"] < 0.35, "the scores do read them"


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"uniform", "best_single"}))
def test_validation_labels_do_choose(rule):
    kept = planted(12, signal=np.linspace(0.6, 1.2, 12), n_samples=(180, 360))
    mixed = kept[0].labels.copy()
    mixed[:180] = np.random.default_rng(0).permutation(mixed[:180])
    wrong = [replace(cell, labels=mixed) for cell in kept]
    if rule == "snapshots":  # chooses a number alone
        wrong = [
            replace(cell, logits=np.roll(cell.logits, 1, axis=1)) if at < 10 else cell for at, cell in enumerate(kept)
        ]
    assert not np.array_equal(ensemble(wrong, rule)[0].weights, ensemble(kept, rule)[0].weights)


def test_leaving_one_out_is_the_ensemble_of_the_others():
    kept = planted(5, signal=np.array([0.2, 0.8, 1, 1.2, 2.0]))
    given = members(kept)
    gone = leave_one_out(given)
    whole = ensemble(kept)[1]["balanced_accuracy"]
    for at in range(5):
        rest = ensemble([cell for other, cell in enumerate(kept) if other != at])[1]["balanced_accuracy"]
        assert gone[at] == pytest.approx(whole - rest, abs=1e-12)
    with pytest.raises(BadInput, match="2 members or more"):
        leave_one_out(given.only([0]))


def test_contribution_follows_planted_strength_and_its_p_is_scipys():
    kept = planted(8, signal=np.linspace(0.2, 1.6, 8), n_samples=(90, 4500))
    table = contributions(members(kept))
    told = contribution_against(table["contribution"], np.linspace(0.2, 1.6, 8))
    assert told["r"] > 0.7
    reference = stats.pearsonr(np.linspace(0.2, 1.6, 8), table["contribution"])
    assert told["r"] == pytest.approx(reference.statistic)
    assert (told["ci_low"], told["ci_high"]) == pytest.approx(tuple(reference.confidence_interval()))
    by_scipy = stats.permutation_test(
        (np.linspace(0.2, 1.6, 8),),
        lambda x: stats.pearsonr(x, table["contribution"]).statistic,
        permutation_type="pairings",
        n_resamples=2000,
        rng=0,
    )
    assert told["p"] == pytest.approx(by_scipy.pvalue, abs=0.02)
    assert told["reference"] == 0.743
    with pytest.raises(BadInput, match="3 members"):
        contribution_against(np.arange(5.0), np.ones(5))


def test_kappas_are_those_of_sklearn():
    predicted = members(planted(5, signal=np.linspace(0, 2, 5))).test.logits.argmax(2)
    matrix = kappa_matrix(predicted, 9)
    for first, second in itertools.combinations(range(5), 2):
        assert matrix[first, second] == pytest.approx(cohen_kappa_score(predicted[first], predicted[second]))
        assert matrix[second, first] == matrix[first, second]
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert len(off_diagonal(matrix)) == 10
    assert np.isnan(kappa_matrix(np.zeros((2, 9), dtype=int), 9)).all()


def test_shared_errors_by_hand():
    answers = np.array([[1, 1, 0, 0], [1, 0, 0, 1]], dtype=bool)
    np.testing.assert_allclose(shared_errors(answers), [[0.5, 0.25], [0.25, 0.5]])
    np.testing.assert_allclose(right_by_number(answers), [0.25, 0.5, 0.25])


def test_temperature_finds_the_planted_one_and_lowers_cross_entropy():
    random = np.random.default_rng(0)
    true = random.standard_normal((20_000, 9))
    labels = (softmax(true).cumsum(1) > random.random((20_000, 1))).argmax(1)
    assert fit_temperature(3 * true, labels) == pytest.approx(3, rel=0.03)
    by_hand = min(np.linspace(2.5, 3.5, 201), key=lambda t: log_loss(labels, softmax(3 * true / t)))
    assert fit_temperature(3 * true, labels) == pytest.approx(by_hand, abs=0.006)
    assert fit_temperature(true, (true.argmin(1))) == TEMPERATURES[1]
    assert fit_temperature(true, (true.argmax(1))) == TEMPERATURES[0]


def test_reliability_curve_is_sklearns_and_adds_up_to_the_calibration_error():
    given = members(planted(3))
    logits = 2 * ensemble(planted(3))[0].mixture(given.test)
    curve = reliability_curve(logits, given.test.labels)
    there = curve[curve["n"] > 0]
    chances = softmax(logits)
    accuracy, confidence = calibration_curve(chances.argmax(1) == given.test.labels, chances.max(1), n_bins=15)
    np.testing.assert_allclose(there["accuracy"], accuracy)
    np.testing.assert_allclose(there["confidence"], confidence)
    gap = (there["n"] * (there["accuracy"] - there["confidence"]).abs()).sum() / there["n"].sum()
    assert gap == pytest.approx(calibration_error(logits, given.test.labels))


def test_accuracy_by_subject_is_sklearns():
    given = members(planted(2))
    answers = right(given.test.logits, given.test.labels)
    found, names = by_subject(answers, given.test)
    for subject, name in enumerate(names):
        rows = given.test.subjects == name
        expected = balanced_accuracy_score(given.test.labels[rows], given.test.logits[1, rows].argmax(1))
        assert found[1, subject] == pytest.approx(expected)


def test_table_of_rules_has_gains_calibration_and_the_studys_numbers():
    kept = planted(10, n_samples=(540, 2160), n_subjects=(5, 20))
    given = members(kept)
    table = rules_table(given, [("best_single", None), ("uniform", None), ("greedy", 7)]).set_index("rule")
    assert table.loc["uniform", "reference"] == 0.6948
    assert table.loc["best_single", "reference"] == 0.6755
    assert np.isnan(table.loc["greedy", "reference"])
    expected = table.loc["uniform", "balanced_accuracy"] - single_accuracies(given).mean()
    # the mean over subjects is near the whole's: classes weigh the same in each
    assert table.loc["uniform", "gain"] == pytest.approx(expected, abs=0.005)
    assert 0 < table.loc["uniform", "ci_low"] < expected < table.loc["uniform", "ci_high"]
    assert table.loc["uniform", "p"] < 0.01
    assert (table["cross_entropy_scaled"] < table["cross_entropy"] + 0.01).all()
    assert weights_table(fit(given.validation, given.names, "greedy", size=7))["weight"].sum() == pytest.approx(1)


def test_interval_of_a_gain_covers_the_truth():
    covered = 0
    for seed in range(40):
        given = members(planted(5, correlation=0.5, n_samples=(90, 900), n_subjects=(1, 10), seed=seed))
        found = fit(given.validation, given.names, pool="logits")
        told = gain_over_singles(found, given)
        truth = expected_accuracy(float(accuracy_of(1.0, 9)), 0.5, 5, 9) - float(accuracy_of(1.0, 9))
        covered += told["ci_low"] <= truth <= told["ci_high"]
    assert covered >= 34  # .95 of 40 is 38; 34 or fewer has probability .01


def test_controls_have_as_many_members_of_different_seeds_none_of_them_excluded():
    kept = planted(24, n_samples=(90, 900))
    kept = [replace(cell, seed=at // 2) for at, cell in enumerate(kept)]  # two cells a seed
    pool = members(kept)
    controls = equal_size_controls(pool, 5, exclude_seeds=(0, 1), n_draws=200)
    assert (controls.n_seeds, controls.n_apart, len(controls.accuracy)) == (10, 2, 200)
    again = equal_size_controls(pool, 5, exclude_seeds=(0, 1), n_draws=200)
    np.testing.assert_array_equal(controls.accuracy, again.accuracy)
    with pytest.raises(BadInput, match="11 cells from 10 seeds"):
        equal_size_controls(pool, 11, exclude_seeds=(0, 1))
    # seeds drawn are seen through a rule that keeps a note of what it was given
    seeds = np.array(pool.seeds)
    whole = equal_size_controls(pool.only(np.arange(0, 24, 2)), 12, n_draws=3)
    assert len(set(seeds)) == 12
    expected = ensemble(kept[::2])[1]["balanced_accuracy"]
    np.testing.assert_allclose(whole.accuracy, expected)  # all seeds, one cell each: no choice is left


def test_an_ensemble_of_baseline_cells_gains_nothing_over_its_controls_and_better_members_do():
    pool = members(planted(30, correlation=0.3, n_samples=(90, 1800), n_subjects=(2, 20)))
    controls = equal_size_controls(pool, 5, exclude_seeds=range(5), n_draws=300)
    ours = pool.only(range(5))
    told = gain_over_controls(fit(ours.validation, ours.names), ours, controls)
    assert told["ci_low"] < 0 < told["ci_high"]
    assert told["share_at_least"] > 0.01
    better = planted(5, signal=1.6, correlation=0.3, n_samples=(90, 1800), n_subjects=(2, 20), seed=9)
    better = members([replace(cell, seed=100 + cell.seed) for cell in better])
    told = gain_over_controls(fit(better.validation, better.names), better, controls)
    assert told["ci_low"] > 0
    assert told["share_at_least"] == pytest.approx(1 / 301)


def test_members_by_strength_are_the_strongest_or_weakest():
    np.testing.assert_allclose(by_strength([0.1, 0.9, 0.5], 2), [0, 0.5, 0.5])
    np.testing.assert_allclose(by_strength([0.1, 0.9, 0.5], 2, lowest=True), [0.5, 0, 0.5])
    with pytest.raises(BadInput, match="1 gaps"):
        by_strength([0.1, np.nan], 1)


def test_what_cannot_be_an_ensemble_is_refused():
    kept = planted(3, n_samples=(90, 90))
    with pytest.raises(BadInput, match="repeated"):
        members([kept[0], kept[0]])
    with pytest.raises(BadInput, match="did you mean greedy"):
        ensemble(kept, "gredy")
    with pytest.raises(BadInput, match="ensemble of 4 from 3"):
        ensemble(kept, "uniform", size=4)
    with pytest.raises(BadInput, match="softmax, logits"):
        ensemble(kept, "uniform", pool="votes")
    rows = kept[0].rows("test")
    bare = [
        replace(cell, **{name: getattr(cell, name)[rows] for name in ("part", "subjects", "clips", "labels", "logits")})
        for cell in kept
    ]
    with pytest.raises(BadInput, match="no validation samples"):
        members(bare)
