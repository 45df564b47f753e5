"""Activations in shards: what is read back is what one pass gives, and a killed reading goes on where it was."""

import json

import numpy as np
import pytest

from tests.valence.tiny_llms import tiny_llm
from valence import activation_files
from valence.activation_files import ActivationFiles, read_to_files
from valence.activation_manifest import MANIFEST
from valence.errors import BadInput
from valence.generation import TransformersEngine
from valence.llms import resolve_llm
from valence.stories import load_stories

TEXTS = [story.text for story in load_stories()]
LAYERS = [0, 2, -2, -1]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tiny_llm(tmp_path_factory.mktemp("llm") / "tiny")
    return TransformersEngine(folder, resolve_llm(str(folder)))


class Counting:
    """A real engine that counts the texts it reads, and fails after some of them."""

    def __init__(self, engine, fail_after=None):
        self._engine, self._fail_after, self.read = engine, fail_after, []

    def activations(self, texts, *, layers, pooling="last"):
        if self._fail_after is not None and len(self.read) >= self._fail_after:
            raise ConnectionError("the machine went away")
        self.read.append(len(texts))
        return self._engine.activations(texts, layers=layers, pooling=pooling)

    def n_layers(self):
        return self._engine.n_layers()

    def identity(self):
        return self._engine.identity()


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_shards_hold_what_one_pass_gives(tiny, tmp_path, pooling):
    files = read_to_files(tiny, TEXTS, tmp_path, layers=LAYERS, pooling=pooling, texts_per_shard=7)
    whole = tiny.activations(TEXTS, layers=LAYERS, pooling=pooling)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "00000.safetensors",
        "00001.safetensors",
        "00002.safetensors",
        MANIFEST,
    ]
    assert (files.n_texts, files.d_model, files.layers, files.pooling) == (18, 128, tuple(LAYERS), pooling)
    for position, layer in enumerate(LAYERS):
        np.testing.assert_allclose(files.layer(layer), whole[:, position], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(files.layer(-2), files.layer(3))
    joined = np.concatenate([shard for _, shard in files.shards()])
    np.testing.assert_allclose(joined, whole, rtol=1e-4, atol=1e-4)
    assert [(span.start, span.stop) for span, _ in files.shards()] == [(0, 7), (7, 14), (14, 18)]
    assert all(isinstance(shard, np.memmap) and not shard.flags.writeable for _, shard in files.shards())
    with pytest.raises(BadInput, match="layer 1 of"):
        files.layer(1)
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(tmp_path / "00001.safetensors")["activations"], joined[7:14])


def test_a_killed_reading_goes_on(tiny, tmp_path):
    killed = Counting(tiny, fail_after=3)  # one text for the width, two shards of five
    with pytest.raises(ConnectionError):
        read_to_files(killed, TEXTS, tmp_path, layers=LAYERS, texts_per_shard=5)
    with pytest.raises(BadInput, match=r"00002\.safetensors: it is missing or damaged"):
        ActivationFiles(tmp_path)
    again, lines = Counting(tiny), []
    files = read_to_files(again, TEXTS, tmp_path, layers=LAYERS, texts_per_shard=5, on_event=lines.append)
    assert again.read == [5, 3]
    assert lines[0] == "activations: 2 of 4 files are there"
    whole = read_to_files(tiny, TEXTS, tmp_path / "whole", layers=LAYERS, texts_per_shard=5)
    for layer in LAYERS:
        np.testing.assert_array_equal(files.layer(layer), whole.layer(layer))
    finished = Counting(tiny, fail_after=0)
    read_to_files(finished, TEXTS, tmp_path, layers=LAYERS)
    assert finished.read == []


@pytest.mark.parametrize("damage", ["shorter", "header", "empty", "of other texts"])
def test_a_damaged_shard_is_read_again(tiny, tmp_path, damage):
    before = read_to_files(tiny, TEXTS, tmp_path, layers=[-2], texts_per_shard=6).layer(-2)
    path = tmp_path / "00001.safetensors"
    whole = path.read_bytes()
    other = (tmp_path / "00000.safetensors").read_bytes()
    damaged = {"shorter": whole[:-1], "header": b"\xff" * 8 + whole[8:], "empty": b"", "of other texts": other}
    path.write_bytes(damaged[damage])
    with pytest.raises(BadInput, match=r"00001\.safetensors"):
        ActivationFiles(tmp_path)
    engine = Counting(tiny)
    mended = read_to_files(engine, TEXTS, tmp_path, layers=[-2], texts_per_shard=6)
    assert engine.read == [6]
    np.testing.assert_array_equal(mended.layer(-2), before)


@pytest.mark.parametrize("change", ["texts", "layers", "pooling", "llm"])
def test_another_reading_takes_over_nothing(tiny, tmp_path, change, monkeypatch):
    read_to_files(tiny, TEXTS, tmp_path, layers=[0, -1], texts_per_shard=6)
    (tmp_path / "notes.txt").write_text("the user's own")
    engine = Counting(tiny)
    texts, layers, pooling = TEXTS, [0, -1], "last"
    if change == "texts":
        texts = [*TEXTS[:-1], "Another one."]
    elif change == "layers":
        layers = [-1, 0]
    elif change == "pooling":
        pooling = "mean"
    else:
        monkeypatch.setattr(engine, "identity", lambda: "another LLM")
    files = read_to_files(engine, texts, tmp_path, layers=layers, pooling=pooling, texts_per_shard=100)
    assert engine.read == [1, 18]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.safetensors", MANIFEST, "notes.txt"]
    expected = tiny.activations(texts, layers=layers, pooling=pooling)
    np.testing.assert_allclose(files.layer(-1), expected[:, layers.index(-1)], rtol=1e-5, atol=1e-5)


def test_shards_stay_small_however_many_layers(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(activation_files, "BYTES_PER_SHARD", 5 * 4 * len(LAYERS) * 128)
    read_to_files(tiny, TEXTS, tmp_path, layers=LAYERS)
    assert json.loads((tmp_path / MANIFEST).read_text())["texts_per_shard"] == 5


def test_bad_input(tiny, tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="unknown pooling 'max'"):
        read_to_files(tiny, TEXTS, tmp_path, layers=[0], pooling="max")
    with pytest.raises(BadInput, match="layer 5 of an LLM with 4 blocks"):
        read_to_files(tiny, TEXTS, tmp_path, layers=[5])
    with pytest.raises(BadInput, match="no texts"):
        read_to_files(tiny, [], tmp_path, layers=[0])
    with pytest.raises(BadInput, match=r"manifest\.json"):
        ActivationFiles(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())
    (tmp_path / MANIFEST).write_text('{"layers": 3}')
    with pytest.raises(BadInput, match=r"manifest\.json"):
        ActivationFiles(tmp_path)

    def overflowing(texts, *, layers, pooling):
        return np.full((len(texts), len(layers), 128), np.inf, dtype=np.float32)

    engine = Counting(tiny)
    monkeypatch.setattr(engine, "activations", overflowing)
    with pytest.raises(BadInput, match="not finite"):
        read_to_files(engine, TEXTS, tmp_path, layers=[0])
