"""Recordings with a known truth: the planted axis, as if an LLM had it. A World in, an Axis out.

Strategies of kind "prototypes" read centroids. Those of the true axis lie on half a circle, each class at the angle
that its value has within the range of values, so that prototypes are the nearer the nearer the values are.
"""

import numpy as np

from valence.axis import Axis
from valence.cell import canonical_hash
from valence.faced_files import FacedFiles
from valence.simulation import plant
from valence.worlds import World


def true_axis(world: World) -> Axis:
    """The class values of a world as an Axis in two dimensions; its digest is that of the values."""
    values = plant(world).class_values
    angle = np.pi * (values - values.min()) / np.ptp(values)
    centroids = np.stack([-np.cos(angle), np.sin(angle)], axis=1)
    return Axis(
        direction=np.array([1.0, 0.0]),
        class_positions=values,
        centroids=centroids - centroids.mean(axis=0),
        classes=FacedFiles.classes,
        explained_variance=float(np.var(centroids[:, 0]) / np.var(centroids, axis=0).sum()),
        llm="the planted truth",
        llm_hash=canonical_hash(values.tolist()),
        layer=0,
        pooling="none",
        method="planted",
        n_paraphrases=0,
        engine="none",
        dtype="float64",
    )
