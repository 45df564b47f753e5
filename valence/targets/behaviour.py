"""What people reported: mean self-rated valence of each clip, over the training subjects alone.

A class's value is the mean over its rated clips. Clips that nobody of the training subjects has rated take the mean of
their class.
"""

import numpy as np

from valence.errors import BadInput
from valence.targets import TARGETS, Parts, TargetBuilder, TargetContext


def build(context: TargetContext, index: int) -> Parts:
    """Mean ratings of the classes (n_classes,) and of the clips (n_clips,).

    Raises BadInput for a class unrated, or ratings of another number of clips.
    """
    assert context.ratings is not None
    ratings, labels = np.asarray(context.ratings, dtype=np.float64), np.asarray(context.class_of_clip)
    if ratings.shape != labels.shape:
        raise BadInput(
            f"target behaviour: ratings of the shape {ratings.shape} for {len(labels)} clips",
            allowed="one number a clip, NaN where nobody rated it",
            do="correct the data set's ratings",
        )
    rated = [ratings[(labels == label) & np.isfinite(ratings)] for label in range(context.n_classes)]
    unrated = [name for name, values in zip(context.classes, rated) if not len(values)]
    if unrated:
        raise BadInput(
            f"target behaviour: no ratings of clips of {', '.join(unrated)}",
            allowed="ratings of a clip or more of each class by training subjects",
            do="take another target or split",
        )
    means = np.array([values.mean() for values in rated])
    return Parts(values=means, clip_values=np.where(np.isfinite(ratings), ratings, means[labels]))


TARGETS.add(
    "behaviour",
    TargetBuilder(
        build=build,
        needs_axis=False,
        numbered=False,
        meaning="mean self-ratings of the training subjects",
        kinds=frozenset({"values", "dissimilarity"}),
        needs_ratings=True,
        by_default=False,
    ),
    source=__name__,
)
