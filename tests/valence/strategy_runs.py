"""Small real trainings of any strategy, for tests over the registry.

Each runs on those of the classifiers tried that it fits. One that builds on an earlier cell gets it trained first.
"""

import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np
import torch

from tests.valence import training_world as world
from valence.classifiers import CLASSIFIERS, tapped
from valence.kept_weights import weights_bytes
from valence.resident import resident
from valence.results import Result
from valence.stories import EMOTIONS
from valence.strategies import STRATEGIES, Batch, Circumstances, looks_twice
from valence.strategy_options import default_dose
from valence.training import CellRun

NAMES = sorted(STRATEGIES)
ALIGNING = [name for name in NAMES if STRATEGIES[name].kind != "none"]
TRIED = ("de_mlp", "EEGNet")
CH_NAMES = ("Fp1", "Fp2", "F3", "F4", "Fz", "F7", "F8", "P3", "P4", "PO3", "PO4", "O1", "Oz", "O2", "C3", "C4")
"""those that strategies of channels look for"""
WEIGHTS = tempfile.TemporaryDirectory()


@functools.cache
def data_of(kind: str):
    """The planted data set with twice its channels."""
    data = world.dataset(kind)
    data.spec = dataclasses.replace(data.spec, n_chans=16, ch_names=CH_NAMES)
    data.x = np.concatenate([data.x, data.x[:, ::-1]], axis=1)
    data.hash += "-16"
    return data


def fitting(name: str) -> list[str]:
    """The classifiers tried that a strategy can run with."""
    strategy = STRATEGIES[name]()
    about = {
        one: Circumstances(
            classifier=CLASSIFIERS[one], spec=data_of(CLASSIFIERS[one].input).spec, classes=EMOTIONS, n_axes=2
        )
        for one in TRIED
    }
    return [one for one in TRIED if strategy.unfit(about[one]) is None]


FITTING = {name: fitting(name) for name in NAMES}
PAIRS = [(name, classifier) for name in NAMES for classifier in FITTING[name]]
ALIGNING_PAIRS = [pair for pair in PAIRS if pair[0] in ALIGNING]
FIRST_PAIRS = [(name, classifiers[0]) for name, classifiers in FITTING.items() if classifiers]


def run_of(
    name: str,
    classifier: str,
    *,
    make: type[CellRun] = CellRun,
    target: str = "vaxis",
    epochs: int = 3,
    seed: int = 42,
    gradient_match: float = 0.0,
    rewrites: bool = True,
) -> CellRun:
    """A cell of the strategy at its default strength, not advanced yet."""
    about, kind = world.recipe(epochs=epochs), STRATEGIES[name].kind
    strength = 0.0 if gradient_match else default_dose(name).lambda_
    cell = world.cell(classifier, name, about=about, lambda_=strength, seed=seed)
    cell = dataclasses.replace(cell, gradient_match=gradient_match, target="none" if kind == "none" else target)
    data = data_of(CLASSIFIERS[classifier].input)
    held = resident(data, world.split(), de_normalisation=about.de_normalisation, device="cpu")
    aligned_to = None if kind == "none" else world.target(target, seed=seed, n_axes=2)
    earlier = earlier_of(name, classifier, target)
    return make(cell, data, about, aligned_to, held, earlier=earlier, rewrites=rewrites)


@functools.cache
def earlier_of(name: str, classifier: str, target: str) -> Path | None:
    """Weights of the cell that a strategy builds on, trained here."""
    earlier = STRATEGIES[name].earlier
    if earlier is None:
        return None
    file = Path(WEIGHTS.name) / f"{earlier.strategy}-{classifier}-{target}.safetensors"
    if not file.exists():
        file.write_bytes(weights_bytes(trained(earlier.strategy, classifier, target).weights))
    return file


@functools.cache
def trained(name: str, classifier: str, target: str = "vaxis", *, rewrites: bool = True) -> Result:
    """The result of a cell trained eagerly, once."""
    return finished(run_of(name, classifier, target=target, rewrites=rewrites))


def finished(run: CellRun) -> Result:
    while run.advance():
        pass
    return run.result()


def looked_at(run: CellRun, batch: Batch, *, times: float = 1.0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The strategy's loss of a batch, logits and features times a factor, and the classifier's trained parameters."""
    with tapped(run.model, run.classifier) as forward:
        out = forward(batch.x)
        before = torch.get_rng_state()
        second = run.second_look(forward, batch.x) if looks_twice(run.strategy) else None
        batch.second = None if second is None else times * second.features
        loss = run.strategy.loss(batch, times * out.logits, times * out.features)
    assert torch.equal(before, torch.get_rng_state()), "the loss drew random numbers"
    return loss, [part for part in run.model.parameters() if part.requires_grad]


def without_dropout(run: CellRun) -> None:
    """In training mode, as what a strategy notes inside the classifier it may note in training alone."""
    run.begin_epoch(0)
    for module in run.model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0


def gradients(loss: torch.Tensor, parameters: list[torch.Tensor]) -> list[torch.Tensor]:
    """Those that are not None."""
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True) if parameters else ()
    return [gradient for gradient in found if gradient is not None]


def assert_same(one: Result, other: Result) -> None:
    """To the last bit."""
    np.testing.assert_array_equal(one.test_logits, other.test_logits)
    np.testing.assert_array_equal(one.clip_features, other.clip_features)
