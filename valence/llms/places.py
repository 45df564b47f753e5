"""Stage LLMs: where an LLM lies, a folder, a GGUF file or the hub's cache, and whether it is whole."""

import json
import os
from pathlib import Path

from valence.errors import BadInput

_FILES = ("*.safetensors", "*.json", "*.jinja", "merges.txt", "tokenizer.model")
"""what is read of an LLM, beside its folder's other files"""
_POOLING = "1_Pooling/config.json"
"""of sentence encoders alone"""
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
INDEX = "model.safetensors.index.json"


def files_read(folder: Path) -> list[Path]:
    """The files of an LLM that decide its output."""
    return sorted({path for pattern in (*_FILES, _POOLING) for path in folder.glob(pattern) if path.is_file()})


def gguf_at(place: Path) -> Path | None:
    """The GGUF file that a path means: itself, or the one in a folder without safetensors. None: it is no GGUF.

    Raises BadInput for a folder with several: they are other LLMs, or parts of one that has to be joined.
    """
    if place.is_file() and place.suffix.lower() == ".gguf":
        return place
    found = sorted(place.glob("*.gguf")) if place.is_dir() and not any(place.glob("*.safetensors")) else []
    if len(found) > 1:
        raise BadInput(
            f"LLM folder {place} has {len(found)} GGUF files: {', '.join(path.name for path in found)}",
            allowed="one",
            do="give the path of one; join parts first with llama-gguf-split --merge",
        )
    return found[0] if found else None


def check_folder(folder: Path) -> Path:
    """The folder. Raises BadInput where it is no LLM, or lacks weights that its index names, or a tokenizer."""
    missing = _missing(folder)
    if missing:
        raise BadInput(
            f"LLM folder {folder}: {missing}",
            allowed="a folder as save_pretrained writes it (config.json, *.safetensors, tokenizer), or a GGUF file",
            do="correct the path, complete the folder, or give a hub id owner/name",
        )
    return folder


def _missing(folder: Path) -> str:
    if not folder.is_dir():
        return "it is a file" if folder.exists() else "no such folder"
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("pytorch_model*.bin"))
        return "it has no config.json or no *.safetensors" + (
            "; pytorch_model.bin could run code and is not read" if pickled else ""
        )
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        return f"it has no tokenizer ({', '.join(_TOKENIZERS)})"
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
        index = json.loads((folder / INDEX).read_text(encoding="utf-8")) if (folder / INDEX).is_file() else {}
        named = set(index.get("weight_map", {}).values())
    except (OSError, ValueError, AttributeError) as error:
        return f"config.json or {INDEX} cannot be read: {error}"
    absent = sorted(name for name in named if not (folder / name).is_file())
    return f"{INDEX} names {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not there" if absent else ""


def from_hub(place: str, revision: str, *, download: bool) -> Path:
    """Folder of a hub id in the hub's cache, downloaded first where that is allowed. Raises BadInput."""
    from huggingface_hub import snapshot_download  # a second of imports that packaged LLMs and folders do not need
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    offline = not download or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    try:
        folder = snapshot_download(
            place,
            revision=revision,
            allow_patterns=[*_FILES, _POOLING],
            ignore_patterns=["[!1]*/*", "1[!_]*/*", "1_[!P]*/*", "consolidated*"],
            local_files_only=offline,
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise BadInput(
            f"LLM {place} (revision {revision}) is not here and could not be downloaded: "
            f"{str(error).strip().splitlines()[0]}",
            allowed="a hub id that you can reach, or one that is in the hub's local cache",
            do="check the id, the network, HF_HUB_OFFLINE and HF_TOKEN, or give a local folder",
        ) from error
    return Path(folder)
