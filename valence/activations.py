"""Stage activations: texts in, float32 array (n_texts, n_layers, d_model) out, read at the last token.

A layer is an index into the hidden states of the LLM as transformers lists them: 0 the embeddings, k the output of
block k, and -1 the last, after the final norm. The study reads -2, the output of the second-to-last block, before
any final norm. The text is plain: no chat template, special tokens as the tokenizer adds them by default, so that
both engines read the same tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from valence.cache import write_whole
from valence.cell import canonical_hash
from valence.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LAYER = -2
POOLING = "last"
TOKENS_PER_BATCH = 4096


def block_of_layer(layer: int, n_blocks: int) -> int:
    """Index of the block whose output a layer is, 0 … n_blocks − 2.

    Raises BadInput for the embeddings, for the last hidden state (what transformers calls so is normed, the block's
    output is not), and for what the LLM does not have.
    """
    index = layer + n_blocks + 1 if layer < 0 else layer
    if not 1 <= index < n_blocks:
        raise BadInput(
            f"layer {layer} of an LLM with {n_blocks} blocks",
            allowed=f"1 to {n_blocks - 1}, or {-n_blocks} to -2",
            do="take -2, the layer of the study, or another one from this range",
        )
    return index - 1


def read_with_transformers(
    network: "PreTrainedModel", token_ids: Sequence[Sequence[int]], *, layers: Sequence[int], pad_id: int
) -> np.ndarray:
    """Activations at the last token of each text, by transformers.

    Parameters
    ----------
    network : a causal LLM in evaluation mode; its head is not run.
    token_ids : tokens of each text, at least one.
    layers : see `block_of_layer`.
    pad_id : any token id; padded positions come after the text and are masked.

    Returns
    -------
    float32 array, (n_texts, n_layers, d_model)
    """
    import torch  # slow, and not needed where an axis is reused

    n_blocks = network.config.get_text_config().num_hidden_layers
    states = [block_of_layer(layer, n_blocks) + 1 for layer in layers]
    rows: dict[int, np.ndarray] = {}
    for batch in batches_by_length(token_ids, TOKENS_PER_BATCH):
        lengths = torch.tensor([len(token_ids[index]) for index in batch])
        ids = torch.full((len(batch), int(lengths.max())), pad_id)
        for row, index in enumerate(batch):
            ids[row, : lengths[row]] = torch.tensor(token_ids[index])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        with torch.inference_mode():
            hidden = network.base_model(
                input_ids=ids.to(network.device), attention_mask=mask.to(network.device), output_hidden_states=True
            ).hidden_states
        last = [hidden[state][torch.arange(len(batch)), lengths - 1].float().cpu() for state in states]
        rows |= dict(zip(batch, torch.stack(last, dim=1).numpy(), strict=True))
    return np.stack([rows[index] for index in range(len(token_ids))])


def batches_by_length(token_ids: Sequence[Sequence[int]], tokens_per_batch: int) -> list[list[int]]:
    """Indices of texts, short ones first, in batches whose padded size stays within a number of tokens."""
    batches: list[list[int]] = []
    for index in sorted(range(len(token_ids)), key=lambda index: len(token_ids[index])):
        if not batches or (len(batches[-1]) + 1) * len(token_ids[index]) > tokens_per_batch:
            batches.append([])
        batches[-1].append(index)
    return batches


def save_activations(path: Path, activations: np.ndarray, *, texts: Sequence[str], layers: Sequence[int]) -> None:
    """Write activations, (n_texts, n_layers, d_model), with a hash of their texts, as safetensors; whole or not."""
    from safetensors.numpy import save_file

    facts = {"texts": canonical_hash(list(texts)), "layers": ",".join(map(str, layers)), "pooling": POOLING}
    tensors = {"activations": np.ascontiguousarray(activations, dtype=np.float32)}
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata=facts))


def load_activations(path: Path, *, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
    """Activations of exactly these texts and layers: float32 array, (n_texts, n_layers, d_model).

    Raises BadInput where the file is damaged or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    wanted = {"texts": canonical_hash(list(texts)), "layers": ",".join(map(str, layers)), "pooling": POOLING}
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
