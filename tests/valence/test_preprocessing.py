"""Units, resampling and windows against scipy and closed forms."""

import numpy as np
import pytest
import scipy.signal

from valence.cell import Recipe
from valence.errors import BadInput
from valence.preprocessing import cut_windows, n_windows, resample, resampled_n_times, window_starts


def recipe(**fields) -> Recipe:
    return Recipe(name="test", epochs=1, **fields)


def test_resampling_is_that_of_cbramod():
    x = np.random.default_rng(0).normal(size=(2, 3, 7500))
    np.testing.assert_allclose(resample(x, sfreq=250, new_sfreq=200), scipy.signal.resample(x, 6000, axis=2))
    assert resample(x, sfreq=250, new_sfreq=250) is x


@pytest.mark.parametrize("new_sfreq", [100, 128, 200, 500])
def test_resampling_keeps_what_fits_and_lets_no_alias_in(new_sfreq):
    times, new_times = np.arange(7500) / 250, np.arange(round(30 * new_sfreq)) / new_sfreq
    kept = 3 * np.sin(2 * np.pi * 10 * times)
    lost = 5 * np.sin(2 * np.pi * 110 * times)  # would come back as 10 Hz at 100 Hz
    y = resample(kept + (lost if new_sfreq < 220 else 0), sfreq=250, new_sfreq=new_sfreq)
    np.testing.assert_allclose(y, 3 * np.sin(2 * np.pi * 10 * new_times), atol=1e-6)


def test_three_windows_a_clip_and_84_a_subject():
    x = np.random.default_rng(0).normal(scale=10, size=(28, 32, 7500)).astype(np.float32)
    windows = cut_windows(x, sfreq=250, recipe=recipe())
    assert windows.shape == (28, 3, 32, 2000)
    assert windows.dtype == np.float32
    assert windows.reshape(-1, 32, 2000).shape[0] == 84
    expected = scipy.signal.resample(x[5, 7].astype(np.float64), 6000)[2000:4000] / 100
    np.testing.assert_allclose(windows[5, 1, 7], expected, atol=1e-5)


def test_emod_takes_samples_as_they_are():
    x = np.random.default_rng(0).normal(size=(2, 3, 7500)).astype(np.float32)
    windows = cut_windows(x, sfreq=250, recipe=recipe(sfreq_hz=250, scale=1))
    np.testing.assert_array_equal(windows[1, 2], x[1, :, 5000:])


@pytest.mark.parametrize(
    ("fields", "starts"),
    [
        ({"sfreq_hz": 100, "window_s": 5, "stride_s": 10}, [0, 1000, 2000]),
        ({"sfreq_hz": 100, "window_s": 5, "stride_s": 2.5}, list(range(0, 2501, 250))),
        ({"sfreq_hz": 100, "window_s": 12, "stride_s": 12}, [0, 1200]),
        ({"sfreq_hz": 100, "window_s": 30, "stride_s": 1}, [0]),
    ],
)
def test_window_starts(fields, starts):
    assert window_starts(3000, recipe=recipe(**fields)).tolist() == starts


def test_overlapping_windows_share_their_samples():
    x = np.random.default_rng(0).normal(size=(2, 3, 1500)).astype(np.float32)
    windows = cut_windows(x, sfreq=50, recipe=recipe(sfreq_hz=50, window_s=10, stride_s=5, scale=1))
    assert windows.shape == (2, 5, 3, 500)
    np.testing.assert_array_equal(windows[:, 0, :, 250:], windows[:, 1, :, :250])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"window_s": 31}, "a clip 30 s"),
        ({"window_s": 0}, "window_s"),
        ({"window_s": 0.0123}, "window_s"),
        ({"stride_s": 0}, "stride_s"),
        ({"stride_s": -1}, "stride_s"),
        ({"sfreq_hz": 0}, "recording"),
        ({"sfreq_hz": 128.0123}, "recording"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(fields, told):
    with pytest.raises(BadInput, match=told):
        cut_windows(np.zeros((1, 1, 7500), dtype=np.float32), sfreq=250, recipe=recipe(**fields))


@pytest.mark.parametrize(
    "fields", [{}, {"sfreq_hz": 250, "scale": 1}, {"window_s": 1, "stride_s": 1}, {"window_s": 5, "stride_s": 2}]
)
def test_clips_at_once_one_by_one_and_by_plain_slices_are_the_same_bits(fields):
    x = np.random.default_rng(0).normal(scale=10, size=(4, 5, 7500)).astype(np.float32)
    kind = recipe(**fields)
    windows = cut_windows(x, sfreq=250, recipe=kind)
    resampled = x if kind.sfreq_hz == 250 else scipy.signal.resample(x, 6000, axis=-1)
    n_window, n_stride = round(kind.window_s * kind.sfreq_hz), round(kind.stride_s * kind.sfreq_hz)
    starts = range(0, resampled.shape[-1] - n_window + 1, n_stride)
    plain = np.stack([resampled[..., start : start + n_window] for start in starts], axis=1) * kind.scale
    assert plain.dtype == windows.dtype == np.float32
    np.testing.assert_array_equal(windows.view(np.uint32), plain.view(np.uint32))
    for clip, alone in zip(x, windows):
        np.testing.assert_array_equal(cut_windows(clip, sfreq=250, recipe=kind), alone)


def test_windows_share_no_memory_with_the_recording():
    x = np.ones((2, 3, 1000), dtype=np.float32)
    windows = cut_windows(x, sfreq=100, recipe=recipe(sfreq_hz=100, scale=1))
    windows[:] = 5
    assert (x == 1).all()


def test_a_clip_shorter_than_a_window_gives_none_where_that_is_allowed():
    short = np.zeros((3, 900), dtype=np.float32)
    kind = recipe(sfreq_hz=100)
    assert cut_windows(short, sfreq=100, recipe=kind, none_fits=True).shape == (0, 3, 1000)
    assert cut_windows(short[:, :0], sfreq=50, recipe=kind, none_fits=True).shape == (0, 3, 1000)
    assert [n_windows(n_times, recipe=kind) for n_times in (0, 999, 1000, 1999, 2000, 7200)] == [0, 0, 1, 1, 2, 7]
    with pytest.raises(BadInput, match="a clip 9 s"):
        cut_windows(short, sfreq=100, recipe=kind)
    with pytest.raises(BadInput, match="stride_s"):
        n_windows(2000, recipe=recipe(sfreq_hz=100, stride_s=0))


@pytest.mark.parametrize(("n_times", "n_new"), [(7500, 6000), (7504, 6000), (7505, 6004), (7524, 6016), (0, 0)])
def test_a_length_that_does_not_divide_loses_a_rest_and_keeps_its_rate(n_times, n_new):
    assert resampled_n_times(n_times, sfreq=250, new_sfreq=200) == n_new
    if n_times:
        times = np.arange(n_times) / 250
        y = resample(np.sin(2 * np.pi * 5 * times), sfreq=250, new_sfreq=200)
        assert len(y) == n_new
        expected = np.sin(2 * np.pi * 5 * np.arange(n_new) / 200)
        np.testing.assert_allclose(y[500:-500], expected[500:-500], atol=0.02)  # the ends of a cut sinusoid ring


def test_a_rest_that_is_long_is_refused():
    assert resampled_n_times(25024, sfreq=250, new_sfreq=128) == 12800  # 24 samples
    with pytest.raises(BadInput, match="a rest below"):
        resampled_n_times(25025, sfreq=250, new_sfreq=128)
    with pytest.raises(BadInput, match="samples, 1 or more"):
        resampled_n_times(3, sfreq=250, new_sfreq=200)
