"""Stage LLMs: a name, hub id or folder in, a row `LLM` out; its weights on this machine, and their hash.

Rows of `table.py` are the LLMs with a short name; anything else on the Hugging Face hub or on disk works by its id
or path. Nothing is downloaded before `local_folder` is called, and never where HF_HUB_OFFLINE is set.
"""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from valence.cache import file_hash
from valence.cell import canonical_hash
from valence.errors import BadInput
from valence.llms import packaged
from valence.registry import Registry

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?:@[\w./-]+)?")
_FILES = ("*.safetensors", "*.json", "*.jinja", "merges.txt", "tokenizer.model")
"""what is read of an LLM, beside its folder's other files"""


@dataclass(frozen=True, kw_only=True)
class LLM:
    """One LLM and how it is read: a row of the table."""

    name: str
    source: str
    """"package:NAME" (a GGUF inside an installed Python package), "hub:OWNER/NAME" or "folder:PATH" """
    revision: str = "main"
    """branch, tag or commit on the hub"""
    dtype: str = "float32"
    """of weights and arithmetic; part of a text's identity: bfloat16 writes other texts from the same seeds"""
    chat: bool | None = None
    """whether paraphrases are asked for through the chat template; None: where the tokenizer has one"""
    licence: str = ""
    family: str = ""
    """LLMs of one maker and generation, whose axes are not independent"""
    n_parameters: float = 0.0
    """weights; 0 where unknown before they are here"""
    n_gpus: int = 1
    """that share the weights (tensor parallel); as many processes with one GPU each"""

    @property
    def is_local(self) -> bool:
        """True where nothing of it comes from the hub."""
        return not self.source.startswith("hub:")


LLMS: Registry[LLM] = Registry("LLM", "valence.llms")


def resolve_llm(name_or_path: str) -> LLM:
    """The LLM of a registered name, a local folder, or a hub id "owner/name" (or "owner/name@revision").

    Reads no weights and asks no server.

    Raises
    ------
    BadInput : for an unknown name (with close matches), or a folder without config.json or weights.
    """
    if name_or_path in LLMS:
        return LLMS[name_or_path]
    folder = Path(name_or_path).expanduser()
    if folder.is_dir() or name_or_path.startswith(("/", ".", "~")):
        _check_folder(folder)
        return LLM(name=folder.resolve().name, source=f"folder:{folder.resolve()}")
    if _HUB_ID.fullmatch(name_or_path):
        name, _, revision = name_or_path.partition("@")
        return LLM(name=name, source=f"hub:{name}", revision=revision or "main")
    close = [name for name in LLMS if _similarity(name_or_path.lower(), name.lower()) > 0.6]
    raise BadInput(
        f"unknown LLM {name_or_path!r}",
        allowed=f"{', '.join(LLMS)}; a hub id owner/name; a folder with config.json",
        do=f"did you mean {' or '.join(close)}?" if close else "take a name from the list, an id or a folder",
    )


def local_folder(llm: LLM, *, download: bool = True) -> Path:
    """Folder with the LLM's safetensors on this machine, converted or downloaded on first use.

    Raises BadInput where it is not here and cannot be brought: no such package or id, no network, no access.
    """
    kind, _, place = llm.source.partition(":")
    if kind == "package":
        return packaged.converted(packaged.find_gguf(place))
    if kind == "folder":
        return _check_folder(Path(place))
    return _check_folder(_from_hub(llm, place, download=download))


def weights_hash(llm: LLM, *, download: bool = True) -> str:
    """16 hex digits over everything of the LLM that decides its output: weights, configuration, tokenizer.

    For a packaged LLM, of the file in the package: nothing is converted to find out. Raises as `local_folder`.
    """
    kind, _, place = llm.source.partition(":")
    if kind == "package":
        return canonical_hash([packaged.CONVERSION, file_hash(packaged.find_gguf(place))])
    folder = local_folder(llm, download=download)
    files = sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()})
    return canonical_hash([[path.name, file_hash(path)] for path in files])


def engine_identity(llm: LLM, engine: str) -> str:
    """16 hex digits over what decides the activations of a text: weights, tokenizer, dtype and engine."""
    return canonical_hash([weights_hash(llm), llm.dtype, engine])


def _similarity(given: str, name: str) -> float:
    """0 … 1; the names are long, and people type their beginnings."""
    beginnings = (name, name[: len(given)])
    return max(difflib.SequenceMatcher(None, given, beginning).ratio() for beginning in beginnings)


def _check_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        missing = "no such folder" if not folder.is_dir() else "it has no config.json or no *.safetensors"
        raise BadInput(
            f"LLM folder {folder}: {missing}",
            allowed="a folder as save_pretrained writes it: config.json, *.safetensors, tokenizer",
            do="correct the path, or give a hub id owner/name",
        )
    return folder


def _from_hub(llm: LLM, place: str, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download  # a second of imports that packaged LLMs and folders do not need
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    offline = not download or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    try:
        folder = snapshot_download(
            place,
            revision=llm.revision,
            allow_patterns=list(_FILES),
            ignore_patterns=["*/*", "consolidated*"],
            local_files_only=offline,
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise BadInput(
            f"LLM {place} (revision {llm.revision}) is not here and could not be downloaded: "
            f"{str(error).strip().splitlines()[0]}",
            allowed="a hub id that you can reach, or one that is in the hub's local cache",
            do="check the id, the network, HF_HUB_OFFLINE and HF_TOKEN, or give a local folder",
        ) from error
    return Path(folder)
