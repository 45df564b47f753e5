"""Stages paraphrases and activations on Ray: what runs in an engine's own process, and what it says when it cannot."""

import gc
import re
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from valence.errors import BadInput
from valence.llms import LLM, local_folder
from valence.llms.memory import Need, check_fits, need_of, too_little_memory
from valence.llms.untrained import is_untrained
from valence.paraphrases import Generation, Request

_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemory|No available memory for the cache blocks|KV cache is needed, which is larger|"
    r"Free memory on device|Available memory on node|DefaultCPUAllocator: can't allocate|MemoryError",
    re.IGNORECASE,
)


class LlmActor:
    """What runs in the actor's process: one engine, loaded on request so that errors come back as they are."""

    _engine: Any = None

    def load(self, llm: LLM, engine: str) -> None:
        """Load an LLM, in place of the one before. Raises BadInput for what cannot be loaded, and what to do."""
        self._give_back_memory()
        folder = local_folder(llm)
        need = need_of(folder, llm.dtype)
        free_gb, on_gpu = free_memory_gb()
        check_fits(llm, need, free_gb=free_gb, on_gpu=on_gpu)
        self._llm, self._engine_name, self._need = llm, engine, need
        try:
            self._engine = _make_engine(engine, folder, llm)
        except BadInput:
            raise
        except Exception as error:  # what an engine says of a broken folder or too little memory has no common type
            raise load_error(error, llm=llm, engine=engine, need=need, free_gb=min(free_gb), on_gpu=on_gpu) from error

    def generate(self, requests: Sequence[Request], temperature: float, max_new_tokens: int) -> list[Generation]:
        with self._memory_told():
            return self._engine.generate(requests, temperature=temperature, max_new_tokens=max_new_tokens)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._engine.count_tokens(texts)

    def n_layers(self) -> int:
        return self._engine.n_layers()

    def activations(self, texts: Sequence[str], layers: Sequence[int], pooling: str) -> np.ndarray:
        with self._memory_told():
            return self._engine.activations(texts, layers=layers, pooling=pooling)

    def _give_back_memory(self) -> None:
        """Of what was loaded before."""
        if self._engine is None:
            return
        import torch

        self._engine = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextmanager
    def _memory_told(self) -> Iterator[None]:
        """Too little memory, which an engine may find only while it works, as BadInput; other errors as they are."""
        try:
            yield
        except BadInput:
            raise
        except Exception as error:
            if lacks_memory(error) is None:
                raise
            free_gb, on_gpu = free_memory_gb()
            llm, engine = self._llm, self._engine_name
            raise load_error(
                error, llm=llm, engine=engine, need=self._need, free_gb=min(free_gb), on_gpu=on_gpu
            ) from error

    def peak_bytes(self) -> int:
        """Largest resident memory of this process so far."""
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_memory_gb() -> tuple[list[float], bool]:
    """Free memory of each GPU of this process, GB, and True; without a GPU, of this machine, and False."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return [torch.cuda.mem_get_info(index)[0] / 1e9 for index in range(torch.cuda.device_count())], True
    return [psutil.virtual_memory().available / 1e9], False


def lacks_memory(error: BaseException) -> BaseException | None:
    """The error, or the one among its causes, that tells of too little memory; None: none does."""
    cause: BaseException | None = error
    while cause is not None:
        if _OUT_OF_MEMORY.search(f"{type(cause).__name__}: {cause}"):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def load_error(error: BaseException, *, llm: LLM, engine: str, need: Need, free_gb: float, on_gpu: bool) -> BadInput:
    """What an engine said when it could not load an LLM, as an error that says what to do."""
    said = f"{type(error).__name__}: {error}"
    cause = lacks_memory(error)
    if cause is not None:
        first = (str(cause).strip() or type(cause).__name__).split(". ", 1)[0].splitlines()[0]
        return too_little_memory(llm, need=need, free_gb=free_gb, on_gpu=on_gpu, said=f"{engine}: {first}")
    return BadInput(
        f"LLM {llm.name}: {engine} cannot load it from {llm.source}: {said}",
        allowed="a complete LLM (config.json, *.safetensors, tokenizer) of an architecture that the engine knows",
        do="check the folder, or take --engine transformers or another --llm",
    )


def _make_engine(engine: str, folder: Path, llm: LLM) -> Any:
    if engine == "vllm":
        if is_untrained(llm):
            raise BadInput(f"LLM {llm.name} for vLLM", allowed="trained weights", do="take the engine transformers")
        from cluster.vllm_engine import VllmEngine

        return VllmEngine(folder, llm)
    from valence.generation import TransformersEngine

    return TransformersEngine(folder, llm)
