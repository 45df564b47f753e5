"""Dynamical graph CNN on DE features (Song et al. 2018, doi 10.1109/TAFFC.2018.2817622).

Input: standardised DE features (batch, n_chans, n_seconds, n_bands). Channels are the nodes of a graph, the bands of a
second their features, as in the paper; the edges are learned with everything else. Each second is filtered by itself,
and the activations are averaged over seconds before the fully connected layer.
"""

import torch
from torch import nn
from torch.nn import functional

from valence.classifiers import CLASSIFIERS, Classifier
from valence.signal import SignalSpec

ORDER = 3
"""Chebyshev polynomials: reach of a filter in steps along edges, plus one"""
FILTERS = 32
FEATURES = 64
DROPOUT = 0.5


class DynamicalGraph(nn.Module):
    """Learned edges to the scaled Laplacian: 2 L / λ - I, where λ = 2 bounds the eigenvalues of a normalised L."""

    def __init__(self, n_chans: int):
        super().__init__()
        self.edges = nn.Parameter(torch.rand(n_chans, n_chans) / n_chans)

    def forward(self) -> torch.Tensor:
        """(n_chans, n_chans), symmetric, eigenvalues from -1 to 1."""
        weights = functional.relu(self.edges + self.edges.mT)
        scale = (weights.sum(0) + 1e-6).rsqrt()
        return -scale[:, None] * weights * scale


class DynamicalGraphNetwork(nn.Module):
    """One graph filter of 32 maps, a hidden layer of 64 units, which are the features."""

    def __init__(self, spec: SignalSpec):
        super().__init__()
        self.graph = DynamicalGraph(spec.n_chans)
        self.filter = nn.Linear(ORDER * spec.n_bands, FILTERS)
        self.features = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(spec.n_chans * FILTERS, FEATURES), nn.ReLU(), nn.Dropout(DROPOUT)
        )
        self.final_layer = nn.Linear(FEATURES, spec.n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_seconds, n_bands) to logits (batch, n_outputs)."""
        laplacian = self.graph()
        powers = [x, torch.einsum("ij,bjsf->bisf", laplacian, x)]
        for _ in range(2, ORDER):
            powers.append(2 * torch.einsum("ij,bjsf->bisf", laplacian, powers[-1]) - powers[-2])
        filtered = functional.relu(self.filter(torch.cat(powers, dim=-1)))
        return self.final_layer(self.features(filtered.mean(2).flatten(1)))


CLASSIFIERS.add(
    "de_dgcnn",
    Classifier(name="de_dgcnn", family="de", input="de", group="extra", build=DynamicalGraphNetwork),
    source=__name__,
)
