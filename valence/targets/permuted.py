"""Control: the axis with its classes shuffled. The same numbers and the same geometry on the wrong classes.

Values, prototypes and dissimilarity are permuted together, never into the same order or its mirror image (|r| above .95
with the axis): to most losses that would be the axis itself.
"""

import numpy as np

from valence.targets import TARGETS, Parts, TargetBuilder, TargetContext, draw, is_alike, parts_of_axis


def build(context: TargetContext, index: int) -> Parts:
    """Positions and centroids of the axes, in a drawn order of classes."""
    assert context.axis is not None
    generator = draw("permuted", context, index)
    values = context.axis.class_positions
    order = identity = np.arange(context.n_classes)
    # two classes have no other order: then any but the identity
    while np.array_equal(order, identity) or (context.n_classes > 2 and is_alike(values[order], values)):
        order = generator.permutation(context.n_classes)
    return parts_of_axis(context, order)


TARGETS.add(
    "permuted",
    TargetBuilder(build=build, needs_axis=True, numbered=True, meaning="the axis with classes permuted"),
    source=__name__,
)
