"""Batches to an auxiliary loss: how a classifier's features are pulled towards a target during training.

The loss of training is CE + lambda_ * L. A strategy says the form of L; a target (valence.targets) says what the
features are aligned to. Any strategy takes any target of its kind, so every control is the same loss with another
target. Options of a strategy are the keyword arguments of its class: each has a default, and a dose sweep names others.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import nn

from valence.errors import BadInput
from valence.registry import Registry
from valence.signal import SignalSpec

if TYPE_CHECKING:
    from valence.classifiers import Classifier
    from valence.targets import Target


@dataclass
class Batch:
    """One batch of training samples, all on one device."""

    x: torch.Tensor
    """float, (batch, n_chans, n_times) windows or (batch, n_chans, n_seconds, n_bands) DE, as the classifier sees them:
    augmented where the recipe says so"""
    labels: torch.Tensor
    """int64, (batch,), class"""
    clips: torch.Tensor
    """int64, (batch,), index of the clip"""
    subjects: torch.Tensor
    """int64, (batch,), index of the subject"""
    rows: torch.Tensor
    """int64, (batch,), number of the sample in the data set: where `Strategy.earlier_logits` holds it"""
    second: torch.Tensor | None = None
    """float, (batch, n_features), features of the second look, for a strategy with `second_look`"""
    inside: tuple[torch.Tensor, ...] = ()
    """float, set by the loss of a strategy that reads a layer inside the classifier and not its features: what that
    layer gave, or its weights, where both losses' gradients are then measured"""


@dataclass(frozen=True)
class Earlier:
    """Another cell of the same classifier, data and seed, which is trained first and whose weights are then used."""

    strategy: str
    """with its default strength and options, and the same target where it takes one"""
    use: Literal["start", "logits"]
    """"start": training starts from its weights; "logits": its logits for every sample are in `earlier_logits`"""


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is known of a cell before anything is read: enough to say why a strategy cannot run."""

    classifier: "Classifier"
    spec: SignalSpec
    classes: tuple[str, ...]
    """names of the labels, lower case, in their order"""
    n_axes: int
    """axes given: of one LLM, or of several"""


class Strategy(nn.Module):
    """Base of all strategies; every method does nothing by default.

    What a strategy learns are its own parameters, trained by the classifier's optimizer. `loss` may not draw random
    numbers: the classifier's dropout masks would then differ from those of the strategy `none`.
    """

    family: ClassVar[str] = "own"
    kind: ClassVar[str] = "none"
    """which part of a target it reads: "none", "values", "several", "prototypes" or "dissimilarity" """
    lambda_: ClassVar[float] = 0.0
    """default strength"""
    weighted: ClassVar[bool] = True
    """whether lambda_ scales its loss; where not, no other lambda_ and no gradient matching can be asked for"""
    replaces_entropy: ClassVar[bool] = False
    """whether its loss takes the place of cross-entropy, so that without it nothing would be trained"""
    baseline: ClassVar[str] = "none"
    """the strategy that it is compared with: trained as long, on the same weights, without this loss"""
    earlier: ClassVar[Earlier | None] = None
    reads_input: ClassVar[bool] = False
    """whether it looks at windows as they are: Batch.x, or a second look; those of a classifier whose fixed filters are
    applied to the data once are filtered ones otherwise"""
    reads_inside: bool = False
    """whether it looks at layers inside the classifier, which then are computed as their authors wrote them"""
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    tap_paths: tuple[str, ...] = ()
    """dotted paths of the classifier's last layers, whose inputs are the features; there before `wrap`"""
    first_task_epoch: int = 0
    """first epoch that trains the task, from which on patience counts; set in `on_epoch`"""
    notes: tuple[str, ...] = ()
    """what a reader of this cell's result should know, in words; set in `prepare`"""
    earlier_logits: torch.Tensor
    """float, (n_samples, n_outputs), of the earlier cell in evaluation mode; there before `prepare` where
    `earlier.use` is "logits" """

    def unfit(self, about: Circumstances) -> str | None:
        """Why this strategy cannot run with such a classifier and recording; None where it can."""
        return None

    def wrap(self, model: nn.Module) -> nn.Module:
        """The classifier as it will be trained, for strategies that add to it (adapters) or freeze parts of it."""
        return model

    def prepare(self, model: nn.Module, spec: SignalSpec, n_features: int, target: "Target | None") -> None:
        """Make parameters and buffers. Called once, before training, with the seed of the strategy set."""

    def second_look(self, x: torch.Tensor) -> torch.Tensor | None:
        """The input, changed: its features, of a second forward pass in evaluation mode, are in `Batch.second`.

        None where this classifier needs no second look.
        """
        raise NotImplementedError

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The auxiliary loss L of one batch, a scalar; logits (batch, n_outputs), features (batch, n_features)."""
        return logits.new_zeros(())

    def weigh(
        self, entropy: torch.Tensor, auxiliary: torch.Tensor, lambda_: "float | torch.Tensor"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy and L, scalars, as they enter the sum that is minimised."""
        return entropy, lambda_ * auxiliary

    def on_epoch(self, epoch: int, n_epochs: int) -> None:
        """Called before epoch 0, 1, ... of so many, when classifier and strategy are in training mode.

        What changes from epoch to epoch is best a tensor changed in place: a captured step goes on reading it.
        """


STRATEGIES: Registry[type[Strategy]] = Registry("strategy", __name__)


def looks_twice(strategy: Strategy) -> bool:
    """True for a strategy that asks for a second forward pass."""
    return type(strategy).second_look is not Strategy.second_look


def adds_to_classifier(strategy: Strategy) -> bool:
    """True for a strategy that changes the classifier itself."""
    return type(strategy).wrap is not Strategy.wrap


def need_target(target: "Target | None", strategy: str) -> "Target":
    """The target. Raises BadInput where there is none."""
    if target is None:
        raise BadInput(
            f"strategy {strategy!r} without a target",
            allowed="a target, such as vaxis, permuted or random",
            do="name one with --targets, or use the strategy none",
        )
    return target


def constant_target(strategy: str, what: str) -> BadInput:
    """The error for a target in which nothing differs."""
    return BadInput(
        f"strategy {strategy!r} with a target whose {what} are all equal",
        allowed="a target that tells classes apart",
        do="take another target, or leave this pair out of the grid",
    )
