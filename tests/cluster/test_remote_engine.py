"""The handle of an engine on Ray: what a killed actor costs, and what an engine's complaints become."""

import json
import logging
import struct
import threading
import time

import numpy as np
import psutil
import pytest
import torch

from cluster import remote_engine
from cluster.engine_actor import LlmActor, load_error
from cluster.llm_pool import side_by_side
from cluster.remote_engine import RemoteEngine, engine_resources
from tests.valence.tiny_llms import tiny_llm
from valence.activation_files import read_to_files
from valence.errors import BadInput
from valence.generation import TransformersEngine
from valence.llms import LLMS, resolve_llm
from valence.llms.memory import Need
from valence.paraphrases import Request
from valence.stories import load_stories

REQUESTS = [Request(f"Rewrite: {story.text}", "You", 100 + index) for index, story in enumerate(load_stories())]
HOW = {"temperature": 0.7, "max_new_tokens": 900}


@pytest.fixture(scope="module")
def cluster():
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return resolve_llm(str(tiny_llm(tmp_path_factory.mktemp("llm") / "tiny")))


def actors():
    return [process for process in psutil.Process().children(recursive=True) if "LlmActor" in " ".join(_line(process))]


def _line(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class Killer(threading.Thread):
    """Kills the actor's process a moment after it is asked something; as often as told."""

    def __init__(self, times):
        super().__init__(daemon=True)
        self.left, self.killed = times, []

    def run(self):
        while self.left:
            for process in actors():
                if process.pid not in self.killed and "generate" in " ".join(_line(process)):
                    time.sleep(0.3)
                    process.kill()
                    self.killed.append(process.pid)
                    self.left -= 1
            time.sleep(0.02)


def test_a_killed_actor_is_started_again_and_the_texts_are_the_same(cluster, tiny):
    events = []
    with RemoteEngine(tiny, "transformers", events.append) as engine:
        undisturbed = engine.generate(REQUESTS, **HOW)
        seconds = [event for event in events if "tokens in" in event]
        killer = Killer(1)
        killer.start()
        answers = engine.generate(REQUESTS, **HOW)
        assert killer.left == 0, f"killed while it wrote ({seconds})"
        assert answers == undisturbed
        assert sum("its process died" in event for event in events) == 1
        read = engine.activations(["A text."], layers=[0, -1], pooling="mean")
    assert read.shape == (1, 2, 128)
    assert engine.n_layers() == 5, "and starts again by itself"
    engine._stop()


def test_an_actor_that_dies_again_and_again_is_given_up(cluster, tiny, monkeypatch):
    monkeypatch.setattr(remote_engine, "MOST_RESTARTS", 1)
    killer = Killer(2)
    killer.start()
    with RemoteEngine(tiny, "transformers") as engine:
        with pytest.raises(BadInput, match=r"its transformers process died 2 times in one call"):
            engine.generate(REQUESTS, **HOW)
        assert engine.n_layers() == 5


def test_shards_and_llms_through_actors(cluster, tiny, tmp_path_factory, tmp_path):
    """Two LLMs on a cluster of one core, each into its folder, as the engine here reads them."""
    other = resolve_llm(str(tiny_llm(tmp_path_factory.mktemp("llm") / "other", "pythia")))
    texts = [story.text for story in load_stories()]

    def read(llm):
        with RemoteEngine(llm, "transformers") as engine:
            return read_to_files(engine, texts, tmp_path / llm.name, layers=[0, -2], texts_per_shard=8)

    found = side_by_side([tiny, other], read)
    for llm in (tiny, other):
        here = TransformersEngine(tmp_path_factory.getbasetemp() / llm.source.partition(":")[2], llm)
        expected = here.activations(texts, layers=[0, -2])
        assert np.linalg.norm(found[llm.name].layer(-2) - expected[:, 1]) < 1e-4 * np.linalg.norm(expected[:, 1])


def test_what_cannot_be_loaded_says_so_each_time(cluster, tmp_path):
    folder = tiny_llm(tmp_path / "odd")
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"llama"', '"no_such_type"'))
    with RemoteEngine(resolve_llm(str(folder)), "transformers") as engine:
        for _ in range(2):  # nothing half-loaded is asked the second time
            with pytest.raises(BadInput, match="no_such_type"):
                engine.count_tokens(["x"])


NEED = Need(weights=8_000_000_000, cache=1_000_000_000)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB"
        ),
        ValueError(
            "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing"
        ),
        ValueError(
            "To serve at least one request with the model's max seq len (1024), (2.0 GiB KV cache is needed, which is "
            "larger than the available KV cache memory (1.0 GiB)."
        ),
        ValueError("Free memory on device cuda:0 (3.1/7.8 GiB) on startup is less than desired GPU memory utilization"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_an_engines_words_for_too_little_memory(error):
    llm = LLMS["qwen3-4b"]
    wrapped = RuntimeError("Engine core initialization failed.")
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        found = load_error(raised, llm=llm, engine="vllm", need=NEED, free_gb=7.0, on_gpu=True)
        assert "needs 11.0 GB on one GPU" in str(found)
        assert "qwen3-4b:n_gpus=" in str(found)
    other = load_error(ValueError("unknown architecture"), llm=llm, engine="vllm", need=NEED, free_gb=7.0, on_gpu=True)
    assert "needs" not in str(other).split("\n")[0]
    assert "unknown architecture" in str(other)


def test_too_little_memory_is_said_before_the_start(cluster, tmp_path):
    """By the actor itself, from the weights' headers: here, of weights that no machine holds."""
    folder = tiny_llm(tmp_path / "huge")
    llm = resolve_llm(str(folder))
    _pretend_huge(folder / "model.safetensors")
    with (
        RemoteEngine(llm, "transformers") as engine,
        pytest.raises(BadInput, match=r"needs 10\d+\.\d GB on this machine"),
    ):
        engine.count_tokens(["x"])


def _pretend_huge(path):
    """A header that names 10¹³ numbers, and a file as long as they are, with a hole for the data."""
    n = 10**13 // 4
    header = json.dumps({"w": {"dtype": "F32", "shape": [n], "data_offsets": [0, 4 * n]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 4 * n)


def test_gpus_of_an_engine():
    node = {"Alive": True, "Resources": {"CPU": 32.0, "GPU": 4.0}}
    assert engine_resources([node], LLMS["llama-4-scout"]) == (16, 4)
    assert engine_resources([node], LLMS["qwen3-4b"]) == (4, 1)
    with pytest.raises(BadInput, match=r"n_gpus=4[\s\S]*llama-4-scout:n_gpus=2"):
        engine_resources([{"Alive": True, "Resources": {"CPU": 32.0, "GPU": 2.0}}], LLMS["llama-4-scout"])


@pytest.mark.parametrize("method", ["generate", "activations"])
def test_too_little_memory_while_an_engine_works_is_told(tiny, method):
    """An allocation that torch really refuses, inside a forward pass; and another error of it, as it is."""
    actor = LlmActor()
    actor.load(tiny, "transformers")
    ask = {
        "generate": lambda: actor.generate([Request("Rewrite this.", "You", 1)], 0.7, 5),
        "activations": lambda: actor.activations(["A text."], [0], "last"),
    }[method]
    hook = actor._engine._network.base_model.register_forward_pre_hook(lambda *_: torch.empty(2**60))
    with pytest.raises(BadInput, match=r"needs .* GB on this machine .*transformers: ") as raised:
        ask()
    assert "take a smaller --llm" in str(raised.value)
    hook.remove()
    hook = actor._engine._network.base_model.register_forward_pre_hook(lambda *_: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        ask()
    hook.remove()
    ask()
