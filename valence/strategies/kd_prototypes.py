"""Distillation of the LLM's class geometry into a projection of the features.

Formula: q = softmax(S[y]/τ_t), S = C·Cᵀ of the row-normed prototypes C; p = softmax(z·Cᵀ/τ_s) with z the L2-normed
projection of h; L = mean_i KL(q_i‖p_i). τ_t = .1; τ_s is learned as its logarithm, starts at τ_t and stays at .01 or
more.
Source: Hinton, Vinyals & Dean 2015, Distilling the knowledge in a neural network; "KD" of arXiv:2606.00129.
Deviations: the start of τ_s is not reported; the teacher's is taken, and the floor is that of CLIP (Radford 2021).
"""

import torch
from torch.nn import functional

from valence.prototype_similarity import PrototypeSimilarity
from valence.strategies import STRATEGIES, Batch

TEACHER_TEMPERATURE = 0.1


@STRATEGIES.register("kd_prototypes")
class KdPrototypes(PrototypeSimilarity):
    """KL divergence between soft labels from prototypes and the student's similarity to the prototypes."""

    name = "kd_prototypes"
    family = "distillation"
    lambda_ = 0.1
    formula = "KL(softmax(S[y]/τ_t) ‖ softmax(z·Cᵀ/τ_s))"
    source = "Hinton 2015"
    first_temperature = TEACHER_TEMPERATURE
    teacher: torch.Tensor

    def prepare(self, model, spec, n_features, target):
        super().prepare(model, spec, n_features, target)
        similarity = self.prototypes @ self.prototypes.T
        self.register_buffer("teacher", functional.log_softmax(similarity / TEACHER_TEMPERATURE, dim=1))

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        student = functional.log_softmax(self.similarity(features), dim=1)
        return functional.kl_div(student, self.teacher[batch.labels], reduction="batchmean", log_target=True)
