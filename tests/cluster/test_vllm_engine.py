"""vLLM for real, on tiny LLMs of six architectures: every layer and both poolings against transformers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cluster.vllm_reading import LAYERS, texts
from tests.valence.tiny_llms import ARCHITECTURES, D_MODEL, N_BLOCKS, tiny_llm
from valence.activations import POOLINGS
from valence.generation import TransformersEngine
from valence.llms import resolve_llm


def read_with_vllm(folders: list[Path], out: Path, repository: Path, n_workers: int = 1) -> dict[str, np.ndarray]:
    command = [sys.executable, "-m", "tests.cluster.vllm_reading", str(out), str(n_workers), *map(str, folders)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=repository)
    assert ran.returncode == 0, ran.stderr[-5000:]
    return dict(np.load(out))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: tiny_llm(tmp_path_factory.mktemp("llms") / name, name) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def by_vllm(folders, tmp_path_factory, repository) -> dict[str, np.ndarray]:
    pytest.importorskip("vllm")
    return read_with_vllm(list(folders.values()), tmp_path_factory.mktemp("read") / "read.npz", repository)


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
            tokens = [states[layer][0] for layer in layers]
            rows.append(
                torch.stack([of[-1] if pooling == "last" else of[len(of) > 1 :].mean(dim=0) for of in tokens]).numpy()
            )
    return np.stack(rows)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_vllm_reads_what_transformers_does(name, pooling, folders, by_vllm, one_thread):
    read = by_vllm[f"{name}/{pooling}"]
    reference = by_transformers(folders[name], LAYERS, pooling)
    assert read.shape == reference.shape == (len(texts()), len(LAYERS), D_MODEL)
    assert read.dtype == np.float32
    assert by_vllm[f"{name}/n_layers"] == N_BLOCKS + 1
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
def test_two_workers_that_share_the_weights_read_the_same(folders, tmp_path, repository, one_thread):
    """Tensor parallelism for real, with two processes on the CPU in place of two GPUs."""
    pytest.importorskip("vllm")
    read = read_with_vllm([folders["llama"]], tmp_path / "read.npz", repository, n_workers=2)
    for pooling in POOLINGS:
        reference = by_transformers(folders["llama"], LAYERS, pooling)
        assert relative_error(read[f"llama/{pooling}"], reference) < 1e-4
