"""Contracts of every registered classifier: shapes, the tap, independence of batch mates, imports."""

import subprocess
import sys

import pytest
import torch

from tests.valence import training_world as world
from valence.classifiers import CLASSIFIERS, pool, tapped

pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = {"windows": world.spec("windows"), "de": world.spec("de")}


def built(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    classifier = CLASSIFIERS[name]
    module = classifier.build(SPECS[classifier.input])
    facts = SPECS[classifier.input]
    shape = (5, facts.n_chans, facts.n_times) + ((facts.n_bands,) if facts.n_bands else ())
    return module, torch.randn(shape)


def test_registered():
    assert {"EEGNet", "ShallowFBCSPNet", "de_logistic", "de_mlp"} <= set(CLASSIFIERS)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits_and_features(name):
    module, x = built(name)
    with tapped(module.eval(), CLASSIFIERS[name]) as forward:
        out = forward(x)
    assert out.logits.shape == (5, world.N_CLASSES)
    assert out.features.shape[0] == 5
    assert out.features.ndim == 2
    assert CLASSIFIERS[name].name == name
    assert CLASSIFIERS[name].windows_per_second > 0


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_features_are_what_the_last_layer_reads(name):
    module, x = built(name)
    with tapped(module.eval(), CLASSIFIERS[name]) as forward:
        out = forward(x)
    last = module.get_submodule(CLASSIFIERS[name].tap)
    torch.testing.assert_close(last(out.taps[0]), out.logits)
    torch.testing.assert_close(out.features, pool(out.taps[0], len(x)))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_loss_on_features_reaches_weights(name):
    module, x = built(name)
    with tapped(module, CLASSIFIERS[name]) as forward:
        forward(x).features.square().sum().backward()
    reached = [parameter for parameter in module.parameters() if parameter.grad is not None and parameter.grad.any()]
    assert reached


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_prediction_does_not_depend_on_batch_mates(name):
    module, x = built(name)
    with torch.no_grad():
        for _ in range(3):
            module.train()(x)  # running statistics away from their start
        together = module.eval()(x)
        alone = torch.cat([module(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_same_seed_same_weights(name):
    first, _ = built(name)
    second, _ = built(name)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_tap_leaves_no_hook_behind():
    module, x = built("de_mlp")
    with tapped(module, CLASSIFIERS["de_mlp"]) as forward:
        forward(x)
    assert not module.final_layer._forward_pre_hooks


def test_pool_is_the_mean_over_trailing_dimensions():
    x = torch.arange(24.0).reshape(2, 3, 2, 2)
    torch.testing.assert_close(pool(x, 2), x.mean((2, 3)))


def test_logistic_regression_does_not_see_the_order_of_seconds():
    module, x = built("de_logistic")
    torch.testing.assert_close(module(x), module(x.flip(2)))


def test_braindecode_is_imported_only_when_built():
    code = (
        "import sys; from valence.classifiers import CLASSIFIERS; CLASSIFIERS['EEGNet'];"
        "sys.exit('braindecode' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
