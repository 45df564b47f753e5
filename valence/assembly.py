"""A cell to what is trained: the classifier with its initial weights, its strategy, the data as it will see them."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from valence.cell import Cell, Recipe, derive_seed
from valence.classifiers import CLASSIFIERS, Classifier, build_classifier, tap_paths, tapped
from valence.errors import BadInput
from valence.kept_weights import load_weights
from valence.resident import Resident, filtered, room_for
from valence.results import predict
from valence.rewrites import fixed_front, rewrite
from valence.strategies import Strategy
from valence.strategy_options import make_strategy
from valence.targets import Target

if TYPE_CHECKING:
    from valence.prepared import Prepared


@dataclass
class Assembled:
    """What one cell trains."""

    classifier: Classifier
    model: nn.Module
    strategy: Strategy
    data: Resident
    """with the classifier's fixed filters applied, where that was done"""
    rewrites: tuple[str, ...] = ()
    """what is computed in a faster order"""


def assemble(
    cell: Cell,
    prepared: "Prepared",
    recipe: Recipe,
    target: Target | None,
    data: Resident,
    *,
    rewrites: bool,
    weights: Path | None,
    earlier: Path | None,
) -> Assembled:
    """Build classifier and strategy on the data's device. Leaves the default generators at the seed of dropout.

    Parameters
    ----------
    rewrites, weights, earlier : see valence.training.train_cell.

    Raises
    ------
    BadInput : where recipe and input, weights and classifier, or strategy and target do not fit.
    """
    classifier, strategy = CLASSIFIERS[cell.classifier], make_strategy(cell.strategy, cell.options)
    if recipe.augmentation_p and prepared.spec.n_bands:
        raise BadInput(
            f"recipe {recipe.name!r}: augmentation_p is {recipe.augmentation_p:g} for {cell.classifier}",
            allowed="0 for classifiers of band features: the augmentations are of windows",
            do="correct the recipe",
        )
    torch.manual_seed(derive_seed(cell.pair_id, "initial weights"))
    model = build_classifier(classifier, prepared.spec)
    if weights is not None:
        _load_pretrained(classifier, model, weights)
    made = Assembled(classifier, model, strategy, data)
    if strategy.earlier is not None:
        _build_on(made, earlier, name=cell.strategy)
    strategy.tap_paths = tap_paths(model, classifier)
    torch.manual_seed(derive_seed(cell.cell_id, "strategy parameters"))
    made.model = strategy.wrap(model).to(data.x.device)
    with tapped(made.model.eval(), classifier) as forward, torch.no_grad():
        n_features = forward(made.data.x[:1]).features.shape[1]
    strategy.prepare(made.model, prepared.spec, n_features, target)
    strategy.to(data.x.device)
    if rewrites and not strategy.reads_inside:  # which a strategy knows once it is prepared
        if not (recipe.augmentation_p or strategy.reads_input or prepared.spec.n_bands):
            _filter_once(made)
        made.rewrites += rewrite(made.model, made.data.x[:2])
    torch.manual_seed(derive_seed(cell.pair_id, "dropout"))
    return made


def _build_on(made: Assembled, weights: Path | None, *, name: str) -> None:
    """Give the strategy what it needs of the cell trained before: its weights in the model, or its logits."""
    assert made.strategy.earlier is not None
    if weights is None:
        raise BadInput(
            f"strategy {name!r} without the cell of {made.strategy.earlier.strategy!r} that it builds on",
            allowed="the weights of that cell",
            do="train it first and give its weights as `earlier`",
        )
    if made.strategy.earlier.use == "start":
        load_weights(made.model, weights)
        return
    first, data = copy.deepcopy(made.model).to(made.data.x.device), made.data
    load_weights(first, weights)
    with tapped(first, made.classifier) as forward:
        known = predict(first, forward, data, data.train)[0]
    logits = known.new_zeros(len(data.x), known.shape[1])  # of training samples alone: others are never asked for
    logits[torch.from_numpy(data.train).to(known.device)] = known
    made.strategy.register_buffer("earlier_logits", logits, persistent=False)


def _filter_once(made: Assembled) -> None:
    """Apply fixed filters of the classifier to the data set in place of every batch, where memory allows."""
    front = fixed_front(made.model, made.data.x[:2], largest=min(16.0, room_for(made.data)))
    if front is not None:
        made.data = filtered(made.data, front, of=made.classifier.name)
        made.rewrites = ("fixed filters once for all windows",)


def _load_pretrained(classifier: Classifier, model: nn.Module, weights: Path) -> None:
    if classifier.pretrained is None:
        raise BadInput(
            f"pretrained weights for {classifier.name}",
            allowed=", ".join(name for name, row in CLASSIFIERS.items() if row.pretrained) or "no classifier has any",
            do="name another classifier, or leave them out",
        )
    classifier.pretrained.load(model, weights)
