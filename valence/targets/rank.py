"""The sign of valence alone, −1, 0 or +1: what is left of an axis when all beyond good and bad is dropped."""

import numpy as np

from valence.axis_pca import polarity
from valence.stories import EMOTIONS
from valence.targets import TARGETS, Parts, TargetBuilder, TargetContext

SIGNS = dict(zip(EMOTIONS, polarity(EMOTIONS).tolist()))


def build(context: TargetContext, index: int) -> Parts:
    """Signs of the classes (n_classes,)."""
    return Parts(values=np.array([SIGNS[name.casefold()] for name in context.classes]))


TARGETS.add(
    "rank",
    TargetBuilder(
        build=build,
        needs_axis=False,
        numbered=False,
        meaning="-1, 0 or +1: negative, neutral or positive",
        kinds=frozenset({"values", "dissimilarity"}),
        emotions=SIGNS,
        by_default=False,
    ),
    source=__name__,
)
