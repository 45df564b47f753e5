"""Differential entropy and band-pass against closed forms and against scipy's own filters."""

import numpy as np
import pytest
import scipy.signal

from valence.datasets.faced import Faced
from valence.errors import BadInput
from valence.features import BANDS, Band, band_gain, band_passed, differential_entropy

SFREQ = 250.0
TIMES = np.arange(7500) / SFREQ


def entropy_of(variance: float) -> float:
    return 0.5 * np.log(2 * np.pi * np.e * variance)


@pytest.mark.parametrize("frequency_hz", [2, 6, 11, 22, 38])
@pytest.mark.parametrize("amplitude_uv", [0.5, 20.0])
def test_a_sinusoid_has_the_entropy_of_half_its_squared_amplitude(frequency_hz, amplitude_uv):
    x = amplitude_uv * np.sin(2 * np.pi * frequency_hz * TIMES + 0.3)
    entropy = differential_entropy(x[None], sfreq=SFREQ)[0]
    inside = [band.low_hz < frequency_hz < band.high_hz for band in BANDS].index(True)
    np.testing.assert_allclose(entropy[2:-2, inside], entropy_of(amplitude_uv**2 / 2), atol=0.01)
    others = np.delete(entropy[2:-2], inside, axis=1)
    assert (others < entropy_of(amplitude_uv**2 / 2) - 3).all()  # below e**-6 of the power


def test_white_noise_has_the_entropy_of_its_share_of_the_spectrum():
    x = np.random.default_rng(0).normal(scale=10, size=(200, 7500))
    variance = np.exp(2 * differential_entropy(x, sfreq=SFREQ).astype(np.float64)) / (2 * np.pi * np.e)
    for index, band in enumerate(BANDS):
        expected = 100 * (band.high_hz - band.low_hz) / (SFREQ / 2)
        assert variance[..., index].mean() == pytest.approx(expected, rel=0.015), band.name
        assert variance[:, [0, -1], index].mean() == pytest.approx(expected, rel=0.06), band.name


def test_band_passed_noise_agrees_with_a_butterworth_filter():
    x = np.random.default_rng(1).normal(size=(20, 7500)).cumsum(axis=1) * 0.1  # steep, like slow drift
    x -= x.mean(axis=1, keepdims=True)
    entropy = differential_entropy(x, sfreq=SFREQ)
    for index, band in enumerate(BANDS):
        filter_ = scipy.signal.butter(6, (band.low_hz, band.high_hz), "bandpass", fs=SFREQ, output="sos")
        y = scipy.signal.sosfiltfilt(filter_, x, axis=1)
        expected = entropy_of(y.reshape(20, 30, 250).var(axis=2))
        # run twice, the filter is a little narrower: a quarter of the power passes at its edges
        assert np.abs(entropy[..., index] - expected).mean() < 0.12, band.name
        assert abs((entropy[..., index] - expected).mean()) < 0.08, band.name


def test_power_agrees_with_welch():
    x = np.random.default_rng(2).normal(size=(50, 7500))
    frequencies, density = scipy.signal.welch(x, SFREQ, nperseg=1000)
    for band, y in zip(BANDS, band_passed(x, sfreq=SFREQ, bands=BANDS), strict=True):
        inside = (frequencies >= band.low_hz) & (frequencies < band.high_hz)
        welch = density[:, inside].sum(axis=1).mean() * (frequencies[1] - frequencies[0])
        assert y.var(axis=1).mean() == pytest.approx(welch, rel=0.03), band.name


def test_neighbouring_bands_share_out_the_power():
    frequencies = np.linspace(0, 125, 5001)
    bands = [Band("l", 0, 1), *BANDS, Band("h", 47, 125)]
    power = sum(band_gain(frequencies, band=band) ** 2 for band in bands)
    np.testing.assert_allclose(power, 1, atol=1e-12)
    x = np.random.default_rng(3).normal(size=(3, 5000))
    whole = next(band_passed(x, sfreq=SFREQ, bands=[Band("all", 0, 125)]))
    np.testing.assert_allclose(whole, x, atol=1e-10)


def test_half_the_power_passes_at_an_edge():
    power = band_gain(np.array([7, 8, 8.5, 11, 13.5, 14, 15]), band=Band("alpha", 8, 14)) ** 2
    np.testing.assert_allclose(power, [0, 0.5, 1, 1, 1, 0.5, 0], atol=1e-12)


def test_ends_of_a_drifting_signal_do_not_leak():
    drift = 200 * TIMES / 30 + 50
    alpha = 5 * np.sin(2 * np.pi * 11 * TIMES)
    entropy = differential_entropy((drift + alpha)[None], sfreq=SFREQ)[0]
    np.testing.assert_allclose(entropy[:, 2], entropy_of(12.5), atol=0.15)


def test_leading_dimensions_bands_and_steps_are_free():
    x = np.random.default_rng(4).normal(size=(2, 3, 2000)).astype(np.float32)
    entropy = differential_entropy(x, sfreq=200, bands=[Band("wide", 1, 60), Band("low", 1, 10)], step_s=2.5)
    assert entropy.shape == (2, 3, 4, 2)
    assert entropy.dtype == np.float32
    alone = differential_entropy(x[1, 2], sfreq=200, bands=[Band("low", 1, 10)], step_s=2.5)
    np.testing.assert_allclose(entropy[1, 2, :, 1], alone[:, 0], atol=1e-4)


def test_a_constant_channel_has_minus_infinity():
    assert np.isneginf(differential_entropy(np.zeros((1, 500)), sfreq=SFREQ)).all()


@pytest.mark.parametrize(
    "band", [Band("high", 30, 130), Band("empty", 8, 8), Band("reversed", 9, 4), Band("below", -1, 4)]
)
def test_bands_that_do_not_fit_are_refused(band):
    with pytest.raises(BadInput, match=f"band {band.name}"):
        differential_entropy(np.zeros((1, 500)), sfreq=SFREQ, bands=[band])


@pytest.mark.parametrize(("n_times", "step_s"), [(510, 1.0), (500, 0.333), (500, 0.004), (0, 1.0)])
def test_signals_that_are_not_whole_steps_are_refused(n_times, step_s):
    with pytest.raises(BadInput, match="whole number of steps"):
        differential_entropy(np.zeros((1, n_times)), sfreq=SFREQ, step_s=step_s)


def test_the_published_features_scatter_like_half_the_log_variance(shared_data):
    faced = Faced(shared_data / "faced")
    published = np.stack([faced.load(subject, "de") for subject in faced.subjects("de")[::5]])
    noise = np.random.default_rng(0).normal(size=(100, 7500))
    ours = differential_entropy(noise, sfreq=SFREQ, bands=Faced.bands)[None, None]
    ratio = np.median(np.abs(np.diff(published, axis=3)), axis=(0, 1, 2, 3)) / np.median(
        np.abs(np.diff(ours, axis=3)), axis=(0, 1, 2, 3)
    )
    assert (ratio > 0.7).all()
    assert (ratio < 1.4).all()  # ln σ² would scatter twice as much
