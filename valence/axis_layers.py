"""Stage axis: one axis for every layer of an LLM, and a row of facts about each.

Activations come layer by layer, from files or an array, so that they are never all in memory.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from valence.axis import Axis, fit_axis
from valence.axis_methods import choose_method
from valence.axis_style import noted_correlation
from valence.errors import BadInput

REFERENCE = -2
"""the study's layer: the output of the second-to-last block"""
COLUMNS = (
    "layer", "depth", "explained_variance", "cosine_to_reference", "cosine_of_sets", "correlation_of_sets",
    "r_held_out_set", "r_held_out_class", "r_codes", "r_values", "warning",
)  # fmt: skip


class Layers(Protocol):
    """What a profile needs of `valence.activation_files.ActivationFiles`."""

    layers: tuple[int, ...]
    pooling: str
    n_texts: int

    def layer(self, layer: int) -> np.ndarray: ...


def fit_layers(
    files: Layers, emotions: np.ndarray, sets: np.ndarray, *, rows: np.ndarray | None = None, **options
) -> dict[int, Axis]:
    """An axis for each layer that was read, by layer; a layer whose classes do not differ is left out.

    Parameters
    ----------
    files : activations of the texts, (n_texts, n_layers, d_model).
    emotions, sets : (n_texts,) of the texts that are taken.
    rows : which texts of the files these are; None: all.
    options : of `valence.axis.fit_axis`, but layer and pooling; the bootstrap is left out where not asked for.

    Raises BadInput as `fit_axis`, and where no layer has an axis.
    """
    choose_method(options.get("method", "pca"))
    _check_rows(files, emotions, rows)
    axes: dict[int, Axis] = {}
    for layer in files.layers:
        read = files.layer(layer)
        read = read if rows is None else read[rows]
        # layer 0 at the last token: the same full stop everywhere, as the LLM has not looked at the text yet
        if np.ptp(read, axis=0).max() <= 1e-6 * np.abs(read).max():
            continue
        axes[layer] = fit_axis(read, emotions, sets, layer=layer, pooling=files.pooling, **{"n_bootstrap": 0} | options)
    if not axes:
        raise BadInput(
            f"layers {', '.join(map(str, files.layers))}: the activations of all texts are the same",
            allowed="at least one layer in which texts differ",
            do="read more layers: at the last token, layer 0 is the full stop that every text ends with",
        )
    return axes


def layer_profile(
    axes: dict[int, Axis], *, n_layers: int, reference: int = REFERENCE, values: Sequence[float] | None = None
) -> pd.DataFrame:
    """One row for each layer.

    Parameters
    ----------
    axes : by layer, as `fit_layers` gives them.
    n_layers : hidden states of the LLM, blocks + 1.
    reference : layer that the others are compared with.
    values : (n_classes,), such as mean self-rated valence; None: r_values is missing.

    Returns
    -------
    DataFrame: layer (0 = embeddings), depth (0 … 1), explained_variance, cosine_to_reference (of directions; signs are
    the axes' own), cosine_of_sets and correlation_of_sets (axes fitted to the first two story sets alone),
    r_held_out_set (of codes with positions on the axis of the other sets), r_held_out_class, r_codes, r_values (of
    class positions), warning ("; " between several). Missing is NaN.

    Raises BadInput where the reference is not among the layers, or values have another length.
    """
    by_index = {layer % n_layers: axis for layer, axis in axes.items()}
    if reference % n_layers not in by_index:
        raise BadInput(
            f"reference layer {reference} of {n_layers}",
            allowed=", ".join(map(str, sorted(by_index))),
            do="take one of these, or read it as well",
        )
    first = next(iter(axes.values()))
    if values is not None and np.shape(values) != (len(first.classes),):
        raise BadInput(
            f"values of shape {np.shape(values)}",
            allowed=f"one for each of {', '.join(first.classes)}",
            do="give them in this order",
        )
    target = by_index[reference % n_layers].direction
    rows = [_row(index, axis, n_layers, target, values) for index, axis in sorted(by_index.items())]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(index: int, axis: Axis, n_layers: int, reference: np.ndarray, values: Sequence[float] | None) -> dict:
    sets: dict = axis.notes["sets"]  # type: ignore[assignment]
    held_out: dict = axis.notes["held_out"]  # type: ignore[assignment]
    codes = np.asarray(axis.notes["codes"], dtype=float)
    measured = {
        "cosine_of_sets": sets["cosine"],
        "correlation_of_sets": sets["correlation"],
        "r_held_out_set": sets["held_out_correlation"],
        "r_held_out_class": held_out["correlation_with_codes"],
        "r_codes": noted_correlation(axis.class_positions, codes),
        "r_values": None
        if values is None
        else noted_correlation(axis.class_positions, np.asarray(values, dtype=float)),
    }
    return {
        "layer": index,
        "depth": index / (n_layers - 1),
        "explained_variance": axis.explained_variance,
        "cosine_to_reference": float(axis.direction @ reference),
        **{name: np.nan if value is None else value for name, value in measured.items()},
        "warning": "; ".join(axis.notes["warnings"]),  # type: ignore[arg-type]
    }


def _check_rows(files: Layers, emotions: np.ndarray, rows: np.ndarray | None) -> None:
    n_taken = files.n_texts if rows is None else len(np.arange(files.n_texts)[rows])
    if len(emotions) != n_taken:
        raise BadInput(
            f"{len(emotions)} emotions for {n_taken} texts",
            allowed="one for each text that is taken",
            do="give the emotions and sets of the texts that were read, or say which rows they are",
        )
