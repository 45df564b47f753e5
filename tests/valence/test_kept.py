"""What a sweep keeps of its cells is read as it was written, and refused where it cannot be averaged."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from tests.valence.planted_members import planted, write_kept
from valence.errors import BadInput
from valence.kept import TEST, VALIDATION, Kept, read_kept


def cells_with_head(n: int = 2) -> tuple[list[Kept], list[tuple[np.ndarray, np.ndarray]]]:
    """Cells whose logits are one linear map of their features."""
    random = np.random.default_rng(1)
    kept, heads = [], []
    for cell in planted(n, n_samples=(36, 72), n_classes=9):
        weight, bias = random.standard_normal((9, 6)).astype(np.float32), random.standard_normal(9).astype(np.float32)
        features = random.standard_normal((108, 6)).astype(np.float32)
        layers = {"blocks.1": random.standard_normal((28, 4)), "blocks.0": random.standard_normal((28, 7))}
        layers = {name: values.astype(np.float32) for name, values in layers.items()}
        heads.append((weight, bias))
        kept.append(replace(cell, features=features, logits=features @ weight.T + bias, layers=layers))
    return kept, heads


def write_head(out, cell: Kept, weight: np.ndarray, bias: np.ndarray) -> None:
    (out / "trained").mkdir(exist_ok=True)
    save_file({"final_layer.weight": weight, "final_layer.bias": bias}, out / "trained" / f"{cell.cell_id}.safetensors")


def test_cells_come_back_as_written(tmp_path):
    kept, heads = cells_with_head()
    for cell, head in zip(kept, heads):
        write_kept(tmp_path, cell)
        write_head(tmp_path, cell, *head)
    found = read_kept(tmp_path, [cell.cell_id for cell in kept[::-1]])[::-1]
    for cell, again, head in zip(kept, found, heads):
        assert (again.cell_id, again.classifier, again.seed) == (cell.cell_id, "EEGNet", cell.seed)
        for name in ("part", "subjects", "clips", "labels", "logits", "features"):
            np.testing.assert_array_equal(getattr(again, name), getattr(cell, name))
        assert list(again.layers) == ["blocks.1", "blocks.0"], "in order of computation, not of names or of the file"
        for name, values in cell.layers.items():
            np.testing.assert_array_equal(again.layers[name], values)
        np.testing.assert_array_equal(again.head[0], head[0])
        np.testing.assert_array_equal(again.head[1], head[1])


def test_a_head_is_given_only_where_it_gives_the_logits(tmp_path):
    [cell, _], [(weight, bias), _] = cells_with_head()
    write_kept(tmp_path, cell)
    write_head(tmp_path, cell, weight + 0.5, bias)
    assert read_kept(tmp_path)[0].head is None
    (tmp_path / "trained" / f"{cell.cell_id}.safetensors").unlink()
    assert read_kept(tmp_path)[0].head is None
    write_head(tmp_path, cell, weight[:, :3].copy(), bias)
    assert read_kept(tmp_path)[0].head is None


def test_only_what_is_asked_for_is_read(tmp_path):
    [cell, _], _ = cells_with_head()
    write_kept(tmp_path, cell)
    [found] = read_kept(tmp_path, parts=())
    assert found.features is None
    assert found.layers is None


def test_predictions_without_a_part_are_test_samples(tmp_path):
    [cell] = planted(1, n_samples=(36, 72))
    write_kept(tmp_path, cell, with_part=False)
    [found] = read_kept(tmp_path)
    assert not len(found.rows(VALIDATION))
    np.testing.assert_array_equal(found.logits, cell.logits[cell.rows(TEST)])


def test_cells_of_other_samples_are_refused_with_both_sets_named(tmp_path):
    first, second = planted(2, n_samples=(36, 72))
    write_kept(tmp_path, first)
    write_kept(tmp_path, replace(second, subjects=np.char.replace(second.subjects, "sub05", "sub07")))
    with pytest.raises(BadInput, match=r"(?s)2 different sets.*sub050 to sub059.*sub070 to sub079"):
        read_kept(tmp_path)
    assert len(read_kept(tmp_path, same_samples=False)) == 2


@pytest.mark.parametrize("name", ["clips", "labels"])
def test_cells_that_call_the_same_samples_by_other_clips_or_classes_are_refused(tmp_path, name):
    first, second = planted(2, n_samples=(36, 72))
    write_kept(tmp_path, first)
    write_kept(tmp_path, replace(second, **{name: (getattr(second, name) + 1) % 9}))
    with pytest.raises(BadInput, match="2 different sets"):
        read_kept(tmp_path)


def test_another_order_of_the_same_samples_is_refused(tmp_path):
    first, second = planted(2, n_samples=(36, 72))
    order = np.r_[np.arange(36), 36 + np.arange(72)[::-1]]
    columns = {name: getattr(second, name)[order] for name in ("part", "subjects", "clips", "labels", "logits")}
    write_kept(tmp_path, first)
    write_kept(tmp_path, replace(second, **columns))
    with pytest.raises(BadInput, match="different sets of samples"):
        read_kept(tmp_path)


def test_cells_that_failed_are_left_out_and_refused_by_name(tmp_path):
    first, second = planted(2, n_samples=(36, 72))
    write_kept(tmp_path, first)
    write_kept(tmp_path, second, status="failed")
    assert [cell.cell_id for cell in read_kept(tmp_path)] == [first.cell_id]
    with pytest.raises(BadInput, match=rf"(?s)not done: {second.cell_id}.*{first.cell_id}"):
        read_kept(tmp_path, [second.cell_id])


def test_no_sweep_and_damaged_files_are_one_message_each(tmp_path):
    with pytest.raises(BadInput, match="no committed cells"):
        read_kept(tmp_path)
    [cell] = planted(1, n_samples=(36, 72))
    write_kept(tmp_path, cell)
    path = tmp_path / "predictions" / f"{cell.cell_id}.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["label"]), path)
    with pytest.raises(BadInput, match=r"predictions.*no column label"):
        read_kept(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=path.name):
        read_kept(tmp_path)


def test_features_of_other_samples_than_the_predictions_are_refused(tmp_path):
    kept, _ = cells_with_head()
    write_kept(tmp_path, kept[0])
    path = tmp_path / "samples" / f"{kept[0].cell_id}.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(np.arange(table.num_rows)[::-1]), path)
    with pytest.raises(BadInput, match="not those of the predictions"):
        read_kept(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.full(108, 9)}, "labels 9 to 9 for 9 classes"),
        ({"part": np.full(108, "train")}, "part 'train'"),
        ({"clips": np.zeros(5, dtype=int)}, "logits"),
        ({"logits": np.full((108, 9), np.nan, dtype=np.float32)}, "not finite"),
        ({"features": np.zeros((5, 3), dtype=np.float32)}, "features"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, said):
    [cell] = planted(1, n_samples=(36, 72))
    with pytest.raises(BadInput, match=said):
        replace(cell, **change)
