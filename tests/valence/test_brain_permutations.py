"""All class permutations with the pipeline refit: against scikit-learn refitted once for every order."""

import itertools
import math

import numpy as np
import pytest

from tests.memory import printed_by
from tests.valence.scalp_cohorts import RATED, noise, scalp_cohort
from tests.valence.test_brain_ridge import by_scikit_learn
from valence.brain.correlations import share_as_large
from valence.brain.permutations import class_orders, refitted, sample
from valence.brain.ridge import linear_folds, predicted, ridge_r, row_correlations

LABELS = np.repeat(range(4), [3, 2, 3, 3])


def world(seed: int = 0, *, rest: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=4)[LABELS] + rest * rng.normal(size=len(LABELS))
    return rng.normal(size=(len(LABELS), 20)) + 0.5 * rng.normal(size=(4, 20))[LABELS], values


@pytest.mark.parametrize("rest", [0.0, 0.3])
@pytest.mark.parametrize("groups", [np.arange(len(LABELS)), LABELS], ids=["a clip", "a class"])
def test_every_order_is_what_refitting_by_hand_gives(groups, rest):
    x, values = world(rest=rest)
    orders = class_orders(values, LABELS)
    assert len(orders.values) == 24
    found = refitted(linear_folds(x, groups), orders)
    means = np.bincount(LABELS, weights=values) / np.bincount(LABELS)
    by_hand = {}
    for order in itertools.permutations(range(4)):
        target = means[list(order)][LABELS] + values - means[LABELS]
        predictions, _ = by_scikit_learn(x, target, groups)
        by_hand[tuple(np.round(means[list(order)], 9))] = np.corrcoef(predictions, target)[0, 1]
    for given, r in zip(orders.values, found, strict=True):
        assert r == pytest.approx(by_hand[tuple(np.round(given, 9))], abs=1e-7)


def test_the_observed_order_is_among_them_with_its_own_r():
    x, values = world()
    folds, orders = linear_folds(x, LABELS), class_orders(values, LABELS)
    own = np.flatnonzero((np.abs(orders.values - orders.own) < 1e-9).all(axis=1))
    assert len(own) == 1
    r = ridge_r(folds, values)
    null = refitted(folds, orders)
    assert null[own[0]] == pytest.approx(r, abs=1e-9)
    assert share_as_large(r, null) == pytest.approx(np.mean(null >= null[own[0]]))
    assert share_as_large(null.max(), null) == pytest.approx(1 / 24)


def test_blocks_do_not_change_the_result(monkeypatch):
    x, values = world()
    folds, orders = linear_folds(x, np.arange(len(LABELS))), class_orders(values, LABELS)
    whole = refitted(folds, orders)
    monkeypatch.setattr("valence.brain.permutations.BLOCK_BYTES", 8 * 4 * len(LABELS) * 13)
    np.testing.assert_allclose(refitted(folds, orders), whole, atol=1e-12)


def test_a_statistic_sees_pooled_predictions_and_targets_in_one_order():
    x, values = world()
    folds, orders = linear_folds(x, LABELS[::-1]), class_orders(values, LABELS)
    seen = {}

    def statistic(predictions, targets):
        seen["predictions"], seen["targets"] = predictions, targets
        return np.stack([row_correlations(predictions, targets)] * 2, axis=1)

    found = refitted(folds, orders, statistic)
    assert found.shape == (24, 2)
    own = int(np.flatnonzero((np.abs(orders.values - orders.own) < 1e-9).all(axis=1))[0])
    predictions, clips, _ = predicted(folds, values)
    np.testing.assert_allclose(seen["predictions"][own], predictions, atol=1e-9)
    np.testing.assert_allclose(seen["targets"][own], values[clips], atol=1e-9)


def test_tied_classes_give_their_distinct_orders_once():
    signs = np.array([-1.0, -1, 0, 1, 1])
    orders = class_orders(signs, np.arange(5))
    assert len(orders.values) == math.factorial(5) // 4
    assert len(np.unique(orders.values, axis=0)) == len(orders.values)
    assert orders.words == "all 120 class permutations, 30 of them distinct"


def test_five_classes_have_120_orders():
    orders = class_orders(np.array([0.1, -2, 1, 0.4, 0.9]), np.arange(5))
    assert len(orders.values) == 120
    assert not orders.rest.any()
    assert orders.words == "all 120 class permutations"


def test_nine_classes_have_all_362880_with_what_clips_differ_by_in_place():
    cohort = scalp_cohort(noise(0))
    orders = class_orders(RATED.clip_values, cohort.class_of_clip)
    assert orders.values.shape == (362_880, 9)
    assert len(np.unique(orders.values @ np.logspace(0, 1, 9))) == 362_880
    np.testing.assert_allclose(orders.own[orders.labels] + orders.rest, RATED.clip_values, atol=1e-9)
    assert np.abs(np.bincount(orders.labels, weights=orders.rest)).max() < 1e-9


def test_within_the_sign_classes_change_places_among_themselves():
    values, codes = np.array([-1.5, -1.2, -0.9, 0.0, 1.0, 1.4]), np.array([-1, -1, -1, 0, 1, 1])
    orders = class_orders(values, np.arange(6), within=codes)
    assert len(np.unique(orders.values, axis=0)) == len(orders.values) == 12
    for code in (-1, 0, 1):
        assert set(orders.values[:, codes == code].ravel()) == set(values[codes == code])
    assert orders.words == "all 12 class permutations within the sign"


def test_a_sample_has_the_observed_order_in_front():
    orders = class_orders(np.arange(7.0), np.arange(7))
    some = sample(orders, 100)
    assert len(some.values) == 100
    np.testing.assert_array_equal(some.values[0], np.arange(7))
    assert len(np.unique(some.values, axis=0)) > 90
    assert some.words == "100 random ones of all 5,040 class permutations"
    assert sample(orders, 5_040) is orders


FULL = """
import time, numpy as np
from tests.memory import peak_mib
from tests.valence.scalp_cohorts import RATED, noise, scalp_cohort
from valence.brain.permutations import class_orders, refitted
from valence.brain.ridge import flat, linear_folds
cohort = scalp_cohort(noise(0))
folds = linear_folds(flat(cohort.clip_means()), np.arange(28))
before, started = peak_mib(), time.monotonic()
found = refitted(folds, class_orders(RATED.clip_values, cohort.class_of_clip))
assert len(found) == 362_880
print(peak_mib() - before, time.monotonic() - started)
"""


def test_all_permutations_of_nine_classes_stay_within_time_and_memory():
    grown_mib, seconds = map(float, printed_by(FULL).split())
    assert grown_mib < 1_000
    assert seconds < 60
