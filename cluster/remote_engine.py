"""Stages paraphrases and activations on Ray: the handle that starts an engine's actor, asks it and ends it."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cluster.engine_actor import LlmActor
from valence.errors import BadInput
from valence.llms import LLM, engine_identity
from valence.paraphrases import Generation, Request

MOST_CPUS = 16
"""cores of one engine; more rarely help and would wait longer for a free node"""

MOST_RESTARTS = 2
"""of an actor that dies in the same call"""

logger = logging.getLogger(__name__)


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
        self._stop()

    def turn_into(self, llm: LLM) -> None:
        """Load another LLM in place of this one, in the same process; one that has not started loads it alone."""
        self._llm = llm
        if self._actor is None:
            return
        try:
            self._call("load", llm, self._name)
        except BaseException:
            self._stop()  # nothing is loaded: the next call must not find it
            raise

    def generate(self, requests: Sequence[Request], *, temperature: float, max_new_tokens: int) -> list[Generation]:
        """One answer per request, see the engines."""
        self._call("peak_bytes")  # started before the clock is
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
        """Activations, float32 (n_texts, n_layers, d_model), of the last token or the mean behind the first."""
        self._call("peak_bytes")
        started = time.monotonic()
        activations = self._call("activations", texts, layers, pooling)
        seconds, peak = time.monotonic() - started, self._call("peak_bytes")
        self._on_event(f"activations: {len(texts)} texts in {seconds:.0f} s; the engine peaked at {peak / 1e9:.1f} GB")
        return activations

    def _call(self, method: str, *arguments: object) -> Any:
        """Call the actor; where it dies, start another one and ask again. What it is asked decides what it answers."""
        import ray

        deaths = 0
        while True:
            try:
                self._ensure_started()
                return ray.get(getattr(self._actor, method).remote(*arguments))
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, BadInput):
                    raise error.cause from None
                raise
            except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
                self._stop()
                deaths += 1
                why = str(error).strip().splitlines()[0]
                if deaths > MOST_RESTARTS:
                    raise BadInput(
                        f"LLM {self._llm.name}: its {self._name} process died {deaths} times in one call: {why}",
                        allowed="a process that lives: most die for want of memory",
                        do="free memory, take a smaller --llm or another --engine; what is on disk is taken up again",
                    ) from error
                self._on_event(
                    f"{self._llm.name}: its process died ({why}); starting it again, {deaths} of {MOST_RESTARTS}"
                )

    def _stop(self) -> None:
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
        self._actor = None

    def _ensure_started(self) -> None:
        import ray

        if self._actor is not None:
            return
        started = time.monotonic()
        n_cpus, n_gpus = engine_resources(ray.nodes(), self._llm)
        place = (
            f"{n_gpus} GPU{'' if n_gpus == 1 else 's'}" if n_gpus else f"{n_cpus} CPU core{'' if n_cpus == 1 else 's'}"
        )
        need = f", about {self._llm.memory_gb:.1f} GB on each" if self._llm.memory_gb and n_gpus else ""
        self._on_event(f"{self._llm.name}: starting {self._name} on {place}{need}")
        environment = {"env_vars": engine_environment(self._llm, n_cpus)}
        remote = ray.remote(LlmActor).options(num_cpus=n_cpus, num_gpus=n_gpus, runtime_env=environment)
        self._actor = remote.remote()
        try:
            ray.get(self._actor.load.remote(self._llm, self._name))
        except ray.exceptions.RayTaskError:
            self._stop()  # nothing is loaded: the next call must not find it
            raise
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


def engine_resources(nodes: Sequence[dict], llm: LLM | None = None) -> tuple[int, int]:
    """CPUs and GPUs for an engine, from `ray.nodes()`.

    As many GPUs as the LLM's row asks for where there are any, else all cores of the largest node up to a cap. Raises
    BadInput where no node has as many GPUs.
    """
    n_gpus = llm.n_gpus if llm else 1
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    with_gpu = [found for found in resources if found.get("GPU", 0) >= 1]
    if not with_gpu:
        return max(1, min(max(int(found.get("CPU", 1)) for found in resources), MOST_CPUS)), 0
    enough = [found for found in with_gpu if found["GPU"] >= n_gpus]
    if not enough and llm:
        most = int(max(found["GPU"] for found in with_gpu))
        raise BadInput(
            f"LLM {llm.name} shares its weights among n_gpus={n_gpus} GPUs of one node",
            allowed=f"up to {most}, the most that a node of this cluster has",
            do=f"add a larger node, or set fewer where they are large enough: {llm.name}:n_gpus={most}",
        )
    most_cpus = max(int(found.get("CPU", 1)) for found in enough)
    return max(1, min(most_cpus, 4 * n_gpus)), n_gpus
