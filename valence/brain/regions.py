"""Stage brain: which part of the head follows the target. A cohort and a target in, mean |r| by region out.

Regions are read off electrode names, which the montage has to know. The study names four and does not list their
channels. |r| is positive whatever the target, and a region whose features differ more between classes has a larger one
with any target: so both the means and their differences are held against class permutations.
"""

import re

import numpy as np

from valence.brain.class_null import CLIPS, ROUNDING, SCALED, ClassNull, Level, class_null, levels
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import correlations
from valence.brain.resampled import SUBJECTS, interval
from valence.brain.rows import Row
from valence.montage import STAND_INS, positions

REGIONS = {
    "occipital": ("PO", "POO", "O", "OI", "I"),
    "parietal": ("CP", "CPP", "P", "PPO"),
    "central": ("FC", "FCC", "C", "CCP"),
    "temporal": ("FT", "FFT", "FTT", "T", "TTP", "TP", "TPP"),
    "frontal": ("Fp", "AFp", "AF", "AFF", "F", "FFC"),
}
"""letters that electrodes of a region begin with, in the 10-5 system; earlobes and mastoids (A, M) are of none"""
CONTRAST = ("occipital", "frontal")
_OF_LETTERS = {letters.lower(): region for region, names in REGIONS.items() for letters in names}
_LETTERS = re.compile(r"[a-z]+?(?=\d|z|h|$)")


def regions_of(ch_names: tuple[str, ...]) -> tuple[str, ...]:
    """Region of each channel, "" for those of none. Raises BadInput for channels that the montage does not know."""
    positions(ch_names)
    names = [STAND_INS.get(name.lower(), name).lower() for name in ch_names]
    return tuple(_OF_LETTERS.get(match.group(), "") if (match := _LETTERS.match(name)) else "" for name in names)


def region_weights(ch_names: tuple[str, ...], band_names: tuple[str, ...]) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """What |r| of cells is multiplied by to give means of regions, of regions in bands, and the contrast.

    Returns
    -------
    weights : float64, (n_cells, n_statistics), cells in the order of channels, then bands.
    about : region and band of each statistic; band "" for all of them, region "occipital - frontal" for the contrast.
    """
    names, n_bands = regions_of(ch_names), len(band_names)
    columns, about = [], []
    for band in ("", *band_names):
        of_band = {}
        for region in REGIONS:
            member = np.array([name == region for name in names])
            if member.any():
                in_band = np.array([band in ("", name) for name in band_names])
                cells = np.outer(member, in_band).reshape(len(names) * n_bands)
                of_band[region] = cells / cells.sum()
        columns += list(of_band.values())
        about += [(region, band) for region in of_band]
        if set(CONTRAST) <= set(of_band):
            columns.append(of_band[CONTRAST[0]] - of_band[CONTRAST[1]])
            about.append((" - ".join(CONTRAST), band))
    return np.stack(columns, axis=1) if columns else np.zeros((len(names) * n_bands, 0)), about


def null_of_means(null: ClassNull, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums of |r| over cells under every class permutation: float64, (n_orders, n_statistics)."""
    return np.concatenate([np.abs(block) @ weights for block in null.blocks(features)])


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Mean |r| of each region over all bands and in each, and occipital minus frontal."""
    regions = regions_of(cohort.ch_names)
    found = [
        Row(analysis="region", protocol=CLIPS, item=region, reason=f"the data set has no {region} channel")
        for region in REGIONS
        if region not in regions
    ]
    by_protocol = levels(cohort, target)
    for protocol in (CLIPS, SCALED):
        found += _rows_of_level(cohort, by_protocol[protocol], regions)
    return found


def _rows_of_level(cohort: Cohort, level: Level, regions: tuple[str, ...]) -> list[Row]:
    weights, about = region_weights(cohort.ch_names, cohort.band_names)
    null = class_null(level.values, level.labels)
    observed = np.abs(null.r(level.features)) @ weights
    permuted = null_of_means(null, level.features, weights)
    assert level.of_subjects is not None, "levels by clips have subjects"
    low, high = interval(level.of_subjects, lambda left: np.abs(correlations(left, level.values)) @ weights, observed)
    found = []
    for place, (region, band) in enumerate(about):
        members = [name for name, of in zip(cohort.ch_names, regions, strict=True) if of == region]
        p_of, side = (one_sided, "as large or larger") if members else (two_sided, "two-sided")
        notes = [f"{permuted[:, place].mean():.3f} in the mean of the null", SUBJECTS]
        if members and not band:
            notes.append(", ".join(members))
        found.append(
            Row(
                analysis="region",
                protocol=level.protocol if not band else f"{level.protocol}, by band",
                item=f"{region} {band}".strip(),
                value=float(observed[place]),
                ci_low=float(low[place]),
                ci_high=float(high[place]),
                p=p_of(float(observed[place]), permuted[:, place]),
                n=len(level.values),
                null=f"mean |r|, {null.words}, {side}",
                note="; ".join(notes),
            )
        )
    return found


def one_sided(observed: float, null: np.ndarray) -> float:
    """Share of a null, which holds the observed order, that is at least as large."""
    return float(np.mean(null >= observed - ROUNDING))


def two_sided(observed: float, null: np.ndarray) -> float:
    """Twice the share that is at least as far out on the observed side; at most 1. The null need not be around 0."""
    return min(1.0, 2 * min(one_sided(observed, null), one_sided(-observed, -null)))
