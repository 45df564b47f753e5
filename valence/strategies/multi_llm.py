"""Regression of the class positions on the axes of several LLMs at once, one linear head each.

Formula: L = mean_m mean_i (w_m·h_i + b_m - a^m_{y_i})², with a^m_k the position of class k on the axis of LLM m,
standardised over classes. w_m and b_m are learned.
Source: the row "multi-LLM" of arXiv:2606.00129; multi-task regression, Caruana 1997, Multitask Learning.
Deviations: values are of classes, not of clips, as the study takes one value per class. The mean over axes, not the
sum, keeps λ of one meaning for any number of LLMs.
"""

import torch
from torch import nn

from valence.errors import BadInput
from valence.strategies import STRATEGIES, Batch, Circumstances, Strategy, need_target


@STRATEGIES.register("multi_llm")
class MultiLlm(Strategy):
    """Mean squared error of linear read-outs of several axes."""

    family = "multi-model"
    kind = "several"
    lambda_ = 0.5
    formula = "mean over axes m of mean (w_m·h_i + b_m - a^m_{y_i})²"
    source = "arXiv:2606.00129"
    class_values: torch.Tensor
    """float, (n_classes, n_axes)"""

    def unfit(self, about: Circumstances) -> str | None:
        if about.n_axes >= 2:
            return None
        return f"it takes the axes of two LLMs or more, and {about.n_axes or 'none'} is given: name them with --axis"

    def prepare(self, model, spec, n_features, target):
        target = need_target(target, "multi_llm")
        if target.several is None:
            raise BadInput(
                f"strategy 'multi_llm' with the target {target.name!r}, which has the values of one axis at most",
                allowed="a target made from the axes of two LLMs or more",
                do="give --axis two files or more, or leave the strategy out",
            )
        self.heads = nn.Linear(n_features, len(target.several))
        self.register_buffer("class_values", torch.as_tensor(target.several.T, dtype=torch.float32).contiguous())

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return (self.heads(features) - self.class_values[batch.labels]).square().mean()
