"""vLLM for real, on tiny LLMs of six architectures: every layer and both poolings against transformers."""

import multiprocessing
import os
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.remote_engine import engine_environment
from tests.valence.tiny_llms import ARCHITECTURES, D_MODEL, N_BLOCKS, tiny_llm
from valence.activations import POOLINGS
from valence.generation import TransformersEngine
from valence.llms import resolve_llm
from valence.stories import load_stories

LAYERS = [0, 2, -2, -1]


def texts() -> list[str]:
    stories = [story.text for story in load_stories()]
    # one token, several batches of a step's 2,048 tokens, equal beginnings, and one that is cut
    return ["a", *stories, *(f"{story} {index}" for index, story in enumerate(stories)), " ".join(stories)]


def read_in_process(folders: dict[str, Path], out: Path, n_workers: int) -> None:
    """Activations by vLLM of each LLM, in one process, into one file."""
    try:
        os.environ.update(engine_environment(resolve_llm(str(next(iter(folders.values())))), 1))
        from vllm.distributed import cleanup_dist_env_and_memory

        from cluster.vllm_engine import VllmEngine

        read = {}
        for name, folder in folders.items():
            engine = VllmEngine(folder, resolve_llm(str(folder)), n_workers=n_workers)
            for pooling in POOLINGS:
                read[f"{name}/{pooling}"] = engine.activations(texts(), layers=LAYERS, pooling=pooling)
            again = engine.activations(texts()[:3], layers=[-1, 1])
            read[f"{name}/again"] = again
            assert engine.n_layers() == N_BLOCKS + 1
            del engine
            cleanup_dist_env_and_memory()
        np.savez(out, **read)
    except BaseException:
        out.with_suffix(".error").write_text(traceback.format_exc())
        raise


def read_with_vllm(folders: dict[str, Path], out: Path, n_workers: int = 1) -> dict[str, np.ndarray]:
    process = multiprocessing.get_context("spawn").Process(target=read_in_process, args=(folders, out, n_workers))
    process.start()
    process.join()
    error = out.with_suffix(".error")
    assert process.exitcode == 0, error.read_text() if error.exists() else process.exitcode
    return dict(np.load(out))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: tiny_llm(tmp_path_factory.mktemp("llms") / name, name) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def by_vllm(folders, tmp_path_factory) -> dict[str, np.ndarray]:
    pytest.importorskip("vllm")
    return read_with_vllm(folders, tmp_path_factory.mktemp("read") / "read.npz")


def relative_error(read: np.ndarray, reference: np.ndarray) -> float:
    return float((np.linalg.norm(read - reference, axis=-1) / np.linalg.norm(reference, axis=-1)).max())


def by_transformers(folder: Path, layers: list[int], pooling: str) -> np.ndarray:
    """One text at a time, as transformers documents its hidden states."""
    from transformers import AutoModelForCausalLM

    encoder = TransformersEngine(folder, resolve_llm(str(folder))).encoder
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    with torch.inference_mode():
        for text in texts():
            states = network(torch.tensor([encoder.text_ids(text)]), output_hidden_states=True).hidden_states
            pooled = [states[layer][0, -1] if pooling == "last" else states[layer][0].mean(dim=0) for layer in layers]
            rows.append(torch.stack(pooled).numpy())
    return np.stack(rows)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_vllm_reads_what_transformers_does(name, pooling, folders, by_vllm, one_thread):
    read = by_vllm[f"{name}/{pooling}"]
    reference = by_transformers(folders[name], LAYERS, pooling)
    assert read.shape == reference.shape == (len(texts()), len(LAYERS), D_MODEL)
    assert read.dtype == np.float32
    assert relative_error(read, reference) < 1e-4
    if pooling == "last":
        assert relative_error(by_vllm[f"{name}/again"][:, 0], reference[:3, -1]) < 1e-4, "other texts, other layers"


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_fallback_reads_the_same(name, folders, one_thread):
    engine = TransformersEngine(folders[name], resolve_llm(str(folders[name])))
    for pooling in POOLINGS:
        read = engine.activations(texts(), layers=LAYERS, pooling=pooling)
        assert relative_error(read, by_transformers(folders[name], LAYERS, pooling)) < 1e-4


@pytest.mark.slow
def test_two_workers_that_share_the_weights_read_the_same(folders, tmp_path, one_thread):
    """Tensor parallelism for real, with two processes on the CPU in place of two GPUs."""
    pytest.importorskip("vllm")
    read = read_with_vllm({"llama": folders["llama"]}, tmp_path / "read.npz", n_workers=2)
    for pooling in POOLINGS:
        reference = by_transformers(folders["llama"], LAYERS, pooling)
        assert relative_error(read[f"llama/{pooling}"], reference) < 1e-4
