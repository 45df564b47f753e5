"""Classifiers to faster answers on one CPU core: forms of their layers for evaluation, the same functions.

A form replaces how a layer computes, in place; weights and state dicts stay. Training and its results never use one.
EMOD's layers have forms of their own: its convolutions become one product with patches that all members share, group
normalisation being known from the patches' second moments before anything is convolved; its attention is computed a
few rows at a time, in cache, with the relative encodings read as a skewed view of one product. With bfloat16, products
of linear layers take half the digits of their inputs and weights, and sums are kept in float32.
"""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from valence import emod
from valence.errors import BadInput

PRECISIONS = ("auto", "float32", "bfloat16")
ROWS_AT_ONCE = 2
"""sequences whose attention is computed together: what they need stays in the core's own cache"""
FEED_ROWS = 1600
"""tokens that pass a feed-forward network together, likewise"""
CHANNELS_AT_ONCE = 4
"""channels convolved together, likewise"""
PADDED = 32
"""columns of a row of patches: a kernel, a 1 for the bias, zeros"""
SMALLEST = 4096
"""weights below which a linear layer gains nothing"""


def dtype_of(precision: str) -> torch.dtype:
    """The type that linear layers multiply in; "auto" is bfloat16 where the processor has it in hardware."""
    if precision not in PRECISIONS:
        raise BadInput(f"precision {precision!r}", allowed=", ".join(PRECISIONS), do="take one of these")
    has_bfloat16 = bool(torch.cpu._is_avx512_bf16_supported())
    return torch.bfloat16 if precision == "bfloat16" or (precision == "auto" and has_bfloat16) else torch.float32


def quicken(modules: Sequence[nn.Module], dtype: torch.dtype) -> None:
    """Give layers their faster forms, in place. Modules must be in evaluation mode, and stay there, on a CPU."""
    patches = Patches(dtype)
    for module in modules:
        for layer in list(module.modules()):
            form: Callable | None = None
            if isinstance(layer, emod.Tokens):
                form = TokensForm(layer, patches)
            elif isinstance(layer, emod.Attention):
                form = AttentionForm(layer, dtype)
            elif isinstance(layer, emod.Block):
                layer.feed_forward.forward = FeedForwardForm(layer.feed_forward, dtype)  # type: ignore[method-assign]
            elif type(layer) is nn.Linear and dtype is not torch.float32 and layer.weight.numel() >= SMALLEST:
                form = LinearForm(layer, dtype)
            if form is not None:
                layer.forward = form  # type: ignore[method-assign]


class LinearForm:
    """A linear layer in another type, float32 in and out."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype):
        self.weight = layer.weight.detach().to(dtype)
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.in_type(x.reshape(-1, x.shape[-1])).float().view(*x.shape[:-1], -1)

    def in_type(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows (n, width) to the layer's outputs, in its own type. Of rows that lie apart torch would copy weights."""
        return functional.linear(rows.to(self.weight.dtype), self.weight, self.bias)


class FeedForwardForm:
    """Feed-forward of `emod.Block` for evaluation: some rows at a time, in cache, in the type of its layers."""

    def __init__(self, layers: nn.Sequential, dtype: torch.dtype):
        wide, narrow = (layer for layer in layers if isinstance(layer, nn.Linear))
        self.wide, self.narrow = LinearForm(wide, dtype), LinearForm(narrow, dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        rows, into = x.reshape(-1, x.shape[-1]), out.view(-1, x.shape[-1])
        for some, place in zip(rows.split(FEED_ROWS), into.split(FEED_ROWS)):
            place.copy_(self.narrow.in_type(functional.gelu(self.wide.in_type(some))))
        return out


class Patches:
    """Every stretch of a kernel's length of a signal and of its spectrum, made once for all members."""

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self._made: tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]] | None = None

    def of(self, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For the signal and for its spectrum: patches (batch, n_chans, length, PADDED), second moments, float64."""
        if self._made is None or self._made[0] is not x:
            spectrum = torch.fft.rfft(x, norm="forward").real
            self._made = x, [self._patches(each) for each in (x, spectrum)]
        return self._made[1]

    def _patches(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = functional.pad(x, (emod.KERNEL // 2, emod.KERNEL // 2)).unfold(-1, emod.KERNEL, 1)
        padded = x.new_zeros(*x.shape, PADDED)
        padded[..., : emod.KERNEL] = rows
        padded[..., emod.KERNEL] = 1
        flat = padded.flatten(1, 2)
        # sums over few rows in float32, over all of them in float64
        parts = flat.unflatten(1, (x.shape[1], -1))
        return padded.to(self.dtype), (parts.mT @ parts).double().sum(1)


class TokensForm:
    """`emod.Tokens` for evaluation: convolution and normalisation in one product, pooled while it is in cache."""

    def __init__(self, layer: emod.Tokens, patches: Patches):
        self.layer, self.patches = layer, patches
        self.kernels = [self._kernel(branch) for branch in (layer.time, layer.frequency)]

    @staticmethod
    def _kernel(branch: nn.Sequential) -> torch.Tensor:
        convolution = branch[0]
        assert isinstance(convolution, nn.Conv2d)
        kernel = torch.zeros(emod.WIDTH, PADDED, dtype=torch.float64)
        kernel[:, : emod.KERNEL] = convolution.weight.detach().reshape(emod.WIDTH, emod.KERNEL)
        kernel[:, emod.KERNEL] = 0 if convolution.bias is None else convolution.bias.detach()
        return kernel

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [
            torch.stack([self._pooled(patches[at], self._normed(kernel, moments[at], branch)) for at in range(len(x))])
            for kernel, branch, (patches, moments) in zip(
                self.kernels, (self.layer.time, self.layer.frequency), self.patches.of(x)
            )
        ]
        return self.layer.fuse(torch.cat(pooled, -1))

    @staticmethod
    def _normed(kernel: torch.Tensor, moments: torch.Tensor, branch: nn.Sequential) -> torch.Tensor:
        """The kernel (WIDTH, PADDED) with its group normalisation in it; moments (PADDED, PADDED) of one sample."""
        norm = branch[1]
        assert isinstance(norm, nn.GroupNorm)
        n = moments[emod.KERNEL, emod.KERNEL]
        product = kernel @ moments
        groups = (emod.GROUPS, -1)
        mean = product[:, emod.KERNEL].view(groups).mean(1) / n
        square = (product * kernel).sum(1).view(groups).mean(1) / n
        scale = (square - mean**2 + norm.eps).rsqrt().repeat_interleave(emod.WIDTH // emod.GROUPS) * norm.weight
        normed = kernel * scale[:, None]
        normed[:, emod.KERNEL] += norm.bias - mean.repeat_interleave(emod.WIDTH // emod.GROUPS) * scale
        return normed

    def _pooled(self, patches: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Patches (n_chans, length, PADDED) of one sample to (n_chans, n_tokens, WIDTH), float32."""
        n_chans, length, _ = patches.shape
        n_tokens, weight = self.layer.n_tokens, kernel.mT.to(patches.dtype).contiguous()
        pooled = torch.empty(n_chans, emod.WIDTH, 1, n_tokens, dtype=patches.dtype)
        pooled = pooled.to(memory_format=torch.channels_last)
        for begin in range(0, n_chans, CHANNELS_AT_ONCE):
            values = functional.gelu(patches[begin : begin + CHANNELS_AT_ONCE].reshape(-1, PADDED) @ weight)
            # pooling takes features last as they are, by the name of channels_last
            last = values.view(-1, 1, length, emod.WIDTH).permute(0, 3, 1, 2)
            pooled[begin : begin + CHANNELS_AT_ONCE] = functional.adaptive_avg_pool2d(last, (1, n_tokens))
        return pooled[:, :, 0].mT.float()


class AttentionForm:
    """`emod.Attention` for evaluation: exponentials without a maximum first, unless one of them overflows."""

    def __init__(self, layer: emod.Attention, dtype: torch.dtype):
        self.layer, self.original = layer, layer.forward
        scaled = copy.deepcopy(layer.qkv)
        width = scaled.in_features
        with torch.no_grad():
            for part, factor in ((0, math.log2(math.e)), (1, (width // emod.HEADS) ** -0.5)):
                # queries and keys; powers of two are quicker than of e
                scaled.weight[part * width : (part + 1) * width] *= factor
                scaled.bias[part * width : (part + 1) * width] *= factor
        self.qkv, self.project = LinearForm(scaled, dtype), LinearForm(layer.project, dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        if self.layer.relative is not None and length > emod.LONGEST:
            return self.original(x)
        per_head = width // emod.HEADS
        # to float32 first: torch is slow to sort half-precision numbers
        parts = self.qkv.in_type(x.reshape(-1, width)).float().view(n, length, 3, emod.HEADS, per_head)
        sorted_by_head = x.new_empty(3, n, emod.HEADS, length, per_head).copy_(parts.permute(2, 0, 3, 1, 4))
        query, key, value = sorted_by_head.view(3, n * emod.HEADS, length, per_head)
        # a row of ones gives the sums that they are divided by
        value = torch.cat([value.mT, value.new_ones(n * emod.HEADS, 1, length)], 1)
        attended = torch.empty_like(value)
        self._attend(query, key, value, out=attended)
        sums = attended[:, per_head:]
        mean = (attended[:, :per_head] / sums).view(n, width, length)
        if not torch.isfinite(mean.sum() + sums.sum()):  # too large for a power of two, or all too small
            return self.original(x)
        return self.project(mean.mT)

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, out: torch.Tensor) -> None:
        """Weighted sums of values (n, width + 1, length), the weights being powers of two of the logits."""
        n, length, per_head = query.shape
        some = min(n, ROWS_AT_ONCE * emod.HEADS)
        logits = query.new_empty(some, length, length)
        relative = self.layer.relative
        if relative is not None:
            # distance of query q and key k is q - k: from the far end, a step along k is a step along the table
            reach = slice(emod.LONGEST - length, emod.LONGEST + length - 1)
            table = relative.detach()[reach].flip(0).mT.contiguous()
            products = query.new_empty(some * length, 2 * length - 1)
            skewed = products.as_strided(logits.shape, (length * (2 * length - 1), 2 * length - 2, 1), length - 1)
        for begin in range(0, n, some):
            rows = slice(begin, min(begin + some, n))
            here = logits[: rows.stop - begin]
            torch.bmm(query[rows], key[rows].mT, out=here)
            if relative is not None:
                torch.mm(query[rows].reshape(-1, per_head), table, out=products[: len(here) * length])
                here += skewed[: len(here)]
            torch.bmm(value[rows], here.exp2_().mT, out=out[rows])
