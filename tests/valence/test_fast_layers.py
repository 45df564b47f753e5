"""The accelerated classifiers compute the same function: outputs, gradients and running statistics."""

import copy

import pytest
import torch
from torch import nn

from tests.valence import training_world as world
from valence.classifiers import CLASSIFIERS
from valence.fast_layers import SpatialFirst, filter_maps, frame_moments

pytestmark = pytest.mark.usefixtures("one_thread")
ACCELERATED = [name for name, classifier in CLASSIFIERS.items() if classifier.accelerate]


def pair(name: str, *, n_times: int, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    classifier = CLASSIFIERS[name]
    plain = classifier.build(world.spec("windows", n_times=n_times)).to(dtype)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    fast = classifier.accelerate(copy.deepcopy(plain))
    assert {id(p) for p in fast.parameters()}.isdisjoint(id(p) for p in plain.parameters())
    return plain, fast


def by_tensor(module: nn.Module, tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Sorted in a way that does not depend on the names of layers."""
    return sorted(tensors.values(), key=lambda tensor: (tensor.numel(), float(tensor.double().norm())))


def recordings(n_times: int, dtype: torch.dtype, *, pink: bool) -> torch.Tensor:
    x = torch.randn(6, 8, n_times, dtype=torch.float64)
    return (x.cumsum(2) / 10 + 3 if pink else x).to(dtype)


@pytest.mark.parametrize("name", ACCELERATED)
@pytest.mark.parametrize("n_times", [200, 333])
@pytest.mark.parametrize("pink", [False, True])
def test_same_function_in_float64(name, n_times, pink):
    plain, fast = pair(name, n_times=n_times, dtype=torch.float64)
    x = recordings(n_times, torch.float64, pink=pink)
    labels = torch.arange(6)
    outputs = []
    for module in (plain, fast):
        torch.manual_seed(1)
        outputs.append(module.train()(x))
        nn.functional.cross_entropy(outputs[-1], labels).backward()
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-9, atol=1e-10)
    gradients = [by_tensor(m, {n: p.grad for n, p in m.named_parameters()}) for m in (plain, fast)]
    largest = max(float(gradient.abs().max()) for gradient in gradients[0])
    for expected, got in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9 * largest)
    for expected, got in zip(*(by_tensor(m, dict(m.named_buffers())) for m in (plain, fast)), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(fast.eval()(x), plain.eval()(x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ACCELERATED)
def test_float32_is_no_worse_than_the_plain_order(name):
    plain, fast = pair(name, n_times=200, dtype=torch.float32)
    exact = copy.deepcopy(plain).double()
    x = recordings(200, torch.float32, pink=True)
    outputs = []
    for module in (exact, plain, fast):
        torch.manual_seed(1)
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        outputs.append(module.train()(x.to(next(module.parameters()).dtype)).double())
    plain_error, fast_error = ((output - outputs[0]).abs().max() for output in outputs[1:])
    assert fast_error < 3 * plain_error + 1e-5


@pytest.mark.parametrize(("length", "padding", "n_times"), [(8, 4, 40), (7, 3, 40), (16, 8, 33), (5, 0, 21)])
def test_moments_against_all_frames(length, padding, n_times):
    x = torch.randn(3, 4, n_times, dtype=torch.float64)
    frames = nn.functional.pad(x, (padding, padding)).unfold(2, length, 1).reshape(-1, length)
    first, second = frame_moments(x, length, padding)
    torch.testing.assert_close(first, frames.mean(0))
    torch.testing.assert_close(second, frames.T @ frames / len(frames))


@pytest.mark.parametrize(("length", "padding", "n_times"), [(64, 32, 200), (17, 8, 50), (4, 0, 9)])
def test_filter_against_convolution(length, padding, n_times):
    maps, taps = torch.randn(2, 3, 2, n_times, dtype=torch.float64), torch.randn(3, length, dtype=torch.float64)
    expected = nn.functional.conv1d(
        maps.flatten(1, 2), taps.repeat_interleave(2, 0)[:, None], groups=6, padding=padding
    ).unflatten(1, (3, 2))
    torch.testing.assert_close(filter_maps(maps, taps, padding), expected)


def test_an_input_that_wants_a_gradient_is_refused():
    fast = SpatialFirst(
        nn.Conv2d(1, 2, (1, 4), bias=False, padding=(0, 2)),
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 4, (3, 1), groups=2, bias=False),
    )
    with pytest.raises(ValueError, match="gradient to its input"):
        fast(torch.randn(2, 1, 3, 20, requires_grad=True))
