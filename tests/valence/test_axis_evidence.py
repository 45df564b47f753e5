"""Evidence for an axis: noise has none by any method, and what is planted is found by all."""

import numpy as np
import pytest

from tests.valence.planted_axis import planted
from valence.axis_evidence import evidence, polarity_r
from valence.axis_methods import METHODS
from valence.axis_threshold import detection_threshold
from valence.stories import EMOTIONS

N_DRAWS = 12


@pytest.mark.parametrize("method", METHODS)
def test_noise_is_not_called_an_axis_by_any_method(method):
    found = []
    for seed in range(N_DRAWS):
        activations, emotions, sets, _ = planted(strength=0.0, style=0.0, identity=0.0, n=2, d_model=100, seed=seed)
        found.append(evidence(activations, emotions, sets, method=method))
    assert sum(row["p_codes"] < 0.05 for row in found) <= 2
    assert sum(row["detected"] for row in found) <= 2
    # |r| over nine values without any relation is .27 on average
    assert np.mean([abs(row["r_codes"]) for row in found]) < 0.45
    random = [row["p_random"] for row in found]
    assert np.isnan(random).all() if METHODS[method].supervised else sum(p < 0.05 for p in random) <= 2


@pytest.mark.parametrize("method", METHODS)
def test_what_is_planted_is_found_by_every_method(method):
    activations, emotions, sets, _ = planted(n=4, d_model=100)
    found = evidence(activations, emotions, sets, method=method)
    assert found["r_codes"] > 0.9
    assert found["p_codes"] < 0.01
    assert found["detected"] is True
    assert found["detection_threshold"] == detection_threshold(len(EMOTIONS))
    assert METHODS[method].supervised or found["p_random"] < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_one_text_of_a_class_and_set_is_enough_for_r(method):
    """As of nonce stories, of which there is one for each class and set."""
    values = []
    for seed in range(N_DRAWS):
        activations, emotions, sets, _ = planted(strength=0.0, style=0.0, identity=0.0, n=1, d_model=100, seed=seed)
        values.append(polarity_r(activations, emotions, sets, method=method))
    assert np.mean(np.abs(values)) < 0.45


def test_one_story_set_is_tried_on_classes_left_out():
    activations, emotions, sets, _ = planted(n=4, sets=("a",))
    assert polarity_r(activations, emotions, sets, method="mean_difference") > 0.9
