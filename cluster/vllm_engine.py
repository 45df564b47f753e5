"""Stages paraphrases and activations with vLLM: one engine, in the caller's process, that writes and is read.

Import this only where an engine is wanted: it imports vLLM.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vllm

from valence.activations import check_blocks, check_pooling, state_of_layer
from valence.generation import Encoder
from valence.llms import LLM, engine_identity
from valence.paraphrases import Generation, Request

MAX_TOKENS = 1024
"""of prompt and answer; ours are a fifth of it"""


class VllmEngine:
    """Writes and reads with vLLM; the same interface as `valence.generation.TransformersEngine`.

    Parameters
    ----------
    folder : of the LLM: config.json, *.safetensors, tokenizer.
    llm : its row, for dtype and chat.
    """

    name = "vllm"

    def __init__(self, folder: Path, llm: LLM):
        self.encoder = Encoder(folder, chat=llm.chat)
        self._llm = llm
        on_gpu = torch.cuda.is_available()
        options: dict[str, Any] = {} if on_gpu else {"block_size": 32}
        self._engine = vllm.LLM(
            str(folder),
            dtype=llm.dtype,  # type: ignore[arg-type]
            max_model_len=MAX_TOKENS,
            # seeded requests end the CPU engine when a prompt is computed in chunks
            enable_chunked_prefill=False,
            max_num_batched_tokens=2 * MAX_TOKENS,
            max_num_seqs=256 if on_gpu else 128,
            # compiled graphs skip the tap's hooks
            enforce_eager=True,
            worker_extension_cls="cluster.vllm_tap.ActivationTap",
            distributed_executor_backend="uni",
            use_tqdm_on_load=False,
            # the paraphrases of a story share their prompt; activations are read without the cache
            enable_prefix_caching=True,
            **options,
        )
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
        """Activations of the last token or the mean over tokens: float32 array, (n_texts, n_layers, d_model)."""
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
        return read[[row_of[output.request_id] for output in outputs]]
