"""Multinomial logistic regression on DE features averaged over the seconds of a clip.

Input: standardised DE features (batch, n_chans, n_seconds, n_bands). Averaging over seconds leaves n_chans x n_bands
numbers; the time course of a clip, from which clips can be told apart, is not seen. The mean of n standardised values
is multiplied by √n, which gives it the spread of its parts where seconds are independent; a learning rate that suits
the other classifiers then suits this one.

The tap. A strategy acts on features that depend on weights. The input of a logistic regression has none: a loss on it
would leave the classifier as it is, whatever lambda_. The one representation that it learns are its logits, a linear
map of the input to n_outputs dimensions followed by softmax. They are the features here: `final_layer` is the identity
behind the linear map, so a loss on the features acts on every weight of the classifier. n_outputs dimensions hold any
arrangement of n_outputs class means (n_outputs - 1 are enough), so no strategy is limited in rank.
"""

import math

import torch
from torch import nn

from valence.classifiers import CLASSIFIERS, Classifier
from valence.signal import SignalSpec


class LogisticRegression(nn.Module):
    """Mean over seconds, one linear map; the logits pass through `final_layer`."""

    def __init__(self, spec: SignalSpec):
        super().__init__()
        self.linear = nn.Linear(spec.n_chans * spec.n_bands, spec.n_outputs)
        self.final_layer = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_seconds, n_bands) to logits (batch, n_outputs)."""
        mean = x.mean(2) * math.sqrt(x.shape[2])
        return self.final_layer(self.linear(mean.flatten(1)))


CLASSIFIERS.add(
    "de_logistic",
    Classifier(
        name="de_logistic",
        family="de",
        input="de",
        group="extra",
        build=LogisticRegression,
    ),
    source=__name__,
)
