"""Stage brain: the best cell of each subject. A cohort and a target in; what it is worth beyond chance, as rows, out.

The best of 150 cells is large in noise, too. So a cell is chosen on other seconds or other clips than those that it is
judged on, and where it is not, the choice lies inside the null. Where clips came in blocks of one valence, slow drift
follows valence and no permuted classes; `valence.brain.order_null` has that.
"""

import numpy as np
from scipy import stats

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import (
    class_orders,
    correlations,
    deviations,
    mean_where_there,
    share_as_large,
    subject_cells,
)
from valence.brain.rows import NotPossible, Row
from valence.brain.subject_statistics import N_BEST, Statistic, at_best_cells, mean_row, means_of_others, statistics

N_CLIP_SPLITS = 8
N_SPLIT_ORDERS = 300
DRIFT = "slow drift is not in this null: see order null"
SECONDS = "cell chosen in one half of the seconds, judged in the other"


def chosen_elsewhere(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """r in one half at the cell where |r| is largest in the other, with the sign it has there; mean of both ways.

    first, second : float, (..., n_cells), r in two halves of the data. Returns (...).
    """
    found = []
    for choose, judge in ((first, second), (second, first)):
        best = np.argmax(np.nan_to_num(np.abs(choose)), axis=-1)[..., None]
        sign = np.sign(np.take_along_axis(choose, best, -1))
        found.append((np.take_along_axis(judge, best, -1) * sign)[..., 0])
    return (found[0] + found[1]) / 2


def halves_of_clips(class_of_clip: np.ndarray, seed: int) -> np.ndarray:
    """True for a random half of the clips, (n_clips,): as many of each class as can be, odd ones dealt in turn."""
    rng = np.random.default_rng(seed)
    taken = np.zeros(len(class_of_clip), dtype=bool)
    extra = bool(rng.integers(2))
    for label in rng.permutation(np.unique(class_of_clip)):
        clips = rng.permutation(np.flatnonzero(class_of_clip == label))
        taken[clips[: len(clips) // 2 + (extra and len(clips) % 2)]] = True
        extra ^= len(clips) % 2 == 1
    return taken


def rows(cohort: Cohort, target: BrainTarget, *, seed: int = 0) -> list[Row]:
    """The best cell per subject with its null, and cells chosen on one half of the data and judged on the other."""
    x = subject_cells(cohort)
    if len(x) < 3 or x.shape[-1] <= N_BEST:
        raise NotPossible(f"{len(x)} subjects and {x.shape[-1]} cells: it takes 3 and more than {N_BEST}")
    orders, words = class_orders(target.clip_values, cohort.class_of_clip, seed=seed)
    halves = _halves_of_seconds(cohort)
    parts = {"own": x, "others": means_of_others(deviations(x)), **halves}
    found = statistics(parts, target.clip_values, orders, _of_subjects)
    made = _oracle_rows(found["oracle"], "best of all cells", words)
    made += _oracle_rows(found["best"], f"best of the {N_BEST} best cells of all other subjects", words)
    if halves:
        note = f"the same clips: a lasting state counts as signal; {DRIFT}"
        made.append(mean_row("oracle", SECONDS, found["seconds"], words, note=note))
    else:
        reason = "clips of a single step have no halves"
        made.append(Row(analysis="oracle", protocol=SECONDS, item="mean over subjects", reason=reason))
    made.append(_clips_row(cohort, target, x, orders[: N_SPLIT_ORDERS + 1], words, seed))
    return made


def _halves_of_seconds(cohort: Cohort) -> dict[str, np.ndarray]:
    """Means over the first and the second half of every clip's own steps: (n_subjects, n_clips, n_cells) each.

    Nothing where a clip has a single step.
    """
    halves = np.full((2, *cohort.de.shape[:3], cohort.de.shape[-1]), np.nan)
    lengths = np.isfinite(cohort.de).any(axis=(0, 2, 4)).sum(axis=-1)
    if lengths.min() < 2:
        return {}
    for clip, n_steps in enumerate(lengths):
        for half, part in enumerate((slice(0, n_steps // 2), slice(n_steps // 2, n_steps))):
            halves[half, :, clip] = cohort.de[:, clip, :, part].mean(axis=2, dtype=np.float64)
    flat = halves.reshape(2, *halves.shape[1:3], -1)
    return {"first": flat[0], "second": flat[1]}


def _of_subjects(r: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every statistic of one block of orders, (n_orders, n_subjects) each."""
    found = {
        "oracle": np.fmax.reduce(np.abs(r["own"]), axis=-1),
        "best": at_best_cells(r["own"], r["others"])["best"],
    }
    return found | ({"seconds": chosen_elsewhere(r["first"], r["second"])} if "first" in r else {})


def _clips_row(cohort: Cohort, target: BrainTarget, x: np.ndarray, orders: np.ndarray, words: str, seed: int) -> Row:
    """The cell chosen in half of the clips of every class, judged in the others: mean over random halves."""
    found = []
    for split in range(N_CLIP_SPLITS):
        half = halves_of_clips(cohort.class_of_clip, seed + split)
        observed, null = (
            chosen_elsewhere(*(correlations(x[:, part], values[:, part]) for part in (half, ~half)))
            for values in (target.clip_values[None], orders)
        )
        found.append((observed[0], null))
    statistic = Statistic(*(mean_where_there(np.stack([pair[of] for pair in found]), axis=0) for of in (0, 1)))
    protocol = f"cell chosen in half of the clips, judged in the others, {N_CLIP_SPLITS} random halves"
    words = words if len(orders) <= N_SPLIT_ORDERS else f"the first {len(orders) - 1} of {words}"
    return mean_row("oracle", protocol, statistic, words, note=f"every class is on both sides; {DRIFT}")


def _oracle_rows(found: Statistic, protocol: str, words: str) -> list[Row]:
    """The best cell of every subject, what it is where nothing is to be seen, and what is left."""
    whole = mean_row(
        "oracle", protocol, found, words, note=f"chosen and judged on the same clips: read it beside its null; {DRIFT}"
    )
    assert whole.value is not None
    low, high = np.quantile(whole.value - found.means, [0.025, 0.975])
    null_low, null_high = np.quantile(found.means, [0.025, 0.975])
    beyond = np.mean(np.mean(found.null >= found.of_subjects - 1e-9, axis=0) <= 0.05)
    by_chance = np.mean(stats.rankdata(-found.null, method="max", axis=0) / len(found.null) <= 0.05, axis=1)
    return [
        whole,
        Row(
            analysis="oracle",
            n=whole.n,
            protocol=f"{protocol}, expected by chance",
            item="mean over subjects",
            value=float(found.means.mean()),
            ci_low=float(null_low),
            ci_high=float(null_high),
            null=f"{words}; 95 % of them",
        ),
        Row(
            analysis="oracle",
            n=whole.n,
            protocol=f"{protocol}, beyond chance",
            item="mean over subjects",
            value=whole.value - float(found.means.mean()),
            ci_low=float(low),
            ci_high=float(high),
            p=whole.p,
            null=f"{words}; 95 % of what is left with each",
        ),
        Row(
            analysis="oracle",
            n=whole.n,
            protocol=f"{protocol}, share of subjects beyond their own null at .05",
            item="all subjects",
            value=float(beyond),
            p=share_as_large(float(beyond), by_chance),
            null=f"its share in {words}: all subjects saw the same clips, so .05 alone is no null",
        ),
    ]
