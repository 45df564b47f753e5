"""A strategy's loss outside of training: prepared on the planted target, given free logits and features."""

from dataclasses import dataclass

import numpy as np
import torch

from tests.valence import training_world as world
from valence.strategies import STRATEGIES, Batch, Strategy
from valence.targets import Target

N_FEATURES = 6


@dataclass
class Sample:
    """One batch with what a classifier would give for it: float64, with gradients."""

    batch: Batch
    logits: torch.Tensor
    features: torch.Tensor

    def loss(self, strategy: Strategy) -> torch.Tensor:
        return strategy.loss(self.batch, self.logits, self.features)


def prepared(name: str, target: Target | None = None, *, n_features: int = N_FEATURES, **options) -> Strategy:
    """A strategy in float64, prepared as for a classifier with so many features."""
    torch.manual_seed(0)
    strategy = STRATEGIES[name](**options)
    if strategy.earlier is not None:
        logits = torch.randn(1000, world.N_CLASSES, generator=torch.Generator().manual_seed(4))
        strategy.register_buffer("earlier_logits", logits)
    strategy.prepare(torch.nn.Identity(), world.spec("de"), n_features, target or world.target())
    return strategy.double()


def sample(n: int = 40, *, n_features: int = N_FEATURES, seed: int = 0, labels=None) -> Sample:
    """So many random samples of random clips, or of the first clip of given classes; rows are scattered."""
    rng = np.random.default_rng(seed)
    clips = rng.integers(0, world.N_CLIPS, n) if labels is None else np.searchsorted(world.CLASS_OF_CLIP, labels)
    n = len(clips)
    batch = Batch(
        x=torch.zeros(n, 1),
        labels=torch.as_tensor(world.CLASS_OF_CLIP[clips]),
        clips=torch.as_tensor(clips),
        subjects=torch.as_tensor(rng.integers(0, 123, n)),
        rows=torch.as_tensor(rng.permutation(1000)[:n]),
    )
    logits, features = (torch.tensor(rng.standard_normal((n, d))) for d in (world.N_CLASSES, n_features))
    return Sample(batch, logits.requires_grad_(), features.requires_grad_())


def check_gradients(strategy: Strategy, made: Sample) -> None:
    """Gradients at logits, features and the strategy's parameters, by finite differences."""
    inputs = (made.logits, made.features, *strategy.parameters())
    used = torch.autograd.grad(made.loss(strategy), inputs, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in used[:2])
    assert torch.autograd.gradcheck(lambda *_: made.loss(strategy), inputs, eps=1e-6, atol=1e-6, rtol=1e-4)


def least(strategy: Strategy, made: Sample, *, n_steps: int = 2000, rate: float = 3e-2) -> tuple[float, float]:
    """The loss before and after it alone is minimised over logits, features and the strategy's parameters."""
    inputs = [made.logits, made.features, *strategy.parameters()]
    optimizer = torch.optim.Adam(inputs, lr=rate)
    first = made.loss(strategy).item()
    for step in range(n_steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / n_steps)
        optimizer.zero_grad()
        made.loss(strategy).backward()
        optimizer.step()
    return first, made.loss(strategy).item()
