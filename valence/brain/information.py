"""Stage brain: any dependence, straight or not. A cohort and a target in; mutual information beside r, as rows, out.

Kraskov, Stögbauer and Grassberger 2004, doi 10.1103/PhysRevE.69.066138, first estimator, k neighbours, in nats. Its
bias at 28 clips, of nine values between them, is as large as what is looked for. So the mean of the same estimate over
permuted classes is taken off, from r's own information as well, and both are put on the scale of r:
√(1 − exp(−2I)), which for two Gaussian variables is |r|.

Features that tell classes apart share information with every order of the classes. What is left when permuted classes
are taken off is what they share with this order and not with others.
"""

import numpy as np
from scipy.special import digamma

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import cells_of, class_orders, correlations, share_as_large
from valence.brain.rows import NotPossible, Row

N_NEIGHBOURS = 3
N_ORDERS = 500
_DIGITS = 9
_BLOCK = 25
"""orders at once: 25 x 160 cells x 28 x 28 distances are 25 MB"""
KSG, LINEAR = f"KSG with {N_NEIGHBOURS} neighbours", "of r, as if Gaussian"
MINUS_BIAS = "less its mean over class permutations"


def mutual_information(x: np.ndarray, values: np.ndarray, *, n_neighbours: int = N_NEIGHBOURS) -> np.ndarray:
    """Mutual information of cells with targets, by the first estimator of Kraskov et al.

    Parameters
    ----------
    x : float, (n_clips, n_cells), without ties.
    values : float, (n_targets, n_clips); ties are allowed.

    Returns
    -------
    float64, (n_targets, n_cells), nats. It is below 0 where chance has it so: unlike sklearn's it is not cut off there,
    or no mean of it would be a measure of its bias.
    """
    n = len(x)
    of_x = _distances(np.asarray(x, dtype=np.float64).T / x.std(axis=0)[:, None])
    # values at equal distances are ties, whatever the last digits say: -1, 0 and +1 are
    of_y = np.round(_distances(np.asarray(values, dtype=np.float64) / values.std(axis=1, keepdims=True)), _DIGITS)
    found = np.empty((len(of_y), len(of_x)))
    for start in range(0, len(of_y), _BLOCK):
        block = of_y[start : start + _BLOCK, None]
        joint = np.maximum(block, of_x)
        radius = np.partition(joint, n_neighbours - 1, axis=-1)[..., n_neighbours - 1 : n_neighbours]
        within = [digamma((of < radius - 0.1**_DIGITS).sum(axis=-1) + 1).mean(axis=-1) for of in (of_x, block)]
        found[start : start + _BLOCK] = digamma(n) + digamma(n_neighbours) - within[0] - within[1]
    return found


def _distances(values: np.ndarray) -> np.ndarray:
    """Between all clips, (..., n_clips, n_clips); no clip is its own neighbour."""
    distance = np.abs(values[..., :, None] - values[..., None, :])
    distance[..., range(values.shape[-1]), range(values.shape[-1])] = np.inf
    return distance


def information_of_r(r: np.ndarray) -> np.ndarray:
    """Mutual information of two Gaussian variables: −½·ln(1 − r²), nats."""
    return -0.5 * np.log1p(-np.minimum(np.square(r), 1 - 1e-12))


def equivalent_r(information: np.ndarray) -> np.ndarray:
    """|r| of two Gaussian variables that share so many nats; 0 for none and less."""
    return np.sqrt(-np.expm1(-2 * np.maximum(information, 0)))


def rows(cohort: Cohort, target: BrainTarget, *, seed: int = 0) -> list[Row]:
    """Mean over cells and the best cell, of both measures, and what is there beyond a straight line."""
    features = cohort.clip_means().reshape(len(cohort.class_of_clip), -1)
    if len(features) <= 2 * N_NEIGHBOURS:
        raise NotPossible(f"{len(features)} clips: {N_NEIGHBOURS} neighbours take more than {2 * N_NEIGHBOURS}")
    drawn, words = class_orders(target.clip_values, cohort.class_of_clip, n_orders=N_ORDERS, seed=seed, same_size=True)
    orders = np.concatenate([target.clip_values[None], drawn])
    measures = {KSG: mutual_information(features, orders), LINEAR: information_of_r(correlations(features, orders))}
    names, n = cells_of(cohort), len(features)
    left: dict[str, np.ndarray] = {}
    made: list[Row] = []
    for name, nats in measures.items():
        left[name] = nats - nats[1:].mean(axis=0)
        made += _of_measure(name, nats, left[name], names, n, words)
    beyond = (left[KSG] - left[LINEAR]).mean(axis=1)
    return [
        *made,
        Row(
            analysis="mutual information",
            protocol=f"{KSG}, less that of r, nats, both {MINUS_BIAS}",
            item="mean over cells",
            value=float(beyond[0]),
            p=share_as_large(abs(beyond[0]), np.abs(beyond[1:])),
            n=n,
            null=words,
            note="above 0: dependence that is no straight line",
        ),
    ]


def _of_measure(name: str, nats: np.ndarray, left: np.ndarray, cells: tuple[str, ...], n: int, words: str) -> list[Row]:
    """Rows of one measure, (1 + n_orders, n_cells), the order as it is in front: before and after its bias is off."""
    best = int(np.argmax(left[0]))
    largest, mean = left.max(axis=1), left.mean(axis=1)
    told = {
        ("nats", "mean over cells"): (nats[0].mean(), share_as_large(mean[0], mean[1:])),
        (f"nats, {MINUS_BIAS}", "mean over cells"): (mean[0], share_as_large(mean[0], mean[1:])),
        (f"nats, {MINUS_BIAS}, best of all cells", cells[best]): (
            left[0, best],
            share_as_large(largest[0], largest[1:]),
        ),
        (f"as r, {MINUS_BIAS}, best of all cells", cells[best]): (
            equivalent_r(left[0, best]),
            share_as_large(largest[0], largest[1:]),
        ),
        (f"as r, {MINUS_BIAS}", "mean over cells"): (equivalent_r(mean[0]), share_as_large(mean[0], mean[1:])),
    }
    return [
        Row(
            analysis="mutual information",
            protocol=f"{name}, {protocol}",
            item=item,
            value=float(value),
            p=p,
            n=n,
            null=f"one-sided, {words}" + ", choice of the cell inside" * ("best" in protocol),
        )
        for (protocol, item), (value, p) in told.items()
    ]
