"""Fixed filter banks leave the classifier for the data and change nothing else."""

import copy

import pytest
import torch
from torch import nn

from tests.valence.test_rewrites import assert_same, built, step
from valence.rewrites import fixed_front, rewrite

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["FBCNet", "FBLightConvNet", "FBMSNet", "IFNet", "ContraWR"])
@pytest.mark.parametrize("n_times", [400, 643])
def test_front_then_rest_is_the_whole(name, n_times):
    plain, x = built(name, n_times)
    rest = copy.deepcopy(plain)
    front = fixed_front(rest, x[:2])
    assert front is not None
    assert not any(parameter.requires_grad for parameter in front.parameters())
    filtered = front(x)
    rewrite(rest, filtered[:2])
    rest = copy.deepcopy(rest)
    assert list(rest.state_dict()) == list(plain.state_dict())
    whole = copy.deepcopy(plain)
    torch.testing.assert_close(step(rest, filtered), step(whole, x), rtol=1e-8, atol=1e-9)
    for (key, parameter), other in zip(rest.named_parameters(), whole.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-6, atol=1e-9, msg=key)
    torch.testing.assert_close(rest.eval()(filtered), whole.eval()(x), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["EEGNet", "SincShallowNet", "EEGMiner", "SCCNet"])
def test_no_front(name):
    torch.manual_seed(0)
    plain, x = built(name, 400)
    assert fixed_front(plain, x[:2]) is None
    assert not any("forward" in part.__dict__ for part in plain.modules())


def test_a_front_too_large_is_refused():
    plain, x = built("FBCNet", 400)
    assert fixed_front(plain, x[:2], largest=8.9) is None
    assert fixed_front(plain, x[:2], largest=9.0) is not None


class Twin(nn.Module):
    """A bank, and a reader of the raw input beside it or a bank that is no bank."""

    def __init__(self, bank: nn.Module, *, beside: bool):
        super().__init__()
        self.bank, self.beside, self.final_layer = bank, beside, nn.Linear(9, 4)

    def forward(self, x):
        filtered = self.bank(x).square().mean((2, 3))
        return self.final_layer(filtered + x.square().mean() if self.beside else filtered)


class Filters(nn.Module):
    """Filters of different length as convolutions, with a power behind them; more than one is not linear."""

    def __init__(self, power: int):
        super().__init__()
        lengths = (3, 8, 21, 22, 9, 9, 30, 31, 5)
        self.taps = nn.ParameterList([nn.Parameter(torch.randn(n), requires_grad=False) for n in lengths])
        self.power = power

    def forward(self, x):
        def filtered(taps):
            return nn.functional.conv1d(x.flatten(0, 1)[:, None], taps.flip(0)[None, None], padding="same")

        return torch.stack([filtered(taps).view_as(x) for taps in self.taps], 1) ** self.power


def test_another_reader_of_the_input_keeps_the_front():
    plain, x = built("FBCNet", 400)
    bank = plain.spectral_filtering
    assert fixed_front(Twin(bank, beside=True).double(), x[:2]) is None
    assert fixed_front(Twin(bank, beside=False).double(), x[:2]) is not None


@pytest.mark.parametrize("power", [1, 2])
def test_only_what_is_a_filter_changes_its_form(power):
    torch.manual_seed(0)
    net = Twin(Filters(power), beside=False).double()
    x = torch.randn(4, 5, 200, dtype=torch.float64)
    fast = copy.deepcopy(net)
    assert rewrite(fast, x[:2]) == (("filter bank by one transform",) if power == 1 else ())
    assert_same(fast, net, x)


def test_coefficients_are_read_when_the_bank_runs():
    plain, x = built("FBCNet", 400)
    fast = copy.deepcopy(plain)
    assert rewrite(fast, x[:2]) == ("filter bank by one transform",)
    state = {k: v * 1.5 if "fir_list" in k else v for k, v in plain.state_dict().items()}
    fast.load_state_dict(state)
    plain.load_state_dict(state)
    torch.testing.assert_close(fast.eval()(x), plain.eval()(x))
