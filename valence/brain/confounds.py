"""Stage brain: when clips were shown. A cohort, a target and the orders of presentation in; how far the target follows
the order, and what is left of r given order or block, as rows, out.
"""

import numpy as np
from scipy.stats import rankdata

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import (
    class_orders,
    correlations,
    declared_cells,
    mean_where_there,
    share_as_large,
    subject_cells,
)
from valence.brain.rows import NotPossible, Row
from valence.brain.subject_statistics import interval_of_mean

N_ORDERS = 1_000
FEWEST = 5
"""subjects whose order is known"""


def known_orders(cohort: Cohort) -> np.ndarray:
    """Which subjects' order is known and who have a recording of all clips: bool, (n_subjects,).

    Raises NotPossible for fewer than FEWEST of them.
    """
    if cohort.presentation is None:
        raise NotPossible("the order in which clips were shown is not known")
    n_clips = len(cohort.class_of_clip)
    known = (np.sort(cohort.presentation, axis=1) == np.arange(n_clips)).all(axis=1)
    known &= np.isfinite(subject_cells(cohort)).all(axis=(1, 2))
    if known.sum() < FEWEST:
        raise NotPossible(
            f"the order in which clips were shown is known of {known.sum()} subjects with all clips: it takes {FEWEST}"
        )
    return known


def residual_makers(covariates: np.ndarray) -> np.ndarray:
    """Matrices that take a mean and covariates out of values over clips.

    Parameters
    ----------
    covariates : float, (n_subjects, n_clips, n_covariates); they may be redundant.

    Returns
    -------
    float64, (n_subjects, n_clips, n_clips)
    """
    basis = np.concatenate([np.ones((*covariates.shape[:2], 1)), covariates], axis=2)
    return np.eye(basis.shape[1]) - basis @ np.linalg.pinv(basis)


def partial_r(x: np.ndarray, values: np.ndarray, makers: np.ndarray) -> np.ndarray:
    """Partial r of each subject.

    Parameters
    ----------
    x : float, (n_subjects, n_clips, n_cells)
    values : float, (n_targets, n_clips)
    makers : of `residual_makers`.

    Returns
    -------
    float64, (n_targets, n_subjects, n_cells); NaN where covariates leave nothing of a target.
    """
    left = makers @ x
    targets = np.einsum("scd,td->tsc", makers, values)
    size = np.linalg.norm(targets, axis=2)
    gone = size < 1e-9 * np.linalg.norm(values, axis=1)[:, None]
    size = np.where(gone, np.nan, size)[..., None]
    return np.einsum("tsc,sck->tsk", targets, left) / size / np.linalg.norm(left, axis=1)


def covariates_of(cohort: Cohort, known: np.ndarray) -> dict[str, np.ndarray]:
    """What r is taken given, by name: (n_subjects, n_clips, n_covariates) of the subjects whose order is known.

    Where clips were shown in several sessions, order is the place within one, and each has a mean of its own.
    """
    assert cohort.presentation is not None
    rank = cohort.presentation[known]
    sessions = np.zeros(rank.shape[1], dtype=int) if cohort.sessions is None else cohort.sessions
    means = np.tile((sessions[:, None] == np.unique(sessions)).astype(np.float64), (len(rank), 1, 1))
    place = np.empty(rank.shape)
    for session in np.unique(sessions):
        inside = sessions == session
        order = rankdata(rank[:, inside], axis=1) - 1
        place[:, inside] = order / max(order.shape[1] - 1, 1) - 0.5
    line = place[..., None]
    found = {
        "order": np.concatenate([line, means], axis=2),
        "order and its square": np.concatenate([line, line**2, means], axis=2),
    }
    if cohort.block_clips:
        block = rank // cohort.block_clips
        found["block"] = np.eye(block.max() + 1)[block]
    return found


def rows(cohort: Cohort, target: BrainTarget, *, seed: int = 0) -> list[Row]:
    """r of target and order, the target's variance within blocks, and partial r at the cells that the study names."""
    known = known_orders(cohort)
    covariates = covariates_of(cohort, known)
    makers = {name: residual_makers(given) for name, given in covariates.items()}
    made = _target_rows(covariates["order"][..., 0], target.clip_values)
    if "block" in makers:
        left = np.linalg.norm(makers["block"] @ target.clip_values, axis=1) ** 2 / np.sum(
            (target.clip_values - target.clip_values.mean()) ** 2
        )
        note = f"blocks of {cohort.block_clips} clips; what is left between clips of one block"
        within = float(left.mean())
        protocol, item = "share of the target's variance within blocks", "mean over subjects"
        made.append(Row(analysis="order", protocol=protocol, item=item, value=within, n=len(left), note=note))
    places = declared_cells(cohort)
    x = subject_cells(cohort)[known][..., list(places.values())]
    orders, words = class_orders(target.clip_values, cohort.class_of_clip, n_orders=N_ORDERS, seed=seed)
    nothing = residual_makers(np.zeros((*x.shape[:2], 1)))
    for given, maker in {"nothing": nothing, **makers}.items():
        made += _within(x, target.clip_values, orders, maker, given, tuple(places), words)
        made += _of_mean(x, target.clip_values, orders, maker, given, tuple(places), words)
    return made


def _target_rows(place: np.ndarray, values: np.ndarray) -> list[Row]:
    """How the target follows the order of presentation, over subjects."""
    r = correlations(place[..., None], values)[:, 0]
    low, high = interval_of_mean(r)
    shared = "r of target and order"
    return [
        Row(
            analysis="order",
            protocol=shared,
            item="mean over subjects",
            value=float(r.mean()),
            ci_low=low,
            ci_high=high,
            n=len(r),
            null="interval: t over subjects",
        ),
        Row(
            analysis="order",
            protocol=shared,
            item="mean size over subjects",
            value=float(np.abs(r).mean()),
            n=len(r),
            note="what a straight drift alone can make of r in one subject",
        ),
    ]


def _within(
    x: np.ndarray,
    values: np.ndarray,
    orders: np.ndarray,
    maker: np.ndarray,
    given: str,
    cells: tuple[str, ...],
    words: str,
) -> list[Row]:
    """Mean over subjects of partial r."""
    r = partial_r(x, values[None], maker)[0]
    null = np.nan_to_num(mean_where_there(partial_r(x, orders, maker), axis=1))
    made = []
    for at, cell in enumerate(cells):
        own = r[np.isfinite(r[:, at]), at]
        (low, high), value = interval_of_mean(own), float(own.mean()) if len(own) else None
        made.append(
            Row(
                analysis="partial r",
                protocol=f"mean within subjects, given {given}",
                item=cell,
                value=value,
                ci_low=low,
                ci_high=high,
                p=None if value is None else share_as_large(abs(value), np.abs(null[:, at])),
                n=len(own),
                null=f"p: {words}; interval: t over subjects",
                reason="" if len(own) else f"{given} leaves nothing of the target in any subject",
            )
        )
    return made


def _of_mean(
    x: np.ndarray,
    values: np.ndarray,
    orders: np.ndarray,
    maker: np.ndarray,
    given: str,
    cells: tuple[str, ...],
    words: str,
) -> list[Row]:
    """r of the mean over subjects, after what follows the covariates in each subject is taken out of the features."""
    mean = (maker @ x).mean(axis=0)
    r, null = correlations(mean, values), correlations(mean, orders)
    return [
        Row(
            analysis="partial r",
            protocol=f"r of the mean over subjects, {given} taken out of each",
            item=cell,
            value=float(r[at]),
            p=share_as_large(abs(r[at]), np.abs(null[:, at])),
            n=len(values),
            null=words,
        )
        for at, cell in enumerate(cells)
    ]
