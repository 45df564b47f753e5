"""Multilayer perceptron on all DE features of a clip, second by second.

Input: standardised DE features (batch, n_chans, n_seconds, n_bands), flattened. It sees the time course of each clip.
Where the same clips are in train and test, that alone tells many of them apart (FACED, unseen subjects, linear
classifiers: balanced accuracy .40 from the mean over seconds, .75 from all seconds), so its accuracy is in part the
recognition of clips. `de_logistic` averages over seconds and does without.
"""

import torch
from torch import nn

from valence.classifiers import CLASSIFIERS, Classifier
from valence.signal import SignalSpec

HIDDEN = 128
FEATURES = 64
DROPOUT = 0.5


class MultilayerPerceptron(nn.Module):
    """Two hidden layers of 128 and 64 units with GELU and dropout; the 64 are the features."""

    def __init__(self, spec: SignalSpec):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(spec.n_chans * spec.n_times * spec.n_bands, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT)
        )
        self.features = nn.Sequential(nn.Linear(HIDDEN, FEATURES), nn.GELU(), nn.Dropout(DROPOUT))
        self.final_layer = nn.Linear(FEATURES, spec.n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_seconds, n_bands) to logits (batch, n_outputs)."""
        return self.final_layer(self.features(self.hidden(x.flatten(1))))


CLASSIFIERS.add(
    "de_mlp",
    Classifier(
        name="de_mlp",
        family="de",
        input="de",
        group="extra",
        build=MultilayerPerceptron,
    ),
    source=__name__,
)
