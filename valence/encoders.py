"""Stage validity: what an LLM's axis is compared with. Texts or images in, vectors (n, d) out; or a score of valence.

A folder or hub id is read by what its config.json says it is: CLIP (texts and images in one space, Radford et al.
2021, arXiv:2103.00020), a natural-language-inference classifier (Williams et al. 2018, arXiv:1704.05426), or an encoder
whose tokens are averaged (Reimers and Gurevych 2019, doi 10.18653/v1/D19-1410); "minilm" is the one that comes inside
a Python package. Only safetensors are read.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from valence.encoder_networks import ENCODERS, ClipEncoder, NliEncoder, not_an_encoder
from valence.llms.places import check_folder, files_read, from_hub
from valence.sentence_encoder import SentenceEncoder, find_sentence_encoder

MINILM = "minilm"


class TextEncoder(Protocol):
    """What all of them do."""

    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 array, (n_texts, d), rows of length 1"""
        ...


def encoder_folder(name_or_path: str, *, download: bool = True) -> Path:
    """Folder of an encoder: "minilm", a folder, or a hub id owner/name (downloaded on first use). Raises BadInput."""
    if name_or_path == MINILM:
        folder = find_sentence_encoder()
        if folder is None:
            SentenceEncoder()  # says what to install
        assert folder is not None
        return folder
    path = Path(name_or_path).expanduser()
    if path.exists() or name_or_path.startswith(("/", ".", "~")) or name_or_path.count("/") != 1:
        return check_folder(path)
    place, _, revision = name_or_path.partition("@")
    return check_folder(from_hub(place, revision or "main", download=download))


def encoder_kind(folder: Path) -> str:
    """ "clip", "nli" or "sentences", from a folder's config.json. Raises BadInput for anything else."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architectures, model_type = config.get("architectures") or [], config.get("model_type")
        labels = {str(label).lower() for label in (config.get("id2label") or {}).values()}
    except (OSError, ValueError, AttributeError) as error:
        raise not_an_encoder(folder, f"config.json cannot be read: {error}") from error
    if model_type == "clip":
        return "clip"
    if any(str(name).endswith("ForSequenceClassification") for name in architectures):
        if {"entailment", "contradiction"} <= labels:
            return "nli"
        raise not_an_encoder(folder, f"a classifier of {', '.join(sorted(labels)) or 'unnamed labels'}")
    if model_type in ENCODERS:
        return "sentences"
    raise not_an_encoder(folder, f"{', '.join(map(str, architectures)) or f'model_type {model_type}'}")


def load_encoder(name_or_path: str, *, download: bool = True) -> TextEncoder:
    """The encoder of "minilm", a local folder or a hub id owner/name.

    Raises BadInput for what is not there, cannot be downloaded, or is no encoder.
    """
    folder = encoder_folder(name_or_path, download=download)
    name = name_or_path if name_or_path == MINILM else Path(name_or_path).name
    makers: dict[str, Any] = {"clip": ClipEncoder, "nli": NliEncoder}
    kind = encoder_kind(folder)
    if kind in makers:
        return makers[kind](folder, name)
    encoder = SentenceEncoder(folder)
    encoder.name = name
    return encoder


def load_nli(name_or_path: str, *, download: bool = True) -> NliEncoder:
    """The same where only an NLI classifier will do. Raises BadInput for another kind."""
    folder = encoder_folder(name_or_path, download=download)
    kind = encoder_kind(folder)
    if kind != "nli":
        raise not_an_encoder(folder, f"it is of the kind {kind}; for --nli a classifier of entailment is needed")
    return NliEncoder(folder, Path(name_or_path).name)


def encoder_hash(name_or_path: str) -> str:
    """16 hex digits over an encoder's files. Raises as `load_encoder`."""
    from valence.cache import file_hash
    from valence.cell import canonical_hash

    folder = encoder_folder(name_or_path)
    return canonical_hash([[path.name, file_hash(path)] for path in files_read(folder)])
