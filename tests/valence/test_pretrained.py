"""Published weights into classifiers: all but the head, from any honest file, and nothing from any other."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from tests.valence.signal_specs import FACED_NAMES
from valence.classifiers import CLASSIFIERS
from valence.errors import BadInput
from valence.signal import SignalSpec

pytestmark = pytest.mark.usefixtures("one_thread")
HERE = SignalSpec(n_chans=4, n_times=400, n_outputs=9, sfreq=200, ch_names=("Fz", "Cz", "Pz", "Oz"))
THERE = SignalSpec(n_chans=6, n_times=1000, n_outputs=2, sfreq=200, ch_names=FACED_NAMES[:6])
OFFERED = [name for name, classifier in CLASSIFIERS.items() if classifier.pretrained]


def published(name: str, spec: SignalSpec = THERE) -> dict[str, torch.Tensor]:
    """Weights as somebody else trained them: another seed, montage, length and task."""
    torch.manual_seed(7)
    module = CLASSIFIERS[name].build(spec)
    return {key: value + 0.01 * torch.randn(value.shape) for key, value in module.state_dict().items()}


def here(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return CLASSIFIERS[name].build(HERE)


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def unchanged(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_offered_where_the_licence_allows():
    assert OFFERED == ["BIOT", "CBraMod", "Labram"]
    for name in OFFERED:
        assert CLASSIFIERS[name].pretrained.licence in ("BSD-3-Clause", "MIT")
        assert CLASSIFIERS[name].pretrained.hub_id.startswith("braindecode/")


FORMS = {
    "model.safetensors": lambda weights, file: save_file(weights, file),
    "pytorch_model.bin": lambda weights, file: torch.save(weights, file),
    "wrapped.pt": lambda weights, file: torch.save({"state_dict": weights, "epoch": 3}, file),
    "parallel.pth": lambda weights, file: torch.save({f"module.{key}": value for key, value in weights.items()}, file),
}


@pytest.mark.parametrize("name", OFFERED)
@pytest.mark.parametrize("form", FORMS)
def test_everything_but_the_head_comes_from_the_file(name, form, tmp_path):
    weights, module = published(name), here(name)
    before = snapshot(module)
    FORMS[form](weights, tmp_path / form)
    folder = form in ("model.safetensors", "pytorch_model.bin")
    CLASSIFIERS[name].pretrained.load(module, tmp_path if folder else tmp_path / form)
    kept = {"BIOT": {"encoder.channel_tokens.weight"}}.get(name, set())
    for key, value in module.state_dict().items():
        if key.startswith("final_layer.") or key in kept:
            assert torch.equal(value, before[key]), key
        elif key == "temporal_embedding":
            assert torch.equal(value, weights[key][:, :3]), "a class token and two seconds of the file's five"
        else:
            assert torch.equal(value, weights[key]), key
    assert module.training
    assert torch.isfinite(module(torch.randn(2, 4, 400))).all()


def test_biots_channel_tokens_are_taken_where_there_are_as_many_channels(tmp_path):
    weights, module = published("BIOT", HERE), here("BIOT")
    save_file(weights, tmp_path / "w.safetensors")
    CLASSIFIERS["BIOT"].pretrained.load(module, tmp_path / "w.safetensors")
    key = "encoder.channel_tokens.weight"
    assert torch.equal(module.state_dict()[key], weights[key])


def test_another_architecture_is_told_by_its_tensors_and_changes_nothing(tmp_path):
    save_file(published("EEGNet"), tmp_path / "w.safetensors")
    module = here("CBraMod")
    before = snapshot(module)
    with pytest.raises(BadInput, match=r"does not fit \w+: \d+ missing \(encoder.*more\); \d+ unexpected \("):
        CLASSIFIERS["CBraMod"].pretrained.load(module, tmp_path / "w.safetensors")
    assert unchanged(module, before)


def spoiled(weights: dict, how: str) -> dict:
    key = next(key for key in weights if key.startswith("encoder") and weights[key].ndim > 1)
    return {
        "1 missing": {k: v for k, v in weights.items() if k != key},
        "1 unexpected": weights | {"encoder.more": torch.zeros(3)},
        "1 of another shape": weights | {key: weights[key][:-1].contiguous()},
        "1 not finite": weights | {key: weights[key] * torch.nan},
    }[how]


@pytest.mark.parametrize("how", ["1 missing", "1 unexpected", "1 of another shape", "1 not finite"])
def test_one_wrong_tensor_is_enough(how, tmp_path):
    save_file(spoiled(published("CBraMod"), how), tmp_path / "w.safetensors")
    module = here("CBraMod")
    before = snapshot(module)
    with pytest.raises(BadInput, match=rf"{how} \(encoder\."):
        CLASSIFIERS["CBraMod"].pretrained.load(module, tmp_path / "w.safetensors")
    assert unchanged(module, before)


def test_fewer_seconds_than_the_window_has_do_not_fit(tmp_path):
    save_file(published("Labram", HERE), tmp_path / "w.safetensors")
    module = CLASSIFIERS["Labram"].build(THERE)
    with pytest.raises(BadInput, match=r"temporal_embedding \(1, 3, 200\), not \(1, 6, 200\)"):
        CLASSIFIERS["Labram"].pretrained.load(module, tmp_path / "w.safetensors")


class Bomb:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_with_code_does_not_run_it(protocol, tmp_path):
    weights = {"encoder": Bomb(tmp_path / "ran")}
    with open(tmp_path / "plain.pt", "wb") as file:
        pickle.dump(weights, file, protocol=protocol)
    torch.save(weights, tmp_path / "torch.pt", pickle_protocol=protocol)
    module = here("CBraMod")
    before = snapshot(module)
    for name in ("plain.pt", "torch.pt"):
        with pytest.raises(BadInput, match=f"{name} cannot be read"):
            CLASSIFIERS["CBraMod"].pretrained.load(module, tmp_path / name)
    assert not (tmp_path / "ran").exists()
    assert unchanged(module, before)
    torch.load(tmp_path / "torch.pt", weights_only=False)["encoder"].close()
    assert (tmp_path / "ran").exists(), "the bomb is none"


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_told(name, share, tmp_path):
    weights, file = published("BIOT"), tmp_path / name
    save_file(weights, file) if name.endswith("safetensors") else torch.save(weights, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadInput, match=f"{name} cannot be read"):
        CLASSIFIERS["BIOT"].pretrained.load(here("BIOT"), file)


def test_files_that_are_no_state_dict_are_told(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    for name in ("list.pt", "numbers.pt"):
        with pytest.raises(BadInput, match=f"{name} holds no tensors by name"):
            CLASSIFIERS["BIOT"].pretrained.load(here("BIOT"), tmp_path / name)


def test_a_path_without_weights_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "absent.pt"):
        with pytest.raises(BadInput, match="no pretrained weights at"):
            CLASSIFIERS["BIOT"].pretrained.load(here("BIOT"), path)
