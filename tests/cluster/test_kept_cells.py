"""What is committed of a cell beside its row, and what more of one that is kept."""

import numpy as np
import pyarrow.parquet as pq

from cluster.cells import train_rows
from cluster.context import Context
from cluster.pipeline import to_train
from cluster.store import Store
from tests.valence import training_world as world
from valence.training import train_cell


def test_a_kept_cell_has_all_that_later_stages_look_into(tmp_path, one_thread):
    (tmp_path / "plans").mkdir()
    about = world.recipe(epochs=2)
    kept, bare = (world.cell("de_mlp", about=about, seed=seed) for seed in (0, 1))
    data = world.dataset("de")
    context = Context(
        folder=str(tmp_path),
        prepared={"de": data},
        splits={"de": world.split()},
        recipes={about.hash: about},
        inputs={"de_mlp": "de"},
        targets={},
        kept=frozenset({kept.cell_id}),
    )
    store = Store(tmp_path)
    for cell in (kept, bare):
        for outcome in train_rows([cell], context, device="cpu", mode="eager"):
            assert outcome.row["status"] == "done", outcome.row
            store.commit(outcome.row | {"attempts": 1}, outcome.artifacts, weights=outcome.weights)
    assert {path.stem for path in (tmp_path / "samples").iterdir()} == {kept.cell_id}
    assert {path.stem for path in (tmp_path / "layers").iterdir()} == {kept.cell_id}
    result = train_cell(kept, data, world.split(), about, None)
    samples = pq.read_table(tmp_path / "samples" / f"{kept.cell_id}.parquet").to_pandas()
    predictions = pq.read_table(tmp_path / "predictions" / f"{kept.cell_id}.parquet").to_pandas()
    for name in ("part", "subject", "clip", "label"):
        assert samples[name].tolist() == predictions[name].tolist()
    tested = samples["part"] == "test"
    np.testing.assert_array_equal(np.stack(samples["features"][tested]), result.test_features)
    np.testing.assert_array_equal(np.stack(predictions["logits"][~tested]), result.validation_logits)
    rows = np.concatenate([result.validation_index, result.test_index])
    names = np.array(data.subject_names)[np.asarray(data.subjects)[rows]]
    assert samples["subject"].tolist() == names.tolist()
    assert samples["clip"].tolist() == np.asarray(data.clips)[rows].tolist()
    layers = pq.read_table(tmp_path / "layers" / f"{kept.cell_id}.parquet").to_pandas()
    assert layers.groupby("layer", sort=False)["depth"].first().tolist() == list(range(layers["layer"].nunique()))
    last = np.stack(layers.query("depth == depth.max()")["features"])
    by_clip = [
        result.test_logits[np.asarray(data.clips)[result.test_index] == clip].mean(0) for clip in range(len(last))
    ]
    np.testing.assert_allclose(last, by_clip, atol=1e-4)
    # asked to keep both, a later command trains the other one once more, and nothing else
    assert to_train([kept, bare], store) == []
    assert to_train([kept, bare], store, keep=True) == [bare]
