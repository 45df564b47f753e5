"""Rewritten classifiers are the same functions: outputs, gradients, running statistics, state dicts, copies."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from tests.valence import training_world as world
from valence.classifiers import CLASSIFIERS
from valence.rewrites import rewrite
from valence.signal import SignalSpec

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "O1", "O2")
N_SAMPLES = 4
CHAIN = "spatial filter before temporal filter, batch normalisation"
OWN_TIME, OWN_SPACE = (f"depthwise {kind} filter as matrix product" for kind in ("temporal", "spatial"))
CHANNELS, LONG = "channels as input of a temporal convolution", "long temporal filter as matrix product"
SPECTRA = "long temporal filters by their spectra"
BANK = "filter bank by one transform"
FITS = {
    "ATCNet": (CHAIN,),
    "AttentionBaseNet": (CHAIN, OWN_TIME),
    "CTNet": (CHAIN,),
    "Deep4Net": (CHANNELS,),
    "EEGConformer": ("spatial filter before temporal filter",),
    "EEGInceptionERP": (OWN_SPACE, OWN_SPACE, OWN_SPACE, LONG),
    "EEGITNet": (CHAIN, CHAIN, CHAIN),
    "EEGNet": (CHAIN, OWN_TIME),
    "EEGNeX": (OWN_SPACE, LONG, SPECTRA),
    "EEGTCNet": (OWN_SPACE, OWN_TIME),
    "FBCNet": (BANK,),
    "FBLightConvNet": (BANK, CHANNELS),
    "FBMSNet": (BANK, OWN_SPACE),
    "IFNet": (BANK, OWN_TIME, OWN_TIME),
    "MSVTNet": (CHAIN,) * 4 + (OWN_TIME,) * 4,
    "ShallowFBCSPNet": (CHANNELS,),
    "SincShallowNet": (CHAIN,),
    "SleepStagerChambon2018": (LONG,),
    "TCFormer": ("spatial filter before 3 temporal filters, batch normalisation",),
    "TIDNet": (CHANNELS, SPECTRA),
    "TSception": (CHANNELS, LONG),
}
SHAPES = (560, 643)


def spec(n_times: int) -> SignalSpec:
    return SignalSpec(n_chans=8, n_times=n_times, n_outputs=world.N_CLASSES, sfreq=200, ch_names=NAMES)


def built(name: str, n_times: int) -> tuple[nn.Module, torch.Tensor]:
    """A classifier in float64 with normalisations that are no identity, and pink noise with an offset."""
    torch.manual_seed(0)
    module = CLASSIFIERS[name].build(spec(n_times))
    for part in module.modules():
        if isinstance(part, _BatchNorm) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.uniform_(part.bias, -1, 1)
    x = torch.randn(N_SAMPLES, 8, n_times, dtype=torch.float64).cumsum(2) / 10 + 3
    return module.double(), x


def rewritten(plain: nn.Module, x: torch.Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    fast = copy.deepcopy(plain)
    return fast, rewrite(fast, x[:2])


def step(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    logits = module.train()(x)
    nn.functional.cross_entropy(logits, torch.arange(len(x))).backward()
    return logits


def assert_same(fast: nn.Module, plain: nn.Module, x: torch.Tensor) -> None:
    """One training step and one evaluation of both give the same."""
    logits = [step(module, x) for module in (fast, plain)]
    torch.testing.assert_close(*logits, rtol=1e-8, atol=1e-9)
    gradients = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, parameter in fast.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-6, atol=1e-8 * largest, msg=name)
        else:
            assert parameter.grad is None
    assert list(fast.state_dict()) == list(plain.state_dict())
    for name, value in fast.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-8, atol=1e-10, msg=name)
    torch.testing.assert_close(fast.eval()(x), plain.eval()(x), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("n_times", SHAPES)
def test_same_function(name, n_times):
    plain, x = built(name, n_times)
    fast, words = rewritten(plain, x)
    assert sorted(words) == sorted(FITS[name])
    assert_same(fast, plain, x)


def test_same_function_of_what_runs_in_float32():
    plain, x = built("SyncNet", 400)
    plain, x = plain.float(), x.float()
    fast, words = rewritten(plain, x)
    assert words == ("temporal filters to few outputs by diagonals",)
    torch.testing.assert_close(step(fast, x), step(plain, x), rtol=1e-4, atol=1e-5)
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4 * float(other.grad.abs().max()))


@pytest.mark.parametrize("name", ["EEGNet", "TCFormer", "SincShallowNet"])
def test_copies_pickles_and_state_dicts(name):
    plain, x = built(name, 400)
    fast, _ = rewritten(plain, x)
    fast.load_state_dict(plain.state_dict())
    plain.load_state_dict(fast.state_dict())
    copies = [copy.deepcopy(fast)]
    if not any(parametrize.is_parametrized(part) for part in plain.modules()):  # torch pickles no parametrisation
        copies.append(pickle.loads(pickle.dumps(fast)))
    for other in copies:
        assert {id(p) for p in other.parameters()}.isdisjoint(id(p) for p in fast.parameters())
        with torch.no_grad():
            for parameter in fast.parameters():
                parameter.mul_(1.01)  # a copy must read its own
        assert_same(other, copy.deepcopy(plain), x)


@pytest.mark.parametrize("name", ["EEGNet", "TCFormer"])
def test_rewriting_changes_no_value_and_no_random_number(name):
    plain, x = built(name, 400)
    plain.eval()
    before, state = copy.deepcopy(plain.state_dict()), torch.get_rng_state()
    rewrite(plain, x[:2])
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part.training for part in plain.modules())
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())
