"""Classifiers to the power of single channels in the layer that keeps them apart, during training.

In: a classifier and the place that valence.channel_features found in it. Out: the power of chosen channels there, with
its gradient. Two ways: the layer is run once more on these channels alone, where that gives the same, and the
classifier may compute it in whatever order is fastest; else the classifier's own pass through the layer is heard.
"""

import copy
import itertools
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from valence.channel_features import ChannelFeatures
from valence.rewrites import rewrite
from valence.rewrites.trace import untouched

SAME = 1e-4
"""of the largest power: what two ways to compute it may differ by"""
RUNS_ALONE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""layers that do nothing but to compute their result, and whose weights are theirs"""


class Power:
    """Power in a band of some channels in a layer's result."""

    def __init__(self, found: ChannelFeatures, weight: torch.Tensor):
        self.found = found
        if found.time is not None:
            window = torch.hann_window(found.n_times, dtype=weight.dtype, device=weight.device)
            times = torch.arange(found.n_times, dtype=torch.float64) / found.n_times
            turns = 2 * torch.pi * times[:, None] * torch.arange(*found.bins)
            waves = torch.cat([turns.cos(), turns.sin()], 1).to(weight) * window[:, None]
            # few frequencies of many are wanted: a product with their waves is cheaper than a Fourier transform
            self.waves = waves * (2 / (found.n_times * window.square().sum())).sqrt()

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Mean power in the band over whatever is neither batch, channel nor time; of band features the mean square.

        By a Hann-windowed periodogram: without a window, slow activity and eye movements would leak into the band.

        Parameters
        ----------
        features : (batch, ...), as found, with any number of channels.

        Returns
        -------
        (batch, n_channels)
        """
        found = self.found
        if found.time is None:
            return features.movedim(found.channel, 1).flatten(2).square().mean(2)
        courses = features.movedim((found.channel, found.time), (1, -1))
        return (courses @ self.waves).square().sum(-1).flatten(1).unflatten(1, (courses.shape[1], -1)).mean(2)


class HeardPower:
    """Power of some channels in the features of the training forward pass that ran last.

    Hooks on the classifier: its own forward begins and ends a pass, and the module at the found place adds to it.
    Passes in evaluation mode or without gradients are not looked at.
    """

    reads_inside = True
    """the classifier must compute this layer as its authors wrote it"""

    def __init__(self, model: nn.Module, found: ChannelFeatures, rows: Sequence[int]):
        weight = next(model.parameters())
        self.found, self.power = found, Power(found, weight)
        self.rows = torch.tensor(list(rows), device=weight.device)
        self._parts: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._wanted = 0
        """samples of the pass that are still to come"""
        # torch.compile would leave out what a hook keeps
        model.register_forward_pre_hook(torch.compiler.disable(self._begin))
        model.register_forward_hook(torch.compiler.disable(self._end))
        model.get_submodule(found.path).register_forward_hook(torch.compiler.disable(self._hear))

    def take(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Power (batch, n_rows) and the features that it was taken from, once; x is what the pass was given."""
        powers, features = zip(*self._parts, strict=True)
        self._parts = []
        return powers[0] if len(powers) == 1 else torch.cat(powers), features

    def _begin(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._parts, self._wanted = [], len(inputs[0])

    def _end(self, _: nn.Module, __: tuple, ___: object) -> None:
        self._wanted = 0

    def _hear(self, part: nn.Module, _: tuple, result: torch.Tensor) -> None:
        if not (part.training and torch.is_grad_enabled()):
            return
        # when a checkpoint computes its part anew in the backward pass, it must do all that it did, but it is no pass
        power = self.power(result.index_select(self.found.channel, self.rows))
        if self._wanted:
            self._parts.append((power, result))
            self._wanted -= len(result)


class OwnPower:
    """Power of some channels by running the layer once more, on these channels alone.

    Not for every layer, see `own_power`. Where the gradient is measured are the layer's weights: they are what both
    losses have in common.
    """

    reads_inside = False

    def __init__(self, layer: nn.Module, found: ChannelFeatures, rows: Sequence[int], layout: tuple[int, int, int]):
        self.layer = copy.copy(layer)  # the weights are the same tensors
        self.layer._forward_hooks, self.layer._forward_pre_hooks = OrderedDict(), OrderedDict()
        weight = next(layer.parameters())
        self.power = Power(found, weight)
        self.rows = torch.tensor(list(rows), device=weight.device)
        self.layout = layout
        """dimensions of the layer's input: which is the channel, which is time, and how many there are"""

    def take(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Power (batch, n_rows) and the weights that it depends on; x is what the classifier is given."""
        return self.power(self.layer(self.arranged(x))), tuple(self.layer.parameters())

    def arranged(self, x: torch.Tensor) -> torch.Tensor:
        """The chosen channels (batch, n_rows, n_times) of windows, as the layer takes them."""
        x = x.index_select(1, self.rows)
        channel, time, n_dims = self.layout
        shape = [len(x), *[1] * (n_dims - 1)]
        shape[channel], shape[time] = x.shape[1:]
        return (x if channel < time else x.transpose(1, 2)).reshape(shape)


def own_power(model: nn.Module, found: ChannelFeatures, rows: Sequence[int], x: torch.Tensor) -> OwnPower | None:
    """Power by a pass of its own, where that is the same: the layer reads the windows as they are, channel by channel.

    Parameters
    ----------
    x : float, (batch, n_chans, n_times), any windows to try it with.
    """
    layer = model.get_submodule(found.path)
    if found.time is None or type(layer) not in RUNS_ALONE:
        return None
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    hook = layer.register_forward_hook(lambda _, given, result: seen.append((given[0], result)))
    try:
        with untouched(model), torch.no_grad():
            model.eval()
            model(x)
    finally:
        hook.remove()
    if len(seen) != 1 or (layout := _layout(seen[0][0], x)) is None:
        return None
    own = OwnPower(layer, found, rows, layout)
    with torch.no_grad():
        wanted = own.power(seen[0][1].index_select(found.channel, own.rows))
        try:
            got = own.take(x)[0]
        except RuntimeError:  # a layer that needs all channels
            return None
    if got.shape != wanted.shape or (got - wanted).abs().max() > SAME * wanted.abs().max():
        return None
    rewrite(own.layer, own.arranged(x))
    return own


def _layout(given: torch.Tensor, x: torch.Tensor) -> tuple[int, int, int] | None:
    """Which dimensions of a layer's input are channel and time of the windows, and how many it has; None where not."""
    if given.numel() != x.numel() or len(given) != len(x):
        return None
    for channel, time in itertools.permutations(range(1, given.ndim), 2):
        alike = (given.shape[channel], given.shape[time]) == x.shape[1:]
        if alike and torch.equal(given.movedim((channel, time), (1, 2)).reshape(x.shape), x):
            return channel, time, given.ndim
    return None
