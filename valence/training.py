"""A cell to a result: one training, its best epoch by validation subjects, and what it does on test subjects.

Everything random comes from the cell. Initial weights, batch order and dropout come from its `pair_id`, so that a
strategy and its baseline differ in nothing but the auxiliary loss; what the strategy itself draws comes from its
`cell_id`. On one CPU thread a result is the same to the last bit whatever was trained before in the process.
"""

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from valence import metrics
from valence.cell import Cell, Recipe, derive_seed
from valence.classifiers import CLASSIFIERS, Classifier, Tapped, tapped
from valence.optimisation import gradient_ratio, learning_rate, make_optimizer, shuffled
from valence.probes import axis_encoding, group_means
from valence.resident import Resident, resident
from valence.rewrites import rewrite
from valence.strategies import STRATEGIES, Batch, Strategy
from valence.targets import Target

if TYPE_CHECKING:
    from valence.prepared import Prepared
    from valence.splits import Split

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Result:
    """What a cell gives. Scores are of the test samples at the best epoch; missing is None."""

    metrics: dict[str, float | None]
    """balanced_accuracy, kappa, weighted_f1, accuracy, cross_entropy (nats), validation_balanced_accuracy, best_epoch
    (from 0), gradient_ratio (median over epochs of ‖λ ∂L/∂h‖ / ‖∂CE/∂h‖ in the first batch), axis_encoding"""
    recall: np.ndarray
    """(n_classes,), nan for a class without test samples"""
    subject_balanced_accuracy: dict[str, float]
    """by test subject"""
    test_logits: np.ndarray
    """float32, (n_test, n_classes)"""
    test_index: np.ndarray
    """int64, (n_test,), rows of Prepared"""
    clip_features: np.ndarray
    """float32, (n_clips, D), mean penultimate features of test samples; nan for a clip without any"""


def train_cell(
    cell: Cell,
    prepared: "Prepared",
    split: "Split",
    recipe: Recipe,
    target: Target | None,
    *,
    device: str = "cpu",
    rewrites: bool = True,
) -> Result:
    """Train one cell and score it.

    Parameters
    ----------
    target : what the strategy aligns to; None for the strategy none.
    rewrites : compute the same function in a faster order where the classifier allows it; equal to rounding.

    Raises
    ------
    BadInput : where split and data, or strategy and target, do not fit.
    FloatingPointError : where the loss is no longer finite.
    """
    data = resident(prepared, split, de_normalisation=recipe.de_normalisation, device=device)
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        run = _Run(cell, prepared, recipe, target, data, rewrites=rewrites)
        with tapped(run.model, run.classifier) as forward:
            validation = run.fit(forward)
            logits, features = predict(run.model, forward, data, data.test)
    return _result(logits, features, data=data, prepared=prepared, target=target, trained=validation)


class _Run:
    """One cell while it trains."""

    def __init__(
        self,
        cell: Cell,
        prepared: "Prepared",
        recipe: Recipe,
        target: Target | None,
        data: Resident,
        *,
        rewrites: bool,
    ):
        self.cell, self.recipe, self.data = cell, recipe, data
        self.classifier: Classifier = CLASSIFIERS[cell.classifier]
        self.strategy: Strategy = STRATEGIES[cell.strategy]()
        torch.manual_seed(derive_seed(cell.pair_id, "initial weights"))
        model = self.classifier.build(prepared.spec)
        if rewrites:
            rewrite(model, data.x[:2])
        torch.manual_seed(derive_seed(cell.cell_id, "strategy parameters"))
        self.model = self.strategy.wrap(model).to(data.x.device)
        with tapped(self.model.eval(), self.classifier) as forward, torch.inference_mode():
            n_features = forward(data.x[:1]).features.shape[1]
        self.strategy.prepare(self.model, prepared.spec, n_features, target)
        self.strategy.to(data.x.device)
        self.optimizer = make_optimizer(self.model, self.strategy, recipe)
        # Clipped apart: the gradient of a strategy's own head must not shrink the classifier's.
        parts = (list(self.model.parameters()), list(self.strategy.parameters()))
        self.clipped = [parameters for parameters in parts if parameters]
        self.gradient_ratios: list[torch.Tensor] = []

    def fit(self, forward) -> dict[str, float | None]:
        """Train all epochs, leave the weights of the best one in the model, and say how validation went."""
        order = torch.Generator().manual_seed(derive_seed(self.cell.pair_id, "batch order"))
        torch.manual_seed(derive_seed(self.cell.pair_id, "dropout"))
        best: tuple[tuple[float, float, int], dict[str, torch.Tensor]] | None = None
        labels = self.data.labels[torch.from_numpy(self.data.validation)].cpu().numpy()
        for epoch in range(self.recipe.epochs):
            self.strategy.on_epoch(epoch)
            self._train_epoch(forward, epoch, order)
            logits, _ = predict(self.model, forward, self.data, self.data.validation)
            score = metrics.scores(logits, labels)
            entropy = self._finite(score["cross_entropy"], "validation cross-entropy", epoch)
            rank = (-float(score["balanced_accuracy"] or 0), entropy, epoch)
            if best is None or rank < best[0]:
                best = rank, copy.deepcopy(self.model.state_dict())
        assert best is not None
        self.model.load_state_dict(best[1])
        ratios = [float(ratio) for ratio in self.gradient_ratios]
        return {
            "validation_balanced_accuracy": -best[0][0],
            "best_epoch": best[0][2],
            "gradient_ratio": float(np.median(ratios)) if ratios else None,
        }

    def _train_epoch(self, forward, epoch: int, order: torch.Generator) -> None:
        self.model.train()
        self.strategy.train()
        batches = shuffled(self.data.train, self.recipe.batch_size, order)
        total = torch.zeros((), device=self.data.x.device)
        for number, rows in enumerate(batches):
            rate = learning_rate(self.recipe, step=epoch * len(batches) + number, steps_per_epoch=len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            total += self._step(forward, rows.to(self.data.x.device), measure=number == 0)
        self._finite(float(total), "loss", epoch)

    def _step(self, forward, rows: torch.Tensor, *, measure: bool) -> torch.Tensor:
        data, recipe = self.data, self.recipe
        batch = Batch(*(values.index_select(0, rows) for values in (data.x, data.labels, data.clips, data.subjects)))
        out: Tapped = forward(batch.x)
        entropy = functional.cross_entropy(out.logits, batch.labels, label_smoothing=recipe.label_smoothing)
        auxiliary = self.cell.lambda_ * self.strategy.loss(batch, out.logits, out.features)
        if measure and auxiliary.requires_grad:
            self.gradient_ratios.append(gradient_ratio(auxiliary, entropy, out.taps))
        loss = entropy + auxiliary
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for parameters in self.clipped:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _finite(self, value: float | None, what: str, epoch: int) -> float:
        if value is None or not math.isfinite(value):
            raise FloatingPointError(
                f"the {what} of {self.cell.classifier} with {self.cell.strategy} (lambda_ {self.cell.lambda_:g}, seed "
                f"{self.cell.seed}) is {value} in epoch {epoch}: lower the recipe's learning rate "
                f"({self.recipe.learning_rate:g}) or lambda_"
            )
        return value


def predict(model: nn.Module, forward, data: Resident, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, n_classes) and features (n, D), float32, of rows in evaluation mode."""
    model.eval()
    logits, features = [], []
    with torch.inference_mode():
        for chosen in torch.from_numpy(rows).split(EVALUATION_BATCH):
            out = forward(data.x.index_select(0, chosen.to(data.x.device)))
            logits.append(out.logits.float())
            features.append(out.features.float())
    return torch.cat(logits).cpu().numpy(), torch.cat(features).cpu().numpy()


def _result(
    logits: np.ndarray,
    features: np.ndarray,
    *,
    data: Resident,
    prepared: "Prepared",
    target: Target | None,
    trained: dict[str, float | None],
) -> Result:
    labels, clips, subjects = (
        np.asarray(values)[data.test] for values in (prepared.labels, prepared.clips, prepared.subjects)
    )
    n_classes = logits.shape[1]
    predicted = logits.argmax(1)
    by_subject = {
        prepared.subject_names[subject]: metrics.balanced_accuracy(
            metrics.confusion(labels[subjects == subject], predicted[subjects == subject], n_classes)
        )
        for subject in np.unique(subjects)
    }
    encoding = None if target is None else axis_encoding(features, labels, target.class_values)
    return Result(
        metrics={**metrics.scores(logits, labels), **trained, "axis_encoding": encoding},
        recall=metrics.recalls(metrics.confusion(labels, predicted, n_classes)),
        subject_balanced_accuracy=by_subject,
        test_logits=logits,
        test_index=data.test.astype(np.int64),
        clip_features=group_means(features, clips, int(np.max(prepared.clips)) + 1).astype(np.float32),
    )
