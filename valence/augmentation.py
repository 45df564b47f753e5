"""Windows to slightly other windows: the four augmentations of the study, drawn anew for every batch, on the device.

Each is applied to a window with probability p, independently: Gaussian noise, time shift, channel dropout, amplitude
scaling (arXiv:2606.00129, which gives p = .6 and the shift, ±20 samples; the other sizes are ours). All draws have
fixed shapes and come from PyTorch's default generator of the device.
"""

import torch

NOISE_SD = 0.1
"""times the standard deviation of the channel in its window"""
CHANNEL_SHARE = 0.1
"""probability that a channel of a window that loses channels is set to 0"""
AMPLITUDE = 0.2
"""windows are scaled by a factor between 1 - this and 1 + this"""


def augment(x: torch.Tensor, *, p: float, shift: int) -> torch.Tensor:
    """Windows (batch, n_chans, n_times) to augmented ones of the same shape.

    Parameters
    ----------
    p : probability of each augmentation, for each window.
    shift : largest time shift, samples; what leaves a window at one end enters it at the other.
    """
    batch, n_chans, n_times = x.shape
    chosen = torch.rand(4, batch, 1, 1, device=x.device) < p
    noise = torch.randn_like(x) * (NOISE_SD * x.std(2, keepdim=True))
    x = torch.where(chosen[0], x + noise, x)
    moved = torch.randint(-shift, shift + 1, (batch, 1, 1), device=x.device)
    source = (torch.arange(n_times, device=x.device) - torch.where(chosen[1], moved, 0)) % n_times
    x = x.gather(2, source.expand(batch, n_chans, n_times))
    lost = torch.rand(batch, n_chans, 1, device=x.device) < CHANNEL_SHARE
    x = torch.where(chosen[2] & lost, torch.zeros_like(x), x)
    factor = 1 + AMPLITUDE * (2 * torch.rand(batch, 1, 1, device=x.device) - 1)
    return torch.where(chosen[3], factor * x, x)
