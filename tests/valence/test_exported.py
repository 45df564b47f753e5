"""An exported ensemble decodes as it did, and a folder from a stranger runs nothing."""

import hashlib
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.valence.exported_ensembles import by_hand, members, trained_on, trained_on_bands
from tests.valence.signal_specs import noise
from valence.errors import BadInput
from valence.exported import MANIFEST, Member, export_ensemble, load_ensemble
from valence.kept_weights import weights_bytes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path):
    """Two members of different architecture and weight."""
    about = trained_on()
    return export_ensemble(
        tmp_path / "ensemble", members(("EEGNet", "ShallowFBCSPNet"), about, (0.5, 1.5)), about, temperature=1.3
    )


def changed(folder, change) -> None:
    told = json.loads((folder / MANIFEST).read_text())
    change(told)
    (folder / MANIFEST).write_text(json.dumps(told))


def test_round_trip_gives_the_mixture_that_torch_gives_at_the_temperature(folder):
    about = trained_on()
    x = noise(about.spec, 4).numpy()
    found = load_ensemble(folder, precision="float32").probabilities(x)
    expected = by_hand(members(("EEGNet", "ShallowFBCSPNet"), about, (0.5, 1.5)), about, x) ** (1 / 1.3)
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), atol=1e-5)
    assert np.ptp(found) > 0.01


def test_what_members_were_given_comes_back(folder, tmp_path):
    loaded = load_ensemble(folder)
    assert loaded.trained_on == replace(trained_on(), recipe=loaded.trained_on.recipe)
    for name in ("sfreq_hz", "window_s", "stride_s", "scale"):
        assert getattr(loaded.trained_on.recipe, name) == getattr(trained_on().recipe, name)
    np.testing.assert_allclose(loaded.shares, [0.25, 0.75])
    about = trained_on_bands()
    again = load_ensemble(export_ensemble(tmp_path / "bands", members(("de_mlp",), about, (1,)), about)).trained_on
    np.testing.assert_array_equal(again.bands.mean, about.bands.mean)
    np.testing.assert_array_equal(again.bands.sd, about.bands.sd)
    assert (again.bands.kind, again.bands.bands, again.bands.edges) == ("de", about.bands.bands, "mne")


def test_weights_of_a_kept_cell_are_taken_from_its_file_and_members_without_weight_are_left_out(tmp_path):
    about = trained_on()
    first, second, third = members(("EEGNet",) * 3, about, (1, 0, 1))
    path = tmp_path / "cell.safetensors"
    path.write_bytes(weights_bytes(third.weights))
    folder = export_ensemble(tmp_path / "e", [first, second, replace(third, weights=path)], about)
    assert sorted(file.name for file in folder.iterdir()) == [
        "manifest.json",
        "member-000.safetensors",
        "member-001.safetensors",
    ]
    x = noise(about.spec, 2).numpy()
    found = load_ensemble(folder, precision="float32").probabilities(x)
    np.testing.assert_allclose(found, by_hand([first, third], about, x), atol=1e-5)


def test_loading_leaves_the_callers_random_numbers_alone(folder):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_ensemble(folder)
    assert torch.equal(torch.rand(1), expected)


def test_an_unknown_classifier_is_refused_and_nothing_is_imported_for_it(folder, tmp_path, monkeypatch):
    mark = tmp_path / "ran"
    (tmp_path / "stranger.py").write_text(f"open({str(mark)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("stranger", "stranger.Net", "os.system", "../stranger.py", "EEGnet"):
        changed(folder, lambda told, name=name: told["members"][0].update(classifier=name))
        with pytest.raises(BadInput, match=r"(?s)not known here.*nothing is imported for a file"):
            load_ensemble(folder)
    assert not mark.exists()


def test_a_pickle_in_place_of_weights_is_refused_and_not_run(folder, tmp_path):
    mark = tmp_path / "ran"

    class Run:
        def __reduce__(self):
            return open, (str(mark), "w")

    content = pickle.dumps(Run())
    (folder / "member-000.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match="SHA-256"):
        load_ensemble(folder)
    changed(folder, lambda told: told["members"][0].update(sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(BadInput, match=r"member-000\.safetensors"):
        load_ensemble(folder)
    assert not mark.exists()


def test_changed_weights_and_missing_files_are_named(folder):
    path = folder / "member-001.safetensors"
    state = load_file(path)
    save_file({name: tensor + 1 for name, tensor in state.items()}, path)
    with pytest.raises(BadInput, match=r"member-001.*SHA-256"):
        load_ensemble(folder)
    path.unlink()
    with pytest.raises(BadInput, match=r"member-001.*no such file"):
        load_ensemble(folder)
    path.symlink_to(folder / "member-000.safetensors")
    with pytest.raises(BadInput, match="a link"):
        load_ensemble(folder)


def test_a_manifest_names_no_files(folder, tmp_path):
    (tmp_path / "elsewhere.safetensors").write_bytes((folder / "member-000.safetensors").read_bytes())
    changed(folder, lambda told: told["members"][0].update(file="../elsewhere.safetensors"))
    (folder / "member-000.safetensors").unlink()
    with pytest.raises(BadInput, match="no such file"):
        load_ensemble(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(format=2),
        lambda told: told.pop("classes"),
        lambda told: told.update(classes=["joy"]),
        lambda told: told.update(temperature=0),
        lambda told: told.update(temperature="x"),
        lambda told: told.update(pool="votes"),
        lambda told: told.update(members=[]),
        lambda told: told.update(members=3),
        lambda told: told["members"][0].update(share=-0.25),
        lambda told: told["members"][0].update(share=0.9),
        lambda told: told["spec"].update(ch_names=["Fz"]),
        lambda told: told["spec"].update(n_times=10**12),
        lambda told: told["spec"].update(n_outputs=0),
        lambda told: told["recipe"].pop("sfreq_hz"),
        lambda told: told["recipe"].update(sfreq_hz="fast"),
        lambda told: told["processing"].update(reference="nose"),
        lambda told: told["processing"].update(run="this"),
        lambda told: told.update(bands={"kind": "de"}),
    ],
)
def test_every_field_of_a_manifest_is_checked(folder, change):
    changed(folder, change)
    with pytest.raises(BadInput, match="manifest"):
        load_ensemble(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"format": 1}', '{"format": NaN}', "[" * 10_000, " " * 2**21])
def test_what_is_no_manifest_is_one_message(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BadInput, match=r"manifest\.json"):
        load_ensemble(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(BadInput, match=r"manifest\.json"):
        load_ensemble(folder)


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path):
    about = trained_on()
    [member] = members(("EEGNet",), about, (1,))
    tried = [
        ([replace(member, classifier="ShallowFBCSPNet")], "adds no layers"),
        ([replace(member, weights={**member.weights, "lora.a": torch.zeros(1)})], r"lora\.a"),
        ([replace(member, share=0.0)], "shares"),
        ([replace(member, share=-1.0), member], "shares"),
        ([Member(classifier="EEGNet", weights=tmp_path / "none.safetensors", share=1)], "none.safetensors"),
        ([replace(member, weights={k: v * float("nan") for k, v in member.weights.items()})], "not finite"),
    ]
    for given, said in tried:
        with pytest.raises(BadInput, match=said):
            export_ensemble(tmp_path / "e", given, about)
    assert not (tmp_path / "e").exists()
    export_ensemble(tmp_path / "e", [member], about)
    with pytest.raises(BadInput, match="there already"):
        export_ensemble(tmp_path / "e", [member], about)
    bands = trained_on_bands()
    by_subject = replace(bands, recipe=replace(bands.recipe, de_normalisation="subject"))
    with pytest.raises(BadInput, match="still to come"):
        export_ensemble(tmp_path / "s", members(("de_mlp",), bands, (1,)), by_subject)
