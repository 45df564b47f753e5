"""Stage LLMs: the same network with random weights, for the null of the axis: does training matter, or the shape?

Weights are drawn as the architecture draws them before training, in memory alone: twenty seeds of an LLM would fill a
disk. Configuration and tokenizer are the trained LLM's.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valence.errors import BadInput
from valence.llms import DTYPE_BYTES, LLM, local_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

UNTRAINED = "untrained-1"
"""raised whenever the same seed would give other weights"""
MOST_PARAMETERS = 5e9
"""of a network that is drawn here: of larger ones every seed takes minutes, and the memory of a large machine"""

logger = logging.getLogger(__name__)


def untrained(llm: LLM, seed: int) -> LLM:
    """The LLM before any training; `network_of` draws its weights, the same from the same seed."""
    return replace(
        llm,
        name=f"{llm.name}-untrained-{seed}",
        source=f"untrained:{seed}:{llm.source}",
        family=f"{llm.family} untrained",
        n_gpus=1,
    )


def is_untrained(llm: LLM) -> bool:
    """Whether a row is one that `untrained` gives."""
    return llm.source.startswith("untrained:")


def origin(llm: LLM) -> tuple[int, LLM]:
    """Seed and trained LLM of an untrained one. Raises BadInput for a source that `untrained` does not write."""
    kind, seed, source = (*llm.source.split(":", 2), "", "")[:3]
    if kind != "untrained" or not seed.isdigit() or not source:
        raise BadInput(
            f"source {llm.source!r} of LLM {llm.name}", allowed="untrained:SEED:SOURCE", do="make it with untrained()"
        )
    return int(seed), replace(llm, source=source)


def reason_against(llm: LLM) -> str:
    """Why no untrained network of an LLM is drawn, in words; empty where nothing speaks against it."""
    from valence.llms.memory import need_of

    n = llm.n_parameters or need_of(local_folder(llm), llm.dtype).weights / DTYPE_BYTES[llm.dtype]
    if n <= MOST_PARAMETERS:
        return ""
    return f"{n / 1e9:.1f}e9 weights; untrained networks of at most {MOST_PARAMETERS / 1e9:.0f}e9 are drawn"


def network_of(folder: Path, llm: LLM) -> "PreTrainedModel":
    """The untrained network of an LLM, on the CPU, in its dtype.

    Parameters
    ----------
    folder : of the trained LLM, whose configuration is read.
    llm : as `untrained` gives it.

    Raises BadInput for another source.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    seed, _ = origin(llm)
    configuration: Any = AutoConfig.from_pretrained(folder)
    logger.info("random weights in the shape of %s", folder.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # drawn in float32 and then cast, so that every dtype has the same weights
        network = AutoModelForCausalLM.from_config(configuration, dtype=torch.float32)
    return network.to(getattr(torch, llm.dtype))
