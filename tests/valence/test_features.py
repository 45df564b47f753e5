"""Differential entropy and band-pass against closed forms and against scipy's own filters."""

import numpy as np
import pytest
import scipy.signal

from valence.datasets.faced import Faced
from valence.errors import BadInput
from valence.features import (
    BANDS,
    STUDY_BANDS,
    Band,
    band_gain,
    band_passed,
    band_power,
    differential_entropy,
    mne_gain,
)

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


@pytest.mark.parametrize("bands", [BANDS, STUDY_BANDS])
def test_power_is_what_the_entropy_is_the_log_of(bands):
    x = np.random.default_rng(5).normal(scale=12, size=(2, 3, 2000)).astype(np.float32)
    power = band_power(x, sfreq=SFREQ, bands=bands, step_s=2)
    assert (power.shape, power.dtype) == ((2, 3, 4, 5), np.float32)
    entropy = differential_entropy(x, sfreq=SFREQ, bands=bands, step_s=2)
    np.testing.assert_allclose(entropy, entropy_of(power.astype(float)), atol=1e-5)


def test_the_studys_bands_are_those_of_its_text():
    edges = [(band.low_hz, band.high_hz) for band in STUDY_BANDS]
    assert edges == [(0.5, 4), (4, 8), (8, 13), (13, 30), (30, 47)]
    assert [band.name for band in STUDY_BANDS] == [band.name for band in BANDS]


def test_powers_of_bands_that_fill_the_spectrum_sum_to_the_variance():
    x = np.random.default_rng(6).normal(scale=12, size=(40, 7500))
    bands = [Band("low", 0, 0.5), *STUDY_BANDS, Band("high", 47, 125)]
    power = np.stack([y.var(axis=1) for y in band_passed(x, sfreq=SFREQ, bands=bands)])
    np.testing.assert_allclose(power.sum(axis=0), x.var(axis=1), rtol=0.02)  # Parseval, but for the mirrored ends
    for band, mean in zip(bands, power.mean(axis=1)):
        assert mean == pytest.approx(144 * (band.high_hz - band.low_hz) / 125, rel=0.05), band.name


@pytest.mark.parametrize("bands", [BANDS, STUDY_BANDS])
def test_mnes_edges_are_those_of_mnes_filter(bands):
    import mne

    x = np.random.default_rng(7).normal(scale=12, size=(3, 7500))
    inside = slice(1000, -1000)  # at the ends the two go on differently
    for band, y in zip(bands, band_passed(x, sfreq=SFREQ, bands=bands, edges="mne")):
        expected = mne.filter.filter_data(x, SFREQ, band.low_hz, band.high_hz, verbose="error")
        np.testing.assert_allclose(y[:, inside], expected[:, inside], atol=1e-10)
    whole = next(band_passed(x, sfreq=SFREQ, bands=[Band("all", 0, 125)], edges="mne"))
    np.testing.assert_allclose(whole, x, atol=1e-10)


@pytest.mark.parametrize("n_times", [250, 675, 7500])
def test_mnes_edges_pass_half_the_amplitude_beside_the_band_at_any_length(n_times):
    frequencies = np.linspace(0, 125, n_times // 2 + 1)
    gain = mne_gain(frequencies, band=Band("theta", 4, 8))
    np.testing.assert_allclose(np.interp([1, 3, 6, 9, 11], frequencies, gain), [0, 0.5, 1, 0.5, 0], atol=0.03)


def test_edges_that_are_not_known_are_refused():
    with pytest.raises(BadInput, match="sharp"):
        band_power(np.zeros((1, 500)), sfreq=SFREQ, edges="shrap")


@pytest.fixture(scope="module")
def published(shared_data) -> np.ndarray:
    """DE of 100 subjects: (subjects, 28 clips, 30 channels without mastoids, 30 s, 5 bands)."""
    faced = Faced(shared_data / "faced")
    return np.stack([np.stack(faced.load(subject, "de").clips)[:, :30] for subject in faced.subjects("de")])


def scatter(entropy: np.ndarray) -> np.ndarray:
    """Robust standard deviation from second to second of each band, (n_bands,)."""
    steps = np.abs(np.diff(entropy, axis=-2)).reshape(-1, entropy.shape[-1])
    return np.median(steps, axis=0) / (0.6745 * np.sqrt(2))


def noise_scatter(bands, edges: str) -> np.ndarray:
    """Of stationary noise with power falling as 1, 1/f and 1/f², (3, n_bands): Gaussian signals have no less."""
    frequencies = np.fft.rfftfreq(7500, 1 / SFREQ)
    white = np.fft.rfft(np.random.default_rng(0).normal(size=(300, 7500)))
    coloured = [np.fft.irfft(white / np.maximum(frequencies, 0.3) ** (power / 2), 7500) for power in (0, 1, 2)]
    return np.array([scatter(differential_entropy(x, sfreq=SFREQ, bands=bands, edges=edges)) for x in coloured])


def test_the_published_features_scatter_like_half_the_log_variance(published):
    ratio = scatter(published) / noise_scatter(Faced.bands, "mne")
    assert (ratio > 0.7).all()
    assert (ratio < 1.5).all()  # ln σ² would scatter twice as much, log2 of it three times


def test_the_published_bands_are_wider_than_sharp_edges_make_them(published):
    """The quieter quarter of channels by even clips, judged by odd clips, so that choosing does not make them quiet."""
    steps = np.abs(np.diff(published, axis=3))
    chosen = np.median(steps[:, ::2], axis=(1, 3))
    quiet = chosen <= np.quantile(chosen, 0.25, axis=(0, 1))
    clips = published[:, 1::2].transpose(4, 0, 2, 1, 3)  # band, subject, channel, clip, second
    theta, alpha = (float(scatter(clips[band][quiet[..., band]][..., None])[0]) for band in (1, 2))
    sharp, mnes = noise_scatter(BANDS, "sharp").min(axis=0), noise_scatter(BANDS, "mne").max(axis=0)
    sharp_study, mnes_study = (
        noise_scatter(STUDY_BANDS, "sharp").min(axis=0),
        noise_scatter(STUDY_BANDS, "mne").max(axis=0),
    )
    assert mnes[1] < theta < sharp[1] - 0.003
    assert mnes[2] < alpha < sharp_study[2] - 0.003
    assert mnes_study[2] < alpha  # with slopes, 8–13 Hz fits as well as 8–14: the files cannot tell


def test_the_published_levels_are_microvolts_with_a_falling_spectrum(published):
    level = np.median(published, axis=(0, 1, 2, 3)).astype(float)
    power = np.exp(2 * level) / (2 * np.pi * np.e)
    assert 2 < np.sqrt(power.sum()) < 20  # µV
    density = power / [band.high_hz - band.low_hz for band in BANDS]
    assert (np.diff(np.log(density)) < -0.4).all()
