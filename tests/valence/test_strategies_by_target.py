"""Every strategy with every target: one step of training, or a reason why the pair is left out of the grid."""

import dataclasses
from functools import cache

import pytest
import torch

from tests.valence import training_world as world
from valence.cell import Cell
from valence.classifiers import CLASSIFIERS, tapped
from valence.kept_weights import weights_bytes
from valence.resident import resident
from valence.stories import EMOTIONS
from valence.strategies import STRATEGIES, Circumstances, Strategy, adds_to_classifier
from valence.targets import PARTS, TARGETS, canonical_target
from valence.training import CellRun

CLASSIFIER, N_AXES = "EEGNet", 2
TARGET_NAMES = [canonical_target(name) for name in TARGETS]
CH_NAMES = ("Fp1", "Fp2", "F3", "F4", "Fz", "F7", "F8", "P3", "P4", "PO3", "PO4", "Oz", "O1", "O2")
"""all that losses of channels ask for on this cap"""
SPEC = world.spec("windows", ch_names=CH_NAMES)
ABOUT = Circumstances(classifier=CLASSIFIERS[CLASSIFIER], spec=SPEC, classes=EMOTIONS, n_axes=N_AXES)
pytestmark = pytest.mark.usefixtures("one_thread")


def unfit(strategy: str, target: str) -> str | None:
    builder = TARGETS[target.removesuffix("_1")]
    return builder.unfit(STRATEGIES[strategy].kind, classes=EMOTIONS, has_ratings=True)


@cache
def dataset():
    return world.dataset("windows", ch_names=CH_NAMES)


def started(strategy: str, target: str, earlier) -> CellRun:
    """A cell before its first step."""
    recipe = world.recipe()
    cell: Cell = world.cell(CLASSIFIER, strategy, about=recipe, lambda_=STRATEGIES[strategy].lambda_)
    cell = dataclasses.replace(cell, target=target)
    data = resident(dataset(), world.split(), de_normalisation=recipe.de_normalisation, device="cpu")
    made = None if target == "none" else world.target(target, n_axes=N_AXES)
    return CellRun(cell, dataset(), recipe, made, data, rewrites=False, earlier=earlier)


def gradients(run: CellRun) -> tuple[float, list[torch.Tensor]]:
    """Loss of the first batch, and its gradients of the classifier's own parameters."""
    run.begin_epoch(0)
    with run.random, tapped(run.model, run.classifier) as forward:
        loss = run.backward(forward, run.batches()[0], measure=True)
    return loss.item(), [parameter.grad for parameter in run.model.parameters()]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of an earlier cell, for strategies that build on one."""
    path = tmp_path_factory.mktemp("weights") / "earlier.safetensors"
    path.write_bytes(weights_bytes(started("none", "none", None).model.state_dict()))
    return path


@pytest.mark.parametrize("target", TARGET_NAMES)
@pytest.mark.parametrize("name", [name for name in STRATEGIES if STRATEGIES[name].kind != "none"])
def test_any_strategy_takes_any_target(name, target, weights):
    strategy = STRATEGIES[name]
    made = world.target(target, n_axes=N_AXES)
    if reason := unfit(name, target):
        assert strategy.kind not in TARGETS[target.removesuffix("_1")].kinds
        assert strategy.kind in reason
        return
    assert getattr(made, PARTS[strategy.kind]) is not None
    assert strategy().unfit(ABOUT) is None
    loss, grads = gradients(started(name, target, weights if strategy.earlier else None))
    assert torch.isfinite(torch.tensor(loss))
    there = [gradient for gradient in grads if gradient is not None]
    assert all(torch.isfinite(gradient).all() for gradient in there)
    # where the loss takes the place of cross-entropy, nothing is left of it once it is detached
    alone = made.detached and strategy.weigh is not Strategy.weigh
    assert alone or any(gradient.any() for gradient in there)


def only_adds_a_loss(name: str) -> bool:
    """Whether a strategy trains as the baseline does but for what its loss adds."""
    strategy = STRATEGIES[name]
    return (
        strategy.kind != "none"
        and strategy.weigh is Strategy.weigh
        and strategy.earlier is None
        and not adds_to_classifier(strategy())
        and strategy().unfit(ABOUT) is None
    )


@pytest.mark.parametrize("name", [name for name in STRATEGIES if only_adds_a_loss(name)])
def test_a_detached_target_leaves_the_gradients_of_the_baseline(name):
    _, plain = gradients(started("none", "none", None))
    _, detached = gradients(started(name, "detached", None))
    _, aligned = gradients(started(name, "vaxis", None))
    assert all(torch.equal(one, other) for one, other in zip(plain, detached, strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(plain, aligned, strict=True))


def test_the_pairs_left_out_are_those_that_lack_a_part():
    assert unfit("rsa", "identity") == "it serves losses that read prototypes, not dissimilarity"
    assert unfit("kd_prototypes", "rank") == "it serves losses that read dissimilarity or values, not prototypes"
    assert unfit("kd_prototypes", "identity") is None
    for target in ("vaxis", "permuted_1", "random_1", "detached"):
        assert not [name for name in STRATEGIES if STRATEGIES[name].kind != "none" and unfit(name, target)]
