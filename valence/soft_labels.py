"""Class values or logits to soft labels, and a student's logits to their distance from them: shared by distillation."""

import numpy as np
import torch
from torch.nn import functional


def log_soft_labels(class_values: np.ndarray, *, power: int, scale: float) -> torch.Tensor:
    """log q of every class, q_k ∝ exp(-|a_y - a_k|^power / scale): float32, (n_classes, n_classes), rows y."""
    values = torch.as_tensor(class_values, dtype=torch.float64)
    distances = (values[:, None] - values[None, :]).abs() ** power
    return functional.log_softmax(-distances / scale, dim=1).float()


def divergence(log_teacher: torch.Tensor, logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · mean_i KL(q_i ‖ softmax(logits_i / T)), a scalar: Hinton, Vinyals & Dean 2015.

    Parameters
    ----------
    log_teacher : (batch, n_classes), log q, at the temperature of the student.
    logits : (batch, n_classes), of the student.
    temperature : T. Its square keeps gradients of one size whatever it is.
    """
    student = functional.log_softmax(logits / temperature, dim=1)
    return temperature**2 * functional.kl_div(student, log_teacher, reduction="batchmean", log_target=True)
