"""Foundation architectures at any rate, length and montage, against braindecode's own modules and scipy."""

import importlib

import numpy as np
import pytest
import torch
from scipy import signal

from tests.valence.signal_specs import QUICK, SEED_V, SMALL, noise
from valence import architectures, montage
from valence.classifiers import CLASSIFIERS
from valence.patched_architectures import fill, resample
from valence.signal import SignalSpec

pytestmark = pytest.mark.usefixtures("one_thread")
theirs_of = importlib.import_module("braindecode.models")  # after valence, which lets it find torchaudio


@pytest.mark.parametrize(
    ("n", "n_new"), [(500, 1000), (250, 200), (251, 200), (100, 201), (99, 33), (7, 7), (128, 200)]
)
def test_resampling_is_scipys(n, n_new):
    x = torch.randn(2, 3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(resample(x, n_new).numpy(), signal.resample(x.numpy(), n_new, axis=-1), atol=1e-12)


def test_fill_puts_zeros_at_the_end():
    assert fill(torch.ones(1, 3), 5).tolist() == [[1, 1, 1, 0, 0]]


def as_read(x: torch.Tensor, n_resampled: int, n_padded: int) -> torch.Tensor:
    """What the architecture reads of windows at another rate, by scipy."""
    resampled = signal.resample(x.double().numpy(), n_resampled, axis=-1)
    return torch.from_numpy(np.pad(resampled, ((0, 0), (0, 0), (0, n_padded - n_resampled)))).float()


@pytest.mark.parametrize(
    ("spec", "n_resampled", "n_padded"),
    [
        (SEED_V, 200, 200),
        (QUICK, 1000, 1000),
        (SignalSpec(n_chans=8, n_times=330, n_outputs=3, sfreq=250, ch_names=SMALL.ch_names), 264, 400),
    ],
)
def test_cbramod_and_labram_are_braindecodes_on_seconds_at_200_hz(spec, n_resampled, n_padded):
    x = noise(spec, 2)
    shape = {"n_chans": spec.n_chans, "n_times": n_padded, "n_outputs": spec.n_outputs, "sfreq": 200}
    for ours, theirs, more in (
        (architectures.build_cbramod(spec), theirs_of.CBraMod(**shape), {}),
        (architectures.build_labram(spec), theirs_of.Labram(**shape), {"ch_names": list(spec.ch_names)}),
    ):
        with torch.no_grad():
            for parameter in ours.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))  # LaBraM's head starts close to 0
        theirs.load_state_dict(ours.state_dict(), strict=True)
        with torch.no_grad():
            expected = theirs.eval()(as_read(x, n_resampled, n_padded), **more)
            torch.testing.assert_close(ours.eval()(x), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 1e-3


@pytest.mark.parametrize("spec", [SEED_V, QUICK])
def test_luna_is_braindecodes_told_of_positions(spec):
    torch.manual_seed(0)
    ours = architectures.build_luna(spec)
    padded = -(-spec.n_times // 40) * 40
    theirs = theirs_of.LUNA(
        n_chans=spec.n_chans,
        n_times=padded,
        n_outputs=spec.n_outputs,
        sfreq=spec.sfreq,
        chs_info=montage.chs_info(spec.ch_names),
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = noise(spec, 2)
    with torch.no_grad():
        expected = theirs.eval()(fill(x, padded))
        torch.testing.assert_close(ours.eval()(x), expected)
        ours.places.copy_(ours.places.flip(0))
        assert not torch.allclose(ours(x), expected), "positions make no difference"


@pytest.mark.parametrize(("sfreq", "hop", "n_fft"), [(200, 100, 200), (100, 50, 100), (250, 125, 250)])
def test_biots_seconds_overlap_by_half_at_any_rate(sfreq, hop, n_fft):
    spec = SignalSpec(n_chans=8, n_times=4 * sfreq, n_outputs=3, sfreq=sfreq, ch_names=SMALL.ch_names)
    module = architectures.build_biot(spec)
    assert isinstance(module, theirs_of.BIOT)
    assert (module.encoder.hop_length, module.encoder.n_fft) == (hop, n_fft)
    assert module.encoder.stft(torch.zeros(1, 1, 4 * sfreq)).shape[-1] == 7


@pytest.mark.parametrize(("n_times", "sfreq", "pool"), [(2000, 200, 25), (200, 200, 14), (500, 100, 13), (30, 100, 5)])
def test_the_sleep_stagers_pools_are_an_eighth_of_a_second_where_that_leaves_something(n_times, sfreq, pool):
    spec = SignalSpec(n_chans=8, n_times=n_times, n_outputs=3, sfreq=sfreq, ch_names=SMALL.ch_names)
    module = CLASSIFIERS["SleepStagerChambon2018"].build(spec)
    assert {part.kernel_size[-1] for part in module.modules() if isinstance(part, torch.nn.MaxPool2d)} == {pool}


def test_moving_a_module_moves_what_it_knows_of_the_recording():
    for name, buffer in (("LUNA", "places"), ("Labram", "input_chans"), ("EMOD", "rows")):
        module = CLASSIFIERS[name].build(SMALL)
        assert getattr(module.to("meta"), buffer).device.type == "meta"
        assert buffer not in module.state_dict()
