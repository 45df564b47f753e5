"""Stages paraphrases, activations and axis on Ray: an LLM in, its axis out, in a folder that can be taken up again.

One actor holds one engine, which writes the paraphrases and is read for the activations; it is killed before the axis
is fitted, so that its memory is free for training. Texts that one LLM wrote can be read by others, as in the study:
`write_paraphrases`, then `fit_axis_of_texts` for each.
"""

import importlib.util
import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cluster.axis_folder import AxisFolder, configuration_of, configuration_on_texts, writing_of
from cluster.axis_inputs import check_layer, check_table, choose_engine
from cluster.axis_steps import OnEvent, facts_of_paraphrases, fit_and_finish, read_activations, written
from cluster.remote_engine import RemoteEngine
from valence.activations import LAYER, POOLING, check_pooling
from valence.axis import METHOD, Axis
from valence.axis_methods import choose_method
from valence.errors import BadInput
from valence.llms import LLM, weights_hash
from valence.paraphrases import Paraphrasing

SIGN_RULE = "stories"

logger = logging.getLogger(__name__)


def find_llm_axis(
    llm: LLM,
    *,
    n_paraphrases: int,
    folder: Path,
    engine: str = "auto",
    layer: int = LAYER,
    pooling: str = POOLING,
    method: str = METHOD,
    how: Paraphrasing | None = None,
    seed: int = 0,
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
    how = _settings(how, n_paraphrases)
    _check_names(pooling, method)
    configuration = configuration_of(
        llm,
        llm_hash,
        how=how,
        layer=layer,
        engine=engine,
        sign_rule=SIGN_RULE,
        seed=seed,
        pooling=pooling,
        method=method,
    )
    return AxisFolder(folder, configuration).finished()


def fit_llm_axis(
    llm: LLM,
    *,
    n_paraphrases: int,
    folder: Path,
    engine: str = "auto",
    layer: int = LAYER,
    pooling: str = POOLING,
    method: str = METHOD,
    how: Paraphrasing | None = None,
    seed: int = 0,
    on_event: OnEvent = logger.info,
) -> Axis:
    """Write paraphrases of all stories, read their activations, fit the axis. Ray has to be running.

    Parameters
    ----------
    n_paraphrases : texts to keep per story.
    folder : receives paraphrases.parquet, activations.safetensors and axis.safetensors. What is there under the same
        configuration is reused, down to the finished axis; a fit from another folder is found in the cache, and so
        are its paraphrases for another layer, pooling or method.
    engine : "vllm", "transformers", or "auto": vLLM where it is installed.
    layer, pooling : what is read, see `valence.activations`.
    method : a name of `valence.axis_methods.METHODS`.
    how : how paraphrases are made; None: the defaults. Its n gives way to n_paraphrases.
    seed : of texts and bootstrap.
    on_event : receives a line for each step.

    Raises
    ------
    BadInput : for an LLM or engine that is not here, a layer it does not have, an unknown pooling or method, too few
        usable paraphrases.
    """
    engine = choose_engine(engine)
    how = _settings(how, n_paraphrases)
    _check_names(pooling, method)
    llm_hash = weights_hash(llm)
    parts = AxisFolder(
        folder,
        configuration_of(
            llm,
            llm_hash,
            how=how,
            layer=layer,
            engine=engine,
            sign_rule=SIGN_RULE,
            seed=seed,
            pooling=pooling,
            method=method,
        ),
        writing=writing_of(llm, llm_hash, how=how, engine=engine, seed=seed),
    )
    found = parts.finished(on_event)
    if found is not None:
        return found
    check_layer(llm, layer)
    parts.open()
    _say_which(on_event)
    with RemoteEngine(llm, engine, on_event) as running:
        table = written(llm, running, parts, how=how, seed=seed, on_event=on_event)
        activations = read_activations(running, parts, table, on_event)
    facts, warnings = facts_of_paraphrases(table, how)
    return fit_and_finish(
        parts, llm, table, activations, n_paraphrases=n_paraphrases, facts=facts, warnings=warnings, on_event=on_event
    )


def write_paraphrases(
    writer: LLM,
    *,
    how: Paraphrasing,
    folder: Path,
    engine: str = "auto",
    seed: int = 0,
    on_event: OnEvent = logger.info,
) -> pd.DataFrame:
    """Paraphrases of all stories by one LLM, for any number of others to read. Ray has to be running.

    Parameters
    ----------
    folder : receives paraphrases.parquet, story by story; a killed run goes on there. Texts that were written before
        come from the cache, and no engine is started.

    Returns
    -------
    The table of `valence.paraphrases.paraphrase`. Raises as `fit_llm_axis`.
    """
    engine = choose_engine(engine)
    writing = writing_of(writer, weights_hash(writer), how=how, engine=engine, seed=seed)
    parts = AxisFolder(folder, writing, writing=writing)
    parts.open()
    with RemoteEngine(writer, engine, on_event) as running:
        return written(writer, running, parts, how=how, seed=seed, on_event=on_event)


def fit_axis_of_texts(
    llm: LLM,
    table: pd.DataFrame,
    *,
    folder: Path,
    engine: str = "auto",
    layer: int = LAYER,
    pooling: str = POOLING,
    method: str = METHOD,
    seed: int = 0,
    on_event: OnEvent = logger.info,
) -> Axis:
    """The axis of an LLM that reads texts another one may have written. Ray has to be running.

    Parameters
    ----------
    table : of `write_paraphrases`, or any with the columns story, emotion, set, text, kept and n_tokens. Its kept texts
        are part of the axis's identity.
    folder, engine, layer, pooling, method, seed, on_event : as of `fit_llm_axis`.

    Raises BadInput as `fit_llm_axis`, and for a table that cannot be used.
    """
    engine = choose_engine(engine)
    check_table(table)
    _check_names(pooling, method)
    configuration = configuration_on_texts(
        llm,
        weights_hash(llm),
        table,
        layer=layer,
        engine=engine,
        sign_rule=SIGN_RULE,
        seed=seed,
        pooling=pooling,
        method=method,
    )
    parts = AxisFolder(folder, configuration)
    found = parts.finished(on_event)
    if found is not None:
        return found
    check_layer(llm, layer)
    parts.open()
    parts.save_paraphrases(table)
    _say_which(on_event)
    with RemoteEngine(llm, engine, on_event) as running:
        activations = read_activations(running, parts, table, on_event)
        kept = table[table["kept"]]
        writers = sorted({str(name) for name in kept["writer"]}) if "writer" in kept else []
        if writers != [llm.name]:  # the place of the token that is read is counted in tokens of who reads
            table = table.assign(n_tokens=running.count_tokens(table["text"].tolist()))
    facts = {"written": len(table), "kept": len(kept), "writer": ", ".join(writers)}
    least = int(kept.groupby("story").size().min())
    return fit_and_finish(
        parts, llm, table, activations, n_paraphrases=least, facts=facts, warnings=[], on_event=on_event
    )


def _check_names(pooling: str, method: str) -> None:
    check_pooling(pooling)
    choose_method(method)


def _settings(how: Paraphrasing | None, n: int) -> Paraphrasing:
    return Paraphrasing(n=n) if how is None else replace(how, n=n)


def _say_which(on_event: OnEvent) -> None:
    if importlib.util.find_spec("vllm") is None:
        on_event("vLLM is not installed: transformers writes and reads instead, in about twice the time")
