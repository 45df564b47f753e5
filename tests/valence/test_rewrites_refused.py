"""What looks like a rewrite's pattern but is another function is left alone, and unusual forms of it are exact."""

import copy

import pytest
import torch
from torch import nn

from tests.valence.test_rewrites import assert_same, built, rewritten, step
from valence.rewrites import rewrite

pytestmark = pytest.mark.usefixtures("one_thread")
CHANS, TIMES, FILTERS = 16, 120, 4


class Net(nn.Module):
    """Temporal filters, something between, a spatial filter, an output; options make it fit or not."""

    def __init__(
        self,
        between: nn.Module,
        *,
        time_bias=False,
        padding="same",
        full=False,
        stride=1,
        twice=False,
        reader=False,
        last=False,
    ):
        super().__init__()
        kernel, across = ((24, 1), (1, CHANS)) if last else ((1, 24), (CHANS, 1))
        self.time = nn.Conv2d(1, FILTERS, kernel, bias=time_bias, padding=padding, stride=(1, stride))
        self.between = between
        self.space = nn.Conv2d(FILTERS, 2 * FILTERS, across, groups=1 if full else FILTERS)
        self.out = nn.LazyLinear(9)
        self.twice, self.reader, self.last = twice, reader, last

    def forward(self, x):
        x = x[:, None].transpose(2, 3) if self.last else x[:, None]
        filtered = self.time(x)
        if self.twice:
            filtered = filtered + self.time(x.flip(3))
        maps = self.space(self.between(filtered)).square()
        if self.reader:
            maps = maps + filtered.mean((1, 2), keepdim=True)
        return self.out(maps.flatten(2).mean(2))


def norm(**options) -> nn.BatchNorm2d:
    part = nn.BatchNorm2d(FILTERS, **options)
    if part.affine:
        nn.init.uniform_(part.weight, 0.5, 2)
        nn.init.uniform_(part.bias, -1, 1)
    return part


def noise() -> torch.Tensor:
    return torch.randn(4, CHANS, TIMES, dtype=torch.float64).cumsum(2) / 10 + 3


def made(between: nn.Module, **options) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    x, net = noise(), Net(between, **options).double()
    net(x)
    return net, x


@pytest.mark.parametrize(
    "net",
    [
        lambda: made(nn.ELU()),
        lambda: made(nn.Sequential(norm(), nn.Dropout(0.5))),
        lambda: made(nn.GroupNorm(2, FILTERS)),
        lambda: made(norm(), stride=2, padding=0),
        lambda: made(norm(), twice=True),
        lambda: made(norm(), reader=True),
    ],
    ids=["nonlinearity", "dropout", "group normalisation", "stride", "shared filter", "second reader"],
)
def test_no_chain(net):
    plain, x = net()
    fast, words = rewritten(plain, x)
    assert not any("before" in one for one in words)
    assert_same(fast, plain, x)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("between", "options"),
    [
        (lambda: nn.Identity(), {"time_bias": True}),
        (norm, {"time_bias": True}),
        (lambda: norm(affine=False), {"padding": 0}),
        (lambda: norm(momentum=None), {}),
        (lambda: norm(track_running_stats=False), {}),
        (lambda: norm(eps=0.1, momentum=0.7), {}),
    ],
    ids=["bias", "bias and norm", "not affine", "cumulative mean", "no running statistics", "large eps"],
)
def test_forms_of_a_chain(between, options, full, last):
    plain, x = made(between(), full=full, last=last, **options)
    fast, words = rewritten(plain, x)
    assert any(one.startswith("spatial filter before temporal filter") for one in words)
    assert_same(fast, plain, x)
    assert_same(fast, plain, noise())  # a second step moves the running statistics from where the first left them


def test_gradient_to_the_input_passes_through_batch_statistics():
    plain, x = made(norm(), time_bias=True)
    fast, _ = rewritten(plain, x)
    gradients = []
    for module in (plain, fast):
        given = x.clone().requires_grad_()
        gradients += torch.autograd.grad(module(given).square().sum(), given)
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-9)


def test_parameters_are_read_at_call_time():
    plain, x = made(norm())
    fast, _ = rewritten(plain, x)
    other = {name: value * 1.1 for name, value in plain.named_parameters()}
    results = [torch.func.functional_call(module.eval(), other, x) for module in (fast, plain)]
    torch.testing.assert_close(*results)
    assert not torch.allclose(results[0], fast(x))


def test_cells_side_by_side_by_vmap():
    plain, x = made(norm(track_running_stats=False))
    fast, _ = rewritten(plain, x)
    stacked = [{name: torch.stack([p, 1.2 * p]) for name, p in m.named_parameters()} for m in (fast, plain)]
    together = torch.func.vmap(lambda ps: torch.func.functional_call(fast, ps, x))(stacked[0])
    for number, row in enumerate(together):
        own = {name: p[number] for name, p in stacked[1].items()}
        torch.testing.assert_close(row, torch.func.functional_call(plain, own, x))


def test_cells_of_a_filter_bank_side_by_side():
    plain, x = built("FBCNet", 400)
    fast, _ = rewritten(plain, x)
    stacked = {name: torch.stack([p, p]) for name, p in fast.named_parameters()}
    with torch.no_grad():
        both = torch.func.vmap(lambda ps: torch.func.functional_call(fast.eval(), ps, x))(stacked)
        torch.testing.assert_close(both[1], plain.eval()(x))


def test_one_graph_for_the_compiler():
    plain, x = built("SincShallowNet", 400)
    fast, _ = rewritten(plain, x)
    compiled = torch.compile(fast, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(step(compiled, x), step(plain, x))


def test_moved_to_another_dtype_and_batch_size():
    plain, x = made(norm())
    fast, _ = rewritten(plain, x)
    fast, plain, x = fast.float(), plain.float(), x.float()
    for n in (2, 3):
        torch.testing.assert_close(fast(x[:n]), plain(x[:n]), rtol=1e-4, atol=1e-4)


def test_rewriting_twice_changes_nothing_more():
    plain, x = made(norm())
    fast, _ = rewritten(plain, x)
    assert rewrite(fast, x[:2]) == ()
    assert_same(fast, copy.deepcopy(plain), x)
