"""From a sweep to a decoder: cells are trained, fitted to an ensemble, exported, loaded, and answer as they did."""

from dataclasses import replace

import numpy as np
import pytest

from tests.valence import training_world as world
from tests.valence.exported_ensembles import FACED, recording, trained_on
from tests.valence.planted_members import write_kept
from valence.cell import Recipe
from valence.datasets.base import Part
from valence.decoder import TrainedOn
from valence.ensemble import fit, members
from valence.errors import BadInput
from valence.exported import export_ensemble, load_ensemble
from valence.exported_sweep import sweep_members, trained_on_band_features, trained_on_windows
from valence.faced_writing import write_array
from valence.kept import TEST, VALIDATION, Kept, read_kept
from valence.kept_weights import weights_bytes
from valence.metrics import probabilities
from valence.prepared import prepare, rows_of
from valence.processing import Processing
from valence.resident import normalise_de
from valence.training import train_cell

pytestmark = pytest.mark.usefixtures("one_thread")


def trained_sweep(out, about: Recipe, data) -> None:
    """Three cells of ShallowFBCSPNet, kept as a sweep keeps them; validation and test samples are the same here."""
    for seed in (42, 123, 456):
        cell = world.cell("ShallowFBCSPNet", about=about, seed=seed)
        result = train_cell(cell, data, world.split(), about, None)
        at = result.test_index
        kept = Kept(
            **{name: getattr(cell, name) for name in ("cell_id", "classifier", "strategy", "target", "seed", "recipe")},
            part=np.repeat([VALIDATION, TEST], len(at)),
            subjects=np.tile(np.array(data.subject_names)[data.subjects[at]], 2),
            clips=np.tile(data.clips[at], 2),
            labels=np.tile(data.labels[at], 2),
            logits=np.tile(result.test_logits, (2, 1)),
        )
        write_kept(out, kept)
        path = out / "trained" / f"{cell.cell_id}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(weights_bytes(result.weights))


def test_trained_cells_answer_the_same_after_the_round_trip(tmp_path):
    about, data = world.recipe(epochs=2, sfreq_hz=100, window_s=2, stride_s=2), world.dataset("windows")
    trained_sweep(tmp_path / "sweep", about, data)
    kept = read_kept(tmp_path / "sweep")
    given = members(kept)
    found = fit(given.validation, given.names, "greedy", size=4, temperature=True)
    assert 0 < found.n_members <= 3
    told = TrainedOn(
        spec=data.spec,
        recipe=about,
        processing=Processing(),
        sfreq_hz=100.0,
        classes=tuple(f"class {number}" for number in range(9)),
    )
    folder = export_ensemble(
        tmp_path / "exported",
        sweep_members(tmp_path / "sweep", found, kept),
        told,
        pool=found.pool,
        temperature=found.temperature,
    )
    decoder = load_ensemble(folder, precision="float32")
    test = rows_of(data, world.split().test)
    answered = decoder.probabilities(np.asarray(data.x)[test])
    np.testing.assert_allclose(answered, probabilities(found.log_probabilities(given.test)), atol=1e-4)
    assert found.scores(given.test)["balanced_accuracy"] == pytest.approx(
        np.mean([(answered.argmax(1) == label)[data.labels[test] == label].mean() for label in range(9)])
    )


def test_members_without_kept_weights_are_refused(tmp_path):
    about, data = world.recipe(epochs=1), world.dataset("windows")
    trained_sweep(tmp_path, about, data)
    kept = read_kept(tmp_path)
    given = members(kept)
    found = fit(given.validation, given.names)
    gone = tmp_path / "trained" / f"{kept[1].cell_id}.safetensors"
    gone.unlink()
    with pytest.raises(BadInput, match=rf"{kept[1].cell_id}[\s\S]*--keep"):
        sweep_members(tmp_path, found, kept)
    assert len(sweep_members(tmp_path, replace(found, weights=np.array([0.5, 0, 0.5])), kept)) == 2


def test_facts_of_a_data_set_are_those_of_training(tmp_path):
    path = tmp_path / "Processed_data" / "sub000.pkl"
    path.parent.mkdir()
    write_array(path, recording().astype(np.float32))
    expected = trained_on(processing=Processing(name="band", low_hz=1, sfreq_hz=200))
    found = trained_on_windows(FACED(tmp_path, processing=expected.processing), expected.recipe)
    assert found == replace(expected, sfreq_hz=200.0)


def test_band_features_are_normalised_as_training_does(tmp_path):
    random = np.random.default_rng(0)
    for subject in range(3):
        path = tmp_path / "EEG_Features" / "DE" / f"sub{subject:03d}.pkl.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_array(path, subject + random.standard_normal((28, 32, 30, 5)))
    dataset, recipe = FACED(tmp_path), Recipe(name="de", epochs=1)
    prepared = prepare(dataset, "de", recipe, tmp_path / "prepared")
    train = rows_of(prepared, Part(("sub000", "sub001")))
    about = trained_on_band_features(dataset, recipe, prepared, train)
    expected = normalise_de(prepared.x, subjects=prepared.subjects, train=train, how="train")
    found = (prepared.x - about.bands.mean[:, None]) / about.bands.sd[:, None]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert about.bands.edges == "mne"
    assert about.classes == FACED.classes
