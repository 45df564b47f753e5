"""One batch to what is minimised: cross-entropy, and the strategy's loss with its strength."""

from dataclasses import dataclass, field

import torch
from torch.nn import functional

from valence.classifiers import Tapped
from valence.errors import BadInput
from valence.optimisation import gradient_norm
from valence.strategies import Batch, Strategy
from valence.targets import Target

LEAST_PULL = 1e-12
"""a loss that pulls less than this times as hard as cross-entropy is not scaled up: it has nothing to say"""


Shared = tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]
"""where the gradient of the strategy's loss is measured, and where that of cross-entropy"""


@dataclass
class Objective:
    """What one cell minimises."""

    strategy: Strategy
    target: Target | None
    lambda_: float
    gradient_match: float
    label_smoothing: float
    class_weights: torch.Tensor | None
    """(n_classes,)"""
    ratios: list[torch.Tensor] = field(default_factory=list)
    """‖∂ auxiliary/∂ features‖ / ‖∂ task/∂ features‖ wherever it was measured, of both terms as they enter the sum;
    scalars, NaN where the task does not act"""

    def terms(
        self, batch: Batch, out: Tapped, *, second: Tapped | None = None, measure: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The two terms of the sum, scalars.

        Parameters
        ----------
        second : of a second forward pass, for a strategy that looks twice.
        measure : keep the ratio of the two gradients at the features, unpooled as the classifier has them.

        Raises
        ------
        BadInput : where measured, for a loss that is no scalar or that nothing of the classifier enters.
        """
        entropy = self.entropy(batch, out.logits)
        logits, features = out.logits, out.features
        batch.second = None if second is None else second.features
        if self.target is not None and self.target.detached:
            logits, features = logits.detach(), features.detach()
            batch.second = None if batch.second is None else batch.second.detach()
        loss = self.strategy.loss(batch, logits, features)
        shared = _shared(batch, out, second)
        if measure:
            self._check(loss, shared[0])
        task, auxiliary = self.strategy.weigh(entropy, loss, self._strength(entropy, loss, shared))
        if measure and auxiliary.requires_grad:
            self.keep_ratio(*(gradient_norm(term, taps) for term, taps in zip((auxiliary, task), shared)))
        return task, auxiliary

    def keep_ratio(self, pulls: torch.Tensor, pushes: torch.Tensor) -> None:
        """Keep the ratio of two gradients' norms, scalars: of the auxiliary term and of the task."""
        # where the task does not act in this step there is no ratio
        self.ratios.append(torch.where(pushes > 0, pulls / pushes.clamp(min=1e-20), torch.full_like(pulls, torch.nan)))

    def entropy(self, batch: Batch, logits: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, a scalar."""
        return functional.cross_entropy(
            logits, batch.labels, weight=self.class_weights, label_smoothing=self.label_smoothing
        )

    def _strength(self, entropy: torch.Tensor, loss: torch.Tensor, shared: Shared) -> float | torch.Tensor:
        if not (self.gradient_match and loss.requires_grad):
            return self.lambda_
        pulls, pushes = (gradient_norm(term, taps) for term, taps in zip((loss, entropy), shared))
        says_nothing = pulls <= LEAST_PULL * pushes
        matched = self.gradient_match * pushes / torch.where(says_nothing, torch.ones_like(pulls), pulls)
        return torch.where(says_nothing, torch.zeros_like(pulls), matched).detach()

    def _check(self, loss: torch.Tensor, taps: tuple[torch.Tensor, ...]) -> None:
        name = type(self.strategy).__name__
        if not isinstance(loss, torch.Tensor) or loss.ndim:
            got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise BadInput(f"the loss of {name} is {got}", allowed="a scalar tensor", do="take the mean over the batch")
        if self.strategy.kind == "none" or (self.target is not None and self.target.detached):
            return
        reached = loss.requires_grad and any(
            gradient is not None for gradient in torch.autograd.grad(loss, taps, retain_graph=True, allow_unused=True)
        )
        if not reached:
            raise BadInput(
                f"the loss of {name} depends on neither logits nor features of the batch",
                allowed="a loss whose gradient reaches the classifier",
                do="compute it from the arguments of `loss`, without detach() or item()",
            )


def _shared(batch: Batch, out: Tapped, second: Tapped | None) -> Shared:
    """The layer that both losses pass through: the last one, unless the strategy's loss leaves before it."""
    if batch.inside:
        return batch.inside, batch.inside
    return (out.taps if second is None else (*out.taps, *second.taps)), out.taps
