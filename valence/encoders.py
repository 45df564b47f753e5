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

from valence.activations import batches_by_length
from valence.errors import BadInput
from valence.llms.places import check_folder, files_read, from_hub
from valence.sentence_encoder import TOKENS_PER_BATCH, SentenceEncoder, find_sentence_encoder, most_tokens

MINILM = "minilm"
ENCODERS = ("albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
"""model_type of a config.json whose network turns a text into one vector a token"""
HYPOTHESES = ("This text is positive.", "This text is negative.")
IMAGES_PER_BATCH = 16


class TextEncoder(Protocol):
    """What all of them do."""

    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 array, (n_texts, d), rows of length 1"""
        ...


class ClipEncoder:
    """CLIP: texts and images as vectors of one space, on the CPU or the GPU.

    Parameters
    ----------
    folder : with config.json, safetensors, tokenizer and preprocessor_config.json.
    """

    def __init__(self, folder: Path, name: str = "clip"):
        from transformers import CLIPModel

        self.name = name
        self._folder = folder
        self._network: Any = _loaded(CLIPModel, folder)
        self._tokenizer = _tokenizer(folder)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts: float32 array, (n_texts, d), rows of length 1; texts are cut at CLIP's 77 tokens."""
        most = self._network.config.text_config.max_position_embeddings
        encoded = [dict(self._tokenizer(text, truncation=True, max_length=most)) for text in texts]
        return _by_batch(encoded, self._text_vectors, self._network.config.projection_dim)

    def encode_images(self, paths: Sequence[Path]) -> np.ndarray:
        """Vectors of image files: float32 array, (n_images, d), rows of length 1. Raises BadInput, with its name."""
        import torch
        from transformers import CLIPImageProcessor

        try:
            processor = CLIPImageProcessor.from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"CLIP folder {self._folder}: {str(error).splitlines()[0]}",
                allowed="a folder with preprocessor_config.json",
                do="fetch that file too",
            ) from error
        vectors = []
        for start in range(0, len(paths), IMAGES_PER_BATCH):
            images = [_image(Path(path)) for path in paths[start : start + IMAGES_PER_BATCH]]
            pixels = processor(images=images, return_tensors="pt")["pixel_values"].to(self._network.device)
            with torch.inference_mode():
                vectors.append(_unit(self._network.get_image_features(pixel_values=pixels)))
        return np.concatenate(vectors) if vectors else np.empty((0, self._network.config.projection_dim), np.float32)

    def _text_vectors(self, given: dict[str, Any]) -> np.ndarray:
        wanted = {name: given[name].to(self._network.device) for name in ("input_ids", "attention_mask")}
        return _unit(self._network.get_text_features(**wanted))


class NliEncoder:
    """A classifier of whether one text follows from another.

    `score` is what such a classifier is compared by, zero-shot (Yin et al. 2019, arXiv:1909.00161): how much more
    "This text is positive." follows from a text than "This text is negative." does.

    Parameters
    ----------
    folder : with config.json that names an entailment and a contradiction label, safetensors and tokenizer.
    """

    def __init__(self, folder: Path, name: str = "nli"):
        from transformers import AutoModelForSequenceClassification

        self.name = name
        self._network: Any = _loaded(AutoModelForSequenceClassification, folder)
        self._tokenizer = _tokenizer(folder)
        labels = {str(label).lower(): index for index, label in self._network.config.id2label.items()}
        self._entailment, self._contradiction = (int(labels[label]) for label in ("entailment", "contradiction"))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Means over tokens of the last hidden state: float32 array, (n_texts, d), rows of length 1."""
        return _by_batch(self._encoded(texts, None), self._vectors, self._network.config.hidden_size)

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Log odds that a text is positive minus log odds that it is negative: float32 (n_texts,)."""
        of_each = [_by_batch(self._encoded(texts, hypothesis), self._odds, 1)[:, 0] for hypothesis in HYPOTHESES]
        return of_each[0] - of_each[1]

    def _encoded(self, texts: Sequence[str], hypothesis: str | None) -> list[dict[str, list[int]]]:
        how = {
            "truncation": True if hypothesis is None else "only_first",
            "max_length": most_tokens(self._network.config, self._tokenizer),
        }
        encoded = [dict(self._tokenizer(text, hypothesis, return_attention_mask=True, **how)) for text in texts]
        if getattr(self._network.config, "type_vocab_size", 0) < 2:  # no such embeddings, whatever the tokenizer gives
            encoded = [{name: of for name, of in given.items() if name != "token_type_ids"} for given in encoded]
        return encoded

    def _odds(self, given: dict[str, Any]) -> np.ndarray:
        given = {name: values.to(self._network.device) for name, values in given.items()}
        logits = self._network(**given).logits.float().cpu().numpy()
        return logits[:, [self._entailment]] - logits[:, [self._contradiction]]

    def _vectors(self, given: dict[str, Any]) -> np.ndarray:
        given = {name: values.to(self._network.device) for name, values in given.items()}
        mask = given["attention_mask"]
        hidden = self._network.base_model(**given).last_hidden_state
        return _unit((hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))


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
        raise _not_an_encoder(folder, f"config.json cannot be read: {error}") from error
    if model_type == "clip":
        return "clip"
    if any(str(name).endswith("ForSequenceClassification") for name in architectures):
        if {"entailment", "contradiction"} <= labels:
            return "nli"
        raise _not_an_encoder(folder, f"a classifier of {', '.join(sorted(labels)) or 'unnamed labels'}")
    if model_type in ENCODERS:
        return "sentences"
    raise _not_an_encoder(folder, f"{', '.join(map(str, architectures)) or f'model_type {model_type}'}")


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
        raise _not_an_encoder(folder, f"it is of the kind {kind}; for --nli a classifier of entailment is needed")
    return NliEncoder(folder, Path(name_or_path).name)


def encoder_hash(name_or_path: str) -> str:
    """16 hex digits over an encoder's files. Raises as `load_encoder`."""
    from valence.cache import file_hash
    from valence.cell import canonical_hash

    folder = encoder_folder(name_or_path)
    return canonical_hash([[path.name, file_hash(path)] for path in files_read(folder)])


def _not_an_encoder(folder: Path, why: str) -> BadInput:
    return BadInput(
        f"encoder folder {folder}: {why}",
        allowed=f"CLIP; a classifier with the labels entailment and contradiction; an encoder ({', '.join(ENCODERS)}); "
        "each as config.json, *.safetensors and tokenizer",
        do="give another folder or hub id; LLMs are given with --llm",
    )


def _loaded(kind: Any, folder: Path) -> Any:
    import torch
    from safetensors import SafetensorError

    try:
        network = kind.from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise _not_an_encoder(folder, str(error).splitlines()[0]) from error
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _not_an_encoder(folder, f"its tokenizer: {str(error).splitlines()[0]}") from error


def _by_batch(encoded: Sequence[dict[str, list[int]]], compute: Any, width: int) -> np.ndarray:
    """Rows of all texts, (n_texts, width), computed in batches of like length; padding comes after a text.

    `compute` is given all that the tokenizer gives: BERT tells a premise from a hypothesis by token_type_ids alone.
    """
    import torch

    ids = [given["input_ids"] for given in encoded]
    rows = np.empty((len(ids), width), dtype=np.float32)
    for batch in batches_by_length(ids, TOKENS_PER_BATCH):
        most = max(len(ids[index]) for index in batch)
        given = {}
        for name in encoded[batch[0]]:
            # what CLIP takes as the end of a text is its largest token: padding has to be another one
            fill = 1 if name == "input_ids" else 0
            padded = [[*encoded[index][name], *[fill] * (most - len(ids[index]))] for index in batch]
            given[name] = torch.tensor(padded)
        with torch.inference_mode():
            rows[batch] = compute(given)
    return rows


def _unit(vectors: Any) -> np.ndarray:
    vectors = getattr(vectors, "pooler_output", vectors).float()
    return (vectors / vectors.norm(dim=1, keepdim=True)).cpu().numpy()


def _image(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadInput(f"image {path}: {error}", allowed="a JPEG or PNG file", do="correct the path") from error
