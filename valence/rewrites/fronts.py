"""Fixed filters on the raw input: as one transform, or out of the classifier, once for a whole data set.

A front is a module without trained parameters that is the only reader of the input: a bank of filters. What it gives
does not change during training.
"""

import copy
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from valence.fast_layers import filter_by_spectrum
from valence.rewrites.intercept import free
from valence.rewrites.trace import Trace, record, untouched

COSTLY = ("fft", "conv", "filt", "stft")
UNSTEADY = ("dropout", "batch_norm", "instance_norm")
"""operations that give another answer in training than in evaluation: what holds them is no filter, fixed or frozen"""
PROBE = 4096
"""samples after an impulse in which a filter must have died away"""


def fixed_front(module: nn.Module, x: torch.Tensor, *, largest: float = 16.0) -> nn.Module | None:
    """Take a fixed filter bank out of a classifier, in place, so that it can be applied to a data set once.

    Before: `module(x)`. Afterwards: `module(front(x))`, with the same parameters under the same names.

    Parameters
    ----------
    x : float, (2 or more, n_chans, n_times).
    largest : the most that the front's output may be larger than its input; it is kept in memory for all windows.

    Returns
    -------
    The front, without trained parameters, in the fast form where there is one; None, and the module untouched, where
    it has no front, the front is cheap, something else reads the input too, or the output is too large.
    """
    found = find_front(record(module, x), module, x)
    if found is None or not free(module) or not free(found[0]):
        return None
    part, given = found
    if given.numel() > largest * x.numel():
        return None
    front = copy.deepcopy(part)
    speed_up(front, x)
    held = Given()
    part.forward = held  # type: ignore[method-assign]
    module.forward = AfterFront(module, held, tuple(x.shape[1:]))  # type: ignore[method-assign]
    return front.eval().requires_grad_(False)


class Given:
    """In the place of a front: gives what the classifier was called with."""

    def __init__(self) -> None:
        self.value: torch.Tensor | None = None

    def __call__(self, _: torch.Tensor) -> torch.Tensor:
        assert self.value is not None
        return self.value


@dataclass
class AfterFront:
    """The forward of a classifier without its front; code before the front sees a raw input of the right shape."""

    module: nn.Module
    held: Given
    shape: tuple[int, ...]

    def __call__(self, filtered: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        self.held.value = filtered
        try:
            raw = filtered.new_zeros(()).expand(len(filtered), *self.shape)
            return type(self.module).forward(self.module, raw, *args, **kwargs)
        finally:
            self.held.value = None


def find_front(trace: Trace, module: nn.Module, x: torch.Tensor) -> tuple[nn.Module, torch.Tensor] | None:
    """The module that is a front, and what it gave; None where there is none."""
    for part, (given, result) in trace.seen.items():
        if part is module or given is not x or trace.runs[part] != 1 or not isinstance(result, torch.Tensor):
            continue
        inside = set(part.modules())
        fixed = not any(p.requires_grad for p in part.parameters()) and not any(map(is_parametrized, inside))
        names = [getattr(call.function, "__name__", "") for call in trace.calls if call.owner in inside]
        costly = any(word in name for name in names for word in COSTLY)
        alone = all(call.owner in inside for call in trace.consumers[id(x)])
        steady = not any(word in name for name in names for word in UNSTEADY)
        if fixed and costly and steady and alone:
            return part, result
    return None


def rewrite_front(trace: Trace, module: nn.Module, x: torch.Tensor) -> list[str]:
    """Compute a fixed filter bank by one transform of the input instead of one per filter."""
    found = find_front(trace, module, x)
    if found is not None and free(found[0]) and speed_up(found[0], x):
        return ["filter bank by one transform"]
    return []


@dataclass
class Bank:
    """The forward of a bank of filters (batch, n_chans, n_times) to (batch, n_filters, n_chans, n_times).

    Coefficients are read from the module whenever it runs.
    """

    module: nn.Module
    names: tuple[str, ...]
    """of the coefficients of each filter"""
    starts: tuple[int, ...]
    """lag of each filter's first coefficient, in samples"""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        taps = [attrgetter(name)(self.module).to(x) for name in self.names]
        after = max(0, *(start + len(tap) - 1 for start, tap in zip(self.starts, taps, strict=True)))
        before = max(0, *(-start for start in self.starts))
        rows = [
            nn.functional.pad(tap.flip(0), (after - (start + len(tap) - 1), before + start))
            for start, tap in zip(self.starts, taps, strict=True)
        ]
        return filter_by_spectrum(x[:, None], torch.stack(rows)[:, None], 1, (after, before))


def speed_up(bank: nn.Module, x: torch.Tensor) -> bool:
    """Let a bank of finite filters compute by one transform, where its answer to an impulse says that it is one."""
    with untouched(bank), torch.no_grad():
        impulse = x.new_zeros(1, *x.shape[1:-1], 2 * PROBE + 1)
        impulse[..., PROBE] = 1
        try:
            answer = bank(impulse)
        except (RuntimeError, ValueError):  # it takes windows of one length alone
            return False
        plain = bank(x)
        if answer.ndim != 4 or answer.shape[2:] != impulse.shape[1:] or x.ndim != 3:
            return False
        found = [_coefficients(bank, filtered[0].double()) for filtered in answer[0]]
        if any(one is None for one in found):
            return False
        names, starts = zip(*[one for one in found if one is not None], strict=True)
        fast = Bank(bank, names, starts)
        if not torch.allclose(fast(x), plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max())):
            return False
    bank.forward = fast  # type: ignore[method-assign]
    return True


def _coefficients(bank: nn.Module, answer: torch.Tensor) -> tuple[str, int] | None:
    """Name and first lag of the coefficients that are a filter's answer to an impulse at PROBE."""
    peak = int(answer.abs().argmax())
    tolerance = 1e-5 * float(answer.abs().max())
    for name, parameter in bank.named_parameters():
        taps = parameter.detach().double().to(answer.device)
        if taps.ndim != 1 or len(taps) < 2:
            continue
        start = peak - int(taps.abs().argmax())
        placed = torch.zeros_like(answer)
        if start >= 0 and start + len(taps) <= len(answer):
            placed[start : start + len(taps)] = taps
            if torch.allclose(placed, answer, rtol=0, atol=tolerance):
                return name, start - PROBE
    return None
