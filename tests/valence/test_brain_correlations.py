"""Correlations over clips against scipy; permuted classes against every permutation by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tests.valence.hand_cohorts import LABELS, VALUES, cohort_of
from valence.brain.correlations import class_orders, correlations, declared_cells, deviations, share_as_large
from valence.brain.rows import NotPossible


def test_r_is_that_of_scipy_for_every_target_subject_and_cell():
    rng = np.random.default_rng(0)
    x, values = rng.normal(size=(3, 28, 4)), rng.normal(size=(2, 28))
    r = correlations(x, values)
    assert r.shape == (2, 3, 4)
    for target, subject, cell in itertools.product(range(2), range(3), range(4)):
        assert r[target, subject, cell] == pytest.approx(stats.pearsonr(x[subject, :, cell], values[target])[0])
    np.testing.assert_allclose(correlations(x, values[1]), r[1])


def test_clips_without_a_recording_are_left_out_and_constant_cells_have_no_r():
    rng = np.random.default_rng(1)
    x, values = rng.normal(1e3, 1, size=(2, 28, 3)), rng.normal(size=28)
    x[1, [3, 9, 20]] = np.nan
    x[0, :, 2] = 7.3
    r = correlations(x, values)
    there = np.isfinite(x[1, :, 0])
    assert r[1, 0] == pytest.approx(stats.pearsonr(x[1, there, 0], values[there])[0])
    assert r[0, 1] == pytest.approx(stats.pearsonr(x[0, :, 1], values)[0])
    assert np.isnan(r[0, 2])
    assert np.isfinite(np.delete(r, 2, axis=1)).all()


def test_all_orders_of_five_classes_are_those_of_itertools():
    labels = np.repeat(range(5), [3, 3, 4, 3, 3])
    values, rng = np.array([0.3, -1.0, 2.0, 0.7, -0.2]), np.random.default_rng(2)
    residuals = rng.normal(size=labels.size)
    residuals -= np.array([residuals[labels == label].mean() for label in labels])
    orders, words = class_orders(values[labels] + residuals, labels)
    by_hand = {tuple(np.round(np.array(order)[labels] + residuals, 9)) for order in itertools.permutations(values)}
    assert {tuple(np.round(order, 9)) for order in orders} == by_hand
    assert len(orders) == 120
    assert "all 120" in words
    assert "stay with their clips" in words


def test_exact_p_is_the_share_of_all_permutations():
    labels, values = np.repeat(range(5), 3), np.array([0.3, -1.0, 2.0, 0.7, -0.2])
    x = np.random.default_rng(3).normal(size=labels.size)
    orders, _ = class_orders(values[labels], labels)
    observed = abs(correlations(x[:, None], values[labels])[0])
    null = [abs(stats.pearsonr(x, np.array(order)[labels])[0]) for order in itertools.permutations(values)]
    expected = np.mean(np.array(null) >= observed - 1e-12)
    assert share_as_large(observed, np.abs(correlations(x[:, None], orders)[:, 0])) == pytest.approx(expected)


def test_drawn_orders_begin_with_the_order_as_it_is_and_ties_are_counted_once():
    orders, words = class_orders(VALUES[LABELS], LABELS, n_orders=50)
    np.testing.assert_allclose(orders[0], VALUES[LABELS])
    assert orders.shape == (51, 28)
    assert "50 of 362,880" in words
    assert all(sorted({*order}) == sorted({*orders[0]}) for order in orders)
    signs = np.array([-1.0, -1, -1, -1, 0, 1, 1, 1, 1])
    assert len(class_orders(signs[LABELS], LABELS)[0]) == 630  # 9! / (4! 1! 4!)


def test_deviations_leave_out_what_is_missing():
    x = np.array([[[1.0], [2.0], [np.nan]], [[0.0], [3.0], [6.0]]])
    np.testing.assert_allclose(deviations(x)[..., 0], [[-0.5, 0.5, np.nan], [-3, 0, 3]])


def test_cells_of_the_study_are_found_by_name():
    cohort = cohort_of(np.zeros((2, 28, 15)))
    assert declared_cells(cohort) == {"PO3 gamma": 2, "F7 beta": 4, "O1 gamma": 8, "Pz theta": 9}
    with pytest.raises(NotPossible, match="PO3 gamma"):
        declared_cells(cohort_of(np.zeros((2, 28, 15)), ch_names=("A", "B", "C", "D", "E")))


def test_classes_of_as_many_clips_change_places_alone_where_asked():
    orders, words = class_orders(VALUES[LABELS], LABELS, n_orders=200, same_size=True)
    np.testing.assert_allclose(orders[0], VALUES[LABELS])
    assert (orders[:, LABELS == 4] == VALUES[4]).all()  # neutral, the class of four clips
    assert all({*order} == {*VALUES} for order in orders)
    assert len(np.unique(orders, axis=0)) > 190
    assert "as many clips" in words
    labels = np.repeat(range(5), 3)
    assert "all 120" in class_orders(VALUES[:5][labels], labels, same_size=True)[1]
