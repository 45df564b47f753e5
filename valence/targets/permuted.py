"""Control: the axis with its classes shuffled. The same numbers and the same geometry on the wrong classes.

Values, prototypes and dissimilarity are permuted together, never by the identity.
"""

import numpy as np

from valence.targets import TARGETS, TargetBuilder, TargetContext, draw


def build(context: TargetContext, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n_classes,) and centroids (n_classes, d_model) of the axis, in a drawn order of classes."""
    assert context.axis is not None
    generator = draw("permuted", context, index)
    order = identity = np.arange(context.n_classes)
    while np.array_equal(order, identity):
        order = generator.permutation(context.n_classes)
    return np.asarray(context.axis.class_positions)[order], np.asarray(context.axis.centroids)[order]


TARGETS.add(
    "permuted",
    TargetBuilder(build=build, needs_axis=True, numbered=True, meaning="the axis with classes permuted"),
    source=__name__,
)
