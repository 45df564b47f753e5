"""Order of presentation: partial r against statsmodels, the order null against loops, and worlds of drift alone."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from tests.valence.hand_cohorts import LABELS, N_CELLS, blocked_orders, cohort_of, target_of
from valence.brain import confounds, order_null
from valence.brain.correlations import class_orders, correlations, share_as_large
from valence.brain.rows import NotPossible

TARGET = target_of()
Y = TARGET.clip_values


def found(rows, protocol, item):
    fit = [row for row in rows if row.protocol == protocol and row.item == item]
    assert len(fit) == 1, [(row.protocol, row.item) for row in rows]
    return fit[0]


def drifting(ranks: np.ndarray, seed: int, n_cells: int = N_CELLS) -> np.ndarray:
    """EEG that follows time alone: a random walk in each subject, by clip."""
    walks = np.random.default_rng(seed).normal(size=(*ranks.shape, n_cells)).cumsum(axis=1)
    return np.take_along_axis(walks, ranks[..., None], axis=1)


def test_partial_r_is_that_of_two_regressions():
    rng = np.random.default_rng(0)
    x, given = rng.normal(size=(3, 28, 2)), rng.normal(size=(3, 28, 2))
    values = np.stack([Y, rng.normal(size=28)])
    r = confounds.partial_r(x, values, confounds.residual_makers(given))
    for target in range(2):
        for subject in range(3):
            design = sm.add_constant(given[subject])
            rest = [sm.OLS(of, design).fit().resid for of in (x[subject, :, 1], values[target])]
            assert r[target, subject, 1] == pytest.approx(stats.pearsonr(*rest)[0])


def test_a_target_that_is_the_blocks_has_no_partial_r_given_block():
    ranks = blocked_orders(6)
    block = (ranks // 4)[0]
    cohort = cohort_of(drifting(ranks, 1), presentation=np.tile(ranks[0], (6, 1)), block_clips=4)
    makers = confounds.residual_makers(confounds.covariates_of(cohort, np.ones(6, dtype=bool))["block"])
    target = np.random.default_rng(0).normal(size=7)[block]
    assert np.isnan(confounds.partial_r(drifting(ranks, 1), target[None], makers)).all()
    np.testing.assert_allclose(makers @ target, 0, atol=1e-9)


def test_r_that_is_drift_alone_is_gone_given_order():
    ranks = blocked_orders(30, seed=2)
    x = np.random.default_rng(3).normal(0, 0.3, size=(30, 28, N_CELLS))
    # each subject drifts as the own order happens to follow the target, so that r is positive in all
    signs = np.sign(correlations(ranks[..., None].astype(float), Y))[:, 0]
    x += (signs[:, None] * ranks / 9)[..., None]
    rows = confounds.rows(cohort_of(x, presentation=ranks, block_clips=4), TARGET)
    before = found(rows, "mean within subjects, given nothing", "PO3 gamma")
    after = found(rows, "mean within subjects, given order", "PO3 gamma")
    assert before.value > 0.25
    assert abs(after.value) < 0.1


def test_r_that_clips_evoke_stays_given_order_and_block():
    ranks = blocked_orders(30, seed=4)
    x = np.random.default_rng(5).normal(size=(30, 28, N_CELLS))
    x[..., 2] += 1.5 * Y
    rows = confounds.rows(cohort_of(x, presentation=ranks, block_clips=4), TARGET)
    for given in ("nothing", "order", "order and its square"):
        row = found(rows, f"mean within subjects, given {given}", "PO3 gamma")
        assert row.value > 0.7
        assert row.p < 0.01
        assert found(rows, f"r of the mean over subjects, {given} taken out of each", "PO3 gamma").value > 0.95
    within = found(rows, "mean within subjects, given block", "PO3 gamma")
    assert within.value > 0.15
    share = found(rows, "share of the target's variance within blocks", "mean over subjects").value
    expected = np.mean([sum(np.var(Y[own // 4 == block]) * 4 for block in range(7)) for own in ranks]) / 28
    assert share == pytest.approx(expected)
    r = [stats.pearsonr(own, Y)[0] for own in ranks]
    row = found(rows, "r of target and order", "mean over subjects")
    assert row.value == pytest.approx(np.mean(r))
    assert found(rows, "r of target and order", "mean size over subjects").value == pytest.approx(np.mean(np.abs(r)))


def test_all_pairs_and_means_are_those_of_a_loop():
    ranks, rng = blocked_orders(5, seed=6), np.random.default_rng(7)
    x, givers = rng.normal(size=(5, 28, 3)), rng.permutation(5)
    r = order_null.all_pairs(x, ranks, Y)
    np.testing.assert_allclose(r[range(5), range(5)], correlations(x, Y))
    moved = np.empty_like(x)
    for subject, giver in enumerate(givers):
        for clip in range(28):
            # what this subject was shown at the place where the giver was shown this clip
            moved[subject, clip] = x[subject, np.flatnonzero(ranks[subject] == ranks[giver, clip])[0]]
        np.testing.assert_allclose(r[giver, subject], correlations(moved[subject], Y))
    np.testing.assert_allclose(order_null.mean_under(x, ranks, givers), moved.mean(axis=0))


def test_drift_alone_gives_uniform_p_against_orders_of_others_and_not_against_permuted_classes(monkeypatch):
    monkeypatch.setattr(order_null, "N_DRAWS", 99)
    drift, classes = [], []
    for world in range(200):
        ranks = blocked_orders(8, seed=1_000 + world)
        x = drifting(ranks, world)
        rows = order_null.rows(cohort_of(x, presentation=ranks, block_clips=4), TARGET, seed=world)
        drift.append([row.p for row in rows if row.item in ("mean over subjects", "PO3 gamma")])
        orders, _ = class_orders(Y, LABELS, n_orders=99, seed=world)
        best = np.abs(correlations(x, np.concatenate([Y[None], orders]))).max(axis=-1).mean(axis=-1)
        classes.append(share_as_large(best[0], best[1:]))
    dither = np.random.default_rng(0).uniform(0, 0.01, 200)
    for p in np.array(drift).T:
        assert stats.kstest(p - dither, "uniform").pvalue > 0.01
    # what the module is for: the best cell of drift passes for an effect where classes are permuted
    assert np.mean(np.array(classes) <= 0.05) > 0.2


def test_what_clips_evoke_is_beyond_the_order_null():
    ranks = blocked_orders(20, seed=8)
    x = 0.3 * drifting(ranks, 9)
    x[..., 2] += Y
    rows = order_null.rows(cohort_of(x, presentation=ranks, block_clips=4), TARGET)
    for protocol, item in (
        ("mean of r within subjects", "PO3 gamma"),
        ("r of the mean over subjects", "PO3 gamma"),
        ("best cell of each subject", "mean over subjects"),
        ("largest |r| of the mean over subjects", "all cells"),
    ):
        assert found(rows, protocol, item).p < 0.01, protocol


def test_orders_that_are_not_known_or_all_the_same_are_refused_with_the_reason():
    ranks = blocked_orders(6)
    x = drifting(ranks, 0)
    with pytest.raises(NotPossible, match="not known"):
        confounds.rows(cohort_of(x), TARGET)
    unknown = ranks.copy()
    unknown[:2] = -1
    with pytest.raises(NotPossible, match="of 4 subjects"):
        confounds.rows(cohort_of(x, presentation=unknown), TARGET)
    with pytest.raises(NotPossible, match="same order"):
        order_null.rows(cohort_of(x, presentation=np.tile(ranks[0], (6, 1))), TARGET)
