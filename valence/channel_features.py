"""Classifiers to the place inside them where channels are still apart.

In: a classifier and a recording's facts. Out: the first result of a module, in the order of computation, of which one
index of a dimension depends on one channel alone.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from valence.rewrites.trace import untouched
from valence.signal import SignalSpec

Band = tuple[float, float]
LEAST_TIMES = 8
"""samples of a time course below which it has no spectrum to speak of"""
LEAK = 1e-3
"""of a change at its own index: what a change of one channel may do to others, which is rounding"""
ALIKE = 0.9
"""correlation from which on the answers to an early and to a late burst are one, later"""


@dataclass(frozen=True)
class ChannelFeatures:
    """A result (batch, ...) of a module in which channels are apart."""

    path: str
    """of the module, dotted"""
    channel: int
    """dimension whose index is the channel"""
    time: int | None = None
    """dimension along which time runs; None for band features"""
    n_times: int = 0
    """samples along it"""
    rate_hz: float = 0.0
    """samples a second along it"""
    bins: tuple[int, int] = (0, 0)
    """first, and first not, of the discrete frequencies in the band"""


def band_bins(n_times: int, rate_hz: float, band: Band) -> tuple[int, int] | None:
    """Discrete frequencies in a band, both ends included, as a range; None where the band is not resolved."""
    if n_times < LEAST_TIMES or rate_hz < 2 * band[1]:
        return None
    width = rate_hz / n_times
    first, last = math.ceil(band[0] / width - 1e-9), math.floor(band[1] / width + 1e-9)
    return (first, last + 1) if first <= last else None


def find_channel_features(
    model: nn.Module, spec: SignalSpec, rows: Sequence[int], band: Band
) -> ChannelFeatures | None:
    """The first place where the channels `rows` are apart; None where there is none. The classifier stays as it is.

    Found by a trial in evaluation mode: the result depends on trained parameters, and other noise in one of the
    channels changes that channel's index alone. Of windows it has a time course that resolves the band, too: a
    dimension along which the answer to a late burst is that to an early one, later. The shift gives its rate.
    """
    weight = next(model.parameters(), torch.zeros(()))
    trial = _Trial(spec, rows, band)
    try:
        with untouched(model), _listening(model, trial), torch.enable_grad():
            model.eval()
            model(trial.x.to(weight))
    except _Found as found:
        return found.features
    return None


class _Found(Exception):
    """Ends a trial."""

    def __init__(self, features: ChannelFeatures):
        super().__init__()
        self.features = features


@contextmanager
def _listening(model: nn.Module, trial: "_Trial") -> Iterator[None]:
    """Judges the result of every module that depends on trained parameters as it comes; the first good one is raised.

    A module that runs several times gives the samples in parts, where it gives as many as there are in all.
    """
    parts: dict[str, list[torch.Tensor]] = {}

    def hear(path: str, _: nn.Module, __: tuple, result: object) -> None:
        known = parts.setdefault(path, [])
        if sum(map(len, known)) >= len(trial.x) or not isinstance(result, torch.Tensor) or not result.requires_grad:
            return
        if result.ndim < 3 or len(result) > len(trial.x) or trial.spec.n_chans not in result.shape[1:]:
            return
        known.append(result.detach())
        if sum(map(len, known)) == len(trial.x):
            features = trial.judged(path, torch.cat(known))
            if features is not None:
                raise _Found(features)

    hooks = [part.register_forward_hook(partial(hear, path)) for path, part in model.named_modules() if path]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Trial:
    """Noise, and the same with other noise in one of the channels; then zeros, with an early burst, with a late one."""

    def __init__(self, spec: SignalSpec, rows: Sequence[int], band: Band):
        self.spec, self.rows, self.band = spec, list(rows), band
        shape = (spec.n_chans, spec.n_times) + ((spec.n_bands,) if spec.n_bands else ())
        noise, other = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        apart = noise.repeat(1 + len(self.rows), *[1] * len(shape))
        for number, row in enumerate(self.rows, start=1):
            apart[number, row] = other[row]
        self.shift = 2 ** max(0, int(math.log2(max(spec.n_times, 2))) - 1)
        length = max(1, spec.n_times // 16)
        begin = (spec.n_times - self.shift - length) // 2
        bursts = torch.zeros(3, *shape)
        for number, start in ((1, begin), (2, begin + self.shift)):
            if not spec.n_bands:
                bursts[number, :, start : start + length] = other[:, :length]
        self.x = torch.cat([apart, bursts])

    def judged(self, path: str, result: torch.Tensor) -> ChannelFeatures | None:
        """A place where channels are apart, and of windows the band is resolved; None where it is not."""
        channel = next((dim for dim in range(1, result.ndim) if self._apart(result, dim)), None)
        if channel is None:
            return None
        if self.spec.n_bands:
            return ChannelFeatures(path, channel)
        for dim in range(1, result.ndim):
            rate_hz = 0.0 if dim == channel else self._rate(result, dim)
            bins = band_bins(result.shape[dim], rate_hz, self.band)
            if bins is not None:
                return ChannelFeatures(path, channel, dim, result.shape[dim], rate_hz, bins)
        return None

    def _apart(self, result: torch.Tensor, dim: int) -> bool:
        """Whether every one of the channels has its own index of a dimension."""
        if result.shape[dim] != self.spec.n_chans:
            return False
        changes = _changes(result[: 1 + len(self.rows)], dim)
        own = changes[range(len(self.rows)), self.rows]
        changes[range(len(self.rows)), self.rows] = 0
        return bool((own > 0).all() and (changes.max(1) <= LEAK * own).all())

    def _rate(self, result: torch.Tensor, dim: int) -> float:
        """Samples a second along a dimension, from how far the answer to a burst moves; 0 where it is not time."""
        early, late = _changes(result[-3:], dim)
        products = np.correlate(late, early, mode="full")
        moved = int(products.argmax()) - (len(early) - 1)
        size = math.sqrt(float(early @ early) * float(late @ late))
        if moved <= 0 or products.max() < ALIKE * size:
            return 0.0
        step = self.shift / moved
        return self.spec.sfreq / (max(1, round(step)) if step > 0.75 else step)


def _changes(result: torch.Tensor, dim: int) -> np.ndarray:
    """Sum of absolute changes from the first sample, by index of a dimension: float64, (n_samples - 1, length)."""
    return (result[1:] - result[:1]).abs().movedim(dim, 1).flatten(2).sum(2).double().cpu().numpy()
