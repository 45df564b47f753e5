"""The axis under study: positions and centroids of the classes in the LLM's activations.

Values are the class positions on the axis, prototypes the class centroids (centred over classes). Their rows are scaled
to length 1 and turned into the width of every target, which keeps all angles between classes.
"""

import numpy as np

from valence.targets import TARGETS, TargetBuilder, TargetContext


def build(context: TargetContext, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Class positions (n_classes,) and centroids (n_classes, d_model) of the axis."""
    assert context.axis is not None
    return context.axis.class_positions, context.axis.centroids


TARGETS.add(
    "vaxis",
    TargetBuilder(build=build, needs_axis=True, numbered=False, meaning="the LLM axis under study"),
    source=__name__,
)
