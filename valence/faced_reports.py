"""Recordings: what each of FACED's subjects reported. Tables of ratings in, an array a scale out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from valence.errors import BadInput
from valence.faced_ratings import N_CLIPS, RATINGS, read_ratings_table

PATTERN = "ratings*.csv"
"""name of a table of many subjects' ratings in the folder of the data set; its columns: `read_ratings_table`"""


def by_scale(tables: Sequence[pd.DataFrame], subjects: Sequence[str]) -> dict[str, np.ndarray]:
    """Ratings by scale, (n_subjects, n_clips), NaN where there is none; empty for no tables."""
    if not tables:
        return {}
    table = pd.concat(tables, ignore_index=True).set_index(["subject", "clip"])[list(RATINGS)]
    places = pd.MultiIndex.from_product([subjects, range(N_CLIPS)])
    ratings = table.reindex(places).to_numpy(dtype=np.float64).reshape(len(subjects), N_CLIPS, len(RATINGS))
    return {scale: ratings[..., column].copy() for column, scale in enumerate(RATINGS)}


def ratings_table(root: Path) -> dict[str, pd.DataFrame]:
    """Subject to ratings, of the one table `PATTERN` in a folder; empty where there is none. Raises BadInput."""
    paths = sorted(root.glob(PATTERN))
    if len(paths) > 1:
        raise BadInput(
            f"{root}: {len(paths)} tables of ratings: {', '.join(path.name for path in paths)}",
            allowed=f"one file {PATTERN}, or none",
            do="move the others elsewhere",
        )
    if not paths:
        return {}
    return {str(subject): rows for subject, rows in read_ratings_table(paths[0]).groupby("subject")}
