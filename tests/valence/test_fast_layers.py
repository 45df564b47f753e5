"""Moments of frames and filters as matrix products, against torch's own convolutions."""

import pytest
import torch
from torch.nn import functional

from valence.fast_layers import (
    filter_by_spectrum,
    filter_from_one,
    filter_maps,
    filter_to_few,
    frame_moments,
    spatial_filter,
)

pytestmark = pytest.mark.usefixtures("one_thread")
CASES = [(8, (4, 4), 40), (7, (3, 3), 40), (16, (7, 8), 33), (5, (0, 0), 21), (6, (2, 3), 9), (9, (0, 1), 9)]


@pytest.mark.parametrize(("length", "padding", "n_times"), CASES)
@pytest.mark.parametrize("n_maps", [1, 3])
def test_moments_against_all_frames(length, padding, n_times, n_maps):
    x = torch.randn(3, n_maps, 4, n_times, dtype=torch.float64, requires_grad=True)
    frames = functional.pad(x, padding).unfold(3, length, 1)  # (batch, n_maps, n_chans, n_frames, length)
    frames = frames.permute(0, 2, 3, 1, 4).reshape(-1, n_maps * length)
    first, second = frame_moments(x, length, padding)
    torch.testing.assert_close(first, frames.mean(0))
    torch.testing.assert_close(second, frames.T @ frames / len(frames))
    weight = torch.randn_like(second)
    gradients = [
        torch.autograd.grad((moments * weight).sum(), x)[0] for moments in (second, frames.T @ frames / len(frames))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("length", "padding", "n_times"), [*CASES, (64, (31, 32), 200), (17, (8, 8), 50)])
@pytest.mark.parametrize("n_inputs", [1, 2])
def test_filter_against_convolution(length, padding, n_times, n_inputs):
    maps = torch.randn(2, n_inputs, 3, 4, n_times, dtype=torch.float64)
    taps = torch.randn(3, n_inputs, length, dtype=torch.float64)
    grouped = functional.pad(maps, padding).permute(0, 3, 2, 1, 4).reshape(8, 3 * n_inputs, -1)
    expected = functional.conv1d(grouped, taps, groups=3).unflatten(0, (2, 4)).transpose(1, 2)
    torch.testing.assert_close(filter_maps(maps, taps, padding), expected)


def test_spatial_filter_against_convolution():
    x, mixing = torch.randn(3, 4, 5, 11, dtype=torch.float64), torch.randn(4, 2, 5, dtype=torch.float64)
    expected = functional.conv2d(x, mixing.flatten(0, 1)[:, None, :, None], groups=4)[:, :, 0]
    torch.testing.assert_close(spatial_filter(x, mixing), expected)


@pytest.mark.parametrize(("length", "padding", "n_times"), [*CASES, (64, (31, 32), 200), (100, (50, 50), 130)])
def test_filters_of_one_map_against_convolution(length, padding, n_times):
    x, taps = torch.randn(2, 3, n_times, dtype=torch.float64), torch.randn(4, length, dtype=torch.float64)
    expected = functional.conv2d(functional.pad(x, padding)[:, None], taps[:, None, None])
    torch.testing.assert_close(filter_from_one(x, taps, padding), expected)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_few_outputs_against_convolution(n_outputs):
    x, taps = torch.randn(2, 5, 31, dtype=torch.float64), torch.randn(n_outputs, 5, 9, dtype=torch.float64)
    torch.testing.assert_close(filter_to_few(x, taps), functional.conv1d(x, taps))


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("n_inputs", [1, 4])
@pytest.mark.parametrize(("length", "padding"), [(7, (3, 3)), (8, (0, 11)), (1, (0, 0))])
def test_spectra_against_convolution(step, n_inputs, length, padding):
    x, taps = (
        torch.randn(2, n_inputs, 3, 53, dtype=torch.float64),
        torch.randn(5, n_inputs, length, dtype=torch.float64),
    )
    expected = functional.conv2d(functional.pad(x, padding), taps[:, :, None], dilation=(1, step))
    torch.testing.assert_close(filter_by_spectrum(x, taps, step, padding), expected)
