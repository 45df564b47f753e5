"""The same recipe on arousal: positions of the classes in the LLM's activations along high against low arousal.

The direction is the mean of the centroids of the most aroused emotions minus that of the calmest ones; positions are
the projections of the centroids on it. Unlike PC1 it is told which classes are which, so its order of the classes is no
finding.
Source: the recipe of arXiv:2606.00129; codes after the circumplex (Russell 1980, doi 10.1037/h0077714).
"""

import numpy as np

from valence.concepts import AROUSAL
from valence.targets import TARGETS, Parts, TargetBuilder, TargetContext


def build(context: TargetContext, index: int) -> Parts:
    """Positions of the classes (n_classes,) along arousal."""
    assert context.axis is not None
    codes = np.array([AROUSAL[name.casefold()] for name in context.classes])
    centroids = context.axis.centroids
    direction = centroids[codes == codes.max()].mean(axis=0) - centroids[codes == codes.min()].mean(axis=0)
    return Parts(values=centroids @ direction)


TARGETS.add(
    "arousal",
    TargetBuilder(
        build=build,
        needs_axis=True,
        numbered=False,
        meaning="the LLM's arousal, by the same recipe",
        kinds=frozenset({"values", "dissimilarity"}),
        emotions=AROUSAL,
        by_default=False,
    ),
    source=__name__,
)
