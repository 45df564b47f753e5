"""Stages paraphrases and activations with vLLM: one engine, in the caller's process, that writes and is read.

Import this only where an engine is wanted: it imports vLLM.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vllm
from transformers import AutoConfig

from valence.activations import check_blocks, check_pooling, state_of_layer
from valence.generation import MAX_TEXT_TOKENS, Encoder
from valence.llms import LLM, engine_identity
from valence.llms.memory import CACHE_TOKENS, USABLE, cache_bytes_per_token
from valence.paraphrases import Generation, Request


class VllmEngine:
    """Writes and reads with vLLM; the same interface as `valence.generation.TransformersEngine`.

    Parameters
    ----------
    folder : of the LLM: config.json, *.safetensors, tokenizer.
    llm : its row, for dtype, chat and the number of GPUs.
    n_workers : that share the weights; None: one for each of its GPUs, and one without any.
    """

    name = "vllm"

    def __init__(self, folder: Path, llm: LLM, *, n_workers: int | None = None):
        n_workers = n_workers or (llm.n_gpus if torch.cuda.is_available() else 1)
        self.encoder = Encoder(folder, chat=llm.chat)
        self._llm = llm
        if not torch.cuda.is_available():
            _import_architecture(folder)
        self._engine = vllm.LLM(
            str(folder),
            dtype=llm.dtype,  # type: ignore[arg-type]
            max_model_len=MAX_TEXT_TOKENS + 1,
            # seeded requests end the CPU engine when a prompt is computed in chunks
            enable_chunked_prefill=False,
            max_num_batched_tokens=2 * (MAX_TEXT_TOKENS + 1),
            # compiled graphs skip the tap's hooks
            enforce_eager=True,
            worker_extension_cls="cluster.vllm_tap.ActivationTap",
            tensor_parallel_size=n_workers,
            # one worker lives in this process; several get a process each
            distributed_executor_backend="uni" if n_workers == 1 else "mp",
            use_tqdm_on_load=False,
            # the paraphrases of a story share their prompt; activations are read without the cache
            enable_prefix_caching=True,
            # of an LLM that sees images too, only the text part
            language_model_only=True,
            **_memory_options(folder, llm, n_workers),
        )
        self._engine.collective_rpc("mend_activation_functions")
        n_blocks = self._engine.llm_engine.model_config.get_total_num_hidden_layers()
        self._n_blocks = check_blocks(n_blocks, llm.name)

    def generate(self, requests: Sequence[Request], *, temperature: float, max_new_tokens: int) -> list[Generation]:
        """Sample one answer per request, from its own seed."""
        prompts: Any = [{"prompt_token_ids": self.encoder.request_ids(request)} for request in requests]
        sampling = [
            vllm.SamplingParams(temperature=temperature, seed=request.seed, max_tokens=max_new_tokens, stop=["\n"])
            for request in requests
        ]
        outputs = self._engine.generate(prompts, sampling, use_tqdm=False)
        return [
            self.encoder.answer(request, output.outputs[0].token_ids)
            for request, output in zip(requests, outputs, strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without special tokens."""
        return self.encoder.count_tokens(texts)

    def n_layers(self) -> int:
        """Hidden states that can be read: blocks + 1."""
        return self._n_blocks + 1

    def identity(self) -> str:
        """Hash of weights, tokenizer, dtype and engine."""
        return engine_identity(self._llm, self.name)

    def activations(self, texts: Sequence[str], *, layers: Sequence[int], pooling: str = "last") -> np.ndarray:
        """Activations, float32 (n_texts, n_layers, d_model), of the last token or the mean behind the first."""
        states = [state_of_layer(layer, self._n_blocks) for layer in layers]
        prompts: Any = [{"prompt_token_ids": self.encoder.text_ids(text)} for text in texts]
        # One token is sampled and never fed back: each request is computed once, up to its last token.
        once = vllm.SamplingParams(temperature=0.0, max_tokens=1, skip_reading_prefix_cache=True)
        self._engine.collective_rpc("tap_install", args=(states, check_pooling(pooling)))
        try:
            outputs = self._engine.generate(prompts, once, use_tqdm=False)
        finally:
            # with tensor parallelism the first worker reads for all
            requests, rows = self._engine.collective_rpc("tap_collect")[0]
        read = np.frombuffer(rows, dtype=np.float32).reshape(len(requests), len(states), -1)
        # inside, ids carry a random suffix
        row_of = {request.rsplit("-", 1)[0]: row for row, request in enumerate(requests)}
        order = [row_of[output.request_id] for output in outputs]
        # as a rule they are read as they were asked for, and nothing is copied
        return read if order == list(range(len(read))) else read[order]


def _memory_options(folder: Path, llm: LLM, n_workers: int) -> dict[str, Any]:
    if not torch.cuda.is_available():
        cache = CACHE_TOKENS * cache_bytes_per_token(folder, llm.dtype) // n_workers
        return {"kv_cache_memory_bytes": cache, "max_num_seqs": 128, "block_size": 32}
    # another program may hold a part of a GPU
    shares = [free / total for free, total in (torch.cuda.mem_get_info(index) for index in range(n_workers))]
    return {"gpu_memory_utilization": min(USABLE, 0.95 * min(shares)), "max_num_seqs": 256}


def _import_architecture(folder: Path) -> None:
    """Import an LLM's architecture here, where vLLM would ask a child process about it first.

    The child is there to keep CUDA out of this process. Without CUDA it costs seconds, and it fails for architectures
    that import a torchaudio which does not fit the CPU build of torch; this process has `valence`, which mends that.
    """
    names = AutoConfig.from_pretrained(folder).architectures or []
    for name in names:
        known = vllm.ModelRegistry.models.get(name)
        if known is not None:
            vllm.ModelRegistry.register_model(name, known.load_model_cls())
