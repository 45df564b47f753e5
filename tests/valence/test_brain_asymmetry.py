"""Right against left: pairs by name and place, scipy's interval, brute force, a planted difference, the real data."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tests.valence.scalp_cohorts import (
    CH_NAMES,
    FIVE,
    LABELS,
    RATED,
    clip_target,
    faced_cohort,
    noise,
    one_row,
    scalp_cohort,
)
from valence.brain import asymmetry
from valence.brain.asymmetry import CORRELATION, DIFFERENCE, homologous_pairs
from valence.brain.rows import NotPossible
from valence.errors import BadInput
from valence.seed_v_files import CH_NAMES as SEED_V

FIVE_CLASSES = ("disgust", "fear", "sadness", "neutral", "joy")


def named(ch_names):
    return [f"{ch_names[right]}-{ch_names[left]}" for right, left in homologous_pairs(ch_names)]


def test_pairs_of_faced_and_of_seed_v():
    frontal = {"Fp2-Fp1", "F4-F3", "F8-F7", "FC2-FC1", "FC6-FC5"}
    behind = {"C4-C3", "T8-T7", "CP2-CP1", "CP6-CP5", "P4-P3", "P8-P7", "PO4-PO3", "O2-O1"}
    assert sorted(named(CH_NAMES)) == sorted(frontal | behind)
    pairs = named(SEED_V)
    assert len(pairs) == 27
    assert {"FP2-FP1", "CB2-CB1", "PO8-PO7", "AF4-AF3"} <= {pair.upper() for pair in pairs}
    assert named(("AFF5h", "AFF6h", "Cz", "F3")) == ["AFF6h-AFF5h"]


def test_an_electrode_without_a_place_is_named():
    with pytest.raises(BadInput, match="no position is known for channel VEO"):
        homologous_pairs(("F3", "F4", "VEO"))


def test_difference_interval_and_p_are_those_of_scipy_and_brute_force():
    de = noise(0, 6, labels=FIVE)
    cohort = scalp_cohort(de, labels=FIVE, classes=FIVE_CLASSES)
    target = clip_target(np.array([-1.0, -0.8, -1.2, 0, 1])[FIVE], FIVE)
    row = one_row(asymmetry.rows(cohort, target), protocol=DIFFERENCE, item="F8-F7 alpha")
    right_left = (de[:, :, 6] - de[:, :, 5])[..., 2].mean(axis=2)
    codes = np.array([-1, -1, -1, 0, 1])
    contrasts = right_left[:, FIVE == 4].mean(axis=1) - right_left[:, FIVE <= 2].mean(axis=1)
    assert row.value == pytest.approx(contrasts.mean(), abs=1e-6)
    expected = stats.ttest_1samp(contrasts, 0).confidence_interval()
    assert (row.ci_low, row.ci_high) == pytest.approx((expected.low, expected.high), abs=1e-5)
    assert row.n == 6
    of_clips, null = right_left.mean(axis=0), []
    for order in set(itertools.permutations(codes.tolist())):
        given = np.array(order)[FIVE]
        null.append(abs(of_clips[given > 0].mean() - of_clips[given < 0].mean()))
    assert len(null) == 20
    assert row.p == pytest.approx(np.mean(np.array(null) >= abs(row.value) - 1e-6))


def test_a_planted_asymmetry_is_found_with_its_size():
    de = noise(1, 40, n_steps=1)
    signs = np.sign(LABELS - 4)
    de[:, :, 4, :, 2] += 0.6 * signs[:, None]
    found = asymmetry.rows(scalp_cohort(de), RATED)
    row = one_row(found, protocol=DIFFERENCE, item="F4-F3 alpha")
    assert row.ci_low < 1.2 < row.ci_high
    assert row.p < 0.01
    r = one_row(found, protocol=CORRELATION, item="F4-F3 alpha")
    assert r.note == "the strongest of all"
    assert r.p < 0.05
    expected = np.corrcoef((de[:, :, 4] - de[:, :, 3])[..., 0, 2].mean(axis=0), RATED.clip_values)[0, 1]
    assert r.value == pytest.approx(expected, abs=1e-6)


def test_what_has_no_pairs_or_no_signs_is_a_reason():
    with pytest.raises(NotPossible, match="mirror images"):
        asymmetry.rows(scalp_cohort(noise(2, 3, n_chans=2), ch_names=("Fz", "Cz")), RATED)
    with pytest.raises(NotPossible, match="no clips of positive"):
        asymmetry.rows(scalp_cohort(noise(3, 3), classes=tuple(f"class {label}" for label in range(9))), RATED)


def test_on_the_real_data_alpha_is_near_the_study(shared_data):
    found = asymmetry.rows(faced_cohort(shared_data), RATED)
    study = {"F4-F3 alpha": 0.0062, "F8-F7 alpha": 0.0155, "Fp2-Fp1 alpha": 0.0116}
    for item, value in study.items():  # of 123 subjects
        row = one_row(found, protocol=DIFFERENCE, item=item)
        assert row.value == pytest.approx(value, abs=0.003)
        assert row.ci_low < value < row.ci_high
