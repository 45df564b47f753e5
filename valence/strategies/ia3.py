"""Learned scalings of the task-only classifier, with a regression of the target value from the features.

Formula: L = mean_i (w·h_i + b - a_{s_i})², trained with cross-entropy through l ⊙ (W x + b) in place of every frozen
layer W x + b of the backbone (linear maps, convolutions, projections of attention); l has one factor for each output
and starts at 1, so that training starts at the task-only function. The last layer is trained whole.
Source: Liu et al. 2022, Few-shot parameter-efficient fine-tuning; the row "IA3" of arXiv:2606.00129.
Deviations: the paper scales keys, values and the inner activations of a transformer's feed-forward part. Most of these
classifiers have none of them, so outputs of all layers are scaled, as Hugging Face's peft does with layers that it is
not told to be feed-forward; of an attention's projection that is query, key and value. Where a weight is constrained,
the constraint holds for W and not for the product. What `lora` leaves frozen is frozen here.
"""

from torch import nn

from valence.adapters import add_scales, why_not_adapted
from valence.frozen_backbone import FrozenBackbone
from valence.strategies import STRATEGIES, Circumstances
from valence.value_regression import ValueRegression


@STRATEGIES.register("ia3")
class Ia3(FrozenBackbone, ValueRegression):
    """Cross-entropy and regression, through scaled outputs of frozen layers."""

    lambda_ = 0.1
    formula = "mean (w·h_i + b - a_{s_i})², through l ⊙ (W x + b)"
    source = "Liu 2022"

    def unfit(self, about: Circumstances) -> str | None:
        return why_not_adapted(about.classifier, about.spec)

    def adapt(self, model: nn.Module) -> None:
        add_scales(model, self.tap_paths)
