"""Every class is as far from every other: one-hot prototypes, and a dissimilarity of 1 off the diagonal.

What a classifier of these labels is told anyway: a loss of class geometry with no order of classes in it.
"""

import numpy as np

from valence.targets import TARGETS, Parts, TargetBuilder, TargetContext


def build(context: TargetContext, index: int) -> Parts:
    """Unit vectors (n_classes, n_classes), and one minus the identity."""
    identity = np.eye(context.n_classes)
    return Parts(prototypes=identity, dissimilarity=1 - identity)


TARGETS.add(
    "identity",
    TargetBuilder(
        build=build,
        needs_axis=False,
        numbered=False,
        meaning="one-hot: every class as far from every other",
        kinds=frozenset({"prototypes"}),
        by_default=False,
    ),
    source=__name__,
)
