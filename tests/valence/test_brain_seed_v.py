"""The axis on five classes: against sklearn's PCA and loops, and on files of SEED-V's format with a planted cell."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from tests.valence.hand_cohorts import N_CELLS, cohort_of
from tests.valence.planted_axis import planted
from tests.valence.seed_v_recordings import simulated_features, write_features
from valence.axis import fit_axis
from valence.brain import (
    axis_on_classes,
    campaigns,
    confounds,
    individuals,
    information,
    oracles,
    order_null,
    simpson,
    split_half,
)
from valence.brain.axis_on_classes import ANEW, CARRIED, axis_targets, carried_over, fitted_anew, r_left_out
from valence.brain.cohort import load_cohort
from valence.brain.correlations import correlations
from valence.brain.rows import NotPossible, Row, or_reason, table
from valence.datasets.seed_v import SeedV
from valence.errors import BadInput
from valence.seed_v_features import CLASS_OF_CLIP
from valence.seed_v_files import CH_NAMES

FIVE = ("disgust", "fear", "sadness", "neutral", "joy")
CELL = CH_NAMES.index("P1") * 5 + 1


@pytest.fixture(scope="module")
def axis():
    activations, emotions, sets, _ = planted(n=10)
    return fit_axis(activations, emotions, sets, n_bootstrap=0)


@pytest.fixture(scope="module")
def cohort(axis, tmp_path_factory):
    """Three subjects in SEED-V's files: noise, and the axis in P1 theta."""
    root = tmp_path_factory.mktemp("seed_v")
    values = carried_over(axis, FIVE)
    for subject in (1, 2, 3):
        data = simulated_features(subject)
        for clip, of_clip in data.items():
            of_clip[:, CELL] += 0.3 * values[CLASS_OF_CLIP[clip]]
        write_features(root, subject, data)
    return load_cohort(SeedV(root))


def found(rows: list[Row], protocol: str, item: str = "") -> Row:
    fit = [row for row in rows if row.protocol == protocol and row.item.startswith(item)]
    assert len(fit) == 1, [(row.protocol, row.item) for row in rows]
    return fit[0]


def test_an_axis_fitted_anew_is_pc1_of_these_centroids(axis):
    anew = fitted_anew(axis, FIVE)
    centroids = axis.centroids[[axis.classes.index(name) for name in FIVE]]
    pca = PCA(1).fit(centroids)
    scores = pca.transform(centroids)[:, 0]
    scores *= np.sign(scores[FIVE.index("joy")])
    np.testing.assert_allclose(anew.class_positions, (scores - scores.mean()) / scores.std(), atol=1e-9)
    assert anew.explained_variance == pytest.approx(pca.explained_variance_ratio_[0])
    assert anew.cosine == pytest.approx(abs(pca.components_[0] @ axis.direction))
    assert anew.cosine > 0.9
    assert anew.class_positions[FIVE.index("joy")] == anew.class_positions.max()


def test_positions_are_carried_over_by_name(axis):
    positions = dict(zip(axis.classes, axis.class_positions))
    own = np.array([positions[name] for name in FIVE])
    np.testing.assert_allclose(carried_over(axis, FIVE), (own - own.mean()) / own.std())
    np.testing.assert_allclose(carried_over(axis, FIVE[::-1]), carried_over(axis, FIVE)[::-1])
    with pytest.raises(BadInput, match="boredom"):
        carried_over(axis, (*FIVE, "boredom"))


def test_the_planted_cell_is_the_best_by_both_axes_and_in_sessions_left_out(axis, cohort):
    assert cohort.de.shape[:3] == (3, 45, 62)
    assert np.isnan(cohort.de).any()
    rows = axis_on_classes.rows(cohort, axis)
    for name in (CARRIED, ANEW):
        best = found(rows, f"{name}, classes permuted", "best cell")
        assert best.item == "best cell, P1 theta"
        assert best.value > 0.9
        assert best.p <= 3 / 120  # neighbours on the axis may change places
        limits = [found(rows, f"{name}, {kind}", "95 %").value for kind in ("classes permuted", "clips permuted")]
        assert best.value > limits[0]
        # 310 cells of noise at 45 clips, as the study's .478: the largest |r| of 310 normal values over √44
        assert limits[1] == pytest.approx(0.52, abs=0.04)
        assert found(rows, f"{name}, sessions centred", "best cell").item == "best cell, P1 theta"
        left_out = found(rows, f"{name}, leave-session-out")
        assert left_out.value > 0.9
        assert left_out.p < 0.03
    agree = found(rows, f"{CARRIED} against {ANEW}")
    first, second = (target.class_values for target in axis_targets(cohort, axis))
    assert agree.value == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert agree.value > 0.9


def test_what_differs_between_sessions_alone_is_gone_once_they_are_centred(axis, cohort):
    """One clip of joy less in two sessions and five more in one: sessions then follow the axis."""
    sessions = np.repeat([1, 2, 3], [15, 15, 15])
    labels = np.concatenate([[0] * 6 + [1] * 4 + [2] * 3 + [3, 4], [0, 1, 2, 3, 4] * 3, [4] * 7 + [3] * 5 + [0, 1, 2]])
    x = 0.01 * np.random.default_rng(0).normal(size=(3, 45, N_CELLS))
    x[..., 3] += sessions
    made = cohort_of(x, labels=labels, classes=FIVE, sessions=sessions)
    rows = axis_on_classes.rows(made, axis)
    best = found(rows, f"{CARRIED}, classes permuted", "best cell")
    same = found(rows, f"{CARRIED}, sessions centred", "the cell that is best uncentred")
    assert best.item.split(", ")[1] == same.item.split(", ")[1] == "F7 theta"
    assert best.value > 0.4
    assert abs(same.value) < 0.35


def test_r_of_sessions_left_out_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    features, values = rng.normal(size=(12, 6)), rng.normal(size=(3, 12))
    inside = [np.arange(4), np.arange(4, 8), np.arange(8, 12)]
    expected = np.zeros(3)
    for target in range(3):
        for clips in inside:
            others = [clip for clip in range(12) if clip not in clips]
            r = correlations(features[others], values[target, others])
            best = np.argmax(np.abs(r))
            judged = np.corrcoef(features[clips, best], values[target, clips])[0, 1]
            expected[target] += judged * np.sign(r[best]) / 3
    np.testing.assert_allclose(r_left_out(features, values, inside), expected)


def test_all_analyses_of_subjects_run_on_clips_of_differing_length(axis, cohort):
    target = axis_targets(cohort, axis)[0]
    made: list[Row] = []
    for module in (individuals, oracles, simpson, information):
        made += module.rows(cohort, target)
    oracle = [row for row in made if row.analysis == "oracle" and "half of the clips" in row.protocol]
    assert oracle[0].value > 0.6
    planted_cell = [row for row in made if row.analysis == "simpson" and row.item == "P1 theta"]
    assert all(row.value > 0.5 and row.p < 0.05 for row in planted_cell if "levels" not in row.protocol)
    for module in (split_half, campaigns, confounds, order_null):
        with or_reason(made, analysis=module.__name__):
            made += module.rows(cohort, target)
    refused = table(made).query("reason != ''")
    assert {"split_half", "campaigns", "confounds", "order_null"} == {
        name.rsplit(".", 1)[1] for name in refused["analysis"]
    }


def test_order_is_within_sessions_where_there_are_several(axis, cohort):
    six = cohort_of(
        np.random.default_rng(2).normal(size=(6, 45, N_CELLS)),
        labels=cohort.class_of_clip,
        classes=FIVE,
        sessions=cohort.sessions,
        presentation=np.tile(cohort.presentation[0], (6, 1)),
        block_clips=5,
    )
    makers = confounds.residual_makers(confounds.covariates_of(six, np.ones(6, dtype=bool))["order"])
    within = np.tile(np.arange(15.0), 3) + np.repeat([0, 7, -3], 15)
    np.testing.assert_allclose(makers @ within, 0, atol=1e-9)
    rows = confounds.rows(six, axis_targets(cohort, axis)[0])
    # each block of five films holds one of each class
    share = [row for row in rows if "within blocks" in row.protocol]
    assert share[0].value == pytest.approx(1)
    with pytest.raises(NotPossible, match="same order"):
        order_null.rows(six, axis_targets(cohort, axis)[0])


def test_what_cannot_be_done_says_why(axis, cohort):
    with pytest.raises(NotPossible, match="no axis"):
        axis_on_classes.rows(cohort, None)
    nine = cohort_of(np.random.default_rng(3).normal(size=(2, 28, N_CELLS)))
    with pytest.raises(NotPossible, match="nothing to fit anew"):
        axis_on_classes.rows(nine, axis)
    activations, emotions, sets, _ = planted(n=5)
    by_texts = fit_axis(activations, emotions, sets, method="lda", n_bootstrap=0)
    with pytest.raises(NotPossible, match="single texts"):
        fitted_anew(by_texts, FIVE)
