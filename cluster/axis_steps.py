"""Stages paraphrases, activations and axis: the steps of one fit, each reused where its folder holds the result."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cluster.axis_folder import AxisFolder
from cluster.remote_engine import RemoteEngine
from valence.axis import Axis, fit_axis
from valence.llms import LLM
from valence.paraphrases import Paraphrasing, paraphrase, shortfall
from valence.stories import load_stories

OnEvent = Callable[[str], None]


def written(
    llm: LLM, running: RemoteEngine, parts: AxisFolder, *, how: Paraphrasing, seed: int, on_event: OnEvent
) -> pd.DataFrame:
    """The table of paraphrases, saved story by story; no engine is started where it is there."""
    table = parts.paraphrases()
    if table is None:
        table = paraphrase(
            load_stories(),
            running,
            how=how,
            seed=seed,
            author=llm.name,
            done=parts.unfinished_paraphrases(),
            on_table=parts.save_unfinished,
            on_event=on_event,
        )
        parts.save_paraphrases(table)
    return table


def read_activations(running: RemoteEngine, parts: AxisFolder, table: pd.DataFrame, on_event: OnEvent) -> np.ndarray:
    """Activations of the kept texts, (n_texts, 1, d_model); no engine is started where they are there."""
    texts = table[table["kept"]]["text"].tolist()
    activations = parts.activations(texts)
    if activations is None:
        on_event(f"activations: reading {len(texts)} texts")
        wanted = parts.configuration
        activations = running.activations(texts, layers=[wanted["layer"]], pooling=wanted["pooling"])
        parts.save_activations(activations, texts)
    return activations


def fit_and_finish(
    parts: AxisFolder,
    llm: LLM,
    table: pd.DataFrame,
    activations: np.ndarray,
    *,
    n_paraphrases: int,
    facts: dict[str, object],
    warnings: Sequence[str],
    on_event: OnEvent,
) -> Axis:
    """Fit the axis of a folder to its kept texts and save it; facts and warnings of the paraphrases go to its notes."""
    kept, wanted = table[table["kept"]], parts.configuration
    axis = fit_axis(
        activations[:, 0],
        kept["emotion"].to_numpy(),
        kept["set"].to_numpy(),
        method=wanted["method"],
        sign_rule=wanted["sign_rule"],
        texts=kept["text"].tolist(),
        n_tokens=kept["n_tokens"].to_numpy(),
        llm=llm.name,
        llm_hash=wanted["llm_hash"],
        layer=wanted["layer"],
        pooling=wanted["pooling"],
        n_paraphrases=n_paraphrases,
        engine=wanted["engine"],
        dtype=llm.dtype,
        seed=wanted["seed"],
    )
    warnings = [*axis.notes["warnings"], *warnings]  # type: ignore[misc]
    axis = replace(axis, notes={**axis.notes, "paraphrases": facts, "warnings": warnings})
    parts.finish(axis)
    for warning in warnings:
        on_event(f"axis: note that {warning}")
    return axis


def facts_of_paraphrases(table: pd.DataFrame, how: Paraphrasing) -> tuple[dict[str, object], list[str]]:
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
