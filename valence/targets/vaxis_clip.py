"""The axis, clip by clip: positions of descriptions of the clips, where the file of the axis holds them.

A class's value is the mean over its clips, prototypes are those of the axis. For strategies that read values of clips.
"""

import numpy as np

from valence.errors import BadInput
from valence.targets import TARGETS, TargetBuilder, TargetContext


def clip_values(context: TargetContext) -> np.ndarray:
    """Positions of the clips on the axis, (n_clips,). Raises BadInput where the axis has none, or of other clips."""
    assert context.axis is not None
    positions = context.axis.clip_positions
    if positions is None or len(positions) != len(context.class_of_clip):
        held = "no positions of clips" if positions is None else f"positions of {len(positions)} clips"
        raise BadInput(
            f"target vaxis_clip with an axis of {context.axis.llm} that holds {held}",
            allowed=f"an axis that was fitted with descriptions of the {len(context.class_of_clip)} clips",
            do="write one with valence_axis.py --stimuli and name it with --axis, or take the target vaxis",
        )
    return positions


def build(context: TargetContext, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean position of the clips of each class (n_classes,), and centroids (n_classes, d_model) of the axis."""
    assert context.axis is not None
    positions, labels = clip_values(context), np.asarray(context.class_of_clip)
    means = [positions[labels == label].mean() for label in range(context.n_classes)]
    return np.array(means), context.axis.centroids


TARGETS.add(
    "vaxis_clip",
    TargetBuilder(
        build=build,
        needs_axis=True,
        numbered=False,
        meaning="the axis under study at descriptions of the clips",
        clip_values=clip_values,
        by_default=False,
    ),
    source=__name__,
)
