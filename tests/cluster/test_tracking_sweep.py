"""Artifacts of a sweep in MLflow: written once, replaced when they change; weights with a signature, and no code."""

import dataclasses
import hashlib
import json

import mlflow
import plotly.io
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from safetensors.torch import load_file

from cluster.store import Store
from cluster.tracking import EXPERIMENT, default_tracking_uri, experiment_id
from cluster.tracking_sweep import HASH, SWEEPS
from cluster.tracking_weights import WEIGHTS_TAG, Checkpoint, checkpoints_of, signature_of
from tests.cluster.test_store import make_cell, make_row
from tests.cluster.test_views import build, commit, save_plan, sweep_cells
from valence.cell import Recipe
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.datasets import DATASETS
from valence.kept_weights import weights_bytes
from valence.prepared import signal_spec
from valence.signal import SignalSpec


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    save_plan(store, "one", sweep_cells(["rsa"]))
    commit(store, sweep_cells(["rsa"]))
    return store


def the_run(store):
    client = MlflowClient(tracking_uri=default_tracking_uri(store.folder))
    (run,) = client.search_runs([client.get_experiment_by_name(SWEEPS).experiment_id])
    return run


def artifacts(store, run):
    """Every file of a run as it lies on disk."""
    place = store.folder / "mlartifacts" / run.info.run_id / "artifacts"
    return {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}


def test_a_sweep_is_one_run_with_what_was_built_of_it(store):
    assert build(store).mirror_error == ""
    run = the_run(store)
    files = artifacts(store, run)
    figures = sorted(name for name in files if name.startswith("figures/"))
    assert sorted(files) == sorted(["report.html", "statistics.csv", "statistics.parquet", *figures])
    assert "figures/baselines.json" in figures
    assert any(name.startswith("figures/forest") for name in figures)
    for name in figures:
        assert plotly.io.read_json(str(files[name])).data
    for name in ("report.html", "statistics.parquet"):
        assert files[name].read_bytes() == (store.folder / name).read_bytes()
    assert {HASH + name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == {
        name: value for name, value in run.data.tags.items() if name.startswith(HASH)
    }
    assert (run.data.metrics["n_cells"], run.data.metrics["n_done"]) == (12, 12)
    assert run.data.metrics["seconds"] == pytest.approx(12 * 1.5)
    assert run.info.status == "FINISHED"


def test_what_has_changed_is_replaced_and_nothing_else(store):
    build(store)
    first, before = the_run(store), artifacts(store, the_run(store))
    times = {name: path.stat().st_ino for name, path in before.items()}
    build(store, again=True)
    assert {name: path.stat().st_ino for name, path in artifacts(store, the_run(store)).items()} == times
    assert the_run(store).data.tags["revision"] == "1"

    brain = store.folder / "brain" / "brain.html"
    brain.parent.mkdir()
    brain.write_text("<p>what brain_map found</p>")
    (store.folder / "axis").mkdir()
    (store.folder / "axis" / "abc.safetensors").write_bytes(b"an axis")
    build(store)
    after = artifacts(store, the_run(store))
    assert after["brain/brain.html"].read_text() == brain.read_text()
    assert after["axis/abc.safetensors"].read_bytes() == b"an axis"
    assert {name: path.stat().st_ino for name, path in after.items() if name in times} == times

    save_plan(store, "two", sweep_cells(["rsa", "aux_mse"]))
    commit(store, sweep_cells(["rsa", "aux_mse"]))
    assert build(store).n_mirrored == 6
    run = the_run(store)
    assert run.info.run_id == first.info.run_id
    assert (run.data.tags["revision"], run.data.metrics["n_cells"]) == ("3", 18)
    assert artifacts(store, run)["report.html"].read_bytes() == (store.folder / "report.html").read_bytes()
    assert artifacts(store, run)["brain/brain.html"].stat().st_ino == after["brain/brain.html"].stat().st_ino


def test_weights_that_are_kept_later_are_found(store):
    build(store)
    cell_id = sorted(store.committed())[0]
    assert store.files.put_if_absent(f"trained/{cell_id}.safetensors", weights_bytes({"w": torch.ones(2)}))
    assert build(store).n_mirrored == 1
    assert build(store).n_mirrored == 0


def test_a_mirror_that_was_killed_between_its_files_is_completed(store, monkeypatch):
    logged = MlflowClient.log_artifact
    n_left = [2]

    def killed(*arguments):
        n_left[0] -= 1
        if n_left[0] < 0:
            raise KeyboardInterrupt
        logged(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_artifact", killed)
        with pytest.raises(KeyboardInterrupt):
            build(store)
    assert the_run(store).info.status == "RUNNING"
    assert len(artifacts(store, the_run(store))) == 2
    n_left[0] = 100
    monkeypatch.setattr(MlflowClient, "log_artifact", killed)
    build(store)
    n_files = len(artifacts(store, the_run(store)))
    assert n_left[0] == 100 - (n_files - 2), "what was there is not sent again"
    assert the_run(store).info.status == "FINISHED"


@pytest.mark.parametrize("scheme", ["postgresql+pg8000", "mysql+oursql"])
def test_a_driver_that_is_not_installed_costs_no_table_and_shows_no_password(store, scheme):
    built = build(store, tracking_uri=f"{scheme}://me:a-secret@nowhere/x")
    assert "driver is missing" in built.mirror_error or "oursql" in built.mirror_error
    assert "a-secret" not in built.mirror_error
    assert len(built.statistics) == 1
    assert not (store.folder / "mlflow.json").exists()


RECIPE = Recipe(name="r", epochs=1)


@pytest.fixture
def kept(tmp_path):
    """A store that keeps the weights of two cells: of band features, and of windows whose conversion lies in it."""
    store = Store(tmp_path)
    facts = signal_spec(DATASETS["faced"], "de", RECIPE)
    other = SignalSpec(n_chans=3, n_times=500, n_outputs=4, sfreq=125.0, ch_names=("Fz", "Cz", "Pz"))
    specs = {"de_mlp": facts, "EEGNet": other}
    folder = tmp_path / "prepared" / "x"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"hash": "found", "spec": dataclasses.asdict(other)}))
    for name, text in {
        "damaged": "{",
        "another": "[]",
        "contradicting": '{"hash": "x", "spec": {"ch_names": []}}',
    }.items():
        (tmp_path / "prepared" / name).mkdir()
        (tmp_path / "prepared" / name / "manifest.json").write_text(text)
    names = {"dataset": "faced", "recipe_hash": RECIPE.hash}
    cells = [make_cell(0, classifier=name, **names) for name in specs]
    plan = {
        "dataset": "faced", "recipes": {RECIPE.hash: dataclasses.asdict(RECIPE)},
        "data": {"de": {"hash": "elsewhere"}, "windows": {"hash": "found"}},
    }  # fmt: skip
    modules = {}
    for cell in cells:
        module = build_classifier(CLASSIFIERS[cell.classifier], specs[cell.classifier]).eval()
        modules[cell.classifier] = module
        store.commit(make_row(cell), weights=weights_bytes(module.state_dict()))
    store.commit(make_row(make_cell(1, classifier="EEGNet", **names)))
    return store, plan, specs, modules


def test_a_signature_says_what_a_classifier_takes_and_gives(kept):
    store, plan, specs, modules = kept
    rows = store.rows().set_index("cell_id")
    found = checkpoints_of(store, [plan], store.rows())
    assert {rows.loc[cell_id, "classifier"]: of.spec for cell_id, of in found.items()} == specs
    for name, spec in specs.items():
        signature = signature_of(spec)
        (shape,) = (entry.shape for entry in signature.inputs.inputs)
        (logits,) = (entry.shape for entry in signature.outputs.inputs)
        with torch.no_grad():
            given = modules[name](torch.zeros(2, *shape[1:]))
        assert tuple(given.shape[1:]) == tuple(logits[1:])
        assert (shape[0], logits[0]) == (-1, -1)


def test_of_data_that_nobody_knows_any_more_the_shape_is_not_guessed(kept):
    store, plan, _, _ = kept
    found = checkpoints_of(store, [plan | {"dataset": "another"}], store.rows())
    assert {checkpoint.spec for checkpoint in found.values()} == {None}


def test_kept_weights_come_with_their_signature_and_run_no_code(kept, monkeypatch):
    from cluster.tracking import project

    store, plan, specs, modules = kept
    rows, uri = store.rows(), default_tracking_uri(store.folder)
    gone = {cell_id: Checkpoint(path=lambda: None, spec=None) for cell_id in store.committed()}
    assert project(rows, folder=store.folder, checkpoints=gone) == 3, "weights that are gone are no error"
    checkpoints = checkpoints_of(store, [plan], rows)
    assert project(rows, folder=store.folder, checkpoints=checkpoints) == 2, "weights that were kept later"
    assert project(rows, folder=store.folder, checkpoints=checkpoints) == 0
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id], "tags.level = 'cell'")
    assert len(runs) == 3
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        for run in (run for run in runs if run.data.tags["cell_id"] in checkpoints):
            place = f"runs:/{run.info.run_id}/classifier"
            name = run.data.params["classifier"]
            assert mlflow.models.get_model_info(place).signature == signature_of(specs[name])
            folder = mlflow.artifacts.download_artifacts(place)
            weights = f"{folder}/{run.data.tags['cell_id']}.safetensors"
            state = modules[name].state_dict()
            assert all(torch.equal(tensor, state[key]) for key, tensor in load_file(weights).items())
            with open(weights, "rb") as file:
                assert run.data.tags[WEIGHTS_TAG] == hashlib.sha256(file.read()).hexdigest()
            with pytest.raises(MlflowException, match="python_function"):
                mlflow.pyfunc.load_model(place)
    finally:
        mlflow.set_tracking_uri(before)


def test_artifacts_of_a_database_that_sweeps_share_lie_beside_it(tmp_path, monkeypatch):
    """And not in mlruns of the folder that a command is called from."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shared = tmp_path / "shared"
    shared.mkdir()
    client = MlflowClient(tracking_uri=default_tracking_uri(shared))
    found = client.get_experiment(experiment_id(client, "some", tmp_path / "sweep", default_tracking_uri(shared)))
    assert found.artifact_location == f"{shared.as_uri()}/mlartifacts"
