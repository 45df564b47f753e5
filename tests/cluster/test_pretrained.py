"""Pretrained weights by flag: what is copied into the sweep's folder is what cells load; rubbish is refused."""

import pytest
import torch
from safetensors.torch import save_file

from cluster.pretrained import digest_in, digest_of, keep_weights, pretrained_of
from cluster.store import Store
from tests.valence.signal_specs import SMALL
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.errors import BadInput

NAME = "CBraMod"
GRID = (NAME, "EEGNet")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(3)
    module = build_classifier(CLASSIFIERS[NAME], SMALL)
    save_file(
        {name: tensor.contiguous() for name, tensor in module.state_dict().items()}, folder / "cbramod.safetensors"
    )
    return folder / "cbramod.safetensors"


@pytest.mark.parametrize("as_folder", [False, True])
def test_what_is_kept_is_what_the_cells_load(tmp_path, weights, as_folder):
    place = weights
    if as_folder:
        place = tmp_path / "repository"
        place.mkdir()
        (place / "model.safetensors").write_bytes(weights.read_bytes())
    store = Store(tmp_path / "sweep")
    places = pretrained_of(f"{NAME}={place}", GRID)
    kept = keep_weights(places, store, {"windows": SMALL})[NAME]
    assert digest_in(kept, store) == digest_of(place)
    torch.manual_seed(4)
    module = build_classifier(CLASSIFIERS[NAME], SMALL)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    CLASSIFIERS[NAME].pretrained.load(module, kept)
    changed = [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])]
    assert len(changed) > 10
    assert keep_weights(places, store, {"windows": SMALL})[NAME] == kept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CBraMod", "CLASSIFIER=PATH"),
        ("CBraMod=/no/such/file", "no such file"),
        ("EEGNet=hub", "CBraMod"),
        ("Labram=hub", "not among this sweep's classifiers"),
        ("CBraMood=hub", "CBraMod"),
    ],
)
def test_refused(text, message):
    with pytest.raises(BadInput, match=message):
        pretrained_of(text, GRID)


def test_weights_of_another_architecture_are_refused_before_anything_is_copied(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    store = Store(tmp_path / "sweep")
    with pytest.raises(BadInput, match="does not fit"):
        keep_weights({NAME: str(tmp_path / "other.safetensors")}, store, {"windows": SMALL})
    assert not (store.folder / "weights").exists()
