"""A classifier of one's own. Copy this file, change the network, and ask whether aligning it helps:

python jobs/saturation_grid.py --plugin my_classifier.py --classifiers my_classifier --verdict
"""

from torch import nn

from valence.classifiers import CLASSIFIERS, Classifier


class Network(nn.Module):
    """Mean power of learned spatial filters of windows (batch, n_chans, n_times), to logits (batch, n_outputs)."""

    def __init__(self, spec):
        super().__init__()
        self.spatial = nn.Conv1d(spec.n_chans, 16, 1, bias=False)
        self.norm = nn.BatchNorm1d(16)
        self.final_layer = nn.Linear(16, spec.n_outputs)  # its input is what strategies see as features

    def forward(self, x):
        return self.final_layer(self.norm(self.spatial(x).square().mean(2).add(1e-6).log()))


CLASSIFIERS.add(
    "my_classifier",
    Classifier(name="my_classifier", family="own", input="windows", build=Network, group="extra"),
    source=__name__,
)
