"""Temporal filters, batch normalisation and a spatial filter, with nothing between: the spatial filter goes first.

All three are linear, so a few mixed maps instead of all electrodes meet the long filters. Batch normalisation between
them is an affine map whose statistics follow from the filter and the second moments of the input.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from valence.fast_layers import Padding, filter_maps, frame_moments, mix_channels
from valence.rewrites.intercept import free, intercept
from valence.rewrites.trace import CONVOLUTIONS, NORM, Call, Trace, memory_format

HARMLESS = {"permute", "transpose", "contiguous", "movedim", "swapaxes"}
PASS = 30
"""a pass over a map in memory costs as much as this many multiplications of each of its samples"""


@dataclass
class _Filtered:
    """What a temporal convolution was asked for, not yet computed."""

    x: torch.Tensor
    """(batch, n_inputs, n_chans, n_times)"""
    taps: torch.Tensor
    """(n_filters, n_inputs, k)"""
    bias: torch.Tensor | None
    padding: Padding

    @property
    def n_out(self) -> int:
        return self.x.shape[3] + sum(self.padding) - self.taps.shape[2] + 1


@dataclass
class _Norm:
    """Arguments of a batch normalisation, as its module gave them."""

    running_mean: torch.Tensor | None
    running_var: torch.Tensor | None
    weight: torch.Tensor | None
    bias: torch.Tensor | None
    training: bool
    momentum: float
    eps: float


class Chain:
    """What the replaced operations of one chain pass to each other during a forward pass.

    Between them flow tensors without a time, so that whatever shapes them on the way (a concatenation, a permutation)
    does as before and costs nothing.
    """

    def __init__(self, n_branches: int, time: int, layout: torch.memory_format):
        self.time, self.layout = time, layout
        self.filtered: list[_Filtered | None] = [None] * n_branches
        self.norms: dict[int, _Norm] = {}

    def defer(self, branch: int, x: torch.Tensor, weight: torch.Tensor, bias, padding) -> torch.Tensor:
        """Keep a temporal convolution for later."""
        if self.time == 2:
            x, weight = x.transpose(2, 3), weight.transpose(2, 3)
        self.filtered[branch] = _Filtered(x, weight[:, :, 0], bias, time_padding(padding, weight.shape[3], self.time))
        shape = [x.shape[0], weight.shape[0], x.shape[2], x.shape[2]]
        shape[self.time] = 0
        return x.new_empty(shape)

    def spatial(self, weight: torch.Tensor, bias: torch.Tensor | None, groups: int) -> torch.Tensor:
        """All of the chain, from the input of the temporal filters to the output of the spatial one."""
        branches = [branch for branch in self.filtered if branch is not None]
        affine = self._affine(branches)
        self.filtered, self.norms = [None] * len(branches), {}
        weight = weight.squeeze(self.time)  # (n_out, n_filters / groups, n_chans)
        sizes = [len(branch.taps) for branch in branches]
        if groups == 1:
            parts = weight.split(sizes, 1)
            pieces = [_merged(*each) for each in zip(branches, affine, parts, strict=True)]
            out = sum(pieces[1:], pieces[0])
            out = out if bias is None else out + bias[:, None]
        else:
            parts = weight.flatten(0, 1).unflatten(0, (groups, -1)).split(sizes, 0)
            pieces = [_spatial_first(*each) for each in zip(branches, affine, parts, strict=True)]
            out = torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]
            out = out if bias is None else out + bias[:, None]
        return out.unsqueeze(5 - self.time).contiguous(memory_format=self.layout)

    def _affine(self, branches: list[_Filtered]) -> list[tuple[torch.Tensor | None, torch.Tensor | None]]:
        """Scale and shift of every branch's filters, each (n_filters,) or None for one and zero."""
        if not self.norms:
            return [(None, branch.bias) for branch in branches]
        if len(self.norms) == 1 and len(branches) > 1:  # one normalisation of all branches together
            norm = next(iter(self.norms.values()))
            scale, shift = _normalisation(norm, branches)
            sizes = [len(branch.taps) for branch in branches]
            return list(zip(scale.split(sizes), shift.split(sizes), strict=True))
        return [_normalisation(self.norms[number], [branch]) for number, branch in enumerate(branches)]


def _normalisation(norm: _Norm, branches: list[_Filtered]) -> tuple[torch.Tensor, torch.Tensor]:
    """Batch normalisation as scale and shift of what the taps give; in training the running statistics move."""
    with torch.autocast(branches[0].x.device.type, enabled=False):
        biases = [torch.zeros_like(b.taps[:, 0, 0]) if b.bias is None else b.bias for b in branches]
        bias = torch.cat(biases)
        if norm.training:
            moments = [_output_moments(branch) for branch in branches]
            mean, variance = (torch.cat(part) for part in zip(*moments, strict=True))
            if norm.running_mean is not None and norm.running_var is not None:
                n_values = branches[0].x.shape[0] * branches[0].x.shape[2] * branches[0].n_out
                unbiased = variance * (n_values / (n_values - 1))
                with torch.no_grad():
                    norm.running_mean.lerp_((mean + bias).to(norm.running_mean.dtype), norm.momentum)
                    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
            # A bias before the norm moves nothing, but has a gradient: of zero, so that weight decay still sees it.
            mean, variance = mean.to(bias.dtype) + (bias - bias), variance.to(bias.dtype)
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            mean, variance = norm.running_mean - bias, norm.running_var
        scale = (variance + norm.eps).rsqrt()
        scale = scale if norm.weight is None else norm.weight * scale
        shift = -scale * mean
        return scale, shift if norm.bias is None else norm.bias + shift


def _output_moments(branch: _Filtered) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of filter outputs without bias, over batch, channels and time; float64, each (n_filters,)."""
    with torch.set_grad_enabled(torch.is_grad_enabled() and branch.x.requires_grad):
        first, second = frame_moments(branch.x, branch.taps.shape[2], branch.padding)
    taps = branch.taps.double().flatten(1)
    mean = taps @ first
    return mean, ((taps @ second) * taps).sum(1) - mean.square()


def _spatial_first(
    branch: _Filtered, affine: tuple[torch.Tensor | None, torch.Tensor | None], mixing: torch.Tensor
) -> torch.Tensor:
    """One filter per group: mixing is (n_filters, depth, n_chans)."""
    scale, shift = affine
    mixed = mix_channels(branch.x, mixing.flatten(0, 1)).unflatten(2, mixing.shape[:2])
    taps = branch.taps if scale is None else branch.taps * scale[:, None, None]
    out = filter_maps(mixed, taps, branch.padding)
    if shift is not None:
        out = out + (shift[:, None] * mixing.sum(2))[..., None]
    return out.flatten(1, 2)


def _merged(
    branch: _Filtered, affine: tuple[torch.Tensor | None, torch.Tensor | None], mixing: torch.Tensor
) -> torch.Tensor:
    """All filters in one group: temporal and spatial weights make one kernel; mixing is (n_out, n_filters, n_chans)."""
    scale, shift = affine
    taps = branch.taps if scale is None else branch.taps * scale[:, None, None]
    kernel = torch.einsum("ofc,fik->oick", mixing, taps).flatten(1, 2)
    bias = None if shift is None else mixing.sum(2) @ shift
    return functional.conv1d(functional.pad(branch.x.flatten(1, 2), branch.padding), kernel, bias)


def time_padding(padding: Any, length: int, time: int) -> Padding:
    """Zeros before and after, as torch means a convolution's padding."""
    if padding == "same":
        return (length - 1) // 2, length - 1 - (length - 1) // 2
    if padding == "valid":
        return 0, 0
    along = padding if isinstance(padding, int) else padding[time - 2] if len(padding) > 1 else padding[0]
    return along, along


# What takes the place of the operations. Classes, so that a rewritten module can be pickled.


@dataclass
class _Temporal:
    chain: Chain
    branch: int

    def __call__(self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return self.chain.defer(self.branch, input, weight, bias, padding)


@dataclass
class _Normalise:
    chain: Chain
    branch: int

    def __call__(
        self, input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
    ):
        self.chain.norms[self.branch] = _Norm(running_mean, running_var, weight, bias, training, momentum, eps)
        return input


@dataclass
class _Spatial:
    chain: Chain

    def __call__(self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return self.chain.spatial(weight, bias, groups)


@dataclass
class _Branch:
    temporal: Call
    norm: Call | None


def rewrite_chains(trace: Trace) -> list[str]:
    """Rewrite every chain of a traced module that is cheaper the other way round.

    Returns
    -------
    list of str : one per chain.
    """
    return [words for call in trace.calls if (words := _rewrite_one(trace, call))]


def _rewrite_one(trace: Trace, spatial: Call) -> str | None:
    if not is_plain(spatial) or not trace.replaceable(spatial) or not free(spatial.owner):
        return None
    x, weight = spatial.args[0], spatial.argument(1, "weight")
    groups = spatial.argument(6, "groups", 1)
    if x.ndim != 4 or groups not in (1, x.shape[1]):
        return None
    for time in (2, 3):
        space = 5 - time
        if weight.shape[time] == 1 and x.shape[space] == weight.shape[space] > 1 and _unpadded(spatial):
            branches = _behind(trace, spatial, time)
            norms = [] if branches is None else [b.norm for b in branches]
            if branches and (spare := _saving(branches, spatial, groups)) > 1.0:
                return _install(trace, branches, spatial, time, len(set(map(id, norms))), spare)
    return None


def _install(trace: Trace, branches: list[_Branch], spatial: Call, time: int, n_norms: int, spare: float) -> str:
    chain = Chain(len(branches), time, memory_format(spatial.output))
    for number, branch in enumerate(branches):
        temporal = branch.temporal
        intercept(temporal.owner, temporal.function, temporal.position, _Temporal(chain, number))
        if branch.norm is not None and (number == 0 or branch.norm is not branches[0].norm):
            intercept(branch.norm.owner, branch.norm.function, branch.norm.position, _Normalise(chain, number))
    intercept(spatial.owner, spatial.function, spatial.position, _Spatial(chain))
    filters = f"{len(branches)} temporal filters" if len(branches) > 1 else "temporal filter"
    norm = ", batch normalisation" if branches[0].norm is not None else ""
    return f"spatial filter before {filters}{norm}"


def _behind(trace: Trace, spatial: Call, time: int) -> list[_Branch] | None:
    """Temporal convolutions whose outputs, normalised or not, are all that a spatial filter reads; None where not."""
    made_by = _producer(trace, spatial.args[0], spatial)
    norm = None
    if made_by is not None and made_by.function is NORM and _replaceable_norm(trace, made_by):
        norm, made_by = made_by, _producer(trace, made_by.args[0], made_by)
    if made_by is None:
        return None
    if made_by.function in (torch.cat, torch.concat, torch.concatenate):
        if made_by.argument(1, "dim", 0) not in (1, -3):
            return None
        branches = [_branch(trace, piece, made_by, norm, time) for piece in made_by.argument(0, "tensors")]
    else:
        branches = [_as_branch(trace, made_by, norm, time)]
    found = [branch for branch in branches if branch is not None]
    same = len({branch.norm is None for branch in found}) == 1
    owners = [id(branch.temporal.owner) for branch in found]
    return found if found and same and len(found) == len(branches) == len(set(owners)) else None


def _branch(trace: Trace, piece: torch.Tensor, reader: Call, shared: Call | None, time: int) -> _Branch | None:
    made_by, norm = _producer(trace, piece, reader), shared
    if shared is None and made_by is not None and made_by.function is NORM and _replaceable_norm(trace, made_by):
        norm, made_by = made_by, _producer(trace, made_by.args[0], made_by)
    return None if made_by is None else _as_branch(trace, made_by, norm, time)


def _as_branch(trace: Trace, call: Call, norm: Call | None, time: int) -> _Branch | None:
    if not is_plain(call) or not trace.replaceable(call) or not free(call.owner) or call.function is not torch.conv2d:
        return None
    x, weight = call.args[0], call.argument(1, "weight")
    padding = call.argument(4, "padding", 0)
    fits = x.ndim == 4 and weight.shape[5 - time] == 1 < weight.shape[time] and call.argument(6, "groups", 1) == 1
    across = (
        0
        if isinstance(padding, str)
        else padding
        if isinstance(padding, int)
        else padding[(5 - time - 2) % len(padding)]
    )
    return _Branch(call, norm) if fits and across == 0 else None


def _producer(trace: Trace, tensor: torch.Tensor, reader: Call) -> Call | None:
    """The call behind a tensor that only `reader` reads, seen through changes of layout that leave it as it is."""
    if trace.only_reader(tensor) is not reader:
        return None
    made_by = trace.producer.get(id(tensor))
    seen = tensor
    while made_by is not None and getattr(made_by.function, "__name__", "") in HARMLESS:
        source = made_by.args[0]
        if trace.only_reader(source) is not made_by:
            return None
        seen, made_by = source, trace.producer.get(id(source))
    return made_by if seen.shape == tensor.shape and torch.equal(seen, tensor) else None


def _replaceable_norm(trace: Trace, call: Call) -> bool:
    return trace.replaceable(call) and free(call.owner) and call.args[0].ndim == 4


def is_plain(call: Call) -> bool:
    """Whether a call is a convolution without stride and dilation."""
    if call.function not in CONVOLUTIONS:
        return False
    stride, dilation = (call.argument(place, name, 1) for place, name in ((3, "stride"), (5, "dilation")))
    return all(set(v if isinstance(v, (tuple, list)) else (v,)) == {1} for v in (stride, dilation))


def _unpadded(call: Call) -> bool:
    padding = call.argument(4, "padding", 0)
    return padding == "valid" or set(padding if isinstance(padding, (tuple, list)) else (padding,)) == {0}


def _saving(branches: list[_Branch], spatial: Call, groups: int) -> float:
    """How many times fewer multiplications per sample of time the other order takes."""
    weight = spatial.argument(1, "weight")
    n_out, n_chans = len(weight), spatial.args[0].shape[2] * spatial.args[0].shape[3] // _times(spatial)
    before = weight.numel()
    after = 0.0
    for branch in branches:
        taps = branch.temporal.argument(1, "weight")
        n_filters, n_inputs, length = len(taps), taps.shape[1], max(taps.shape[2:])
        passes = 1 if branch.norm is None else 3
        before += n_filters * n_chans * (n_inputs * length + passes * PASS)
        own = n_out if groups == 1 else n_out * n_filters // groups
        if groups == 1:
            after += own * n_chans * n_inputs * length
        else:
            after += own * n_inputs * (n_chans + 2 * length + 3 * PASS)
        if branch.norm is not None:
            after += 2 * n_inputs**2 * n_chans * length
    return before / after


def _times(spatial: Call) -> int:
    weight = spatial.argument(1, "weight")
    return spatial.args[0].shape[2] if weight.shape[2] == 1 else spatial.args[0].shape[3]
