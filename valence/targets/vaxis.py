"""The axis under study: positions and centroids of the classes in the LLM's activations.

Values are the class positions on the axis, prototypes the class centroids (centred over classes). Their rows are scaled
to length 1 and turned into the width of every target, which keeps all angles between classes.
"""

from valence.targets import TARGETS, Parts, TargetBuilder, TargetContext, parts_of_axis


def build(context: TargetContext, index: int) -> Parts:
    """Class positions and centroids of the axis; positions on all axes."""
    return parts_of_axis(context)


TARGETS.add(
    "vaxis",
    TargetBuilder(build=build, needs_axis=True, numbered=False, meaning="the LLM axis under study"),
    source=__name__,
)
