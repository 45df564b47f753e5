"""Faster forms of layers are the same functions."""

import copy

import pytest
import torch

from tests.valence.signal_specs import FACED, QUICK, noise
from valence import emod
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.decoding_forms import PRECISIONS, dtype_of, quicken
from valence.errors import BadInput

pytestmark = pytest.mark.usefixtures("one_thread")


def trained_looking(name: str, spec) -> torch.nn.Module:
    """A classifier whose normalisations and biases are not the ones it is built with."""
    torch.manual_seed(0)
    module = build_classifier(CLASSIFIERS[name], spec).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return module


def answers(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return module(x)


@pytest.mark.parametrize("name", ["EMOD", "EMOD_depth6", "EMOD_as_coded", "EEGNet"])
@pytest.mark.parametrize("spec", [FACED, QUICK], ids=["even tokens", "uneven tokens"])
def test_answers_are_equal_to_rounding_in_float32(name, spec):
    module, x = trained_looking(name, spec), 3 + noise(spec, 2)
    expected = answers(module, x)
    quicken([module], torch.float32)
    assert expected.std() > 0.01
    torch.testing.assert_close(answers(module, x), expected, rtol=1e-4, atol=2e-5)


def test_tokens_are_near_in_bfloat16_and_members_share_patches_and_nothing_else():
    modules = [trained_looking("EMOD", QUICK), trained_looking("EMOD", QUICK)]
    with torch.no_grad():
        modules[1].tokens.time[0].weight.neg_()

    def seen(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return module.blocks(module.tokens(x))

    # other samples after the first ones: nothing of those may be left over
    inputs = [noise(QUICK, 2), noise(QUICK, 2, seed=1)]
    expected = [[seen(module, x) for module in modules] for x in inputs]
    quick = copy.deepcopy(modules)
    quicken(quick, torch.bfloat16)
    for x, before in zip(inputs, expected):
        for module, right in zip(quick, before):
            off = (seen(module, x) - right).std()
            assert 0 < off < 0.02 * right.std()
            assert all((right - other).std() > 4 * off for others in expected for other in others if other is not right)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("length", [3, 50, 64])
def test_attention_is_exact_at_any_length_and_where_powers_overflow(relative, length):
    torch.manual_seed(0)
    layer = emod.Attention(relative=relative).eval()
    x = torch.randn(6, length, emod.WIDTH)
    with torch.no_grad():
        for scale in (1.0, 60.0):  # of logits that exp() overflows at
            expected = layer(scale * x)
            quick = torch.nn.ModuleList([copy.deepcopy(layer)])
            quicken([quick], torch.float32)
            torch.testing.assert_close(quick[0](scale * x), expected, rtol=1e-3, atol=1e-3 * scale)


def test_state_dicts_stay():
    module = trained_looking("EMOD", QUICK)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    quicken([module], torch.bfloat16)
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_precisions():
    assert dtype_of("float32") is torch.float32
    assert dtype_of("bfloat16") is torch.bfloat16
    assert dtype_of("auto") in (torch.float32, torch.bfloat16)
    with pytest.raises(BadInput, match=", ".join(PRECISIONS)):
        dtype_of("half")
