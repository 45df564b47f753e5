"""A cell while it trains: one loop for every classifier, strategy and recipe, and its result.

Everything random comes from the cell. Initial weights, batch order, augmentation and dropout come from its `pair_id`,
so that a strategy and its baseline differ in nothing but the auxiliary loss; what the strategy itself draws comes from
its `cell_id`. On one CPU thread a result is the same to the last bit whatever was trained before or beside it.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from valence import metrics
from valence.augmentation import augment
from valence.cell import Cell, Recipe, derive_seed
from valence.classifiers import CLASSIFIERS, Classifier, Tapped, build_classifier, tapped
from valence.errors import BadInput
from valence.optimisation import class_weights, gradient_ratio, learning_rate, make_optimizer, shuffled
from valence.own_random import OwnRandom
from valence.resident import Resident, filtered, resident, room_for
from valence.results import Result, predict, result_of
from valence.rewrites import fixed_front, rewrite
from valence.strategies import STRATEGIES, Batch, Strategy
from valence.targets import Target

if TYPE_CHECKING:
    from valence.prepared import Prepared
    from valence.splits import Split


def train_cell(
    cell: Cell,
    prepared: "Prepared",
    split: "Split",
    recipe: Recipe,
    target: Target | None,
    *,
    device: str = "cpu",
    rewrites: bool = True,
    weights: Path | None = None,
) -> Result:
    """Train one cell and score it.

    Parameters
    ----------
    target : what the strategy aligns to; None for the strategy none.
    rewrites : compute the same function in a faster order where the classifier allows it; equal to rounding.
    weights : file or folder of pretrained weights, for a cell that names their digest.

    Raises
    ------
    BadInput : where split and data, or strategy and target, or weights and classifier do not fit.
    FloatingPointError : where the loss is no longer finite.
    """
    data = resident(prepared, split, de_normalisation=recipe.de_normalisation, device=device)
    run = CellRun(cell, prepared, recipe, target, data, rewrites=rewrites, weights=weights)
    while run.advance():
        pass
    return run.result()


class CellRun:
    """One cell while it trains, with its own random numbers: cells may advance in turns in one process."""

    mode = "eager"

    def __init__(
        self,
        cell: Cell,
        prepared: "Prepared",
        recipe: Recipe,
        target: Target | None,
        data: Resident,
        *,
        rewrites: bool = True,
        weights: Path | None = None,
    ):
        self.cell, self.recipe, self.data = cell, recipe, data
        self.prepared, self.target = prepared, target
        self.classifier: Classifier = CLASSIFIERS[cell.classifier]
        self.strategy: Strategy = STRATEGIES[cell.strategy]()
        if recipe.augmentation_p and prepared.spec.n_bands:
            raise BadInput(
                f"recipe {recipe.name!r}: augmentation_p is {recipe.augmentation_p:g} for {cell.classifier}",
                allowed="0 for classifiers of band features: the augmentations are of windows",
                do="correct the recipe",
            )
        self.random = OwnRandom(data.x.device)
        with self.random:
            self._build(rewrites=rewrites, weights=weights)
        self.optimizer = make_optimizer(self.model, self.strategy, recipe)
        # Clipped apart: the gradient of a strategy's own head must not shrink the classifier's.
        parts = (list(self.model.parameters()), list(self.strategy.parameters()))
        self.clipped = [parameters for parameters in parts if parameters]
        self.gradient_ratios: list[torch.Tensor] = []
        self.class_weights = None
        if recipe.class_weights:
            self.class_weights = class_weights(data.labels[data.train], prepared.spec.n_outputs)
        self.total = torch.zeros((), device=data.x.device)
        self.n_trained = self.epochs_done = 0
        self._order = torch.Generator().manual_seed(derive_seed(cell.pair_id, "batch order"))
        self._best: tuple[tuple[float, float, int], dict[str, torch.Tensor]] | None = None
        self._validation_labels = data.labels[torch.from_numpy(data.validation)].cpu().numpy()
        self._kept: dict[str, float | None] = {}
        self._steps = self._train()

    def _build(self, *, rewrites: bool, weights: Path | None) -> None:
        device, spec = self.data.x.device, self.prepared.spec
        torch.manual_seed(derive_seed(self.cell.pair_id, "initial weights"))
        model = build_classifier(self.classifier, spec)
        if weights is not None:
            _load_weights(self.classifier, model, weights)
        torch.manual_seed(derive_seed(self.cell.cell_id, "strategy parameters"))
        self.model = self.strategy.wrap(model).to(device)
        self.rewrites: tuple[str, ...] = ()
        if rewrites:
            self._filter_once()
            self.rewrites += rewrite(self.model, self.data.x[:2])
        with tapped(self.model.eval(), self.classifier) as forward, torch.no_grad():
            n_features = forward(self.data.x[:1]).features.shape[1]
        self.strategy.prepare(self.model, spec, n_features, self.target)
        self.strategy.to(device)
        torch.manual_seed(derive_seed(self.cell.pair_id, "dropout"))

    def _filter_once(self) -> None:
        """Apply fixed filters of the classifier to the data set in place of every batch, where memory allows."""
        if self.recipe.augmentation_p or self.strategy.reads_input or self.prepared.spec.n_bands:
            return
        front = fixed_front(self.model, self.data.x[:2], largest=min(16.0, room_for(self.data)))
        if front is not None:
            self.data = filtered(self.data, front, of=self.classifier.name)
            self.rewrites = ("fixed filters once for all windows",)

    def advance(self) -> bool:
        """Go on to the end of the next training step; False once training has ended.

        Raises
        ------
        FloatingPointError : where the loss is no longer finite.
        """
        with self.random:
            return next(self._steps, None) is not None

    def result(self) -> Result:
        """Scores on the test samples, with the weights of the best epoch. Training must have ended."""
        assert self._best is not None
        self.model.load_state_dict(self._best[1])
        with self.random, tapped(self.model, self.classifier) as forward:
            logits, features = self.predictions(forward, self.data.test)
        if not (torch.isfinite(logits).all() and torch.isfinite(features).all()):
            raise FloatingPointError(
                f"{self.cell.classifier} with {self.cell.strategy}, seed {self.cell.seed}: with the weights of epoch "
                f"{self._best[0][2]} its answers to test samples are not finite, while those to validation samples "
                "are: look at the test recordings"
            )
        ratios = [float(ratio) for ratio in self.gradient_ratios]
        trained = {
            **self._kept,
            "gradient_ratio": float(np.median(ratios)) if ratios else None,
            "windows": self.n_trained,
        }
        return result_of(
            logits.cpu().numpy(),
            features.cpu().numpy(),
            data=self.data,
            prepared=self.prepared,
            target=self.target,
            trained=trained,
            mode=self.mode,
            rewrites=self.rewrites,
        )

    def _train(self) -> Iterator[bool]:
        """All epochs, step by step."""
        while self.epochs_done < self.recipe.epochs:
            epoch = self.epochs_done
            self.begin_epoch(epoch)
            yield from self.epoch(epoch, self.batches())
            logits = self.validation_logits()
            yield True  # on a GPU, other cells go on before this one waits for its logits
            self.epochs_done = self.recipe.epochs if self.end_epoch(epoch, logits) else epoch + 1
            yield True  # between two epochs all there is to keep is in state()

    def batches(self) -> Sequence[torch.Tensor]:
        """Rows of the batches of the next epoch, int64, on the device."""
        mixed = shuffled(self.data.train, self.recipe.batch_size, self._order)
        sizes = [len(rows) for rows in mixed]
        self.n_trained += sum(sizes)
        return torch.cat(mixed).to(self.data.x.device).split(sizes)

    def epoch(self, epoch: int, batches: Sequence[torch.Tensor]) -> Iterator[bool]:
        """One pass over the training samples, step by step."""
        with tapped(self.model, self.classifier) as forward:
            for number, rows in enumerate(batches):
                self.set_rate(epoch * len(batches) + number, len(batches))
                self.step(forward, rows, measure=number == 0)
                yield True

    def begin_epoch(self, epoch: int) -> None:
        """Tell the strategy, and train again after a validation."""
        self.strategy.on_epoch(epoch)
        self.model.train()
        self.strategy.train()
        self.total.zero_()

    def set_rate(self, step: int, steps_per_epoch: int) -> None:
        """The learning rate of a step, counted from 0 over all epochs."""
        rate = learning_rate(self.recipe, step=step, steps_per_epoch=steps_per_epoch)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def step(self, forward, rows: torch.Tensor, *, measure: bool) -> None:
        """One step of the optimizer on rows (batch,), int64, on the device; adds the loss to the epoch's total."""
        loss = self.backward(forward, rows, measure=measure)
        for parameters in self.clipped:
            nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        self.optimizer.step()
        self.total += loss.detach()

    def backward(self, forward, rows: torch.Tensor, *, measure: bool) -> torch.Tensor:
        """The loss of a batch, a scalar; its gradients are in the parameters."""
        batch = self.batch(rows)
        entropy, auxiliary = self.losses(batch, forward(self.input(batch)), measure=measure)
        loss = entropy + auxiliary
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return loss

    def batch(self, rows: torch.Tensor) -> Batch:
        """The samples of some rows, as they are."""
        data = self.data
        return Batch(*(values.index_select(0, rows) for values in (data.x, data.labels, data.clips, data.subjects)))

    def input(self, batch: Batch) -> torch.Tensor:
        """What the classifier sees of a batch: augmented windows where the recipe says so."""
        recipe = self.recipe
        if not recipe.augmentation_p:
            return batch.x
        shift = round(recipe.augmentation_shift_s * self.prepared.spec.sfreq)
        return augment(batch.x, p=recipe.augmentation_p, shift=shift)

    def losses(self, batch: Batch, out: Tapped, *, measure: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy and λ times the auxiliary loss; keeps the ratio of their gradients where asked."""
        entropy = functional.cross_entropy(
            out.logits, batch.labels, weight=self.class_weights, label_smoothing=self.recipe.label_smoothing
        )
        auxiliary = self.cell.lambda_ * self.strategy.loss(batch, out.logits, out.features)
        if measure and auxiliary.requires_grad:
            self.gradient_ratios.append(gradient_ratio(auxiliary, entropy, out.taps))
        return entropy, auxiliary

    def validation_logits(self) -> torch.Tensor:
        """Logits of the validation samples, (n, n_classes), on the device; nothing waits for them yet."""
        with tapped(self.model, self.classifier) as forward:
            return self.predictions(forward, self.data.validation)[0]

    def predictions(self, forward, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and features of some rows in evaluation mode, see valence.results.predict."""
        return predict(self.model, forward, self.data, rows)

    def end_epoch(self, epoch: int, logits: torch.Tensor) -> bool:
        """Score the validation samples, keep the weights of the best epoch so far; True where training ends early.

        The best epoch has the highest score, among equals the lowest cross-entropy, among equals it is the first.
        """
        self._finite(float(self.total), "loss", epoch)
        score = metrics.scores(logits.cpu().numpy(), self._validation_labels)
        entropy = self._finite(score["cross_entropy"], "validation cross-entropy", epoch)
        rank = (-float(score[self.recipe.selection] or 0), entropy, epoch)
        if self._best is None or rank < self._best[0]:
            self._best = rank, copy.deepcopy(self.model.state_dict())
            self._kept = {
                "validation_balanced_accuracy": score["balanced_accuracy"],
                "validation_kappa": score["kappa"],
                "best_epoch": epoch,
            }
        patience = self.recipe.patience_epochs
        return bool(patience) and epoch - self._best[0][2] >= patience

    def state(self) -> dict[str, Any]:
        """What training goes on from after an epoch: tensors and plain values, not copied."""
        best = None if self._best is None else [list(self._best[0]), self._best[1]]
        return {
            **{name: getattr(self, name).state_dict() for name in ("model", "strategy", "optimizer")},
            "random": self.random.state(),
            "order": self._order.get_state(),
            "best": best,
            "kept": self._kept,
            "gradient_ratios": [float(ratio) for ratio in self.gradient_ratios],
            "n_trained": self.n_trained,
            "epochs_done": self.epochs_done,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same cell. Training must not have begun."""
        for epoch in range(state["epochs_done"]):
            self.strategy.on_epoch(epoch)  # what it changes beside its tensors
        for name in ("model", "strategy", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.random.restore(state["random"])
        self._order.set_state(state["order"])
        if state["best"] is not None:
            rank, weights = state["best"]
            self._best = (rank[0], rank[1], rank[2]), weights
        self._kept = state["kept"]
        self.gradient_ratios = [torch.tensor(ratio) for ratio in state["gradient_ratios"]]
        self.n_trained, self.epochs_done = state["n_trained"], state["epochs_done"]

    def _finite(self, value: float | None, what: str, epoch: int) -> float:
        if value is None or not math.isfinite(value):
            raise FloatingPointError(
                f"the {what} of {self.cell.classifier} with {self.cell.strategy} (lambda_ {self.cell.lambda_:g}, seed "
                f"{self.cell.seed}) is {value} in epoch {epoch}: lower the recipe's learning rate "
                f"({self.recipe.learning_rate:g}) or lambda_"
            )
        return value


def _load_weights(classifier: Classifier, model: nn.Module, weights: Path) -> None:
    if classifier.pretrained is None:
        raise BadInput(
            f"pretrained weights for {classifier.name}",
            allowed=", ".join(name for name, row in CLASSIFIERS.items() if row.pretrained) or "no classifier has any",
            do="name another classifier, or leave them out",
        )
    classifier.pretrained.load(model, weights)
