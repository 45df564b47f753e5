"""The last layer alone, on the frozen backbone of the task-only classifier: the matched baseline of the adapters.

Formula: L = 0. Training starts from the weights of the task-only cell; every parameter before the last layer is frozen,
its normalisations keep their statistics, and the last layer learns by cross-entropy, for as many steps as an adapter.
Source: linear probing of a trained network, Alain & Bengio 2017, Understanding intermediate layers; the full-head
fine-tune that arXiv:2606.00129 compares its adapters with.
Deviations: the study does not say what its head is; here it is the layer behind the features that strategies see.
"""

from valence.frozen_backbone import FrozenBackbone
from valence.strategies import STRATEGIES


@STRATEGIES.register("full_head")
class FullHead(FrozenBackbone):
    """Cross-entropy of the last layer on a frozen backbone."""

    baseline = "none"
    formula = "0, with all but the last layer frozen"
    source = "Alain & Bengio 2017"
