"""Distillation of a classifier that was aligned before: the student follows its answers, not the target itself.

Formula: L = T² · mean_i KL(softmax(t_i / T) ‖ softmax(logits_i / T)), with t_i the logits of the same classifier
trained with aux_mse_strong (λ = .5) on the same data, seed and target, frozen; T = 1 (option `temperature`).
Source: Furlanello et al. 2018, Born-again neural networks; the row "axis teacher" of arXiv:2606.00129.
Deviations: the teacher is a fixed one: its logits are taken once, in evaluation mode, of samples without augmentation,
while the student sees augmented ones. It reads the target by way of its teacher alone, so a control is a student whose
teacher was trained on the control; with a detached target no gradient of this loss reaches the student.
"""

import torch
from torch.nn import functional

from valence.option_ranges import above_zero
from valence.soft_labels import divergence
from valence.strategies import STRATEGIES, Batch, Earlier, Strategy, need_target


@STRATEGIES.register("axis_teacher")
class AxisTeacher(Strategy):
    """KL divergence between the answers of an aligned classifier and the student's.

    Parameters
    ----------
    temperature : T, above 0.
    """

    family = "distillation"
    kind = "values"
    lambda_ = 0.5
    earlier = Earlier("aux_mse_strong", "logits")
    formula = "T² KL(softmax(t/T) ‖ softmax(logits/T)), t of a frozen classifier trained with aux_mse_strong"
    source = "Furlanello 2018"

    def __init__(self, temperature: float = 1.0):
        super().__init__()
        self.temperature = above_zero(temperature, "temperature")

    def prepare(self, model, spec, n_features, target):
        need_target(target, "axis_teacher")  # its teacher was trained on it

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        teacher = functional.log_softmax(self.earlier_logits[batch.rows] / self.temperature, dim=1)
        return divergence(teacher, logits, self.temperature)
