"""Convolutional front ends, computed in another order: the same functions of the same weights, several times faster.

A compact EEG classifier starts with a long temporal filter shared by all electrodes, followed by a spatial filter.
Both are linear, so the electrodes can be mixed first: a few maps instead of all electrodes meet the long filter. Batch
normalisation between the two is an affine map whose statistics follow from the filter and the second moments of the
input. Outputs, gradients and running statistics equal those of the layers replaced, to rounding.
"""

import torch
from torch import nn
from torch.nn import functional


class SpatialFirst(nn.Module):
    """Temporal convolution, batch normalisation and depthwise spatial convolution, with the spatial filter first.

    Parameters
    ----------
    temporal : Conv2d(1, n_filters, (1, k)), with zero padding in time, without bias.
    norm : BatchNorm2d(n_filters), affine, with running statistics.
    spatial : Conv2d(n_filters, n_filters · depth, (n_chans, 1), groups=n_filters), without bias.

    Maps (batch, 1, n_chans, n_times) to (batch, n_filters · depth, 1, n_times + 2·padding - k + 1).
    In training no gradient passes to x through the batch statistics; an input that asks for one is refused.
    """

    def __init__(self, temporal: nn.Conv2d, norm: nn.BatchNorm2d, spatial: nn.Conv2d):
        super().__init__()
        self.temporal, self.norm, self.spatial = temporal, norm, spatial
        self.length = temporal.kernel_size[1]
        self.padding = int(temporal.padding[1])
        if temporal.bias is not None or spatial.bias is not None or norm.momentum is None:
            raise ValueError("SpatialFirst takes convolutions without bias and a norm with a fixed momentum")
        self.momentum = float(norm.momentum)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and x.requires_grad:
            raise ValueError("SpatialFirst in training mode has no full gradient to its input: build without it")
        x = x.squeeze(1)
        taps = self.temporal.weight[:, 0, 0]  # (n_filters, k)
        mixing = self.spatial.weight[:, 0, :, 0]  # (n_filters * depth, n_chans)
        n_filters, depth = len(taps), len(mixing) // len(taps)
        mean, variance = self._statistics(x, taps)
        scale = self.norm.weight / (variance + self.norm.eps).sqrt()
        shift = self.norm.bias - scale * mean
        mixed = functional.conv1d(x, mixing[:, :, None]).unflatten(1, (n_filters, depth))
        filtered = filter_maps(mixed, scale[:, None] * taps, self.padding).flatten(1, 2)
        offset = shift.repeat_interleave(depth) * mixing.sum(1)
        return (filtered + offset[:, None]).unsqueeze(2)

    def _statistics(self, x: torch.Tensor, taps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of the temporal filters' output, each (n_filters,); in training, of this batch."""
        seen_mean, seen_variance = self.norm.get_buffer("running_mean"), self.norm.get_buffer("running_var")
        if not self.training:
            return seen_mean, seen_variance
        first, second = frame_moments(x, self.length, self.padding)
        taps = taps.double()
        mean = taps @ first
        variance = ((taps @ second) * taps).sum(1) - mean.square()
        n_values = x.shape[0] * x.shape[1] * (x.shape[2] + 2 * self.padding - self.length + 1)
        with torch.no_grad():
            self.norm.get_buffer("num_batches_tracked").add_(1)
            seen_mean.lerp_(mean.to(x.dtype), self.momentum)
            seen_variance.lerp_((variance * n_values / (n_values - 1)).to(x.dtype), self.momentum)
        return mean.to(x.dtype), variance.to(x.dtype)


def frame_moments(x: torch.Tensor, length: int, padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First and second moments of all frames of `length` samples of a zero-padded signal.

    Parameters
    ----------
    x : (batch, n_chans, n_times).

    Returns
    -------
    (length,) mean of each position of a frame, and (length, length) mean of products, over frames, channels and batch;
    float64. No gradient passes to x.
    """
    with torch.no_grad():
        signal = x.flatten(0, 1)
        n_frames = signal.shape[1] + 2 * padding - length + 1
        n_blocks = -(-(signal.shape[1] + 2 * padding) // length)
        padded = functional.pad(signal, (padding, (n_blocks + 1) * length - signal.shape[1] - padding))
        blocks = padded.unflatten(1, (n_blocks + 1, length)).transpose(0, 1)  # (n_blocks + 1, n_signals, length)
        pairs = torch.cat([blocks[:-1], blocks[1:]], 2)
        products = torch.bmm(blocks[:-1].transpose(1, 2), pairs)  # (n_blocks, length, 2 * length)
        offsets = torch.arange(length, device=x.device)
        # lagged[s, d]: the sum over signals of sample s times sample s + d
        lagged = products.gather(2, (offsets[:, None] + offsets).expand(n_blocks, -1, -1)).flatten(0, 1).double()
        cumulative = functional.pad(lagged.cumsum(0), (0, 0, 1, 0))
        by_lag = cumulative[n_frames : n_frames + length] - cumulative[:length]  # (start, lag), lag ahead of start
        near, far = torch.minimum(offsets[:, None], offsets), (offsets[:, None] - offsets).abs()
        second = by_lag[near, far]
        sums = functional.pad(padded.sum(0).double().cumsum(0), (1, 0))
        first = sums[n_frames : n_frames + length] - sums[:length]
        n_values = len(signal) * n_frames
        return first / n_values, second / n_values


def filter_maps(maps: torch.Tensor, taps: torch.Tensor, padding: int) -> torch.Tensor:
    """Correlate each group of maps with its own filter, as a product of blocks with a Toeplitz matrix.

    Parameters
    ----------
    maps : (batch, n_filters, depth, n_times).
    taps : (n_filters, k).
    padding : zeros before and after.

    Returns
    -------
    (batch, n_filters, depth, n_times + 2·padding - k + 1)
    """
    batch, n_filters, depth, n_times = maps.shape
    length = taps.shape[1]
    n_out = n_times + 2 * padding - length + 1
    hop = max(length, 16)
    n_blocks = -(-n_out // hop)
    padded = functional.pad(maps, (padding, (n_blocks + 1) * hop - n_times - padding))
    blocks = padded.unflatten(3, (n_blocks + 1, hop)).permute(1, 0, 2, 3, 4)
    lag = torch.arange(2 * hop, device=maps.device)[:, None] - torch.arange(hop, device=maps.device)
    inside = (lag >= 0) & (lag < length)
    toeplitz = functional.pad(taps, (0, 1))[:, torch.where(inside, lag, length)]  # (n_filters, 2 * hop, hop)
    out = torch.bmm(blocks[..., :-1, :].flatten(1, 3), toeplitz[:, :hop])
    out = out + torch.bmm(blocks[..., 1:, :].flatten(1, 3), toeplitz[:, hop:])
    return out.view(n_filters, batch, depth, n_blocks * hop)[..., :n_out].transpose(0, 1)


class ChannelsAsInput(nn.Module):
    """Temporal and spatial convolution merged into one, run over time with the electrodes as input channels.

    Parameters
    ----------
    temporal : Conv2d(1, n_filters, (k, 1)).
    spatial : Conv2d(n_filters, n_out, (1, n_chans)).

    Maps (batch, 1, n_times, n_chans) to (batch, n_out, n_times - k + 1, 1).
    """

    def __init__(self, temporal: nn.Conv2d, spatial: nn.Conv2d):
        super().__init__()
        self.temporal, self.spatial = temporal, spatial

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        temporal, spatial = self.temporal.weight[:, 0, :, 0], self.spatial.weight[:, :, 0, :]
        weight = torch.einsum("fk,ofc->ock", temporal, spatial)
        bias = self.spatial.bias
        if self.temporal.bias is not None:
            carried = spatial.sum(2) @ self.temporal.bias
            bias = carried if bias is None else bias + carried
        return functional.conv1d(x.squeeze(1).transpose(1, 2), weight, bias).unsqueeze(3)
