"""Regression of the target value whose strength changes from epoch to epoch.

Formula: λ_t = λ · (1 + cos(πt/T)) / 2 on L = mean_i (w·h_i + b - a_{s_i})², in epoch t = 0 … T - 1. Option `schedule`:
"cosine", as above; "warmup", λ_t = λ · min(1, 2t/T), linear from 0 over the first half; "delayed", 0 in the first half
and λ from t = T/2 on.
Source: the row "cosine curriculum" of arXiv:2606.00129, λ = .5; the regression is Caruana 1997, Multitask Learning.
Deviations: the strength changes between epochs, not between steps, and is just above 0 in the last epoch. Where a
gradient ratio is asked for, it is that of the full strength, and the schedule scales it.
"""

import math

import torch

from valence.errors import BadInput
from valence.strategies import STRATEGIES
from valence.value_regression import ValueRegression

SCHEDULES = {
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "warmup": lambda progress: min(1.0, 2 * progress),
    "delayed": lambda progress: float(progress >= 0.5),
}
"""part of training that is over, 0 to 1, to the part of λ"""


@STRATEGIES.register("cosine_curriculum")
class CosineCurriculum(ValueRegression):
    """Mean squared error of a linear read-out of the target value, with a schedule.

    Parameters
    ----------
    schedule : "cosine", "warmup" or "delayed".
    """

    family = "curricula"
    lambda_ = 0.5
    formula = "λ_t = λ (1 + cos(πt/T))/2 on mean (w·h_i + b - a_{s_i})²"
    source = "arXiv:2606.00129"
    strength: torch.Tensor
    """float, scalar, λ_t/λ"""

    def __init__(self, schedule: str = "cosine"):
        super().__init__()
        if schedule not in SCHEDULES:
            raise BadInput(f"schedule={schedule}", allowed=", ".join(SCHEDULES), do="take one of them")
        self.schedule = schedule

    def prepare(self, model, spec, n_features, target):
        super().prepare(model, spec, n_features, target)
        self.register_buffer("strength", torch.tensor(SCHEDULES[self.schedule](0.0)))

    def on_epoch(self, epoch: int, n_epochs: int) -> None:
        self.strength.fill_(SCHEDULES[self.schedule](epoch / n_epochs))

    def weigh(self, entropy, auxiliary, lambda_):
        # not in the loss: a matched gradient would undo the schedule
        return entropy, lambda_ * self.strength * auxiliary
