"""Distillation of the LLM's class geometry into a projection of the features.

Formula: q = softmax(S[y]/τ_t), S = C·Cᵀ of the row-normed prototypes C; p = softmax(z·Cᵀ/τ_s) with z the L2-normed
projection of h; L = mean_i KL(q_i‖p_i). τ_t = .1; τ_s is learned as its logarithm, starts at τ_t and stays at .01 or
more.
Source: Hinton, Vinyals & Dean 2015, Distilling the knowledge in a neural network; "KD" of arXiv:2606.00129.
Deviations: the start of τ_s is not reported; the teacher's is taken, and the floor is that of CLIP (Radford 2021).
"""

import math

import torch
from torch import nn
from torch.nn import functional

from valence.feature_heads import ProjectionHead
from valence.strategies import STRATEGIES, Batch, Strategy, need_target

TEACHER_TEMPERATURE = 0.1
LEAST_TEMPERATURE = 0.01


@STRATEGIES.register("kd_prototypes")
class KdPrototypes(Strategy):
    """KL divergence between soft labels from prototypes and the student's similarity to the prototypes."""

    family = "distillation"
    kind = "prototypes"
    lambda_ = 0.1
    formula = "KL(softmax(S[y]/τ_t) ‖ softmax(z·Cᵀ/τ_s))"
    source = "Hinton 2015"
    prototypes: torch.Tensor
    teacher: torch.Tensor

    def prepare(self, model, spec, n_features, target):
        prototypes = torch.as_tensor(need_target(target, "kd_prototypes").prototypes, dtype=torch.float32)
        self.head = ProjectionHead(n_features, prototypes.shape[1])
        self.log_temperature = nn.Parameter(torch.tensor(math.log(TEACHER_TEMPERATURE)))
        self.register_buffer("prototypes", prototypes)
        self.register_buffer("teacher", functional.log_softmax(prototypes @ prototypes.T / TEACHER_TEMPERATURE, dim=1))

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        temperature = self.log_temperature.clamp(min=math.log(LEAST_TEMPERATURE)).exp()
        student = functional.log_softmax(self.head(features) @ self.prototypes.T / temperature, dim=1)
        teacher = self.teacher[batch.labels]
        return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
