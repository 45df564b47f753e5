"""Control of the machinery: the axis under study, and the gradient of the loss stopped before the classifier.

The same compute and no signal. A cell with it is the cell without alignment, to the last bit on a CPU, except where a
strategy changes training by more than its loss.
"""

from valence.targets import TARGETS, Parts, TargetBuilder, TargetContext, parts_of_axis


def build(context: TargetContext, index: int) -> Parts:
    """Class positions and centroids of the axis; positions on all axes."""
    return parts_of_axis(context)


TARGETS.add(
    "detached",
    TargetBuilder(
        build=build,
        needs_axis=True,
        numbered=False,
        meaning="the axis with the gradient stopped: same compute, no signal",
        detached=True,
        by_default=False,
    ),
    source=__name__,
)
