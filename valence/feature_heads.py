"""Pieces that strategies share: the projection head and running class means. No plug-in imports another plug-in."""

import torch
from torch import nn
from torch.nn import functional

EMA_DECAY = 0.99
HIDDEN_WIDTH = 512


class ProjectionHead(nn.Module):
    """z = normalise(Linear(GELU(BatchNorm(Linear(h))))): features to the unit sphere.

    Parameters
    ----------
    n_features : width of h, the penultimate features.
    n_dims : width of z.
    """

    def __init__(self, n_features: int, n_dims: int):
        super().__init__()
        self.hidden = nn.Linear(n_features, HIDDEN_WIDTH)
        self.norm = nn.BatchNorm1d(HIDDEN_WIDTH)
        self.out = nn.Linear(HIDDEN_WIDTH, n_dims)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, n_features) to (batch, n_dims) with rows of length 1."""
        hidden = self.hidden(features)
        if self.training and len(hidden) == 1:  # the variance of one sample says nothing: use what was seen so far
            norm = self.norm
            hidden = functional.batch_norm(
                hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
            )
        else:
            hidden = self.norm(hidden)
        return functional.normalize(self.out(functional.gelu(hidden)), dim=1, eps=1e-6)


class ClassMeans(nn.Module):
    """Class means of features in a batch; a class that is absent is stood in for by its running mean.

    The means of the classes present come from the batch alone and carry the gradient at full strength. The running
    mean (decay .99) carries none: mixed into every mean it would scale the gradient by .01 and describe the weights
    of a hundred steps ago.
    """

    mean: torch.Tensor
    seen: torch.Tensor

    def __init__(self, n_classes: int, n_features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_classes, n_features))
        self.register_buffer("seen", torch.zeros(n_classes, dtype=torch.bool))

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (batch, n_features), labels (batch,) to means (n_classes, n_features) and which of them are known.

        In training mode the running means are updated.
        """
        # not one_hot, which looks at its values and so makes a GPU wait
        member = (labels[:, None] == torch.arange(len(self.mean), device=labels.device)).to(features.dtype)
        counts = member.sum(0)
        present = counts > 0
        batch_mean = (member.T @ features) / counts.clamp(min=1)[:, None]
        known = present | self.seen
        means = torch.where(present[:, None], batch_mean, self.mean)
        if self.training:
            with torch.no_grad():
                moved = torch.where(self.seen[:, None], torch.lerp(batch_mean, self.mean, EMA_DECAY), batch_mean)
                self.mean.copy_(torch.where(present[:, None], moved, self.mean))
                self.seen.copy_(known)
        return means, known
