"""The last layer alone, with a regression of the target value from its logits: the study's row "full head λ .1".

Formula: L = mean_i (w·o_i + b - a_{s_i})², o_i the logits of sample i, on the frozen backbone of `full_head`. w and b
are learned.
Source: the row "full head λ .1" of arXiv:2606.00129; the loss is that of Caruana 1997, Multitask Learning.
Deviations: a reconstruction. The features of a frozen backbone cannot move, so a regression from them would train its
own head and leave the classifier as it is; the loss reads the logits, the one thing that still learns. The ratio of the
two gradients is measured at the features all the same: they are leaves of the graph here.
"""

from torch import nn

from valence.adapters import open_taps
from valence.frozen_backbone import FrozenBackbone
from valence.strategies import STRATEGIES
from valence.value_regression import ValueRegression


@STRATEGIES.register("full_head_aux")
class FullHeadAux(FrozenBackbone, ValueRegression):
    """Cross-entropy and mean squared error of a read-out of the logits; the last layer learns."""

    lambda_ = 0.1
    formula = "mean (w·logits_i + b - a_{s_i})², with all but the last layer frozen"
    source = "arXiv:2606.00129"

    def adapt(self, model: nn.Module) -> None:
        open_taps(model, self.tap_paths)

    def prepare(self, model, spec, n_features, target):
        super().prepare(model, spec, spec.n_outputs, target)

    def loss(self, batch, logits, features):
        return self.squared_errors(batch, logits).mean()
