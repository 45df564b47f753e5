"""Control: a target that no LLM has seen. Gaussian class values and random orthonormal prototypes.

Prototypes have the width and the length of those of every target: a cell with this target is the same cell for every
LLM.
"""

import numpy as np

from valence.targets import N_PROTOTYPE_DIMS, TARGETS, Parts, TargetBuilder, TargetContext, draw


def build(context: TargetContext, index: int) -> Parts:
    """Values (n_classes,) and orthonormal prototypes (n_classes, N_PROTOTYPE_DIMS)."""
    generator = draw("random", context, index)
    values = generator.standard_normal(context.n_classes)
    basis, triangle = np.linalg.qr(generator.standard_normal((N_PROTOTYPE_DIMS, context.n_classes)))
    n_axes = len(context.axes)
    return Parts(
        values=values,
        prototypes=(basis * np.sign(np.diag(triangle))).T,  # without the signs, QR is not uniform over rotations
        several=generator.standard_normal((n_axes, context.n_classes)) if n_axes > 1 else None,
    )


TARGETS.add(
    "random",
    TargetBuilder(build=build, needs_axis=False, numbered=True, meaning="Gaussian values, orthonormal prototypes"),
    source=__name__,
)
