"""Temporal filters, batch normalisation and a spatial filter, with nothing between: the spatial filter goes first.

All three are linear, so a few mixed maps instead of all electrodes meet the long filters. Batch normalisation between
them is an affine map whose statistics follow from the filter and the second moments of the input.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from valence.fast_layers import Padding, filter_maps, frame_moments, mix_channels


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
    return mean, (((taps @ second) * taps).sum(1) - mean.square()).clamp(min=0)


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
class Temporal:
    chain: Chain
    branch: int

    def __call__(self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return self.chain.defer(self.branch, input, weight, bias, padding)


@dataclass
class Normalise:
    chain: Chain
    branch: int

    def __call__(
        self, input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
    ):
        self.chain.norms[self.branch] = _Norm(running_mean, running_var, weight, bias, training, momentum, eps)
        return input


@dataclass
class Spatial:
    chain: Chain

    def __call__(self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return self.chain.spatial(weight, bias, groups)
