"""Stage activations: texts in, float32 array (n_texts, n_layers, d_model) out, of the last token or a mean.

A layer is an index into the hidden states of the LLM as transformers lists them: 0 the embeddings (what the first
block is given), k the output of block k, and -1 the last, after the final norm. All can be read in one pass. The study
reads -2, the output of the second-to-last block, before any final norm. The text is plain: no chat template, special
tokens as the tokenizer adds them by default, so that both engines read the same tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from valence.cache import write_whole
from valence.cell import canonical_hash
from valence.errors import BadInput

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LAYER = -2
POOLING = "last"
POOLINGS = ("last", "mean")
"""of a text's tokens, its special tokens included: the last one, or the mean over all but the first

Many LLMs heap attention on a first token, and with it a norm ten times the others': a mean with it measures how few
tokens a text has. It stays only where it is the one token of a text.
"""
READINGS = {"last": 1, "mean": 2}
"""raised whenever a pooling would give other activations of the same tokens"""
LEAST_BLOCKS = 3
"""below this an LLM has no layer -2 that is neither its first block's output nor its last"""
TOKENS_PER_BATCH = 4096
BYTES_PER_BATCH = 512 * 2**20
"""of hidden states of all layers, which transformers keeps until a batch is done"""


def state_of_layer(layer: int, n_blocks: int) -> int:
    """Index of a layer among the hidden states, 0 … n_blocks. Raises BadInput for what the LLM does not have."""
    index = layer + n_blocks + 1 if layer < 0 else layer
    if not 0 <= index <= n_blocks:
        raise BadInput(
            f"layer {layer} of an LLM with {n_blocks} blocks",
            allowed=f"0 to {n_blocks}, or {-n_blocks - 1} to -1",
            do="take -2, the layer of the study, or another one from this range",
        )
    return index


def check_pooling(pooling: str) -> str:
    """The pooling. Raises BadInput for an unknown one."""
    if pooling not in POOLINGS:
        raise BadInput(f"unknown pooling {pooling!r}", allowed=", ".join(POOLINGS), do="take one of these")
    return pooling


def reading_identity(pooling: str) -> dict[str, int]:
    """What a hash of activations of this pooling takes in beside its name: nothing for a first version."""
    return {"reading": READINGS[pooling]} if READINGS[pooling] > 1 else {}


def check_blocks(n_blocks: int, name: str) -> int:
    """The number of blocks of an LLM. Raises BadInput where they are too few to speak of layers."""
    if n_blocks < LEAST_BLOCKS:
        raise BadInput(
            f"LLM {name} has {n_blocks} transformer block{'' if n_blocks == 1 else 's'}",
            allowed=f"at least {LEAST_BLOCKS}: layer -2 has to lie between the first block and the last",
            do="take a deeper LLM",
        )
    return n_blocks


def read_with_transformers(
    network: "PreTrainedModel",
    token_ids: Sequence[Sequence[int]],
    *,
    layers: Sequence[int],
    pad_id: int,
    pooling: str = POOLING,
) -> np.ndarray:
    """Activations of each text, by transformers.

    Parameters
    ----------
    network : a causal LLM in evaluation mode; its head is not run.
    token_ids : tokens of each text, at least one.
    layers : see `state_of_layer`.
    pad_id : any token id; padded positions come after the text and are masked.
    pooling : "last" or "mean", see POOLINGS.

    Returns
    -------
    float32 array, (n_texts, n_layers, d_model)
    """
    import torch  # slow, and not needed where an axis is reused

    check_pooling(pooling)
    configuration = network.config.get_text_config()
    n_blocks = configuration.num_hidden_layers
    states = [state_of_layer(layer, n_blocks) for layer in layers]
    read = np.empty((len(token_ids), len(states), configuration.hidden_size), dtype=np.float32)
    bytes_per_token = (n_blocks + 1) * configuration.hidden_size * network.dtype.itemsize
    for batch in batches_by_length(token_ids, min(TOKENS_PER_BATCH, BYTES_PER_BATCH // bytes_per_token)):
        lengths = torch.tensor([len(token_ids[index]) for index in batch])
        ids = torch.full((len(batch), int(lengths.max())), pad_id)
        for row, index in enumerate(batch):
            ids[row, : lengths[row]] = torch.tensor(token_ids[index])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        with torch.inference_mode():
            hidden = network.base_model(
                input_ids=ids.to(network.device), attention_mask=mask.to(network.device), output_hidden_states=True
            ).hidden_states
            for position, state in enumerate(states):
                read[batch, position] = _pooled(hidden[state], mask, pooling).numpy()
    return read


def _pooled(hidden: "torch.Tensor", mask: "torch.Tensor", pooling: str) -> Any:
    """float32 (n_texts, d_model) of hidden states (n_texts, n_tokens, d_model), masked after each text's end."""
    import torch

    lengths = mask.sum(dim=1)
    if pooling == "last":
        return hidden[torch.arange(len(mask)), lengths - 1].float().cpu()
    counted = mask.clone()
    counted[:, 0] = lengths == 1
    kept = hidden.double() * counted.to(hidden.device)[..., None]
    return (kept.sum(dim=1).cpu() / counted.sum(dim=1)[:, None]).float()


def batches_by_length(token_ids: Sequence[Sequence[int]], tokens_per_batch: int) -> list[list[int]]:
    """Indices of texts, short ones first, in batches whose padded size stays within a number of tokens."""
    batches: list[list[int]] = []
    for index in sorted(range(len(token_ids)), key=lambda index: len(token_ids[index])):
        if not batches or (len(batches[-1]) + 1) * len(token_ids[index]) > tokens_per_batch:
            batches.append([])
        batches[-1].append(index)
    return batches


def save_activations(
    path: Path, activations: np.ndarray, *, texts: Sequence[str], layers: Sequence[int], pooling: str = POOLING
) -> None:
    """Write activations, (n_texts, n_layers, d_model), with a hash of their texts, as safetensors; whole or not."""
    from safetensors.numpy import save_file

    facts = {"texts": canonical_hash(list(texts)), "layers": ",".join(map(str, layers)), "pooling": pooling}
    tensors = {"activations": np.ascontiguousarray(activations, dtype=np.float32)}
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata=facts))


def load_activations(path: Path, *, texts: Sequence[str], layers: Sequence[int], pooling: str = POOLING) -> np.ndarray:
    """Activations of exactly these texts and layers: float32 array, (n_texts, n_layers, d_model).

    Raises BadInput where the file is damaged or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    wanted = {"texts": canonical_hash(list(texts)), "layers": ",".join(map(str, layers)), "pooling": pooling}
    try:
        with safe_open(path, "np") as file:
            facts = file.metadata() or {}
            activations = file.get_tensor("activations")
    except (SafetensorError, OSError) as error:
        raise _not_these(path, str(error)) from error
    if facts != wanted or activations.ndim != 3 or activations.shape[:2] != (len(texts), len(layers)):
        raise _not_these(path, f"it holds shape {activations.shape} and {facts}, wanted {wanted}")
    if not np.isfinite(activations).all():
        raise _not_these(path, "it has values that are not finite")
    return activations


def _not_these(path: Path, why: str) -> BadInput:
    return BadInput(
        f"activations file {path}: {why}", allowed="the file of these texts and layers", do="delete it and run again"
    )
