"""A cell while it trains: one loop for every classifier, strategy and recipe, and its result.

Everything random comes from the cell. Initial weights, batch order, augmentation and dropout come from its `pair_id`,
so that a strategy and its baseline differ in nothing but the auxiliary loss; what the strategy itself draws comes from
its `cell_id`. On one CPU thread a result is the same to the last bit whatever was trained before or beside it.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from valence import metrics
from valence.assembly import assemble
from valence.augmentation import augment
from valence.cell import Cell, Recipe, derive_seed
from valence.classifiers import Tapped, tapped
from valence.layer_features import layer_features
from valence.objective import Objective
from valence.optimisation import class_weights, learning_rate, make_optimizer, shuffled
from valence.own_random import OwnRandom
from valence.resident import Resident, resident
from valence.results import EVALUATION_BATCH, Result, predict, result_of
from valence.strategies import Batch, looks_twice
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
    earlier: Path | None = None,
) -> Result:
    """Train one cell and score it.

    Parameters
    ----------
    target : what the strategy aligns to; None for the strategy none.
    rewrites : compute the same function in a faster order where the classifier allows it; equal to rounding.
    weights : file or folder of pretrained weights, for a cell that names their digest.
    earlier : weights of the cell that the strategy builds on (see Strategy.earlier), a file of valence.kept_weights.

    Raises
    ------
    BadInput : where split and data, or strategy and target, or weights and classifier do not fit.
    FloatingPointError : where the loss is no longer finite.
    """
    data = resident(prepared, split, de_normalisation=recipe.de_normalisation, device=device)
    run = CellRun(cell, prepared, recipe, target, data, rewrites=rewrites, weights=weights, earlier=earlier)
    while run.advance():
        pass
    return run.result()


class _Best(NamedTuple):
    """The best epoch so far."""

    rank: tuple[float, float, int]
    """less is better: the negated score, the cross-entropy, the epoch"""
    weights: dict[str, torch.Tensor]
    logits: torch.Tensor
    """(n_validation, n_classes)"""


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
        earlier: Path | None = None,
    ):
        self.cell, self.recipe = cell, recipe
        self.prepared, self.target = prepared, target
        self.random = OwnRandom(data.x.device)
        self._assembled = partial(assemble, cell, prepared, recipe, target, data, weights=weights, earlier=earlier)
        with self.random:
            made = self._assembled(rewrites=rewrites)
        self.classifier, self.model, self.strategy = made.classifier, made.model, made.strategy
        self.data, self.rewrites = made.data, made.rewrites
        self.optimizer = make_optimizer(self.model, self.strategy, recipe)
        # Clipped apart: the gradient of a strategy's own head must not shrink the classifier's.
        parts = (list(self.model.parameters()), list(self.strategy.parameters()))
        self.clipped = [parameters for parameters in parts if parameters]
        balance = class_weights(data.labels[data.train], prepared.spec.n_outputs) if recipe.class_weights else None
        self.objective = Objective(
            strategy=self.strategy,
            target=target,
            lambda_=cell.lambda_,
            gradient_match=cell.gradient_match,
            label_smoothing=recipe.label_smoothing,
            class_weights=balance,
        )
        self.total = torch.zeros((), device=data.x.device)
        self.n_trained = self.epochs_done = 0
        self._order = torch.Generator().manual_seed(derive_seed(cell.pair_id, "batch order"))
        self._best: _Best | None = None
        self._validation_labels = data.labels[torch.from_numpy(data.validation)].cpu().numpy()
        self._kept: dict[str, float | None] = {}
        self._steps = self._train()

    def advance(self) -> bool:
        """Go on to the end of the next training step; False once training has ended.

        Raises
        ------
        FloatingPointError : where the loss is no longer finite.
        """
        with self.random:
            return next(self._steps, None) is not None

    def result(self, *, keep: bool = False) -> Result:
        """Scores on the test samples, with the weights of the best epoch. Training must have ended.

        keep : with what later stages look into, features of validation samples and of every layer, see Result.
        """
        best = self._best
        assert best is not None
        self.model.load_state_dict(best.weights)
        looked_into = {}
        with self.random, tapped(self.model, self.classifier) as forward:
            logits, features = self.predictions(forward, self.data.test)
            if keep:
                looked_into["validation_features"] = self.predictions(forward, self.data.validation)[1].cpu().numpy()
        if not (torch.isfinite(logits).all() and torch.isfinite(features).all()):
            raise FloatingPointError(
                f"{self.cell.classifier} with {self.cell.strategy}, seed {self.cell.seed}: with the weights of epoch "
                f"{best.rank[2]} its answers to test samples are not finite, while those to validation samples "
                "are: look at the test recordings"
            )
        ratios = [value for ratio in self.objective.ratios if math.isfinite(value := float(ratio))]
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
            validation_logits=best.logits.cpu().numpy(),
            layers=self._layers(best.weights) if keep else None,
            mode=self.mode,
            rewrites=self.rewrites,
            weights=best.weights,
            notes=self.strategy.notes,
            **looked_into,
        )

    def _layers(self, weights: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
        """Features (n_test, D) of every layer as its author wrote it: faster orders skip some."""
        with self.random:
            made = self._assembled(rewrites=False)
        made.model.load_state_dict(weights)
        rows = torch.from_numpy(made.data.test).to(made.data.x.device)
        found = layer_features(made.model, made.data.x.index_select(0, rows), batch=EVALUATION_BATCH)
        return {path: values.numpy() for path, values in found.items()}

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
        self.model.train()
        self.strategy.train()
        self.strategy.on_epoch(epoch, self.recipe.epochs)
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
        out = forward(batch.x)
        second = self.second_look(forward, batch.x) if looks_twice(self.strategy) else None
        task, auxiliary = self.objective.terms(batch, out, second=second, measure=measure)
        loss = task + auxiliary
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return loss

    def batch(self, rows: torch.Tensor) -> Batch:
        """The samples of some rows, windows augmented where the recipe says so."""
        data, recipe = self.data, self.recipe
        fields = (data.x, data.labels, data.clips, data.subjects)
        x, labels, clips, subjects = (values.index_select(0, rows) for values in fields)
        if recipe.augmentation_p:
            shift = round(recipe.augmentation_shift_s * self.prepared.spec.sfreq)
            x = augment(x, p=recipe.augmentation_p, shift=shift)
        return Batch(x=x, labels=labels, clips=clips, subjects=subjects, rows=rows)

    def second_look(self, forward, x: torch.Tensor) -> Tapped | None:
        """The strategy's second forward pass: in evaluation mode, so that it moves no statistics and draws no masks."""
        changed = self.strategy.second_look(x)
        if changed is None:
            return None
        recurrent = any(isinstance(module, nn.RNNBase) for module in self.model.modules())
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            # cuDNN's recurrent layers have no gradient in evaluation mode
            with torch.backends.cudnn.flags(enabled=not recurrent):
                return forward(changed, call=self.model)
        finally:
            for module in training:  # parts that a strategy keeps in evaluation mode stay so
                module.training = True

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
        if self._best is None or rank < self._best.rank:
            self._best = _Best(rank, copy.deepcopy(self.model.state_dict()), logits)
            self._kept = {
                "validation_balanced_accuracy": score["balanced_accuracy"],
                "validation_kappa": score["kappa"],
                "best_epoch": epoch,
            }
        patience, since = self.recipe.patience_epochs, max(self._best.rank[2], self.strategy.first_task_epoch)
        return bool(patience) and epoch - since >= patience

    def state(self) -> dict[str, Any]:
        """What training goes on from after an epoch: tensors and plain values, not copied."""
        best = None if self._best is None else [list(self._best.rank), self._best.weights, self._best.logits]
        return {
            **{name: getattr(self, name).state_dict() for name in ("model", "strategy", "optimizer")},
            "random": self.random.state(),
            "order": self._order.get_state(),
            "best": best,
            "kept": self._kept,
            "gradient_ratios": [float(ratio) for ratio in self.objective.ratios],
            "n_trained": self.n_trained,
            "epochs_done": self.epochs_done,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same cell. Training must not have begun."""
        for epoch in range(state["epochs_done"]):
            self.strategy.on_epoch(epoch, self.recipe.epochs)  # what it changes beside its tensors
        for name in ("model", "strategy", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.random.restore(state["random"])
        self._order.set_state(state["order"])
        if state["best"] is not None:
            rank, weights, logits = state["best"]
            self._best = _Best((rank[0], rank[1], rank[2]), weights, logits)
        self._kept = state["kept"]
        self.objective.ratios = [torch.tensor(ratio) for ratio in state["gradient_ratios"]]
        self.n_trained, self.epochs_done = state["n_trained"], state["epochs_done"]

    def _finite(self, value: float | None, what: str, epoch: int) -> float:
        if value is None or not math.isfinite(value):
            raise FloatingPointError(
                f"the {what} of {self.cell.classifier} with {self.cell.strategy} (lambda_ {self.cell.lambda_:g}, seed "
                f"{self.cell.seed}) is {value} in epoch {epoch}: lower the recipe's learning rate "
                f"({self.recipe.learning_rate:g}) or lambda_"
            )
        return value
