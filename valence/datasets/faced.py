"""Recordings: FACED, 123 subjects watching 28 film clips of nine emotions (Chen et al. 2023)."""

from collections.abc import Sequence

import numpy as np

from valence.datasets import DATASETS
from valence.faced_files import MEAN_VALENCE, FacedFiles


@DATASETS.register("faced")
class Faced(FacedFiles):
    """The published data set: processed recordings, DE features, or both."""

    name = "faced"
    url = "https://doi.org/10.7303/syn50614194"
    licence = "Synapse terms of the publisher; BIDS copy CC-BY-4.0"
    doi = "10.1038/s41597-023-02650-w"

    def ratings(self, subjects: Sequence[str] | None = None) -> np.ndarray | None:
        """Of nobody in particular: the published mean over all 123 subjects."""
        return np.array(MEAN_VALENCE) if subjects is None else self.ratings_of(subjects)
