"""Stage axis: texts about the clips of a data set in, one position for each clip on an axis out."""

import dataclasses

import numpy as np

from valence.axis import Axis
from valence.axis_pca import positions
from valence.errors import BadInput


def clip_positions(axis: Axis, activations: np.ndarray) -> np.ndarray:
    """Positions of the clips of a data set on an axis, from one text about each: float64 (n_clips,), z-scored.

    Parameters
    ----------
    activations : float array, (n_clips, d_model), of texts that describe the clips, read at the axis's layer and
        pooling. They are z-scored over the clips: a description is another kind of text than a story, so that only
        differences between descriptions mean something.

    Raises BadInput for another width, fewer than two clips, values that are not finite, or the same for all.
    """
    activations = np.asarray(activations, dtype=np.float64)
    if activations.ndim != 2 or len(activations) < 2 or activations.shape[1] != len(axis.direction):
        problem = f"shape {activations.shape}"
    elif not np.isfinite(activations).all():
        problem = "values that are not finite"
    elif np.ptp(activations @ axis.direction) == 0:
        problem = "the same position for every clip"
    else:
        return positions(activations, axis.direction)
    raise BadInput(
        f"activations of clip descriptions: {problem}",
        allowed=f"finite (n_clips, {len(axis.direction)}), two clips or more, and not all the same",
        do=f"read the descriptions with the LLM of the axis, {axis.llm}, layer {axis.layer}, pooling {axis.pooling}",
    )


def with_clip_positions(axis: Axis, activations: np.ndarray) -> Axis:
    """The axis with the positions of clips inside, which its file and its digest then hold. As `clip_positions`."""
    return dataclasses.replace(axis, clip_positions=clip_positions(axis, activations))
