"""Regions against loops, brute force and planted places, at 30 and 62 channels; intervals against scipy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tests.valence.scalp_cohorts import (
    BANDS,
    CH_NAMES,
    CODED,
    FIVE,
    RATED,
    clip_target,
    faced_cohort,
    noise,
    one_row,
    scalp_cohort,
)
from valence.brain import regions
from valence.brain.class_null import CLIPS, SCALED
from valence.brain.correlations import correlations
from valence.brain.resampled import interval, resampled, without_one
from valence.errors import BadInput
from valence.montage import MONTAGE
from valence.seed_v_files import CH_NAMES as SEED_V

OF_FIVE = clip_target(np.random.default_rng(0).normal(size=5)[FIVE], FIVE)


def test_regions_of_faced_are_these():
    members = {
        region: {name for name, of in zip(CH_NAMES, regions.regions_of(CH_NAMES), strict=True) if of == region}
        for region in regions.REGIONS
    }
    assert members == {
        "occipital": {"PO3", "PO4", "Oz", "O1", "O2"},
        "parietal": {"CP1", "CP2", "CP5", "CP6", "Pz", "P3", "P4", "P7", "P8"},
        "central": {"FC1", "FC2", "FC5", "FC6", "Cz", "C3", "C4"},
        "temporal": {"T7", "T8"},
        "frontal": {"Fp1", "Fp2", "Fz", "F3", "F4", "F7", "F8"},
    }


def test_every_electrode_of_the_montage_but_the_mastoids_has_a_region():
    import mne

    names = tuple(mne.channels.make_standard_montage(MONTAGE).ch_names)
    without = {name for name, of in zip(names, regions.regions_of(names), strict=True) if not of}
    assert without == {"A1", "A2", "M1", "M2"}
    assert all(regions.regions_of(SEED_V))
    assert regions.regions_of(("CB1", "oz", "FPZ")) == ("occipital", "occipital", "frontal")


def test_an_electrode_that_the_montage_does_not_know_is_named():
    with pytest.raises(BadInput, match="no position is known for channels HEOR, X9"):
        regions.regions_of(("Cz", "HEOR", "X9"))


def test_means_are_those_of_a_loop_over_cells():
    de = noise(1, 3)
    found = regions.rows(scalp_cohort(de), RATED)
    r = np.abs(correlations(de.mean(axis=(0, 3)).reshape(28, -1), RATED.clip_values)).reshape(30, 5)
    of = regions.regions_of(CH_NAMES)
    for region in regions.REGIONS:
        chosen = [place for place, name in enumerate(of) if name == region]
        row = one_row(found, protocol=CLIPS, item=region)
        assert row.value == pytest.approx(r[chosen].mean(), abs=1e-6)
        assert row.ci_low < row.value < row.ci_high
        for place, band in enumerate(BANDS):
            row = one_row(found, protocol=f"{CLIPS}, by band", item=f"{region} {band}")
            assert row.value == pytest.approx(r[chosen, place].mean(), abs=1e-6)
    mean = {region: one_row(found, protocol=CLIPS, item=region).value for region in regions.REGIONS}
    contrast = one_row(found, protocol=CLIPS, item="occipital - frontal")
    assert contrast.value == pytest.approx(mean["occipital"] - mean["frontal"])


def test_p_is_that_of_brute_force():
    de = noise(2, 3, labels=FIVE, n_steps=1)
    de[:, :, 25:] += 1.5 * OF_FIVE.clip_values[:, None, None, None]
    found = regions.rows(scalp_cohort(de, labels=FIVE), OF_FIVE)
    means, of = de.mean(axis=(0, 3)).reshape(12, -1), np.repeat(regions.regions_of(CH_NAMES), 5)
    null = []
    for order in itertools.permutations(range(5)):
        r = np.abs(correlations(means, OF_FIVE.class_values[list(order)][FIVE]))
        null.append((r[of == "occipital"].mean(), r[of == "occipital"].mean() - r[of == "frontal"].mean()))
    null = np.array(null)
    occipital, contrast = (one_row(found, protocol=CLIPS, item=item) for item in ("occipital", "occipital - frontal"))
    assert occipital.p == pytest.approx(np.mean(null[:, 0] >= occipital.value - 1e-6))
    above = np.mean(null[:, 1] >= contrast.value - 1e-6)
    assert contrast.p == pytest.approx(min(1, 2 * min(above, np.mean(null[:, 1] <= contrast.value + 1e-6))))
    assert occipital.p < 0.1


def test_a_planted_region_stands_out_at_30_and_at_62_channels():
    for ch_names in (CH_NAMES, SEED_V):
        of = np.array(regions.regions_of(ch_names))
        de = noise(3, 4, n_chans=len(ch_names), n_steps=1)
        de[:, :, of == "occipital"] += CODED.clip_values[:, None, None, None]
        found = regions.rows(scalp_cohort(de, ch_names=ch_names), CODED)
        for protocol in (CLIPS, SCALED):
            by_region = {region: one_row(found, protocol=protocol, item=region) for region in regions.REGIONS}
            assert (
                by_region["occipital"].value
                > 0.7
                > 0.3
                > max(row.value for region, row in by_region.items() if region != "occipital")
            )
            assert by_region["occipital"].p < 0.02
            contrast = one_row(found, protocol=protocol, item="occipital - frontal")
            assert contrast.ci_low > 0
            assert contrast.p < 0.05


def test_a_region_without_channels_has_a_reason():
    de = noise(4, 3, n_chans=2)
    found = regions.rows(scalp_cohort(de, ch_names=("Fz", "Cz")), RATED)
    row = one_row(found, protocol=CLIPS, item="occipital")
    assert row.value is None
    assert row.reason == "the data set has no occipital channel"
    assert not [row for row in found if " - " in row.item]


def test_jackknife_of_a_mean_is_students_interval():
    x = np.random.default_rng(5).normal(size=(9, 4, 2))
    x -= x.mean(axis=1, keepdims=True)
    low, high = interval(x, lambda left: left[:, 0], x.mean(axis=0)[0])
    for place in range(2):
        expected = stats.ttest_1samp(x[:, 0, place], 0).confidence_interval()
        assert (low[place], high[place]) == pytest.approx((expected.low, expected.high))


def test_means_without_one_subject_leave_out_what_is_missing():
    x = np.random.default_rng(6).normal(size=(5, 4, 3))
    x[2, 1] = np.nan
    centred = x - np.nanmean(x, axis=1, keepdims=True)
    expected = [np.nanmean(np.delete(centred, subject, axis=0), axis=0) for subject in range(5)]
    np.testing.assert_allclose(np.concatenate(list(without_one(x))), expected)
    x[1:, 0] = np.nan
    assert sum(map(len, without_one(x))) == 4  # without the first subject nobody has the first clip
    assert np.isnan(interval(x[:1], lambda left: left[:, 0], np.zeros(3))[0]).all()


def test_draws_are_means_over_the_drawn():
    x = np.zeros((6, 2, 1))
    x[:, 0, 0] = [1, 10, 100, 1000, 10000, 100000]
    x -= x.mean(axis=1, keepdims=True)
    drawn = np.concatenate(list(resampled(2 * x, n=200)))[:, 0, 0] * 6
    digits = [[int(digit) for digit in f"{round(value):06d}"] for value in drawn]
    assert all(sum(row) == 6 for row in digits)
    assert np.std([row[0] for row in digits]) > 0.5


@pytest.mark.parametrize("signal", [0.0, 2.0])
def test_intervals_cover(signal):
    rng = np.random.default_rng(7)
    values, clips = rng.normal(size=28), rng.normal(size=(28, 4))
    clips[:, 0] += values

    def statistic(means):
        r = correlations(means, values)
        return np.stack([r[..., 0], np.abs(r).mean(axis=-1)], axis=-1)

    # the mean of 25 subjects with noise 5 has noise 1
    truth = np.mean([statistic(signal * clips + rng.normal(size=(28, 4))) for _ in range(4_000)], axis=0)
    covered = []
    for _ in range(150):
        x = signal * clips + 5 * rng.normal(size=(25, 28, 4))
        low, high = interval(x, statistic, statistic(x.mean(axis=0)))
        covered.append((low <= truth) & (truth <= high))
    assert (np.mean(covered, axis=0) > 0.89).all()


def test_on_the_real_data_occipital_lies_above_frontal_until_subjects_count_alike(shared_data):
    found = regions.rows(faced_cohort(shared_data), RATED)
    study = {"occipital": 0.212, "parietal": 0.181, "central": 0.180, "frontal": 0.162}
    for region, value in study.items():  # with an LLM's axis, of 123 subjects
        assert one_row(found, protocol=CLIPS, item=region).value == pytest.approx(value, abs=0.04)
    contrast = one_row(found, protocol=CLIPS, item="occipital - frontal")
    assert contrast.value == pytest.approx(0.05, abs=0.03)
    assert contrast.ci_low < 0 < contrast.ci_high
    assert contrast.p > 0.2
    assert one_row(found, protocol=SCALED, item="occipital - frontal").value < 0.03
