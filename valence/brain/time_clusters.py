"""Stage brain: stretches of time in which r is large. Curves and class permutations in, clusters with p out.

A cluster is a run of neighbouring steps (or of steps and electrodes) whose r is of one sign and beyond a threshold; its
mass is the sum of r. p is the share of class permutations with a cluster of at least that mass in any band
(Maris and Oostenveld 2007, J Neurosci Methods 164:177). The threshold is the |r| that one in twenty of all permuted r
exceeds; it depends on the set of orders alone, so every order is treated alike and p holds whatever it is.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from valence.brain.class_null import ROUNDING, ClassNull
from valence.brain.cohort import Cohort
from valence.brain.electrodes import neighbours
from valence.brain.rows import Row

CLUSTER = "time cluster"
THRESHOLD = "time threshold"
EXCEEDED = 0.05
BY_CHANNEL = "steps × channels"


class Run(NamedTuple):
    """A cluster in time."""

    start: int
    stop: int
    """first step, and the one after the last"""
    mass: float


def threshold_of(features: np.ndarray, null: ClassNull) -> float:
    """|r| that one in twenty of all cells under all orders exceeds."""
    return float(np.quantile(np.concatenate([np.abs(block).ravel() for block in null.blocks(features)]), 1 - EXCEEDED))


def runs(r: np.ndarray, threshold: float) -> list[Run]:
    """Runs of steps with r above the threshold, or below minus it: r (n_steps,)."""
    sign = np.where(np.abs(r) > threshold, np.sign(r), 0.0)
    edges = np.flatnonzero(np.diff(sign, prepend=0.0, append=0.0))
    return [
        Run(int(start), int(stop), float(r[start:stop].sum()))
        for start, stop in itertools.pairwise(edges)
        if sign[start]
    ]


def largest_mass(r: np.ndarray, threshold: float) -> np.ndarray:
    """Largest |mass| of any run of each curve: (n, n_steps, ...) to (n, ...), 0 where there is none."""
    largest = np.zeros((len(r), *r.shape[2:]))
    for sign in (1.0, -1.0):
        running = np.zeros_like(largest)
        for step in np.moveaxis(r, 1, 0):
            signed = sign * step
            running = np.where(signed > threshold, running + signed, 0.0)
            np.maximum(largest, running, out=largest)
    return largest


def cluster_rows(cohort: Cohort, mean: np.ndarray, null: ClassNull, threshold: float) -> list[Row]:
    """Clusters in time of the mean over channels, (n_clips, n_steps, n_bands), in every band."""
    n_clips, n_steps, n_bands = mean.shape
    flat = mean.reshape(n_clips, -1)
    masses = np.concatenate(
        [largest_mass(block.reshape(-1, n_steps, n_bands), threshold).max(axis=1) for block in null.blocks(flat)]
    )
    r = null.r(flat).reshape(n_steps, n_bands)
    about: dict[str, Any] = {"analysis": CLUSTER, "protocol": "mean over channels", "n": n_clips}
    words = f"largest mass in any of {n_bands} bands, {null.words}"
    found = []
    for place, band in enumerate(cohort.band_names):
        for run in runs(r[:, place], threshold):
            mass = abs(run.mass)
            found.append(
                Row(
                    **about,
                    item=f"{band} {(run.start + 1) * cohort.step_s:g} to {run.stop * cohort.step_s:g} s",
                    value=run.mass,
                    p=float(np.mean(masses >= mass - ROUNDING)),
                    null=words,
                    note=f"mass of r beyond {threshold:.2f}; mean r {run.mass / (run.stop - run.start):+.2f}",
                )
            )
    return found


class Clusters:
    """Clusters in time and space of many maps at once: neighbours are computed once."""

    def __init__(self, adjacency: scipy.sparse.csr_array, n_steps: int):
        import mne

        grid = mne.stats.combine_adjacency(n_steps, scipy.sparse.coo_array(adjacency)).tocoo()
        upper = grid.row < grid.col
        self._ends = grid.row[upper], grid.col[upper]
        self._n = n_steps * adjacency.shape[0]

    def labels(self, r: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Number of the cluster of every point and the mass of every cluster.

        r : float, (..., n_steps, n_chans). A point within the threshold is a cluster of its own with mass 0.
        """
        flat = r.reshape(-1, self._n)
        sign = np.where(np.abs(flat) > threshold, np.sign(flat), 0.0)
        left, right = self._ends
        maps, edges = np.nonzero((sign[:, left] != 0) & (sign[:, left] == sign[:, right]))
        graph = scipy.sparse.coo_array(
            (np.ones(len(maps), dtype=bool), (maps * self._n + left[edges], maps * self._n + right[edges])),
            shape=(flat.size, flat.size),
        )
        numbers = connected_components(graph, directed=False)[1]
        masses = np.bincount(numbers, weights=np.where(sign != 0, flat, 0.0).ravel())
        return numbers.reshape(r.shape), masses

    def largest(self, r: np.ndarray, threshold: float) -> np.ndarray:
        """Largest |mass| of each of (n, n_bands, n_steps, n_chans): (n,), over bands."""
        numbers, masses = self.labels(r, threshold)
        return np.abs(masses)[numbers].reshape(len(r), -1).max(axis=1)


def channel_rows(cohort: Cohort, curves: np.ndarray, null: ClassNull) -> list[Row]:
    """The largest cluster of either sign in time and space, in every band.

    curves : float64, (n_clips, n_chans, n_steps, n_bands)
    """
    n_clips, n_chans, n_steps, n_bands = curves.shape
    shape = (-1, n_bands, n_steps, n_chans)
    flat = curves.transpose(0, 3, 2, 1).reshape(n_clips, -1)
    threshold = threshold_of(flat[:, :: max(1, flat.shape[1] // 500)], null)
    clusters = Clusters(neighbours(cohort.ch_names), n_steps)
    permuted = np.concatenate(
        [clusters.largest(block.reshape(shape), threshold) for block in null.blocks(flat, size=64)]
    )
    r = null.r(flat).reshape(n_bands, n_steps, n_chans)
    numbers, masses = clusters.labels(r, threshold)
    words = f"largest mass in any of {n_bands} bands, {null.words}"
    found = []
    for place, band in enumerate(cohort.band_names):
        for sign, name in ((1, "positive"), (-1, "negative")):
            about: dict[str, Any] = {
                "analysis": CLUSTER,
                "protocol": BY_CHANNEL,
                "item": f"{band} {name}",
                "n": n_clips,
            }
            best = numbers[place].ravel()[np.argmax(sign * masses[numbers[place]])]
            mass = sign * float(masses[best])
            if mass <= 0:
                found.append(Row(**about, reason=f"no r beyond {threshold:.2f}"))
                continue
            steps, channels = np.nonzero(numbers[place] == best)
            found.append(
                Row(
                    **about,
                    value=sign * mass,
                    p=float(np.mean(permuted >= mass - ROUNDING)),
                    null=words,
                    note=f"mass of r beyond {threshold:.2f}; {(steps.min() + 1) * cohort.step_s:g} to "
                    f"{(steps.max() + 1) * cohort.step_s:g} s, {len(set(channels))} channels: "
                    + ", ".join(cohort.ch_names[channel] for channel in sorted(set(channels))),
                )
            )
    return found
