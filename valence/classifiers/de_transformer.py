"""Axial transformer over channels and seconds, on DE features: the study's appendix, 32 channels x 5 bands.

Input: standardised DE features (batch, n_chans, n_seconds, n_bands). A token is a channel in a second, its bands
embedded; attention runs along channels, then along seconds. The mean over tokens is the features.
"""

from functools import partial

import torch
from torch import nn

from valence.classifiers import CLASSIFIERS, Classifier
from valence.signal import SignalSpec

WIDTH, HEADS = 64, 4
DEPTHS = {"de_transformer": 2, "de_transformer_depth4": 4}
"""axial blocks by name"""
DROPOUT = 0.25


class AxialBlock(nn.Module):
    """Attention along channels, along seconds, and a feed-forward part, each normalised before and added."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.along_channels, self.along_seconds = (
            nn.MultiheadAttention(WIDTH, HEADS, dropout=DROPOUT, batch_first=True) for _ in range(2)
        )
        self.feed_forward = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(2 * WIDTH, WIDTH),
            nn.Dropout(DROPOUT),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_seconds, WIDTH) to the same."""
        columns = self.norms[0](x).transpose(1, 2)
        attended = self._attend(self.along_channels, columns.flatten(0, 1))
        x = x + attended.unflatten(0, columns.shape[:2]).transpose(1, 2)
        attended = self._attend(self.along_seconds, self.norms[1](x).flatten(0, 1))
        x = x + attended.unflatten(0, x.shape[:2])
        return x + self.feed_forward(self.norms[2](x))

    @staticmethod
    def _attend(attention: nn.MultiheadAttention, x: torch.Tensor) -> torch.Tensor:
        return attention(x, x, x, need_weights=False)[0]


class AxialTransformer(nn.Module):
    """Axial blocks of width 64; channels and seconds have embeddings of their own."""

    def __init__(self, spec: SignalSpec, depth: int):
        super().__init__()
        self.embed = nn.Linear(spec.n_bands, WIDTH)
        self.channels = nn.Parameter(0.02 * torch.randn(spec.n_chans, 1, WIDTH))
        self.seconds = nn.Parameter(0.02 * torch.randn(spec.n_times, WIDTH))
        self.blocks = nn.Sequential(*(AxialBlock() for _ in range(depth)))
        self.norm = nn.LayerNorm(WIDTH)
        self.final_layer = nn.Linear(WIDTH, spec.n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_seconds, n_bands) to logits (batch, n_outputs)."""
        tokens = self.blocks(self.embed(x) + self.channels + self.seconds)
        return self.final_layer(self.norm(tokens.mean((1, 2))))


for name, depth in DEPTHS.items():
    CLASSIFIERS.add(
        name,
        Classifier(
            name=name,
            family="de",
            input="de",
            group="extra" if depth == 2 else "variant",
            build=partial(AxialTransformer, depth=depth),
        ),
        source=__name__,
    )
