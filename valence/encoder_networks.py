"""Stage validity: CLIP and classifiers of entailment, their weights loaded and texts or images put through them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from valence.activations import batches_by_length
from valence.errors import BadInput
from valence.sentence_encoder import TOKENS_PER_BATCH, most_tokens

ENCODERS = ("albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
"""model_type of a config.json whose network turns a text into one vector a token"""
HYPOTHESES = ("This text is positive.", "This text is negative.")
IMAGES_PER_BATCH = 16


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


def not_an_encoder(folder: Path, why: str) -> BadInput:
    """The error for a folder that none of the encoders reads."""
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
        raise not_an_encoder(folder, str(error).splitlines()[0]) from error
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise not_an_encoder(folder, f"its tokenizer: {str(error).splitlines()[0]}") from error


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
