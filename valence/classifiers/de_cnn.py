"""Small convolutional network over the electrode grid, on DE features.

Input: standardised DE features (batch, n_chans, n_seconds, n_bands). Each second is an image of the head seen from
above, bands as colours, electrodes in the cells of a 9 x 9 grid (`montage.grid_cells`), empty cells zero. Features are
averaged over seconds.
"""

import torch
from torch import nn

from valence import montage
from valence.classifiers import CLASSIFIERS, Classifier
from valence.signal import SignalSpec

MAPS = (32, 64)
POOLED = 3
"""cells along a side that the maps are averaged to"""
FEATURES = 64
DROPOUT = 0.5


class ElectrodeImages(nn.Module):
    """Two convolutions of 3 x 3 cells, averaged to 3 x 3, and 64 features."""

    cells: torch.Tensor

    def __init__(self, spec: SignalSpec):
        super().__init__()
        cells, self.side = montage.grid_cells(spec.ch_names)
        self.register_buffer("cells", torch.from_numpy(cells), persistent=False)
        layers: list[nn.Module] = []
        for n_in, n_out in zip((spec.n_bands, *MAPS), MAPS):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.GELU()]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(POOLED), nn.Flatten(), nn.Dropout(DROPOUT))
        self.features = nn.Sequential(nn.Linear(MAPS[-1] * POOLED**2, FEATURES), nn.GELU())
        self.dropout = nn.Dropout(DROPOUT)
        self.final_layer = nn.Linear(FEATURES, spec.n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_seconds, n_bands) to logits (batch, n_outputs)."""
        seconds = x.permute(0, 2, 3, 1).flatten(0, 1)
        images = seconds.new_zeros(*seconds.shape[:2], self.side**2).index_copy(2, self.cells, seconds)
        features = self.features(self.convolutions(images.unflatten(2, (self.side, self.side))))
        return self.final_layer(self.dropout(features.unflatten(0, (len(x), -1)).mean(1)))


CLASSIFIERS.add(
    "de_cnn",
    Classifier(
        name="de_cnn",
        family="de",
        input="de",
        group="extra",
        build=ElectrodeImages,
        needs=("electrode positions, from names of the 10-10 system",),
    ),
    source=__name__,
)
