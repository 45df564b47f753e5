"""Control: a target that no LLM has seen. Gaussian class values and random orthonormal prototypes.

Prototypes have 64 dimensions whatever the axis, and rows of length 1 like those of the axis: a cell with this target
is the same cell for every LLM.
"""

import numpy as np

from valence.targets import TARGETS, TargetBuilder, TargetContext, draw

N_DIMS = 64


def build(context: TargetContext, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (n_classes,) and orthonormal prototypes (n_classes, 64 or n_classes if that is more)."""
    generator = draw("random", context, index)
    values = generator.standard_normal(context.n_classes)
    width = max(N_DIMS, context.n_classes)
    basis, triangle = np.linalg.qr(generator.standard_normal((width, context.n_classes)))
    return values, (basis * np.sign(np.diag(triangle))).T  # without the signs, QR is not uniform over rotations


TARGETS.add(
    "random",
    TargetBuilder(build=build, needs_axis=False, numbered=True, meaning="Gaussian values, orthonormal prototypes"),
    source=__name__,
)
