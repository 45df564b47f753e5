"""Low-rank adaptation of the task-only classifier, with a regression of the target value from the features.

Formula: L = mean_i (w·h_i + b - a_{s_i})², trained with cross-entropy through W + (α/r)·B·A in place of every frozen
weight W of the backbone (linear maps, convolutions, projections of attention), W as a matrix (n_out, everything else);
r = 8, α = 16. A starts from U(-1/√n_in, 1/√n_in), B from 0, so that training starts at the task-only function. The
last layer is trained whole.
Source: Hu et al. 2022, LoRA; initialisation and α/r as in Hugging Face's peft; the row "LoRA" of arXiv:2606.00129.
Deviations: the study adapts one foundation classifier and does not say which of its layers; here it is all that can be
adapted, in any classifier. Convolutions in groups have one B·A for all groups, on the weight as a matrix (peft draws A
over all inputs and B by group, and takes them only where r can be divided by the groups). No dropout before A. Where a
weight is constrained, the constraint holds for W and not for the sum. Embeddings, recurrent layers, normalisations and
a classifier's own kinds of layer stay frozen.
"""

from torch import nn

from valence.adapters import add_low_rank, why_not_adapted
from valence.errors import BadInput
from valence.frozen_backbone import FrozenBackbone
from valence.option_ranges import above_zero
from valence.strategies import STRATEGIES, Circumstances
from valence.value_regression import ValueRegression


@STRATEGIES.register("lora")
class Lora(FrozenBackbone, ValueRegression):
    """Cross-entropy and regression, through low-rank changes of frozen weights.

    Parameters
    ----------
    rank : of every change.
    alpha : a change is multiplied by alpha / rank.
    """

    lambda_ = 0.1
    formula = "mean (w·h_i + b - a_{s_i})², through W + (α/r)·B·A"
    source = "Hu 2022"

    def __init__(self, rank: int = 8, alpha: float = 16.0):
        super().__init__()
        if rank < 1:
            raise BadInput(f"rank={rank}", allowed="1 or more", do="correct rank")
        self.rank, self.alpha = rank, above_zero(alpha, "alpha")

    def unfit(self, about: Circumstances) -> str | None:
        return why_not_adapted(about.classifier, about.spec)

    def adapt(self, model: nn.Module) -> None:
        add_low_rank(model, self.tap_paths, rank=self.rank, alpha=self.alpha)
