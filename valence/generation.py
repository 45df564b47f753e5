"""Stages paraphrases and activations with transformers: the engine for where vLLM is not installed.

Both engines share the encoding of requests, so that they give the LLM the same tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LogitsProcessor, LogitsProcessorList

from valence.activations import check_blocks, read_with_transformers
from valence.errors import BadInput
from valence.llms import LLM, engine_identity
from valence.llms.untrained import is_untrained, network_of
from valence.paraphrases import Generation, Request

ROWS_PER_BATCH = 64
MAX_TEXT_TOKENS = 1023
"""of a text that is read: a longer one is cut, alike for both engines"""


class Encoder:
    """Requests and texts to tokens, and answers back to texts.

    Parameters
    ----------
    folder : of the LLM, with its tokenizer.
    chat : ask through the chat template; None: where the tokenizer has one.
    """

    def __init__(self, folder: Path, *, chat: bool | None):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.chat = bool(self.tokenizer.chat_template) if chat is None else chat
        ends = self.tokenizer.eos_token_id
        self.pad_id = ends if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id

    def opening_ids(self, request: Request) -> list[int]:
        """Tokens that the answer is made to begin with."""
        return self.tokenizer.encode(request.opening, add_special_tokens=False)

    def request_ids(self, request: Request) -> list[int]:
        """Tokens of a request, up to and with the opening of its answer."""
        if not self.chat:
            return self.tokenizer.encode(f"{request.prompt}\n\nAnswer: {request.opening}".strip())
        message = [{"role": "user", "content": request.prompt}]
        # LLMs that think before they answer are asked not to; other templates do not know the word
        asked = self.tokenizer.apply_chat_template(
            message, add_generation_prompt=True, return_dict=False, enable_thinking=False
        )
        return [*asked, *self.opening_ids(request)]

    def text_ids(self, text: str) -> list[int]:
        """Tokens of a plain text, with the special tokens that the tokenizer adds by default; at most MAX_TEXT_TOKENS.

        Raises BadInput for a text without any token.
        """
        ids = self.tokenizer.encode(text, truncation=True, max_length=MAX_TEXT_TOKENS)
        if not ids:
            raise BadInput("an empty text to read", allowed="texts of at least one token", do="leave it out")
        return ids

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without special tokens."""
        return [len(self.tokenizer.encode(text, add_special_tokens=False)) for text in texts]

    def answer(self, request: Request, generated_ids: Sequence[int]) -> Generation:
        """The answer to a request: its opening and what was generated, up to the first line break."""
        # Decoded with its opening: many tokenizers drop the blank before a first word.
        ids = [*self.opening_ids(request), *generated_ids]
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        return Generation(text.strip().split("\n", 1)[0].strip(), len(generated_ids))


class TransformersEngine:
    """Writes and reads with transformers; the same interface as the vLLM engine.

    Parameters
    ----------
    folder : of the LLM: config.json, *.safetensors, tokenizer.
    llm : its row, for dtype and chat; one of `valence.llms.untrained` gets its random weights here.
    """

    name = "transformers"

    def __init__(self, folder: Path, llm: LLM):
        self.encoder = Encoder(folder, chat=llm.chat)
        network: Any
        if is_untrained(llm):
            network = network_of(folder, llm)
            network.to("cuda" if torch.cuda.is_available() else "cpu")
        else:
            # "auto" cuts an LLM by blocks where its GPUs have to share it
            device = "cpu" if not torch.cuda.is_available() else "cuda" if llm.n_gpus == 1 else "auto"
            network = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, llm.dtype), device_map=device, use_safetensors=True
            )
        self._network: Any = network.eval()
        self._n_blocks = check_blocks(network.config.get_text_config().num_hidden_layers, llm.name)
        self._llm = llm

    def generate(self, requests: Sequence[Request], *, temperature: float, max_new_tokens: int) -> list[Generation]:
        """Sample one answer per request, from its own seed: the same alone and in any batch, rounding aside."""
        ids = [self.encoder.request_ids(request) for request in requests]
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        answers: dict[int, Generation] = {}
        for start in range(0, len(order), ROWS_PER_BATCH):
            batch = order[start : start + ROWS_PER_BATCH]
            seeds = [requests[index].seed for index in batch]
            generated = self._sample([ids[index] for index in batch], seeds, temperature, max_new_tokens)
            for index, tokens in zip(batch, generated, strict=True):
                answers[index] = self.encoder.answer(requests[index], tokens)
        return [answers[index] for index in range(len(requests))]

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
        ids = [self.encoder.text_ids(text) for text in texts]
        return read_with_transformers(self._network, ids, layers=layers, pad_id=self.encoder.pad_id, pooling=pooling)

    def _sample(
        self, ids: list[list[int]], seeds: list[int], temperature: float, max_new_tokens: int
    ) -> list[list[int]]:
        device = self._network.device
        width = max(map(len, ids))
        padded = torch.tensor([[self.encoder.pad_id] * (width - len(row)) + row for row in ids], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=device)
        ends = self._ends()
        with torch.inference_mode():
            output = self._network.generate(
                padded,
                attention_mask=mask,
                generation_config=GenerationConfig(
                    max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=ends, pad_token_id=self.encoder.pad_id
                ),
                logits_processor=LogitsProcessorList([_SeededSampling(seeds, temperature, device)]),
            )
        return [_until(row, set(ends)) for row in output[:, width:].tolist()]

    def _ends(self) -> list[int]:
        """Tokens that end an answer: end of text, end of turn, and every token with a line break."""
        tokenizer = self.encoder.tokenizer
        if not hasattr(self, "_end_ids"):
            configured = self._network.generation_config.eos_token_id
            ends = {tokenizer.eos_token_id, *([configured] if isinstance(configured, int) else configured or [])}
            breaks = {index for index in range(len(tokenizer)) if "\n" in tokenizer.decode([index])}
            self._end_ids = sorted(end for end in ends | breaks if end is not None)
        return self._end_ids


class _SeededSampling(LogitsProcessor):
    """Turns greedy search into sampling with one random generator a row.

    Gumbel's trick: the largest of logits / T plus Gumbel noise is a draw from softmax(logits / T).
    """

    def __init__(self, seeds: Sequence[int], temperature: float, device: torch.device):
        self._temperature = temperature
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() / self._temperature - noise.log()


def _until(tokens: list[int], ends: set[int]) -> list[int]:
    """Tokens before the first that ends an answer."""
    stop = next((position for position, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:stop]
