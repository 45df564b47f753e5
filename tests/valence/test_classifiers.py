"""Contracts of every registered classifier, on a small recording, and of building and tapping."""

import copy
import re
import subprocess
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.valence.signal_specs import DE_SMALL, SMALL, noise
from valence.classifiers import CLASSIFIERS, Classifier, build_classifier, pool, tap_paths, tapped
from valence.errors import BadInput
from valence.signal import SignalSpec

pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = {"windows": SMALL, "de": DE_SMALL}
NO_GRADIENT = {
    "CBraMod": r"patch_embedding\.mask_encoding",  # masks are of pretraining
    "EEGMiner": r"filter\.(n_range|group_delay)",  # constants
    "FBCNet": r"spectral_filtering\..*",  # fixed filter banks
    "FBMSNet": r"spectral_filtering\..*",
    "FBLightConvNet": r"spectral_filtering\..*",
    "IFNet": r"spectral_filtering\..*",
    "LUNA": r"mask_token|cross_attn\.temperature|blocks\.\d+\.attn\.rotary_emb\.freqs",
    "MSVTNet": r"branch_head\..*",  # auxiliary heads of a loss that is not used
}
_built: dict[str, nn.Module] = {}


def fresh(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A copy of the classifier as it was built with seed 0, in training mode, and three samples."""
    spec = SPECS[CLASSIFIERS[name].input]
    if name not in _built:
        torch.manual_seed(0)
        _built[name] = build_classifier(CLASSIFIERS[name], spec)
    torch.manual_seed(1)  # dropout
    return copy.deepcopy(_built[name]), noise(spec, 3)


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    _built.clear()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits_and_features(name):
    module, x = fresh(name)
    with tapped(module.eval(), CLASSIFIERS[name]) as forward:
        out = forward(x)
    assert out.logits.shape == (3, 4)
    assert out.features.shape[0] == 3
    assert out.features.ndim == 2
    assert torch.isfinite(out.logits).all()
    assert CLASSIFIERS[name].name == name


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_tap_is_what_the_last_layer_reads(name):
    module, x = fresh(name)
    with tapped(module.eval(), CLASSIFIERS[name]) as forward:
        out = forward(x)
        again = [module.get_submodule(path)(tap) for path, tap in zip(tap_paths(module, CLASSIFIERS[name]), out.taps)]
    logits = torch.stack(again).mean(0)
    if len(logits) != len(x):  # step by step, and of the steps those whose receptive field lies in the window
        steps = logits.unflatten(0, (len(x), -1))
        logits = steps[:, module.base_tcn.min_len - 1 :].mean(1)
    torch.testing.assert_close(logits, out.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_weight_gets_a_finite_gradient_but_those_that_are_stated(name):
    module, x = fresh(name)
    labels = torch.tensor([0, 1])
    nn.functional.cross_entropy(module(x[:2]), labels).backward()
    without = {key for key, parameter in module.named_parameters() if parameter.grad is None}
    stated = NO_GRADIENT.get(name, r"(?!)")
    assert without == {key for key, _ in module.named_parameters() if re.fullmatch(stated, key)}
    for key, parameter in module.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_loss_on_features_reaches_most_weights(name):
    module, x = fresh(name)
    with tapped(module, CLASSIFIERS[name]) as forward:
        features = forward(x[:2]).features
    (features * torch.randn_like(features)).sum().backward()
    last = tuple(f"{path}." for path in tap_paths(module, CLASSIFIERS[name]))
    before = {key: p for key, p in module.named_parameters() if not key.startswith(last) and p.requires_grad}
    reached = sum(p.numel() for p in before.values() if p.grad is not None and p.grad.any())
    assert reached > 0.5 * sum(p.numel() for p in before.values())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_prediction_does_not_depend_on_batch_mates(name):
    module, x = fresh(name)
    with torch.no_grad():
        for _ in range(2):
            module.train()(x)  # running statistics away from their start
        together = module.eval()(x)
        alone = torch.cat([module(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_same_seed_same_weights_same_prediction(name):
    first, x = fresh(name)
    torch.manual_seed(0)
    second = CLASSIFIERS[name].build(SPECS[CLASSIFIERS[name].input])
    after_build = torch.get_rng_state()
    torch.manual_seed(0)
    build_classifier(CLASSIFIERS[name], SPECS[CLASSIFIERS[name].input])
    assert torch.equal(torch.get_rng_state(), after_build), "trying the module drew random numbers"
    assert first.state_dict().keys() == second.state_dict().keys()
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        torch.manual_seed(3)
        one = first.train()(x)
        torch.manual_seed(3)
        other = second.train()(x)
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_saved_and_loaded(name, tmp_path):
    module, x = fresh(name)
    with torch.no_grad():
        module(x)  # running statistics
        save_file({key: value.contiguous() for key, value in module.state_dict().items()}, tmp_path / "weights")
        torch.manual_seed(5)
        other = CLASSIFIERS[name].build(SPECS[CLASSIFIERS[name].input])
        assert not torch.equal(other.eval()(x), module.eval()(x))
        other.load_state_dict(load_file(tmp_path / "weights"), strict=True)
        assert torch.equal(other.eval()(x), module.eval()(x))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_builds_without_warnings(name):
    spec = SPECS[CLASSIFIERS[name].input]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        build_classifier(CLASSIFIERS[name], spec)(noise(spec, 2))
    assert not [str(warning.message) for warning in heard]


def test_tap_leaves_no_hook_behind():
    module, x = fresh("de_mlp")
    with tapped(module, CLASSIFIERS["de_mlp"]) as forward:
        forward(x)
    assert not module.final_layer._forward_pre_hooks


def test_pool_is_the_mean_over_trailing_dimensions():
    x = torch.arange(24.0).reshape(2, 3, 2, 2)
    torch.testing.assert_close(pool(x, 2), x.mean((2, 3)))
    torch.testing.assert_close(pool(x.reshape(6, 4), 2), x.reshape(2, 3, 4).mean(1))


def test_a_tap_with_features_last_keeps_them():
    module, x = fresh("CBraMod")
    with tapped(module.eval(), CLASSIFIERS["CBraMod"]) as forward:
        out = forward(x)
    assert out.taps[0].shape == (3, 8, 2, 200)
    torch.testing.assert_close(out.features, out.taps[0].mean((1, 2)))


def test_features_of_several_taps_are_their_mean():
    module, x = fresh("ATCNet")
    twice = Classifier(name="x", family="", input="windows", build=None, tap=("final_layer.0", "final_layer"))
    with tapped(module.eval(), twice) as forward:
        out = forward(x)
    assert len(out.taps) == 1 + len(module.final_layer)
    torch.testing.assert_close(out.features, torch.stack(out.taps).mean(0))


@pytest.mark.parametrize("name", ["Deep4Net", "ShallowFBCSPNet", "EEGNet"])
def test_a_shape_that_does_not_fit_is_told(name):
    spec = SignalSpec(n_chans=8, n_times=3, n_outputs=2, sfreq=100, ch_names=SMALL.ch_names)
    with pytest.raises(
        BadInput, match=f"{name} cannot take 8 channels x 3 samples at 100 Hz: .*\n.*allowed.*\n.*window_s"
    ):
        build_classifier(CLASSIFIERS[name], spec)


@pytest.mark.parametrize("name", ["DGCNN", "EEGSym", "LUNA", "Labram", "de_cnn"])
def test_channels_without_a_place_are_listed(name):
    spec = SPECS[CLASSIFIERS[name].input]
    renamed = SignalSpec(**(vars(spec) | {"ch_names": ("HEOR", *spec.ch_names[1:7], "EKG 1")}))
    with pytest.raises(BadInput, match="channels HEOR, EKG 1\n"):
        build_classifier(CLASSIFIERS[name], renamed)


def test_another_kind_of_input_is_told():
    with pytest.raises(BadInput, match="EEGNet is given de"):
        build_classifier(CLASSIFIERS["EEGNet"], DE_SMALL)
    with pytest.raises(BadInput, match="de_mlp is given windows"):
        build_classifier(CLASSIFIERS["de_mlp"], SMALL)


def test_logits_of_another_shape_are_told_and_lack_of_memory_is_not_a_bad_shape():
    def without_memory(_):
        raise MemoryError

    wrong = Classifier(
        name="wrong", family="", input="windows", build=lambda _: nn.Sequential(nn.Flatten(), nn.Linear(1600, 3))
    )
    with pytest.raises(BadInput, match=r"wrong cannot take .* \(2, 3\) for two samples, not \(2, 4\)"):
        build_classifier(wrong, SMALL)
    with pytest.raises(MemoryError):
        build_classifier(Classifier(name="large", family="", input="windows", build=without_memory), SMALL)


def test_braindecode_is_imported_only_when_built():
    code = (
        "import sys; from valence.classifiers import CLASSIFIERS; CLASSIFIERS['EEGNet'];"
        "sys.exit('braindecode' in sys.modules or 'mne' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
