"""The results table to what holds across classifiers: one row a strategy, and one for all of them.

In: the results table, one row a cell. Out: the mixed model of `valence.stats.mixed` and the dependence on baseline
accuracy of `valence.stats.across`, on the strategies, classifiers, seeds and subjects that are complete.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from valence.stats.across import LEAST_CLASSIFIERS, across_classifiers
from valence.stats.arms import AXIS_TARGET, BASELINE, BLOCK, NO_TARGET, arms, block_name, checked, matched_baselines
from valence.stats.contrasts import Contrast, baseline_arm, contrasts
from valence.stats.mixed import NETWORKS, PLANNED, mixed_model
from valence.stats.multiplicity import benjamini_hochberg, holm

DOSE = ("strategy", "lambda_", "options", "gradient_match", "plugins")
ALL = "all strategies"


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """Complete paired differences of one data set, split and target."""

    dataset: str
    split: str
    doses: list[tuple]
    """of the fields DOSE"""
    classifiers: list[str]
    differences: np.ndarray
    """(n_doses, n_classifiers, n_seeds, n_subjects), against the matched baseline"""
    baselines: np.ndarray
    """(n_classifiers, n_seeds, n_subjects), balanced accuracy with no alignment"""
    left_out: str
    """doses and classifiers that are not complete, and how many seeds"""


def balanced(rows: pd.DataFrame, *, target: str = AXIS_TARGET) -> list[Balanced]:
    """Complete tables, one a data set and split.

    Whichever dose or classifier lacks the largest share of the others is left out until every dose was run with every
    classifier; then the seeds and subjects that all of them have are taken.
    """
    found = []
    for (dataset, _, split), part in checked(rows).groupby(["dataset", "dataset_hash", "split"], sort=True):
        differences: dict[tuple[tuple, str], pd.DataFrame] = {}
        baselines: dict[str, pd.DataFrame] = {}
        for _, block in part.groupby(list(BLOCK), dropna=False, sort=True):
            own = arms(block)
            name = "{classifier} ({recipe})".format(**block.iloc[0]) + f" {block['weights'].iloc[0]}".rstrip()
            baselines[name] = baseline_arm(own, BASELINE, of=[], name=block_name(block)).table
            compared = contrasts(own, matched_baselines(block), name=block_name(block))
            differences |= {(dose, name): table for dose, table in _differences(compared, target)}
        if differences:
            found.append(_complete(str(dataset), str(split), differences, baselines))
    return [one for one in found if one.differences.size]


def _differences(compared: Iterator[Contrast], target: str) -> Iterator[tuple[tuple, pd.DataFrame]]:
    for contrast in compared:
        if contrast.comparison == "baseline" and contrast.key.target == target and target != NO_TARGET:
            whole = (contrast.arm - contrast.reference).dropna()
            if not whole.empty:
                yield tuple(getattr(contrast.key, name) for name in DOSE), whole


def _complete(
    dataset: str, split: str, differences: dict[tuple[tuple, str], pd.DataFrame], baselines: dict[str, pd.DataFrame]
) -> Balanced:
    doses, names = sorted({dose for dose, _ in differences}), sorted({name for _, name in differences})
    there = np.array([[(dose, name) in differences for name in names] for dose in doses])
    without: list[str] = []
    while not there.all():
        by_dose, by_name = 1 - there.mean(axis=1), 1 - there.mean(axis=0)
        if by_dose.max() > by_name.max():
            worst = int(by_dose.argmax())
            without.append(" ".join(map(str, doses.pop(worst))).strip())
            there = np.delete(there, worst, axis=0)
        else:
            worst = int(by_name.argmax())
            without.append(names.pop(worst))
            there = np.delete(there, worst, axis=1)
    tables = [differences[dose, name] for dose in doses for name in names]
    every = [*tables, *(baselines[name].dropna() for name in names)]
    seeds = sorted(set.intersection(*(set(table.index) for table in every)))
    subjects = sorted(set.intersection(*(set(table.columns) for table in every)))
    most = max(len(table) for table in every)
    if len(seeds) < most:
        without.append(f"{most - len(seeds)} of {most} seeds")
    values = [table.loc[seeds, subjects].to_numpy(dtype=float) for table in tables]
    return Balanced(
        dataset=dataset,
        split=split,
        doses=doses,
        classifiers=names,
        differences=np.array(values).reshape(len(doses), len(names), len(seeds), len(subjects)),
        baselines=np.array([baselines[name].loc[seeds, subjects].to_numpy(dtype=float) for name in names]),
        left_out=", ".join(without),
    )


def mixed_table(rows: pd.DataFrame, *, target: str = AXIS_TARGET, family_size: int | None = None) -> pd.DataFrame:
    """Each strategy across classifiers, by two mixed models.

    Returns
    -------
    One row a (dataset, split, terms, dose): terms, the random ones, first those of the plan and then with networks (see
    `valence.stats.mixed.NETWORKS`; a p to claim something for new classifiers is that one); delta, se, df, ci_low,
    ci_high, p, p_holm over the doses or the declared family; sd_ of every random term and the residual;
    n_classifiers, n_seeds, n_subjects, left_out. No rows below 2 classifiers, seeds or subjects.
    """
    found: list[dict[str, object]] = []
    for one in balanced(rows, target=target):
        if min(one.differences.shape[1:]) < 2:
            continue
        for terms in (PLANNED, NETWORKS):
            told = _told(terms, len(one.doses))
            fit = mixed_model(one.differences, random=told, family_size=family_size or 0)
            sds = {f"sd_{name}": float(np.sqrt(variance)) for name, variance in fit.components.items()}
            for at, dose in enumerate(one.doses):
                numbers = {name: getattr(fit, name)[at] for name in ("se", "df", "ci_low", "ci_high", "p", "p_holm")}
                found.append(
                    _identity(one, target)
                    | dict(zip(DOSE, dose))
                    | {"terms": " + ".join(f"(1 | {t})" for t in told)}
                    | {"delta": fit.estimate[at]}
                    | numbers
                    | sds
                )
    return pd.DataFrame(found)


def _told(terms: Sequence[str], n_doses: int) -> tuple[str, ...]:
    """Of one dose, what varies with the dose varies with the rest of the term as well."""
    return tuple(term for term in terms if n_doses > 1 or not term.startswith("strategy"))


def _identity(one: Balanced, target: str) -> dict[str, object]:
    _, n_classifiers, n_seeds, n_subjects = one.differences.shape
    return {
        **{"dataset": one.dataset, "split": one.split, "target": target, "left_out": one.left_out},
        **{"n_classifiers": n_classifiers, "n_seeds": n_seeds, "n_subjects": n_subjects},
    }


def saturation_table(rows: pd.DataFrame, *, target: str = AXIS_TARGET, seed: int = 0) -> pd.DataFrame:
    """Whether the difference of each strategy, and of all together, depends on a classifier's baseline.

    Returns
    -------
    One row a (dataset, split, dose), and first one for all strategies (strategy "all strategies"): the fields of
    `valence.stats.across.AcrossClassifiers` and its finding; p_holm (over the doses) and p_bh; null for the row of all,
    which is no member of the family. No rows below 5 classifiers or 2 seeds.
    """
    found: list[dict[str, object]] = []
    for one in balanced(rows, target=target):
        if one.differences.shape[1] < LEAST_CLASSIFIERS or one.differences.shape[2] < 2:
            continue
        by_seed, baselines = one.differences.mean(axis=3), one.baselines.mean(axis=2)
        members = [(dict.fromkeys(DOSE) | {"strategy": ALL}, by_seed.mean(axis=0))]
        members += [(dict(zip(DOSE, dose)), differences) for dose, differences in zip(one.doses, by_seed)]
        fits = [across_classifiers(differences, baselines, seed=seed) for _, differences in members]
        p = np.array([fit.p for fit in fits[1:]])
        adjusted = zip([np.nan, *holm(p)], [np.nan, *benjamini_hochberg(p)])
        for (dose, _), fit, (p_holm, p_bh) in zip(members, fits, adjusted):
            own = asdict(fit) | {"finding": fit.finding, "p_holm": p_holm, "p_bh": p_bh}
            found.append(_identity(one, target) | dose | own)
    return pd.DataFrame(found)
