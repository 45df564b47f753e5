"""Pairing by seed and test subject."""

import numpy as np
import pandas as pd

from valence.stats.paired import pair


def test_pairing_is_by_seed_and_subject():
    arm = pd.DataFrame([[0.6, 0.5], [0.7, 0.4]], index=[7, 3], columns=["b", "a"])
    reference = pd.DataFrame([[0.1, 0.2], [0.3, 0.4], [0.9, 0.9]], index=[3, 7, 5], columns=["a", "b"])
    paired = pair(arm, reference)
    assert paired.seeds == (3, 7)
    assert paired.subjects == ("a", "b")
    np.testing.assert_allclose(paired.table, [[0.3, 0.5], [0.2, 0.2]])
    assert paired.n_missing == 1


def test_a_seed_without_one_subject_is_left_out_and_counted():
    arm = pd.DataFrame([[0.6, np.nan], [0.7, 0.4]], index=[1, 2], columns=["a", "b"])
    reference = pd.DataFrame(0.5, index=[1, 2], columns=["a", "b", "c"])
    paired = pair(arm, reference)
    assert (paired.seeds, paired.subjects, paired.n_missing) == ((2,), ("a", "b"), 1)
