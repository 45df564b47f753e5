"""Recordings with a known truth: what the simulated subjects say they felt.

In: a World and a subject. Out: the twelve ratings of each clip, as FACED's After_remarks.mat has them. A subject
rates the clip that the brain responded to (`felt_clips`), so that whoever felt something else says so.
"""

import numpy as np

from valence.cell import derive_seed
from valence.faced_files import FacedFiles
from valence.faced_ratings import HIGHEST, RATINGS
from valence.simulation import felt_clips, plant
from valence.worlds import COHORTS, World

MEAN_REPORTS = {
    "anger": (0.6, 0.4, 0.8, 0.6, 4.9, 2.9, 2.2, 4.2, 4.7, 1.7, 2.5, 1.5),
    "disgust": (0.7, 0.6, 0.6, 1.0, 1.0, 5.0, 3.0, 1.5, 4.1, 1.6, 1.1, 1.2),
    "fear": (0.6, 0.6, 0.6, 0.7, 1.5, 2.4, 4.4, 2.1, 4.3, 1.6, 1.8, 1.6),
    "sadness": (0.6, 1.8, 0.7, 0.4, 1.2, 1.0, 1.4, 4.5, 3.3, 1.9, 1.4, 2.0),
    "neutral": (1.6, 1.6, 1.1, 0.7, 0.5, 0.4, 0.5, 0.9, 1.4, 3.2, 1.2, 2.8),
    "amusement": (4.3, 2.2, 1.9, 4.9, 0.7, 0.5, 0.5, 0.7, 3.7, 4.2, 4.0, 4.7),
    "inspiration": (3.6, 3.1, 4.9, 1.5, 0.5, 0.8, 0.6, 0.9, 3.9, 4.8, 3.6, 4.6),
    "joy": (4.2, 3.5, 2.6, 2.1, 0.5, 0.5, 0.5, 0.4, 3.4, 4.4, 3.4, 4.6),
    "tenderness": (3.9, 5.0, 3.2, 1.3, 0.5, 0.5, 0.4, 0.9, 3.4, 4.4, 2.4, 4.3),
}
"""FACED's own means over subjects and clips, in the order of RATINGS; of valence the world has its own"""
LOOSER = 1.5
"""the other ratings scatter this many times as much as valence does: FACED's by 1.0 to 1.7 times"""


def self_reports(world: World, subject: str, *, cohort: int) -> np.ndarray:
    """Ratings of one subject by clip: float64, (n_clips, 12), 0 to 7, columns as in RATINGS.

    Reported valence is m + gain_i · (mean rating of the felt clip - m) + noise, cut off at the ends of the scale, with
    m the mean over clips and gain_i drawn for the subject. Its correlation with the mean of all other subjects is .83
    in cohort 1 and .49 in cohort 2 (means over subjects), as in FACED; `valence.worlds.COHORTS` has the numbers for it.
    """
    campaign = COHORTS[cohort]
    rng = np.random.default_rng(derive_seed(f"simulation/{world.seed}", f"{subject}/reports"))
    felt = felt_clips(world, subject)
    truth = plant(world)
    middle = truth.ratings.mean()
    gain = rng.normal(campaign.rating_gain, campaign.rating_gain_sd)
    classes = [FacedFiles.classes[label] for label in np.array(FacedFiles.class_of_clip)[felt]]
    expected = np.array([MEAN_REPORTS[name] for name in classes])
    spread = np.full(len(RATINGS), LOOSER * campaign.rating_sd)
    valence = RATINGS.index("valence")
    expected[:, valence] = middle + gain * (truth.ratings[felt] - middle)
    spread[valence] = campaign.rating_sd
    return (expected + spread * rng.normal(size=expected.shape)).clip(0, HIGHEST)
