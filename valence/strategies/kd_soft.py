"""Distillation of soft labels that fall with the distance of class values, into the classifier's own logits.

Formula: q_k ∝ exp(-|a_y - a_k| / T), p = softmax(logits / T); L = T² · mean_i KL(q_i‖p_i). a_k is the target value of
class k, standardised over classes; T = 2 (option `temperature`; the study's further doses are .5 and 1).
Source: Hinton, Vinyals & Dean 2015, Distilling the knowledge in a neural network; the row "KD soft" of
arXiv:2606.00129.
Deviations: the study's formula has no T inside q; -|a_y - a_k| are taken as the teacher's logits, which Hinton's
temperature divides as it divides the student's. Values are read by class, also where a target has finer ones.
"""

import torch

from valence.option_ranges import above_zero
from valence.soft_labels import divergence, log_soft_labels
from valence.strategies import STRATEGIES, Batch, Strategy, need_target


@STRATEGIES.register("kd_soft")
class KdSoft(Strategy):
    """KL divergence between soft labels from class values and the classifier's answers.

    Parameters
    ----------
    temperature : T, above 0.
    """

    family = "distillation"
    kind = "values"
    lambda_ = 1.0
    formula = "T² KL(q ‖ softmax(logits/T)), q_k ∝ exp(-|a_y - a_k|/T)"
    source = "Hinton 2015"
    teacher: torch.Tensor
    """float, (n_classes, n_classes), log q of each class"""

    def __init__(self, temperature: float = 2.0):
        super().__init__()
        self.temperature = above_zero(temperature, "temperature")

    def prepare(self, model, spec, n_features, target):
        values = need_target(target, "kd_soft").class_values
        self.register_buffer("teacher", log_soft_labels(values, power=1, scale=self.temperature))

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return divergence(self.teacher[batch.labels], logits, self.temperature)
