"""Recordings to classifiers: the parts of EMOD (Chen et al. 2026, arXiv 2511.05863), written anew from its description.

Tokens (batch, n_chans, n_tokens, width), five a second, from the signal and its spectrum; attention along channels,
then along time; a head of channel attention and two hidden layers. Its authors' code, which has no licence, was read
for what the paper leaves open: order of the steps, activations, dropout, and how time is attended to.
"""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

WIDTH, HEADS, FEED_FORWARD, DROPOUT = 128, 16, 512, 0.25
KERNEL, GROUPS, TOKENS_PER_SECOND = 25, 4, 5
LARGEST = 2**24
"""values before they are pooled that are held at once"""
LONGEST = 50
"""tokens of which each distance has an encoding of its own; greater distances share the last"""


class Tokens(nn.Module):
    """Signal to tokens: one convolution over time, one over frequency, pooled to tokens and fused."""

    def __init__(self, n_tokens: int):
        super().__init__()
        self.n_tokens = n_tokens
        self.time, self.frequency = self._branch(), self._branch()
        self.fuse = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.GELU())

    @staticmethod
    def _branch() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, WIDTH, (1, KERNEL), padding="same"), nn.GroupNorm(GROUPS, WIDTH), nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_times) to (batch, n_chans, n_tokens, WIDTH)."""
        spectrum = torch.fft.rfft(x, norm="forward").real
        pooled = [self._pooled(self.time, x), self._pooled(self.frequency, spectrum)]
        return self.fuse(torch.cat(pooled, 1).permute(0, 2, 3, 1))

    def _pooled(self, branch: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, length) to (batch, WIDTH, n_chans, n_tokens), some samples at a time.

        Before they are pooled, the features of one 10-s window take 32 MB, of which a backward pass would need three
        copies. They are computed once more instead.
        """

        def some(part: torch.Tensor) -> torch.Tensor:
            return functional.adaptive_avg_pool2d(branch(part[:, None]), (x.shape[1], self.n_tokens))

        parts = x.split(max(1, LARGEST // (x[0].numel() * WIDTH)))
        if len(parts) == 1:
            return some(x)
        # nothing here is random
        return torch.cat([checkpoint(some, part, use_reentrant=False, preserve_rng_state=False) for part in parts])


class Attention(nn.Module):
    """Multi-head attention along one dimension; `relative` adds q · r(distance) to the logits, unscaled."""

    def __init__(self, *, relative: bool):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.relative = nn.Parameter(torch.randn(2 * LONGEST - 1, WIDTH // HEADS)) if relative else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, length, WIDTH) to the same."""
        query, key, value = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        if self.relative is None:
            attended = functional.scaled_dot_product_attention(query, key, value)
        else:
            place = torch.arange(x.shape[1], device=x.device)
            distance = (place[:, None] - place).clamp(1 - LONGEST, LONGEST - 1) + LONGEST - 1
            logits = query @ key.mT * query.shape[-1] ** -0.5
            logits = logits + torch.einsum("nhqd,qkd->nhqk", query, self.relative[distance])
            attended = logits.softmax(-1) @ value
        return self.project(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention along channels, attention along time, feed-forward; each behind a normalisation, around a residual.

    As coded, time attention transposes time and features and then reads the result in rows of WIDTH values as if it had
    not: a token is then a run of one feature's time course, or of several. Where n_tokens is WIDTH, features and time
    change places; in no case does it attend along time.
    """

    def __init__(self, *, as_coded: bool):
        super().__init__()
        self.as_coded = as_coded
        self.along_channels, self.along_time = Attention(relative=False), Attention(relative=True)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.feed_forward = nn.Sequential(
            nn.Linear(WIDTH, FEED_FORWARD),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(FEED_FORWARD, WIDTH),
            nn.Dropout(DROPOUT),
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_tokens, WIDTH) to the same."""
        batch, n_chans, n_tokens, width = x.shape
        columns = self.norms[0](x).transpose(1, 2).flatten(0, 1)
        x = x + self.dropout(self.along_channels(columns).unflatten(0, (batch, n_tokens)).transpose(1, 2))
        rows = self.norms[1](x).flatten(0, 1)
        if self.as_coded:
            rows = rows.mT.reshape(batch * n_chans, n_tokens, width)
        x = x + self.dropout(self.along_time(rows).unflatten(0, (batch, n_chans)))
        return x + self.feed_forward(self.norms[2](x))


class ChannelAttention(nn.Module):
    """Weights of channels from one linear score per token, softmax over channels; their weighted sum."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(WIDTH, 1)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_tokens, WIDTH) to (batch, n_tokens, WIDTH)."""
        return (x * self.dropout(self.score(x).softmax(1))).sum(1)
