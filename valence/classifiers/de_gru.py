"""Recurrent network over the seconds of a clip, on DE features.

Input: standardised DE features (batch, n_chans, n_seconds, n_bands). A gated recurrent unit reads the channels and
bands of one second after another; its states are averaged over seconds.
"""

import torch
from torch import nn

from valence.classifiers import CLASSIFIERS, Classifier
from valence.signal import SignalSpec

HIDDEN = 64
DROPOUT = 0.5


class RecurrentNetwork(nn.Module):
    """One GRU of 64 units; the mean of its states is the features."""

    def __init__(self, spec: SignalSpec):
        super().__init__()
        self.drop_input = nn.Dropout(DROPOUT)
        self.recurrent = nn.GRU(spec.n_chans * spec.n_bands, HIDDEN, batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.final_layer = nn.Linear(HIDDEN, spec.n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_seconds, n_bands) to logits (batch, n_outputs)."""
        seconds = x.transpose(1, 2).flatten(2)
        states, _ = self.recurrent(self.drop_input(seconds))
        return self.final_layer(self.dropout(states.mean(1)))


CLASSIFIERS.add(
    "de_gru",
    Classifier(name="de_gru", family="de", input="de", group="extra", build=RecurrentNetwork),
    source=__name__,
)
