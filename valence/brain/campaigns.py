"""Stage brain: recording campaigns. A cohort and a target in; how far two of them agree, as rows, out."""

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort, over_subjects
from valence.brain.correlations import (
    cells_of,
    class_orders,
    correlations,
    declared_cells,
    share_as_large,
    subject_cells,
)
from valence.brain.likeness import divided, of_groups
from valence.brain.rows import NotPossible, Row

N_DIVISIONS = 500
N_ORDERS = 1_000
FEWEST_OF_CAMPAIGN = 5
REPORTS = "reported valence, subject to mean of others"


def rows(cohort: Cohort, target: BrainTarget, *, seed: int = 0) -> list[Row]:
    """Two recording campaigns against each other, and against random divisions of the same subjects."""
    numbers, counts = np.unique(cohort.campaigns, return_counts=True)
    numbers = numbers[counts >= FEWEST_OF_CAMPAIGN]
    if len(numbers) < 2:
        raise NotPossible(f"one recording campaign of {FEWEST_OF_CAMPAIGN} subjects or more")
    x, values = subject_cells(cohort), target.clip_values
    groups = [np.flatnonzero(cohort.campaigns == number) for number in numbers[:2]]
    x, sizes = x[np.concatenate(groups)], [len(group) for group in groups]
    first, second = np.arange(sizes[0]), np.arange(sizes[0], sum(sizes))
    item = f"{numbers[0]} against {numbers[1]}"
    random = divided(x, values, sizes[0], N_DIVISIONS, seed)
    made = [
        Row(
            analysis="campaigns",
            protocol=name,
            item=item,
            value=r,
            p=share_as_large(-r, -np.append(random[name], r)),
            n=sum(sizes),
            null=f"one-sided, less alike than {N_DIVISIONS} random divisions into {sizes[0]} and {sizes[1]} subjects, "
            f"mean {random[name].mean():.3f}",
        )
        for name, r in of_groups(x, values, first, second).items()
    ]
    return made + _cells_of_campaigns(cohort, x, target, sizes, item, seed) + _reports(cohort, groups, numbers)


def _cells_of_campaigns(
    cohort: Cohort, x: np.ndarray, target: BrainTarget, sizes: list[int], item: str, seed: int
) -> list[Row]:
    """The best cell of one campaign in the other, and the cells that the study names in both."""
    values, names = target.clip_values, cells_of(cohort)
    orders, words = class_orders(values, cohort.class_of_clip, n_orders=N_ORDERS, seed=seed)
    groups = {"first": x[: sizes[0]], "second": x[sizes[0] :]}
    tensors = {name: over_subjects(group) for name, group in groups.items()}
    made = []
    for choose, judge in (("first", "second"), ("second", "first")):
        r, null = ({name: correlations(part, with_) for name, part in tensors.items()} for with_ in (values, orders))
        best = int(np.nanargmax(np.abs(r[choose])))
        turned = float(r[judge][best] * np.sign(r[choose][best]))
        chosen = np.nanargmax(np.abs(null[choose]), axis=1)[:, None]
        of_null = [np.take_along_axis(null[name], chosen, 1)[:, 0] for name in (judge, choose)]
        made.append(
            Row(
                analysis="campaigns",
                protocol=f"best cell of the {choose}, with its sign, in the {judge}",
                item=names[best],
                value=turned,
                p=share_as_large(turned, of_null[0] * np.sign(of_null[1])),
                n=len(values),
                null=f"one-sided, {words}, choice of the cell inside",
            )
        )
    return made + _differences(cohort, x, values, sizes, item, seed)


def _differences(
    cohort: Cohort, x: np.ndarray, values: np.ndarray, sizes: list[int], item: str, seed: int
) -> list[Row]:
    """r of the mean in the first campaign less that in the second, at the cells that the study names."""
    try:
        places = declared_cells(cohort)
    except NotPossible as error:
        return [Row(analysis="campaigns", protocol="difference of r", item=item, reason=str(error))]
    x = x[..., list(places.values())]

    def difference(order: np.ndarray) -> np.ndarray:
        parts = (over_subjects(x[order[: sizes[0]]]), over_subjects(x[order[sizes[0] :]]))
        return np.subtract(*(correlations(part, values) for part in parts))

    rng = np.random.default_rng(seed)
    observed = difference(np.arange(len(x)))
    random = np.stack([observed, *(difference(rng.permutation(len(x))) for _ in range(N_DIVISIONS))])
    return [
        Row(
            analysis="campaigns",
            protocol=f"difference of r, {item}",
            item=cell,
            value=float(observed[at]),
            p=share_as_large(abs(observed[at]), np.abs(random[:, at])),
            n=len(x),
            null=f"{N_DIVISIONS} random divisions of the subjects",
        )
        for at, cell in enumerate(places)
    ]


def _reports(cohort: Cohort, groups: list[np.ndarray], numbers: np.ndarray) -> list[Row]:
    """How a subject's reported valence follows that of all other subjects."""
    given = cohort.ratings.get("valence")
    if given is None or not np.isfinite(given).any():
        return [Row(analysis="campaigns", protocol=REPORTS, item="all", reason="no reports of valence")]
    made = []
    for number, group in zip(numbers, groups):
        r = _to_others(given, group)
        reason = "" if len(r) else "nobody of them reported"
        value = float(r.mean()) if len(r) else None
        item = f"campaign {number}"
        made.append(Row(analysis="campaigns", protocol=REPORTS, item=item, value=value, n=len(r), reason=reason))
    return made


def _to_others(given: np.ndarray, group: np.ndarray) -> np.ndarray:
    """r of the reports of each subject of a group, of (n_subjects, n_clips), with the mean of all others."""
    found = []
    for subject in group:
        others = np.delete(given, subject, axis=0)
        with np.errstate(invalid="ignore"):
            mean = np.nansum(others, axis=0) / np.isfinite(others).sum(axis=0)
        there = np.isfinite(given[subject]) & np.isfinite(mean)
        if there.sum() > 2 and np.ptp(given[subject][there]) and np.ptp(mean[there]):
            found.append(np.corrcoef(given[subject][there], mean[there])[0, 1])
    return np.array(found)
