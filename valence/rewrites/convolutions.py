"""Single convolutions that torch computes slowly, as the same sums in another form, chosen by their shapes alone.

Each form takes what torch.conv1d and torch.conv2d take; stride and dilation are one where it does not say otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from valence.fast_layers import filter_by_spectrum, filter_from_one, filter_maps, filter_to_few, spatial_filter
from valence.rewrites.chain_search import is_plain
from valence.rewrites.chains import time_padding
from valence.rewrites.intercept import free, intercept
from valence.rewrites.trace import CONVOLUTIONS, Call, Trace, memory_format

LONG = 64
"""taps from which on filters of one map are faster as a product of frames"""
FEW = 4
"""outputs up to which all products of samples and taps at once are faster, though they take memory"""
SPECTRUM = 1.4
"""how many times cheaper, by count, the spectrum must be: transforms run slower than products"""


def rewrite_convolutions(trace: Trace) -> list[str]:
    """Give every convolution that no other rewrite has taken its faster form.

    Returns
    -------
    list of str : one per convolution rewritten.
    """
    words = []
    for call in trace.calls:
        if call.function in CONVOLUTIONS and free(call.owner) and (trace.replaceable(call) or _alone(trace, call)):
            form = _form(call)
            if form is not None:
                intercept(call.owner, call.function, call.position, Formed(form, memory_format(call.output)))
                words.append(_WORDS[form])
    return words


def _alone(trace: Trace, call: Call) -> bool:
    """Whether a module that calls others is the only one among them that asks for such a convolution, and once."""
    inside = set(call.owner.modules())
    same = [other for other in trace.calls if other.function is call.function and other.owner in inside]
    return same == [call] and trace.runs[call.owner] == 1


@dataclass
class Formed:
    """A form, with its result laid out in memory as torch lays it out: random masks depend on it."""

    form: Callable[..., torch.Tensor]
    layout: torch.memory_format

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.form(*args, **kwargs).contiguous(memory_format=self.layout)


def _form(call: Call) -> Callable[..., torch.Tensor] | None:
    x, weight = call.args[0], call.argument(1, "weight")
    groups, padding = call.argument(6, "groups", 1), call.argument(4, "padding", 0)
    if x.ndim == 3 and is_plain(call):
        return own_filters if groups == len(weight) == x.shape[1] > 1 and weight.shape[2] >= 8 else None
    if x.ndim != 4 or weight.shape[2] == weight.shape[3] == 1:
        return None
    if weight.shape[2] == 1 and _across(padding, 3) == 0 and _cheaper_by_spectrum(call):
        return by_spectrum
    if not is_plain(call):
        return None
    flat = x.shape[2] == weight.shape[2] == 1 and groups == 1 and _across(padding, 3) == 0
    if flat and len(weight) <= FEW and min(x.shape[1], weight.shape[3]) >= 8:
        return few_outputs
    for time in (2, 3):
        space = 5 - time
        if _across(padding, time) != 0 or call.output.shape[time] == 1:
            continue
        if weight.shape[space] == x.shape[space] > 1:
            if groups == 1 and (space == 3 or x.shape[1] > 1):
                return channels_last_as_input if space == 3 else channels_as_input
            if (
                groups == x.shape[1] > 1 == weight.shape[time]
                and len(weight) <= 8 * groups
                and not _along(padding, time)
            ):
                return own_mixing
        if weight.shape[space] == 1 and weight.shape[time] >= 8 and groups == len(weight) == x.shape[1] > 1:
            return own_filters
    if x.shape[1] == weight.shape[2] == 1 < x.shape[2] and weight.shape[3] >= LONG and _across(padding, 3) == 0:
        return long_filters
    return None


def _across(padding, time: int) -> int:
    return 0 if isinstance(padding, str) else _along(padding, 5 - time)


def _along(padding, time: int) -> int:
    if isinstance(padding, str):
        return 0 if padding == "valid" else -1
    return padding if isinstance(padding, int) else padding[(time - 2) % len(padding)]


def _cheaper_by_spectrum(call: Call) -> bool:
    x, weight = call.args[0], call.argument(1, "weight")
    stride = call.argument(3, "stride", 1)
    if call.argument(6, "groups", 1) != 1 or set(stride if isinstance(stride, (tuple, list)) else (stride,)) != {1}:
        return False
    n_out, n_in, _, length = weight.shape
    return n_out * n_in * length > SPECTRUM * (150 * (n_in + n_out) + 8 * n_in * n_out) and x.shape[3] > 2 * length


def channels_as_input(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A kernel as high as the image: (batch, n_maps, n_chans, n_times) to (batch, n_out, 1, n_times')."""
    before, after = time_padding(padding, weight.shape[3], 3)
    x = input.flatten(1, 2) if before == after == 0 else functional.pad(input.flatten(1, 2), (before, after))
    return functional.conv1d(x, weight.flatten(1, 2), bias).unsqueeze(2)


def channels_last_as_input(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A kernel as wide as the image: (batch, n_maps, n_times, n_chans) to (batch, n_out, n_times', 1)."""
    padding = padding if isinstance(padding, (str, int)) else tuple(reversed(padding))
    out = channels_as_input(input.transpose(2, 3), weight.transpose(2, 3), bias, padding=padding)
    return out.transpose(2, 3)


def own_mixing(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Every map's own filters over all channels, which are the dimension that the kernel covers."""
    mixing = weight.flatten(1).unflatten(0, (groups, -1))
    if weight.shape[3] == 1:
        out = spatial_filter(input, mixing)[:, :, None]
    else:  # a product in the order of memory, so that the gradient to the input comes in that order too
        batch, n_maps, n_times, n_chans = input.shape
        mixing = mixing.transpose(1, 2).expand(batch, *mixing.transpose(1, 2).shape).flatten(0, 1)
        out = torch.bmm(input.reshape(batch * n_maps, n_times, n_chans), mixing)
        out = out.unflatten(0, (batch, n_maps)).transpose(2, 3).flatten(1, 2)[..., None]
    return out if bias is None else out + bias[:, None, None]


def own_filters(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Every map's own filter over time; (batch, n_maps, n_times), or an image with time along either dimension."""
    time = 2 if input.ndim == 3 or weight.shape[3] == 1 else 3
    x = input[:, :, None] if input.ndim == 3 else input.transpose(2, 3) if time == 2 else input
    taps = weight.flatten(1)[:, None]
    out = filter_maps(x[:, None], taps, time_padding(padding, taps.shape[2], time))
    out = out if bias is None else out + bias[:, None, None]
    return out[:, :, 0] if input.ndim == 3 else out.transpose(2, 3) if time == 2 else out


def long_filters(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Long filters of one map, of images whose last dimension is time."""
    out = filter_from_one(input[:, 0], weight[:, 0, 0], time_padding(padding, weight.shape[3], 3))
    return out if bias is None else out + bias[:, None, None]


def few_outputs(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Filters over time from many maps to few; images of height one."""
    x = functional.pad(input[:, :, 0], time_padding(padding, weight.shape[3], 3))
    out = filter_to_few(x, weight[:, :, 0])
    return (out if bias is None else out + bias[:, None])[:, :, None]


def by_spectrum(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Long filters between many maps, as products of spectra; any dilation."""
    step = dilation if isinstance(dilation, int) else dilation[-1]
    length = (weight.shape[3] - 1) * step + 1
    out = filter_by_spectrum(input, weight[:, :, 0], step, time_padding(padding, length, 3))
    return out if bias is None else out + bias[:, None, None]


_WORDS = {
    channels_as_input: "channels as input of a temporal convolution",
    channels_last_as_input: "channels as input of a temporal convolution",
    own_mixing: "depthwise spatial filter as matrix product",
    own_filters: "depthwise temporal filter as matrix product",
    long_filters: "long temporal filter as matrix product",
    few_outputs: "temporal filters to few outputs by diagonals",
    by_spectrum: "long temporal filters by their spectra",
}
