"""Stage validity, tables: what was read of one LLM in, its axis and its rows of every table out.

Tables are tidy: axes (one row), positions (of classes, stories, paraphrases and clips), concepts, layers, validity and
dose.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from valence.axis import Axis, fit_axis
from valence.axis_clips import with_clip_positions
from valence.axis_evidence import evidence, polarity_r
from valence.axis_layers import Layers, fit_layers, layer_profile
from valence.axis_methods import METHODS
from valence.axis_pca import first_component, set_means
from valence.benchmark_texts import BenchmarkTexts
from valence.concepts import concept_texts, concepts, fit_concept, held_out_separation
from valence.errors import BadInput
from valence.stories import load_stories
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """What was read of one LLM."""

    facts: Mapping[str, object]
    """of the axis: llm, llm_hash, engine, dtype, n_paraphrases; and family, writer"""
    table: pd.DataFrame
    """the paraphrases that were kept"""
    n_layers: int
    """hidden states of the LLM, blocks + 1"""
    files: Mapping[str, Layers]
    """activations: of paraphrases, stories, nonce stories, concepts, clips where there are descriptions, and
    evaluation/NAME and training/NAME of benchmarks"""

    def paraphrases(self, layer: int) -> Paraphrases:
        """What the axis of a layer is fitted on."""
        return Paraphrases(
            activations=self.files["paraphrases"].layer(layer),
            emotions=self.table["emotion"].to_numpy(dtype=str),
            sets=self.table["set"].to_numpy(dtype=str),
            stories=self.table["story"].to_numpy(dtype=str),
        )


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
    tables["axes"] = pd.DataFrame([axes_row(read, axis, paraphrases, seed=seed)])
    on_event(f"{name}: layers")
    emotions, sets = paraphrases.emotions, paraphrases.sets
    axes = fit_layers(read.files["paraphrases"], emotions, sets, method=method, sign_rule=sign_rule)
    tables["layers"] = layer_profile(axes, n_layers=read.n_layers, reference=layer)
    rows = [*_validity_of_layers(read, benchmarks, axes, layer)]
    for benchmark, loaded in benchmarks.items():
        on_event(f"{name}: validity on {benchmark}")
        rows += _validity(read, loaded, axis, paraphrases, seed=seed)
    columns = [*COLUMNS, "layer"]
    tables["validity"] = pd.DataFrame(rows, columns=columns).assign(layer=lambda table: table["layer"] % read.n_layers)
    on_event(f"{name}: dose curve")
    evaluated = {key: (loaded, read.files[f"evaluation/{key}"].layer(layer)) for key, loaded in benchmarks.items()}
    dose = dose_curve(evaluated, paraphrases, fit_of(method, sign_rule), n_draws=N_DRAWS, seed=seed)
    tables["dose"] = pd.DataFrame(dose, columns=list(DOSE_COLUMNS))
    for table in tables.values():
        if "llm" not in table:
            table.insert(0, "llm", name)
    return axis, tables


def axes_row(read: Read, axis: Axis, paraphrases: Paraphrases, *, seed: int = 0) -> dict[str, object]:
    """One row: what the axis is, how stable, and whether it is more than nothing (`valence.axis_evidence`).

    r_codes_of_nonce is of one draw of nonce words for each story set: a number to look at, and no null.
    """
    nonce = read.files["nonce"].layer(axis.layer)
    stories = load_stories()
    emotions, sets = (np.array([getattr(story, field) for story in stories]) for field in ("emotion", "set"))
    texts = (paraphrases.activations, paraphrases.emotions, paraphrases.sets)
    found = evidence(*texts, method=axis.method, classes=axis.classes, seed=seed)
    sets_notes: dict = axis.notes["sets"]  # type: ignore[assignment]
    return {
        **{name: read.facts[name] for name in ("llm", "family", "writer", "engine", "dtype", "n_paraphrases")},
        "n_texts": len(paraphrases.stories),
        "method": axis.method,
        "layer": axis.layer % read.n_layers,
        "n_layers": read.n_layers,
        "pooling": axis.pooling,
        "d_model": len(axis.direction),
        "explained_variance": axis.explained_variance,
        **found,
        "r_codes_of_nonce": polarity_r(nonce, emotions, sets, method=axis.method, classes=axis.classes),
        "correlation_of_sets": sets_notes["correlation"],
        "sign_rules_agree": axis.notes.get("sign_rules_agree"),
        "warnings": "; ".join(axis.notes["warnings"]),  # type: ignore[arg-type]
        "digest": axis.digest,
    }


def position_table(read: Read, axis: Axis, paraphrases: Paraphrases, *, clips: tuple[str, ...] = ()) -> pd.DataFrame:
    """Positions on the axis, in units of sd over classes, and on the component next to it, for the picture.

    level is class, paraphrase, story or clip; clips are z-scored over clips (another kind of text) and have no second
    coordinate.
    """
    classes = np.array(axis.classes)
    centroids = set_means(paraphrases.activations, paraphrases.emotions, paraphrases.sets, axis.classes).mean(axis=0)
    second = first_component(project_out(centroids, axis.direction))[0]
    centre = centroids.mean(axis=0)
    scales = [(centroids @ axis.direction).std(), (centroids @ second).std()]

    def placed(level: str, activations: np.ndarray, names: np.ndarray, emotions: np.ndarray) -> pd.DataFrame:
        along = [(activations - centre) @ unit / scale for unit, scale in zip((axis.direction, second), scales)]
        columns = {"level": level, "name": names, "emotion": emotions, "position": along[0], "second": along[1]}
        return pd.DataFrame(columns)

    stories = load_stories()
    parts = [
        placed("class", centroids, classes, classes).assign(
            **{} if axis.interval is None else {"ci_low": axis.interval[:, 0], "ci_high": axis.interval[:, 1]}
        ),
        placed("paraphrase", paraphrases.activations, paraphrases.stories, paraphrases.emotions),
        placed(
            "story",
            read.files["stories"].layer(axis.layer),
            np.array([story.id for story in stories]),
            np.array([story.emotion for story in stories]),
        ),
    ]
    if axis.clip_positions is not None:
        parts.append(pd.DataFrame({"level": "clip", "name": list(clips), "position": axis.clip_positions}))
    return pd.concat(parts, ignore_index=True)


def concept_table(read: Read, axis: Axis) -> pd.DataFrame:
    """The same recipe for other concepts: how well an axis sorts texts of the set it has not seen, and its cosine with
    the axis of valence, which is to be small.
    """
    texts = concept_texts()
    activations = read.files["concepts"].layer(axis.layer)
    rows = []
    for name in concepts():
        taken = np.array([row.concept == name for row in texts])
        levels, sets = (np.array([getattr(row, field) for row in texts])[taken] for field in ("level", "set"))
        fitted = fit_concept(activations[taken], levels, sets, n_bootstrap=0)
        separation = held_out_separation(activations[taken], levels, sets)
        cosine = float(fitted.direction @ axis.direction)
        rows.append({"concept": name, "held_out_auc": separation, "cosine_with_valence": cosine, "n": int(taken.sum())})
    return pd.DataFrame(rows)


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


def check_read(read: Read) -> None:
    """Raise BadInput where activations do not belong to the paraphrases."""
    if read.files["paraphrases"].n_texts != len(read.table):
        raise BadInput(
            f"{read.facts['llm']}: {read.files['paraphrases'].n_texts} activations of {len(read.table)} paraphrases",
            allowed="one for each",
            do="remove the LLM's folder and run again",
        )
