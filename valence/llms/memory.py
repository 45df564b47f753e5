"""Stage LLMs: how much memory an LLM needs, and what to change where there is less.

A GPU holds its share of the weights, of the cache of keys and values, and a margin for activations and the libraries.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from valence.errors import BadInput
from valence.llms import DTYPE_BYTES, LLM

CACHE_TOKENS = 16_384
"""that the cache of keys and values is made for: about 100 paraphrases at once"""
MARGIN_GB = 2.0
"""for activations of one step, the libraries' kernels and their workspace"""
USABLE = 0.9
"""share of a GPU's memory that an engine takes"""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that an LLM takes, over all its GPUs, and the margin on each."""

    weights: int
    cache: int

    def gb(self, n_gpus: int = 1) -> float:
        """On each of n GPUs, GB (10⁹ bytes)."""
        return (self.weights + self.cache) / n_gpus / 1e9 + MARGIN_GB


def rough_memory_gb(n_parameters: float, dtype: str, n_gpus: int = 1) -> float:
    """Memory on each GPU, GB, from the number of weights alone: a tenth more for the cache of keys and values."""
    return 1.1 * n_parameters * DTYPE_BYTES[dtype] / n_gpus / 1e9 + MARGIN_GB


def need_of(folder: Path, dtype: str) -> Need:
    """What an LLM in a folder needs, from its files' headers and its configuration; no weight is read."""
    itemsize = DTYPE_BYTES[dtype]
    n_weights = sum(_n_weights(path) for path in folder.glob("*.safetensors"))
    return Need(weights=n_weights * itemsize, cache=CACHE_TOKENS * cache_bytes_per_token(folder, dtype))


def cache_bytes_per_token(folder: Path, dtype: str) -> int:
    """Keys and values of one token in all blocks. Raises BadInput for a configuration that transformers cannot read."""
    from transformers import AutoConfig

    try:
        shape = AutoConfig.from_pretrained(folder).get_text_config()
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BadInput(
            f"LLM folder {folder}: config.json: {str(error).strip().splitlines()[0]}",
            allowed="an LLM whose architecture transformers knows",
            do="correct the file, or take another --llm",
        ) from error
    n_heads = getattr(shape, "num_key_value_heads", None) or shape.num_attention_heads
    width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    return 2 * shape.num_hidden_layers * n_heads * width * DTYPE_BYTES[dtype]


def check_fits(llm: LLM, need: Need, *, free_gb: Sequence[float], on_gpu: bool) -> None:
    """Raises BadInput where an LLM needs more than is free, and says what to change.

    Parameters
    ----------
    free_gb : free memory of each GPU it may use, GB; without a GPU, of this machine.
    """
    n_gpus = llm.n_gpus if on_gpu else 1
    if len(free_gb) < n_gpus:
        raise BadInput(
            f"LLM {llm.name} is set to n_gpus={n_gpus}, and {len(free_gb)} can be used here",
            allowed="as many GPUs as one node has",
            do=f"take a node with {n_gpus} GPUs, or set fewer: {llm.name}:n_gpus={max(1, len(free_gb))}",
        )
    usable = min(free_gb[:n_gpus]) * (USABLE if on_gpu else 1.0)
    if need.gb(n_gpus) > usable:
        raise too_little_memory(llm, need=need, free_gb=min(free_gb[:n_gpus]), on_gpu=on_gpu)


def too_little_memory(llm: LLM, *, need: Need, free_gb: float, on_gpu: bool, said: str = "") -> BadInput:
    """The error for an LLM that does not fit, with the settings of its row that would make it fit."""
    n_gpus = llm.n_gpus if on_gpu else 1
    place = f"each of {n_gpus} GPUs" if n_gpus > 1 else "one GPU" if on_gpu else "this machine"
    advice = []
    if DTYPE_BYTES[llm.dtype] > 2:
        advice.append(f"halve the weights: {llm.name}:dtype=bfloat16 (other texts from the same seeds)")
    room = free_gb * USABLE - MARGIN_GB
    if on_gpu and room > 0:
        more = 2 ** math.ceil(math.log2(max((need.weights + need.cache) / 1e9 / room, 2 * n_gpus)))
        advice.append(f"share it among more GPUs of one node: {llm.name}:n_gpus={more}")
    advice.append("free memory that other programs hold" if free_gb > 0 else "take another machine")
    advice.append("take a smaller --llm")
    return BadInput(
        f"LLM {llm.name} ({llm.dtype}) needs {need.gb(n_gpus):.1f} GB on {place} (weights "
        f"{need.weights / n_gpus / 1e9:.1f}, cache {need.cache / n_gpus / 1e9:.1f}, margin {MARGIN_GB:.1f}); "
        f"{free_gb:.1f} GB are free" + (f" ({said})" if said else ""),
        allowed=f"{need.gb(n_gpus) / (USABLE if on_gpu else 1):.1f} GB free or more",
        do="; or ".join(advice),
    )


def _n_weights(path: Path) -> int:
    """Numbers in a safetensors file, from its header. Raises BadInput where that is damaged."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(size))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        if path.stat().st_size != 8 + size + max(ends, default=0):
            raise ValueError(f"it has {path.stat().st_size} bytes, not {8 + size + max(ends, default=0)}")
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise BadInput(
            f"weights file {path}: {error}", allowed="a whole safetensors file", do="download or copy it again"
        ) from error
