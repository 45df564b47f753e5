"""Cross-entropy against soft labels that fall with the squared distance of class values, in place of the task's own.

Formula: q_k ∝ exp(-(a_y - a_k)² / τ); L = -mean_i Σ_k q_k log softmax(logits_i)_k is all that is minimised. a_k is the
target value of class k, standardised over classes; τ = 5 (option `tau`; the study's further doses are .5, 1 and 2).
Source: Díaz & Marathe 2019, Soft labels for ordinal regression; the row "distance CE" of arXiv:2606.00129.
Deviations: the recipe's label smoothing and class weights belong to the cross-entropy that is replaced, and are not
applied. Values are read by class, also where a target has finer ones. With a detached target nothing is trained.
"""

import torch
from torch.nn import functional

from valence.option_ranges import above_zero
from valence.soft_labels import log_soft_labels
from valence.strategies import STRATEGIES, Batch, Strategy, need_target


@STRATEGIES.register("distance_ce")
class DistanceCe(Strategy):
    """Cross-entropy against soft labels from class values, alone.

    Parameters
    ----------
    tau : width τ of the soft labels, in squared units of the standardised values, above 0.
    """

    family = "distillation"
    kind = "values"
    lambda_ = 1.0
    weighted = False
    replaces_entropy = True
    formula = "CE against q_k ∝ exp(-(a_y - a_k)²/τ), in place of one-hot"
    source = "Díaz & Marathe 2019"
    soft_labels: torch.Tensor
    """float, (n_classes, n_classes), q of each class"""

    def __init__(self, tau: float = 5.0):
        super().__init__()
        self.tau = above_zero(tau, "tau")

    def prepare(self, model, spec, n_features, target):
        values = need_target(target, "distance_ce").class_values
        self.register_buffer("soft_labels", log_soft_labels(values, power=2, scale=self.tau).exp())

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return -(self.soft_labels[batch.labels] * functional.log_softmax(logits, dim=1)).sum(1).mean()

    def weigh(self, entropy, auxiliary, lambda_):
        # 0 times, not without: a step without any gradient would be an error where the target is detached
        return 0 * entropy, auxiliary
