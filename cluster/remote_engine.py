"""Stages paraphrases and activations on Ray: the actor that holds an engine, and the handle that starts and ends it."""

import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from valence.errors import BadInput
from valence.llms import LLM, engine_identity, local_folder
from valence.paraphrases import Generation, Request

MOST_CPUS = 16
"""cores of one engine; more rarely help and would wait longer for a free node"""

logger = logging.getLogger(__name__)


class LlmActor:
    """What runs in the actor's process: one engine, loaded on request so that errors come back as they are."""

    def load(self, llm: LLM, engine: str) -> None:
        folder = local_folder(llm)
        try:
            self._engine = _make_engine(engine, folder, llm)
        except BadInput:
            raise
        except Exception as error:  # what an engine says of a broken folder or too little memory has no common type
            raise BadInput(
                f"LLM {llm.name}: {engine} cannot load {folder}: {type(error).__name__}: {error}",
                allowed="a complete LLM (config.json, *.safetensors, tokenizer) that fits into memory",
                do="check the folder, or take --engine transformers or another --llm",
            ) from error

    def generate(self, requests: Sequence[Request], temperature: float, max_new_tokens: int) -> list[Generation]:
        return self._engine.generate(requests, temperature=temperature, max_new_tokens=max_new_tokens)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._engine.count_tokens(texts)

    def n_layers(self) -> int:
        return self._engine.n_layers()

    def activations(self, texts: Sequence[str], layers: Sequence[int], pooling: str) -> np.ndarray:
        return self._engine.activations(texts, layers=layers, pooling=pooling)

    def peak_bytes(self) -> int:
        """Largest resident memory of this process so far."""
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _make_engine(engine: str, folder: Path, llm: LLM) -> Any:
    if engine == "vllm":
        from cluster.vllm_engine import VllmEngine

        return VllmEngine(folder, llm)
    from valence.generation import TransformersEngine

    return TransformersEngine(folder, llm)


class RemoteEngine:
    """The engine of an actor that starts at the first call and is killed on leaving, however that happens.

    Parameters
    ----------
    llm : to load.
    engine : "vllm" or "transformers".
    on_event : receives a line for each slow step.
    """

    def __init__(self, llm: LLM, engine: str, on_event: Callable[[str], None] = logger.info):
        self._llm, self._name, self._on_event = llm, engine, on_event
        self._actor: Any = None

    def __enter__(self) -> "RemoteEngine":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        if self._actor is not None:
            ray.kill(self._actor)

    def generate(self, requests: Sequence[Request], *, temperature: float, max_new_tokens: int) -> list[Generation]:
        """One answer per request, see the engines."""
        self._ensure_started()
        started = time.monotonic()
        answers = self._call("generate", requests, temperature, max_new_tokens)
        seconds = time.monotonic() - started
        n_tokens = sum(answer.n_tokens for answer in answers)
        self._on_event(f"paraphrases: {n_tokens} tokens in {seconds:.0f} s, {n_tokens / seconds:.0f} a second")
        return answers

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without special tokens."""
        return self._call("count_tokens", texts)

    def n_layers(self) -> int:
        """Hidden states that can be read: blocks + 1."""
        return self._call("n_layers")

    def identity(self) -> str:
        """Hash of weights, tokenizer, dtype and engine; starts nothing."""
        return engine_identity(self._llm, self._name)

    def activations(self, texts: Sequence[str], *, layers: Sequence[int], pooling: str = "last") -> np.ndarray:
        """Activations of the last token or the mean over tokens: float32 array, (n_texts, n_layers, d_model)."""
        self._ensure_started()
        started = time.monotonic()
        activations = self._call("activations", texts, layers, pooling)
        seconds, peak = time.monotonic() - started, self._call("peak_bytes")
        self._on_event(f"activations: {len(texts)} texts in {seconds:.0f} s; the engine peaked at {peak / 1e9:.1f} GB")
        return activations

    def _call(self, method: str, *arguments: object) -> Any:
        import ray

        self._ensure_started()
        try:
            return ray.get(getattr(self._actor, method).remote(*arguments))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, BadInput):
                raise error.cause from None
            raise

    def _ensure_started(self) -> None:
        import ray

        if self._actor is not None:
            return
        started = time.monotonic()
        n_cpus, n_gpus = engine_resources(ray.nodes())
        self._on_event(f"{self._llm.name}: starting {self._name} on {'a GPU' if n_gpus else f'{n_cpus} CPU cores'}")
        environment = {"env_vars": engine_environment(self._llm, n_cpus)}
        remote = ray.remote(LlmActor).options(num_cpus=n_cpus, num_gpus=n_gpus, runtime_env=environment)
        self._actor = remote.remote()
        self._call("load", self._llm, self._name)
        self._on_event(f"{self._llm.name}: ready after {time.monotonic() - started:.0f} s")


def engine_environment(llm: LLM, n_cpus: int) -> dict[str, str]:
    """Environment variables of an engine's process."""
    variables = {
        "OMP_NUM_THREADS": str(n_cpus),
        # Threads that wait do not spin: beside other work on the same cores spinning costs a factor of 2.5.
        "OMP_WAIT_POLICY": "PASSIVE",
        # The engine runs in the actor's process, with the actor's threads; vLLM binds threads only of children.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        # the model runner whose batch the activation tap knows
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if llm.is_local:
        variables["HF_HUB_OFFLINE"] = "1"
    passed_on = ("VALENCE_CACHE", "HF_HUB_OFFLINE", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT")
    return {name: os.environ[name] for name in passed_on if name in os.environ} | variables


def engine_resources(nodes: Sequence[dict]) -> tuple[int, int]:
    """CPUs and GPUs for an engine, from `ray.nodes()`.

    One GPU where there is one, else all cores of the largest node up to a cap.
    """
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    with_gpu = [found for found in resources if found.get("GPU", 0) >= 1]
    most = max(int(found.get("CPU", 1)) for found in with_gpu or resources)
    return (max(1, min(most, 4)), 1) if with_gpu else (max(1, min(most, MOST_CPUS)), 0)
