"""Convolutions and batch statistics in another order: the same functions of the same weights, several times faster.

Everything here takes and gives plain tensors; `valence.rewrites` finds where it fits. Results and gradients equal those
of torch's own operations to rounding.
"""

import torch
from torch.nn import functional

Padding = tuple[int, int]


def frame_moments(x: torch.Tensor, length: int, padding: Padding) -> tuple[torch.Tensor, torch.Tensor]:
    """First and second moments of all frames of `length` samples of zero-padded signals.

    Parameters
    ----------
    x : (batch, n_maps, n_chans, n_times). The maps of an electrode make one frame together.
    padding : zeros before and after.

    Returns
    -------
    (n_maps * length,) mean of each position of a frame, and (n_maps * length, n_maps * length) mean of products, over
    frames, channels and batch; float64.
    """
    signal = x.transpose(0, 1).flatten(1, 2)  # (n_maps, n_signals, n_times)
    n_maps, n_signals, n_times = signal.shape
    n_padded = n_times + sum(padding)
    n_frames = n_padded - length + 1
    n_blocks = -(-n_padded // length)
    padded = functional.pad(signal, (padding[0], (n_blocks + 1) * length - n_times - padding[0]))
    sums = padded.sum(1, dtype=torch.float64).cumsum(1)
    sums = functional.pad(sums, (1, 0))
    first = sums[:, n_frames : n_frames + length] - sums[:, :length]
    # Products of a block with itself and the next hold every pair of samples less than `length` apart.
    blocks = padded.unflatten(2, (n_blocks + 1, length)).permute(
        2, 1, 0, 3
    )  # (n_blocks + 1, n_signals, n_maps, length)
    ahead = torch.cat([blocks[:-1], blocks[1:]], 3).flatten(2)
    products = torch.bmm(blocks[:-1].flatten(2).transpose(1, 2), ahead)
    products = products.view(n_blocks, n_maps, length, n_maps, 2 * length)
    offsets = torch.arange(length, device=x.device)
    index = (offsets[:, None] + offsets)[:, None, :].expand(n_blocks, n_maps, length, n_maps, length)
    # lagged[t, i, j, d]: the sum over signals of sample t of map i times sample t + d of map j
    lagged = products.gather(4, index).permute(0, 2, 1, 3, 4).flatten(0, 1).double()
    by_lag = _window_sums(lagged, n_frames, length)
    near, far = torch.minimum(offsets[:, None], offsets), (offsets[:, None] - offsets).abs()
    second = by_lag.permute(0, 3, 1, 2)[near, far]  # (length, length, n_maps, n_maps), the earlier sample's map first
    if n_maps > 1:
        in_order = (offsets[:, None] <= offsets)[:, :, None, None]
        second = torch.where(in_order, second, second.transpose(2, 3))
    second = second.permute(2, 0, 3, 1).reshape(n_maps * length, n_maps * length)
    n_values = n_signals * n_frames
    return first.flatten() / n_values, second / n_values


def _window_sums(values: torch.Tensor, width: int, n_windows: int) -> torch.Tensor:
    """Sums over `width` rows from each of the first `n_windows` rows on."""
    if width < n_windows:
        cumulative = functional.pad(values.cumsum(0), (0, 0, 0, 0, 0, 0, 1, 0))
        return cumulative[width : width + n_windows] - cumulative[:n_windows]
    start = values[:width].sum(0, keepdim=True)
    change = values[width : width + n_windows - 1] - values[: n_windows - 1]
    return torch.cat([start, start + change.cumsum(0)])


def filter_maps(maps: torch.Tensor, taps: torch.Tensor, padding: Padding) -> torch.Tensor:
    """Correlate each group of maps with its own filter, as a product of blocks with a Toeplitz matrix.

    Parameters
    ----------
    maps : (batch, n_inputs, n_filters, depth, n_times); a filter's outputs are summed over its inputs.
    taps : (n_filters, n_inputs, k).
    padding : zeros before and after.

    Returns
    -------
    (batch, n_filters, depth, n_times + padding - k + 1)
    """
    batch, _, n_filters, depth, n_times = maps.shape
    length = taps.shape[2]
    n_out = n_times + sum(padding) - length + 1
    hop = max(length, 16)
    n_blocks = -(-n_out // hop)
    padded = functional.pad(maps, (padding[0], (n_blocks + 1) * hop - n_times - padding[0]))
    blocks = padded.unflatten(4, (n_blocks + 1, hop)).permute(2, 0, 3, 4, 1, 5)
    lag = torch.arange(2 * hop, device=maps.device)[:, None] - torch.arange(hop, device=maps.device)
    inside = (lag >= 0) & (lag < length)
    toeplitz = functional.pad(taps, (0, 1))[:, :, torch.where(inside, lag, length)]  # (.., .., 2 * hop, hop)
    here, ahead = toeplitz[:, :, :hop].flatten(1, 2), toeplitz[:, :, hop:].flatten(1, 2)
    out = torch.bmm(blocks[:, :, :, :-1].flatten(4).flatten(1, 3), here)
    out = torch.baddbmm(out, blocks[:, :, :, 1:].flatten(4).flatten(1, 3), ahead)
    return out.view(n_filters, batch, depth, n_blocks * hop)[..., :n_out].transpose(0, 1)


def mix_channels(x: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
    """(batch, n_maps, n_chans, n_times) and (n_out, n_chans) to (batch, n_maps, n_out, n_times)."""
    batch, n_maps = x.shape[:2]
    return functional.conv1d(x.flatten(0, 1), mixing[:, :, None]).unflatten(0, (batch, n_maps))


def spatial_filter(x: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
    """Every map's own filters over all channels.

    Parameters
    ----------
    x : (batch, n_maps, n_chans, n_times).
    mixing : (n_maps, depth, n_chans).

    Returns
    -------
    (batch, n_maps * depth, n_times)
    """
    batch, n_maps, n_chans, n_times = x.shape
    mixing = mixing.expand(batch, *mixing.shape).flatten(0, 1)
    return torch.bmm(mixing, x.reshape(batch * n_maps, n_chans, n_times)).view(batch, -1, n_times)


def filter_by_spectrum(x: torch.Tensor, taps: torch.Tensor, step: int, padding: Padding) -> torch.Tensor:
    """Correlate maps with filters, every input with every output, as products of spectra.

    Parameters
    ----------
    x : (batch, n_inputs, n_chans, n_times).
    taps : (n_outputs, n_inputs, k), `step` samples apart.
    padding : zeros before and after.

    Returns
    -------
    (batch, n_outputs, n_chans, n_times + padding - step·(k - 1))
    """
    batch, _, n_chans, n_times = x.shape
    length = step * (taps.shape[2] - 1) + 1
    n_out = n_times + sum(padding) - length + 1
    n_points = _fast_length(n_times + sum(padding))
    if step > 1:
        taps = functional.pad(taps[..., None], (0, step - 1)).flatten(2)[:, :, :length]
    signals = torch.fft.rfft(functional.pad(x, (padding[0], n_points - n_times - padding[0])))
    spectra = torch.fft.rfft(taps, n_points).conj()
    if taps.shape[1] == 1:
        return torch.fft.irfft(signals * spectra, n_points)[..., :n_out]
    spectra = spectra.permute(2, 0, 1)
    products = torch.bmm(spectra, signals.permute(3, 1, 0, 2).flatten(2))  # (n_frequencies, n_outputs, batch * n_chans)
    products = products.unflatten(2, (batch, n_chans)).permute(2, 1, 3, 0)
    return torch.fft.irfft(products, n_points)[..., :n_out]


def filter_from_one(x: torch.Tensor, taps: torch.Tensor, padding: Padding) -> torch.Tensor:
    """Correlate one map with several filters, as a product of overlapping frames with a Toeplitz matrix.

    Parameters
    ----------
    x : (batch, n_chans, n_times).
    taps : (n_filters, k).
    padding : zeros before and after.

    Returns
    -------
    (batch, n_filters, n_chans, n_times + padding - k + 1)
    """
    batch, n_chans, n_times = x.shape
    n_filters, length = taps.shape
    n_out = n_times + sum(padding) - length + 1
    hop = max(16, length // 4)
    n_frames, n_hops = -(-n_out // hop), -(-(hop + length - 1) // hop)  # n_hops blocks of `hop` samples make a frame
    padded = functional.pad(x, (padding[0], (n_frames + n_hops - 1) * hop - n_times - padding[0]))
    blocks = padded.unflatten(2, (-1, hop))
    frames = torch.cat([blocks[:, :, first : first + n_frames] for first in range(n_hops)], 3).flatten(0, 2)
    lag = torch.arange(n_hops * hop, device=x.device)[:, None] - torch.arange(hop, device=x.device)
    inside = (lag >= 0) & (lag < length)
    toeplitz = functional.pad(taps, (0, 1))[:, torch.where(inside, lag, length)].transpose(0, 1).flatten(1)
    out = (frames @ toeplitz).view(batch, n_chans, n_frames, n_filters, hop).permute(0, 3, 1, 2, 4)
    return out.flatten(3)[..., :n_out]


def filter_to_few(x: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """Correlate many maps with few filters: all products of a sample and a tap at once, then sums along diagonals.

    Parameters
    ----------
    x : (batch, n_inputs, n_times).
    taps : (n_outputs, n_inputs, k).

    Returns
    -------
    (batch, n_outputs, n_times - k + 1)
    """
    n_outputs, _, length = taps.shape
    n_times = x.shape[2]
    products = functional.conv1d(x, taps.transpose(1, 2).flatten(0, 1)[:, :, None])  # (batch, n_outputs * k, n_times)
    rows = functional.pad(products.unflatten(1, (n_outputs, length)).flatten(2), (0, length))
    # rows one sample longer than they are: what lies below a sample is the next tap's product with the next sample
    return rows.unflatten(2, (length, n_times + 1))[..., : n_times - length + 1].sum(2)


def _fast_length(n: int) -> int:
    """The smallest even number from n on whose prime factors are 2, 3 and 5: transforms of others are slow."""
    n += n % 2
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 2
