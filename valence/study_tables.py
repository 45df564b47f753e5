"""Stage validity, tables: what was read of one LLM in, its axis and its rows of every table out.

Tables are tidy: axes (one row), positions (of classes, stories, paraphrases and clips), concepts, layers, validity and
dose.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from valence.axis import Axis, fit_axis
from valence.axis_clips import with_clip_positions
from valence.axis_evidence import evidence
from valence.axis_layers import fit_layers, layer_profile
from valence.axis_methods import METHODS
from valence.axis_null_rows import NONCE, NULL_COLUMNS, UNTRAINED, Found, null_rows, nulls_of_axis
from valence.axis_nulls import Null
from valence.axis_pca import polarity
from valence.axis_threshold import threshold_of_sign_rule
from valence.benchmark_texts import BenchmarkTexts
from valence.study_positions import concept_table, position_table
from valence.study_read import Read
from valence.validity import (
    COLUMNS,
    DOSE_COLUMNS,
    Paraphrases,
    axis_rows,
    dose_curve,
    fit_of,
    probe_rows,
    project_out,
    random_rows,
    refitted_rows,
    zero_shot,
)

TABLES = ("axes", "positions", "concepts", "layers", "validity", "dose")
N_DRAWS = 10


def tables_of_llm(
    read: Read,
    benchmarks: Mapping[str, BenchmarkTexts],
    *,
    method: str,
    layer: int,
    sign_rule: str = "stories",
    clips: tuple[str, ...] = (),
    seed: int = 0,
    on_event: Callable[[str], None] = lambda line: None,
) -> tuple[Axis, dict[str, pd.DataFrame]]:
    """The axis of one LLM and its tables, each with the column llm first.

    Parameters
    ----------
    clips : names of the clips whose descriptions were read, in their order.

    Raises BadInput for a layer or method that is not there, and as `fit_axis`.
    """
    name = str(read.facts["llm"])
    on_event(f"{name}: fitting the axis and its checks")
    paraphrases = read.paraphrases(layer)
    axis = _axis(read, paraphrases, method=method, layer=layer, sign_rule=sign_rule, clips=bool(clips), seed=seed)
    tables = {"positions": position_table(read, axis, paraphrases, clips=clips)}
    tables["concepts"] = concept_table(read, axis)
    nulls = nulls_of_axis(read, axis, paraphrases, seed=seed)
    tables["axes"] = pd.DataFrame([axes_row(read, axis, paraphrases, nulls)])
    on_event(f"{name}: layers")
    emotions, sets = paraphrases.emotions, paraphrases.sets
    axes = fit_layers(read.files["paraphrases"], emotions, sets, method=method, sign_rule=sign_rule)
    tables["layers"] = layer_profile(axes, n_layers=read.n_layers, reference=layer)
    rows = [row | {"layer": layer} for row in null_rows(nulls, n_classes=len(axis.classes))]
    rows += _validity_of_layers(read, benchmarks, axes, layer)
    for benchmark, loaded in benchmarks.items():
        on_event(f"{name}: validity on {benchmark}")
        rows += _validity(read, loaded, axis, paraphrases, seed=seed)
    columns = [*COLUMNS, "layer", *NULL_COLUMNS]
    tables["validity"] = pd.DataFrame(rows, columns=columns).assign(layer=lambda table: table["layer"] % read.n_layers)
    on_event(f"{name}: dose curve")
    evaluated = {key: (loaded, read.files[f"evaluation/{key}"].layer(layer)) for key, loaded in benchmarks.items()}
    dose = dose_curve(evaluated, paraphrases, fit_of(method, sign_rule), n_draws=N_DRAWS, seed=seed)
    tables["dose"] = pd.DataFrame(dose, columns=list(DOSE_COLUMNS))
    for table in tables.values():
        if "llm" not in table:
            table.insert(0, "llm", name)
    return axis, tables


def axes_row(read: Read, axis: Axis, paraphrases: Paraphrases, nulls: Mapping[str, Found]) -> dict[str, object]:
    """One row: what the axis is, how stable, and whether it is more than nothing (`valence.axis_evidence`).

    Parameters
    ----------
    nulls : of `nulls_of_axis`. r_codes_of_nonce and r_codes_of_untrained are means over their seeds.

    r_signed has the sign that the rule gives the axis, which "joy" may turn round; threshold_signed is what it exceeds
    once in twenty times without any valence.
    """
    texts = (paraphrases.activations, paraphrases.emotions, paraphrases.sets)
    there = {name: null for name, null in nulls.items() if isinstance(null, Null)}
    found = evidence(*texts, method=axis.method, classes=axis.classes, nulls=there)
    for name, null_name in (("nonce", NONCE), ("untrained", UNTRAINED)):
        null = there.get(null_name)
        found[f"r_codes_of_{name}"] = np.nan if null is None else null.mean
        found[f"p_{name}"] = np.nan if null is None else null.p_value
    codes, rule = polarity(axis.classes), str(axis.notes["sign_rule"])
    sets_notes: dict = axis.notes["sets"]  # type: ignore[assignment]
    return {
        **{
            name: read.facts[name]
            for name in ("llm", "family", "writer", "engine", "engine_version", "dtype", "n_paraphrases")
        },
        "n_texts": len(paraphrases.stories),
        "method": axis.method,
        "layer": axis.layer % read.n_layers,
        "n_layers": read.n_layers,
        "pooling": axis.pooling,
        "d_model": len(axis.direction),
        "explained_variance": axis.explained_variance,
        **found,
        "r_signed": float(np.corrcoef(axis.class_positions, codes)[0, 1]),
        "threshold_signed": threshold_of_sign_rule(codes, classes=axis.classes, sign_rule=rule),
        "correlation_of_sets": sets_notes["correlation"],
        "sign_rules_agree": axis.notes.get("sign_rules_agree"),
        "warnings": "; ".join(axis.notes["warnings"]),  # type: ignore[arg-type]
        "digest": axis.digest,
    }


def _axis(
    read: Read, paraphrases: Paraphrases, *, method: str, layer: int, sign_rule: str, clips: bool, seed: int
) -> Axis:
    facts = {name: read.facts[name] for name in ("llm", "llm_hash", "engine", "dtype", "n_paraphrases")}
    axis = fit_axis(
        paraphrases.activations,
        paraphrases.emotions,
        paraphrases.sets,
        method=method,
        sign_rule=sign_rule,
        layer=layer,
        pooling=read.files["paraphrases"].pooling,
        texts=read.table["text"].tolist(),
        n_tokens=read.table["n_tokens"].to_numpy(),
        seed=seed,
        **facts,  # type: ignore[arg-type]
    )
    axis = replace(axis, notes={**axis.notes, "writer": read.facts["writer"]})
    return with_clip_positions(axis, read.files["clips"].layer(layer)) if clips else axis


def _validity(read: Read, loaded: BenchmarkTexts, axis: Axis, paraphrases: Paraphrases, *, seed: int) -> list[dict]:
    """All predictors of one benchmark at the layer of the axis."""
    name, layer, direction, rule = loaded.benchmark.name, axis.layer, axis.direction, str(axis.notes["sign_rule"])
    evaluation = read.files[f"evaluation/{name}"].layer(layer)
    rows = axis_rows(loaded, evaluation, direction)
    rows += refitted_rows(loaded, evaluation, direction, paraphrases, fit_of(axis.method, rule))
    rows += random_rows(loaded, evaluation, paraphrases, seed=seed)
    for method in METHODS:
        if method != axis.method:
            other = fit_of(method, rule)(paraphrases.activations, paraphrases.emotions, paraphrases.sets)
            rows += zero_shot(loaded, evaluation @ other, predictor=f"axis by {method}")
    if f"training/{name}" in read.files:
        training = read.files[f"training/{name}"].layer(layer)
        rows += probe_rows(loaded, training, evaluation, seed=seed)
        rest = [project_out(part, direction) for part in (training, evaluation)]
        rows += probe_rows(loaded, *rest, predictor="probe after projecting out", seed=seed)
    return [row | {"layer": layer} for row in rows]


def _validity_of_layers(
    read: Read, benchmarks: Mapping[str, BenchmarkTexts], axes: Mapping[int, Axis], layer: int
) -> list[dict]:
    """The axis of every other layer, on valence."""
    rows = []
    for name, loaded in benchmarks.items():
        files = read.files[f"evaluation/{name}"]
        for other, axis in axes.items():
            if other % read.n_layers == layer % read.n_layers or other not in files.layers:
                continue
            found = zero_shot(loaded, files.layer(other) @ axis.direction, predictor="axis")
            rows += [row | {"layer": other} for row in found if row["dimension"] == "valence"]
    return rows
