"""Regression of the target value in which the classes that carry the cohort's correlation count more.

Formula: L = mean_i v_{y_i} (w·h_i + b - a_{s_i})², with v 5 for anger, 3 for amusement and for tenderness, 1 for every
other class, divided by the mean of v over classes. w and b are learned.
Source: the row "anger-weighted" of arXiv:2606.00129, on Caruana 1997, Multitask Learning.
Deviations: the study reports the weights, not what they are divided by; with a mean of 1 over classes the loss is as
strong as aux_mse_strong where every class is as frequent and errors are alike. A class that a data set does not have
has no weight, so that with one of the three names the others still count 1 beside it.
"""

import torch

from valence.errors import BadInput
from valence.strategies import STRATEGIES, Batch, Circumstances
from valence.value_regression import ValueRegression

WEIGHTS = {"anger": 5.0, "amusement": 3.0, "tenderness": 3.0}


@STRATEGIES.register("anger_weighted")
class AngerWeighted(ValueRegression):
    """Mean squared error of a linear read-out of the target value, weighted by class."""

    lambda_ = 0.5
    formula = "mean v_{y_i} (w·h_i + b - a_{s_i})², v anger 5, amusement and tenderness 3, others 1, scaled to mean 1"
    source = "arXiv:2606.00129"
    class_weights: torch.Tensor

    def unfit(self, about: Circumstances) -> str | None:
        return _nothing_to_weight(about.classes)

    def prepare(self, model, spec, n_features, target):
        super().prepare(model, spec, n_features, target)
        reason = _nothing_to_weight(target.classes)
        if reason:
            raise BadInput(f"strategy 'anger_weighted': {reason}", allowed=", ".join(WEIGHTS), do="leave it out")
        weights = torch.tensor([WEIGHTS.get(name, 1.0) for name in target.classes])
        self.register_buffer("class_weights", weights / weights.mean())

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return (self.class_weights[batch.labels] * self.squared_errors(batch, features)).mean()


def _nothing_to_weight(classes: tuple[str, ...]) -> str | None:
    if set(classes) & set(WEIGHTS):
        return None
    return f"none of its classes ({', '.join(classes)}) is {', '.join(list(WEIGHTS)[:-1])} or {list(WEIGHTS)[-1]}"
