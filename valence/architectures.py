"""Recordings to classifiers: architectures of braindecode, built from what a recording is.

In: a name in braindecode.models, options, and a SignalSpec. Out: a freshly initialised torch module. braindecode is
imported when one is built, not before: it takes seconds.
"""

import importlib
import math
import warnings
from typing import Any

import torch
from torch import nn

from valence import montage
from valence.signal import SignalSpec

FOUNDATION_HZ = 200
"""rate at which CBraMod and LaBraM cut a second into one patch"""
LUNA_PATCH = 40
EXPECTED_WARNINGS = {
    "Montage name '.*' is deprecated": FutureWarning,  # braindecode's own use of MNE
    "Parameter 'final_layer_with_constraint": DeprecationWarning,  # EEGNet's final layer is chosen explicitly
    "n_times .* is smaller than the minimum required": UserWarning,  # kernels shrink with the window, as we want
    "Using padding='same' with even kernel lengths": UserWarning,
    "Creating the filter banks equally divided": UserWarning,
    "Time dimension .* is not divisible by": UserWarning,
    "enable_nested_tensor is True": UserWarning,
    "A window was not provided": UserWarning,  # BIOT's spectra are of rectangular windows, as published
    "This model has only been trained on a dataset with 200 Hz": UserWarning,
    "The input window is less than 1 second": UserWarning,
    "patch_size .* > n_times": UserWarning,
}


def build(architecture: str, options: dict, spec: SignalSpec) -> nn.Module:
    """A module of braindecode.models, told of shape, rate and classes."""
    return _models()[architecture](**_shape(spec), **options)


def build_with_positions(architecture: str, options: dict, spec: SignalSpec) -> nn.Module:
    """The same, told where the electrodes are. Raises BadInput where a name has no known position."""
    return _models()[architecture](**_shape(spec), chs_info=montage.chs_info(spec.ch_names), **options)


def build_light_convnet(spec: SignalSpec) -> nn.Module:
    """FBLightConvNet; its variance windows of 250 samples are as long as the recording where that is shorter."""
    return build("FBLightConvNet", {"win_len": min(250, spec.n_times)}, spec)


def build_sleep_stager(spec: SignalSpec) -> nn.Module:
    """SleepStagerChambon2018; it pools twice over 1/8 s, or over √n_times samples where that would leave nothing."""
    pool = min(math.ceil(0.125 * spec.sfreq), math.isqrt(spec.n_times))
    return build("SleepStagerChambon2018", {"max_pool_size_s": (pool - 0.5) / spec.sfreq}, spec)


def build_biot(spec: SignalSpec) -> nn.Module:
    """BIOT; spectra of one second, half of which overlap at any rate, as at the published 200 Hz."""
    return build("BIOT", {"hop_length": max(1, round(spec.sfreq / 2))}, spec)


def build_cbramod(spec: SignalSpec) -> nn.Module:
    """CBraMod on patches of one second at 200 Hz, which its code is fixed to.

    Other rates are resampled by FFT, as the study does, and a last second that is not full is filled with zeros.
    """
    return _at_foundation_rate(spec, "CBraMod")


def build_labram(spec: SignalSpec) -> nn.Module:
    """LaBraM on patches of one second at 200 Hz, as `build_cbramod`, with the embeddings of its own channels.

    Raises
    ------
    BadInput : listing channels that LaBraM has no embedding of.
    """
    module = _at_foundation_rate(spec, "Labram")
    module.set_channels(spec.ch_names)
    return module


def build_luna(spec: SignalSpec) -> nn.Module:
    """LUNA; the window is filled with zeros to whole patches of 40 samples, as its own frequency embedding does.

    Raises
    ------
    BadInput : listing channels without a known position.
    """
    padded = -(-spec.n_times // LUNA_PATCH) * LUNA_PATCH
    places = montage.positions(spec.ch_names)
    module: Any = _models()["LUNA"](**(_shape(spec) | {"n_times": padded}))
    module.n_padded = padded
    module.register_buffer("places", torch.from_numpy(places).float(), persistent=False)
    return module


def _at_foundation_rate(spec: SignalSpec, architecture: str) -> Any:
    resampled = max(1, round(spec.n_times * FOUNDATION_HZ / spec.sfreq))
    padded = -(-resampled // FOUNDATION_HZ) * FOUNDATION_HZ
    shape = _shape(spec) | {"n_times": padded, "sfreq": FOUNDATION_HZ}
    module = _models()[architecture](**shape)
    module.n_resampled, module.n_padded = resampled, padded
    return module


def _shape(spec: SignalSpec) -> dict:
    return {"n_chans": spec.n_chans, "n_times": spec.n_times, "n_outputs": spec.n_outputs, "sfreq": spec.sfreq}


def _models() -> dict[str, Any]:
    """Classes by name, ours before braindecode's. Warnings that say what is meant are silenced by their text."""
    for message, category in EXPECTED_WARNINGS.items():
        warnings.filterwarnings("ignore", message=message, category=category)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # while importing: of braindecode's dependencies about each other
        ours = importlib.import_module("valence.patched_architectures")
        return {**vars(importlib.import_module("braindecode.models")), **ours.CLASSES}
