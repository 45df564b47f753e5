"""Processing: what is accepted, its identity, and the filters against their own design in scipy."""

import dataclasses

import numpy as np
import pytest
import scipy.signal

from tests.valence.scalp_field import CH_NAMES, SFREQ, blinks_uv, brain_uv, eye_topography
from valence.errors import BadInput
from valence.processing import Processing, process, to_raw

EVERYTHING = Processing(
    name="everything",
    low_hz=0.5,
    high_hz=47,
    notch_hz=50,
    sfreq_hz=200,
    interpolate="detected",
    reference="average",
    ica_components=12,
)
SINGLE_STEPS = (
    Processing(notch_hz=50),
    Processing(low_hz=0.5, high_hz=47),
    Processing(interpolate="detected"),
    Processing(ica_components=12),
    Processing(reference="average"),
    Processing(sfreq_hz=200),
)
"""of EVERYTHING, in the documented order"""


def uv(raw) -> np.ndarray:
    return raw.get_data() * 1e6


def done(x_uv: np.ndarray, *, sfreq: float = SFREQ, ch_names=None, **steps) -> np.ndarray:
    names = [f"E{channel}" for channel in range(len(x_uv))] if ch_names is None else ch_names
    return uv(process(to_raw(x_uv, sfreq=sfreq, ch_names=names), Processing(**steps))[0])


@pytest.fixture(scope="module")
def damaged() -> np.ndarray:
    """A minute of EEG with blinks, mains hum, a flat channel and a noisy one: float32, (32, 15000), µV."""
    rng = np.random.default_rng(5)
    x = brain_uv(5, 60) + 8 * np.sin(2 * np.pi * 50 * np.arange(15000) / SFREQ)
    x += eye_topography()[:, None] * blinks_uv(5, 60)
    x[5], x[14] = 0.0, rng.normal(scale=20, size=15000)
    return x.astype(np.float32)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"low_hz": 40, "high_hz": 30}, "low_hz is 40, high_hz 30"),
        ({"low_hz": 30, "high_hz": 30}, "low_hz below high_hz"),
        ({"low_hz": -1}, "low_hz is -1"),
        ({"sfreq_hz": -200}, "sfreq_hz is -200"),
        ({"notch_hz": float("nan")}, "notch_hz is nan"),
        ({"high_hz": float("inf")}, "high_hz is inf"),
        ({"high_hz": 75, "sfreq_hz": 128}, "half of sfreq_hz"),
        ({"ica_components": 1}, "ica_components is 1"),
        ({"ica_components": 2.5}, "ica_components is 2.5"),
        ({"interpolate": "detect"}, "detected"),
        ({"reference": "mastoids"}, "average"),
    ],
)
def test_nonsense_is_refused_at_birth(fields, told):
    with pytest.raises(BadInput, match=told):
        Processing(**fields)


def test_the_hash_is_of_every_field_but_the_name():
    assert len(EVERYTHING.hash) == 8
    assert dataclasses.replace(EVERYTHING, name="other").hash == EVERYTHING.hash
    assert Processing(low_hz=1).hash == Processing(low_hz=1.0).hash
    others = {"interpolate": "marked", "reference": ""}
    for field in dataclasses.fields(Processing):
        if field.name != "name":
            changed = others.get(field.name, getattr(EVERYTHING, field.name) + 1 if field.name not in others else "")
            assert dataclasses.replace(EVERYTHING, **{field.name: changed}).hash != EVERYTHING.hash, field.name


def test_the_description_names_every_step_in_order():
    words = EVERYTHING.describe()
    steps = (
        "notch at 50 Hz",
        "band-pass 0.5–47 Hz",
        "spherical splines",
        "12 independent",
        "average reference",
        "200 Hz",
    )
    places = [words.index(step) for step in steps]
    assert places == sorted(places)
    assert "slopes of 0.5 Hz and 11.75 Hz" in words
    assert Processing().describe() == "signals as stored"
    assert Processing(low_hz=1).describe().startswith("high-pass 1 Hz")
    assert Processing(high_hz=30).describe().startswith("low-pass 30 Hz")


def test_without_steps_the_numbers_stay_to_the_last_bit_and_the_input_is_untouched():
    x = np.random.default_rng(0).normal(scale=30, size=(3, 500)).astype(np.float32)
    raw = to_raw(x, sfreq=100, ch_names=["Cz", "VEO", "HEOR"])
    same, repairs = process(raw, Processing())
    assert (same.get_channel_types(), repairs) == (["eeg", "eog", "eog"], ())
    np.testing.assert_array_equal(same.get_data(), raw.get_data())
    np.testing.assert_array_equal(uv(same).astype(np.float32), x)
    before = raw.get_data()
    process(raw, Processing(high_hz=20, reference="average", sfreq_hz=50))
    np.testing.assert_array_equal(raw.get_data(), before)


def test_the_same_input_gives_the_same_output(damaged):
    raw = to_raw(damaged, sfreq=SFREQ, ch_names=CH_NAMES)
    (first, said), (second, said_again) = process(raw, EVERYTHING), process(raw, EVERYTHING)
    assert said == said_again
    assert sum("interpolated" in repair for repair in said) == 2
    assert sum("removed independent" in repair for repair in said) == 1
    np.testing.assert_array_equal(first.get_data(), second.get_data())


def test_the_steps_come_in_the_documented_order(damaged):
    raw = to_raw(damaged, sfreq=SFREQ, ch_names=CH_NAMES)
    at_once, said = process(raw, EVERYTHING)
    one_by_one = []
    for single in SINGLE_STEPS:
        raw, made = process(raw, single)
        one_by_one += made
    assert list(said) == one_by_one
    np.testing.assert_array_equal(at_once.get_data(), raw.get_data())
    assert raw.ch_names == list(CH_NAMES)
    assert raw.info["sfreq"] == 200


def low_pass(n_taps: int, cutoff_hz: float, *, into: int) -> np.ndarray:
    """Windowed sinc of scipy, its middle in the middle of `into` zeros."""
    taps = scipy.signal.firwin(n_taps, cutoff_hz, window="hamming", fs=SFREQ)
    return np.pad(taps, (into - n_taps) // 2)


def odd_taps(slope_hz: float) -> int:
    n_taps = round(3.3 / slope_hz * SFREQ)
    return n_taps + 1 - n_taps % 2


@pytest.mark.parametrize(("low", "high"), [(0.5, 47), (0, 30), (2, 0), (10, 20)])
def test_the_band_pass_is_a_difference_of_scipys_windowed_sincs(low, high):
    x = np.random.default_rng(1).normal(scale=10, size=(1, 15000))
    below, above = min(max(low / 4, 2), low), max(high / 4, 2)
    n_taps = max(odd_taps(below) if low else 0, odd_taps(above) if high else 0)
    taps = low_pass(odd_taps(above), high + above / 2, into=n_taps) if high else np.eye(1, n_taps, n_taps // 2)[0]
    if low:
        taps = taps - low_pass(odd_taps(below), low - below / 2, into=n_taps)
    expected = np.convolve(x[0], taps, mode="same")
    inside = slice(n_taps // 2, -(n_taps // 2))
    np.testing.assert_allclose(done(x, low_hz=low, high_hz=high)[0, inside], expected[inside], atol=1e-9)


def test_mains_and_its_harmonic_vanish_and_their_neighbours_stay():
    times = np.arange(30_000) / SFREQ
    kept = sum(5 * np.sin(2 * np.pi * hz * times + hz) for hz in (10, 49, 51, 99))
    lines = 40 * np.sin(2 * np.pi * 50 * times) + 20 * np.sin(2 * np.pi * 100 * times)
    y = done((kept + lines)[None], notch_hz=50)[0]
    inside = slice(2000, -2000)
    np.testing.assert_allclose(y[inside], kept[inside], atol=0.25)
    assert np.abs(done(kept[None], notch_hz=60)[0] - kept)[inside].max() < 0.1


def test_eye_channels_are_filtered_and_resampled_with_the_others():
    x = np.tile(np.random.default_rng(2).normal(size=4000), (2, 1))
    y = done(x, ch_names=["Cz", "HEO"], low_hz=1, high_hz=30, sfreq_hz=100)
    assert y.shape == (2, 1600)
    np.testing.assert_array_equal(y[0], y[1])


@pytest.mark.parametrize(("duration_s", "left_uv"), [(10, 1e-6), (40, 1e-6)])
def test_a_high_pass_longer_than_the_recording_still_takes_the_offset_out_and_says_so(duration_s, left_uv):
    n_times = round(duration_s * SFREQ)
    raw = to_raw(np.full((1, n_times), 1000.0), sfreq=SFREQ, ch_names=["Cz"])
    y, said = process(raw, Processing(low_hz=0.05, high_hz=47))
    assert np.abs(uv(y)).max() < left_uv
    assert len(said) == 1
    assert f"0.05-Hz filter (66 s) is longer than the recording ({duration_s} s)" in said[0]


def test_a_recording_as_long_as_its_filter_goes_through_mne_untouched():
    import mne

    x = 1000 + np.random.default_rng(3).normal(size=(1, 20_000))
    raw = to_raw(x, sfreq=SFREQ, ch_names=["Cz"])
    y, said = process(raw, Processing(low_hz=0.05))
    assert said == ()
    expected = mne.filter.filter_data(raw.get_data(), SFREQ, 0.05, None, verbose="error")
    np.testing.assert_array_equal(y.get_data(), expected)


def test_resampling_keeps_what_fits_and_lets_no_alias_in():
    times, new_times = np.arange(30_000) / 1000, np.arange(6000) / 200
    kept = 20 * np.sin(2 * np.pi * 12 * times) * np.hanning(30_000)
    alias = 30 * np.sin(2 * np.pi * 188 * times) * np.hanning(30_000)
    y = done((kept + alias)[None], sfreq=1000, sfreq_hz=200)[0]
    np.testing.assert_allclose(y, 20 * np.sin(2 * np.pi * 12 * new_times) * np.hanning(30_000)[::5], atol=0.01)
    noise = np.random.default_rng(4).normal(size=(2, 7500))
    ours, scipys = done(noise, sfreq_hz=200), scipy.signal.resample(noise, 6000, axis=1)
    np.testing.assert_allclose(ours[:, 300:-300], scipys[:, 300:-300], atol=0.02)  # they differ in how ends go on


@pytest.mark.parametrize("steps", [{"high_hz": 60}, {"low_hz": 50}, {"notch_hz": 50}])
def test_frequencies_that_a_recording_does_not_hold_are_refused(steps):
    with pytest.raises(BadInput, match="the recording has 100 Hz"):
        done(np.zeros((1, 1000)), sfreq=100, **steps)
