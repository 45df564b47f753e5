"""Stage LLMs: the same network with random weights, for the null of the axis: does training matter, or the shape?

Weights are drawn as the architecture draws them before training. Configuration and tokenizer stay.
"""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

from valence.cache import cache_folder
from valence.errors import BadInput
from valence.llms import LLM, local_folder, weights_hash
from valence.llms.places import files_read
from valence.once import build_once

UNTRAINED = "untrained-1"
"""raised whenever the same seed would give other weights"""

logger = logging.getLogger(__name__)


def untrained(llm: LLM, seed: int) -> LLM:
    """The LLM before any training; `local_folder` makes its weights on first use, the same from the same seed."""
    return replace(
        llm,
        name=f"{llm.name}-untrained-{seed}",
        source=f"untrained:{seed}:{llm.source}",
        family=f"{llm.family} untrained",
    )


def origin(llm: LLM) -> tuple[int, LLM]:
    """Seed and trained LLM of an untrained one. Raises BadInput for a source that `untrained` does not write."""
    kind, seed, source = (*llm.source.split(":", 2), "", "")[:3]
    if kind != "untrained" or not seed.isdigit() or not source:
        raise BadInput(
            f"source {llm.source!r} of LLM {llm.name}", allowed="untrained:SEED:SOURCE", do="make it with untrained()"
        )
    return int(seed), replace(llm, source=source)


def untrained_folder(llm: LLM) -> Path:
    """Folder of an untrained LLM in the cache, made on first use. Raises as `local_folder`."""
    seed, trained = origin(llm)
    folder = cache_folder() / "llms" / f"{UNTRAINED}-{seed}-{llm.dtype}-{weights_hash(trained)}"
    return build_once(
        folder,
        is_complete=lambda candidate: any(candidate.glob("model*.safetensors")),
        build=lambda partial: _initialise(local_folder(trained), partial, llm.dtype, seed),
    )


def _initialise(trained: Path, folder: Path, dtype: str, seed: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    logger.info("random weights in the shape of %s", trained.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(trained), dtype=torch.float32)
    network.to(getattr(torch, dtype)).save_pretrained(folder)
    for path in files_read(trained):
        if path.suffix != ".safetensors" and not (folder / path.name).exists() and "index" not in path.name:
            shutil.copyfile(path, folder / path.name)
