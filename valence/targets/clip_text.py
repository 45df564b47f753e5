"""The axis, clip by clip: positions of descriptions of the clips, where the file of the axis holds them.

A class's value is the mean over its clips, prototypes are those of the axis. For strategies that read values of clips.
"""

import numpy as np

from valence.errors import BadInput
from valence.targets import TARGETS, Parts, TargetBuilder, TargetContext


def build(context: TargetContext, index: int) -> Parts:
    """Positions of the clips, their mean in each class, and centroids of the axis.

    Raises BadInput where the axis has no positions of clips, or those of others.
    """
    assert context.axis is not None
    positions = context.axis.clip_positions
    if positions is None or len(positions) != len(context.class_of_clip):
        held = "no positions of clips" if positions is None else f"positions of {len(positions)} clips"
        raise BadInput(
            f"target clip_text with an axis of {context.axis.llm} that holds {held}",
            allowed=f"an axis that was fitted with descriptions of the {len(context.class_of_clip)} clips",
            do="write one with valence_axis.py --stimuli and name it with --axis, or take the target vaxis",
        )
    labels = np.asarray(context.class_of_clip)
    means = [positions[labels == label].mean() for label in range(context.n_classes)]
    return Parts(values=np.array(means), clip_values=positions, prototypes=context.axis.centroids)


TARGETS.add(
    "clip_text",
    TargetBuilder(
        build=build,
        needs_axis=True,
        numbered=False,
        meaning="the axis under study at descriptions of the clips",
        kinds=frozenset({"values", "prototypes", "dissimilarity"}),
        by_default=False,
    ),
    source=__name__,
)
