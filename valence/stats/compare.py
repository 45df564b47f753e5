"""The results table to verdicts: every strategy and target against its baseline, content against structure."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from valence.errors import BadInput
from valence.stats.arms import AXIS_TARGET, BASELINE, BLOCK, Arm, ArmKey, arms, checked, control_kind, role
from valence.stats.paired import pair, sign_flip, two_way_interval, two_way_variance
from valence.stats.power import exact_floor
from valence.stats.verdict import adjusted, judged

COLUMNS = (
    *("dataset", "split", "classifier", "recipe", "strategy", "target", "lambda_", "comparison", "against"),
    *("verdict", "delta", "ci_low", "ci_high", "ci90_low", "ci90_high", "p", "p_holm", "p_bh", "p_subjects", "p_floor"),
    *("mde", "seeds_needed", "n_seeds", "n_subjects", "n_missing", "n_failed", "sd_seeds", "sd_subjects", "baseline"),
    *("family", "family_size", "exploratory_size", "alpha", "equivalence", "n_bootstrap"),
    *("axis", "plugins", "dataset_hash", "recipe_hash", "science"),
)
ESTIMATED = (
    *("delta", "ci_low", "ci_high", "ci90_low", "ci90_high", "p", "p_holm", "p_bh", "p_subjects", "p_floor", "mde"),
    *("sd_seeds", "sd_subjects", "baseline", "lambda_"),
)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One comparison before it is computed: two tables of seeds x subjects, and what to call it."""

    comparison: str
    """"baseline" (target against none), "content" (axis against its controls), "structure" (controls against none)"""
    key: ArmKey
    against: str
    arm: pd.DataFrame
    reference: pd.DataFrame
    n_failed: int


def compare(
    rows: pd.DataFrame,
    *,
    alpha: float = 0.05,
    equivalence: float = 0.01,
    n_bootstrap: int = 10_000,
    seed: int = 0,
    family_size: int | None = None,
) -> pd.DataFrame:
    """Estimate, interval, p value and verdict of every comparison that the rows allow.

    delta is the mean over seeds and test subjects of the paired difference in balanced accuracy. Its interval
    (`two_way_interval`) and its p (`sign_flip` over seeds) hold for new networks and, from MIN_TEST_SUBJECTS test
    subjects on, for new subjects; with fewer they speak of the subjects at hand, and no verdict is drawn from them.

    Parameters
    ----------
    rows : the results table, one row a cell. Failed cells and cells without values are left out and counted.
    alpha : family-wise error rate of the verdicts.
    equivalence : differences within plus or minus this count as none, in balanced accuracy (0 to 1).
    family_size : comparisons of axis against baseline declared for one classifier before the run; the number found
        where None or smaller. An unfinished sweep is adjusted for its whole plan only when told of it.

    Returns
    -------
    One row a (dataset, split, classifier, recipe, strategy, target, lambda_, comparison), sorted:
    delta, ci_low and ci_high (95 %), ci90_low and ci90_high (equivalence asks that these lie within the bounds); p with
    its smallest reachable value p_floor, p_subjects (the same test flipping subjects), p_holm (within `family`, the
    comparisons of one kind of one classifier), p_bh (over all classifiers, exploratory); verdict; mde (smallest true
    difference found with 80 % power at these seeds, their spread and this family; null where the floor or too few test
    subjects forbid any); seeds_needed (only where undecided; null there means that test subjects are the limit, not
    seeds); n_seeds, n_subjects, n_missing (seeds not paired), n_failed (failed cells); sd_seeds (of the difference
    between seeds, mean over subjects) and sd_subjects (between subjects, beyond noise); baseline (mean balanced
    accuracy of `none` over the same seeds and subjects). In "structure" and "content", permuted and random weigh the
    same however many draws there are of each.

    Verdicts: "helps" or "hurts" where p_holm < alpha and the interval excludes 0; else "equivalent" where the 90 %
    interval lies within the bounds; else "undecided". With fewer than MIN_TEST_SUBJECTS test subjects always
    "undecided".

    Raises
    ------
    BadInput : a column is missing, a classifier has no baseline, or a cell appears twice.
    """
    rows = checked(rows)
    found: list[dict[str, object]] = []
    for values, block in rows.groupby(list(BLOCK), dropna=False, sort=True):
        block_arms = arms(block)
        baseline = _baseline(block_arms, block)
        identity = dict(zip(BLOCK, values, strict=True))
        found += [
            identity | _estimate(contrast, baseline.table, n_bootstrap, seed)
            for contrast in _contrasts(block_arms, baseline)
        ]
    table = pd.DataFrame(found).reindex(columns=list(COLUMNS)).astype(dict.fromkeys(ESTIMATED, float))
    table = table.assign(alpha=alpha, equivalence=equivalence, n_bootstrap=n_bootstrap)
    return judged(adjusted(table, declared=family_size or 0)).reset_index(drop=True)


def _baseline(block_arms: dict[ArmKey, Arm], block: pd.DataFrame) -> Arm:
    baselines = [arm for key, arm in block_arms.items() if key.strategy == BASELINE]
    name = "{classifier} on {dataset}, split {split}, recipe {recipe}".format(**block.iloc[0])
    if len(baselines) != 1:
        raise BadInput(
            f"{name}, has {len(baselines)} baselines",
            allowed=f"cells with one set-up of the strategy {BASELINE!r} beside every other strategy",
            do=f"run the strategy {BASELINE!r} for this classifier with the same seeds, or leave the classifier out",
        )
    return baselines[0]


def _contrasts(block_arms: dict[ArmKey, Arm], baseline: Arm) -> Iterator[Contrast]:
    tested = {key: arm for key, arm in block_arms.items() if key.strategy != BASELINE}
    for key, arm in tested.items():
        yield Contrast(
            comparison="baseline",
            key=key,
            against=BASELINE,
            arm=arm.table,
            reference=baseline.table,
            n_failed=arm.n_failed + baseline.n_failed,
        )
    groups = {key._replace(target="") for key in tested if role(key.target) != "other"}
    with_axis = {group._replace(axis="") for group in groups if group.axis}
    for group in sorted(group for group in groups if group.axis or group not in with_axis):
        yield from _content_and_structure(group, tested, baseline)


def _content_and_structure(group: ArmKey, tested: dict[ArmKey, Arm], baseline: Arm) -> Iterator[Contrast]:
    """The two contrasts of one strategy, strength and axis. Controls that need no axis serve every axis."""
    controls = {
        key: arm
        for key, arm in tested.items()
        if role(key.target) == "control"
        and key.axis in (group.axis, "")
        and key._replace(target="", axis=group.axis) == group
    }
    if not controls:
        return
    names = ", ".join(key.target for key in controls)
    mean = _control_mean(controls)
    failed = sum(arm.n_failed for arm in controls.values())
    yield Contrast(
        comparison="structure",
        key=group._replace(target=names),
        against=BASELINE,
        arm=mean,
        reference=baseline.table,
        n_failed=failed + baseline.n_failed,
    )
    axis = tested.get(group._replace(target=AXIS_TARGET))
    if axis is not None:
        yield Contrast(
            comparison="content",
            key=group._replace(target=AXIS_TARGET),
            against=names,
            arm=axis.table,
            reference=mean,
            n_failed=failed + axis.n_failed,
        )


def _control_mean(controls: dict[ArmKey, Arm]) -> pd.DataFrame:
    """Seeds x subjects, mean over draws, then over kinds; NaN wherever one of them is missing."""
    kinds: dict[str, list[pd.DataFrame]] = {}
    for key, arm in controls.items():
        kinds.setdefault(control_kind(key.target), []).append(arm.table)
    means = [sum(tables[1:], start=tables[0]) / len(tables) for tables in kinds.values()]
    return sum(means[1:], start=means[0]) / len(means)


def _estimate(contrast: Contrast, baseline: pd.DataFrame, n_bootstrap: int, seed: int) -> dict[str, object]:
    paired = pair(contrast.arm, contrast.reference)
    same = baseline.reindex(index=list(paired.seeds), columns=list(paired.subjects)).to_numpy(dtype=float)
    return contrast.key._asdict() | {
        "comparison": contrast.comparison,
        "against": contrast.against,
        "n_seeds": paired.n_seeds,
        "n_subjects": paired.n_subjects,
        "n_missing": paired.n_missing,
        "n_failed": contrast.n_failed,
        "delta": paired.table.mean() if paired.n_seeds else np.nan,
        "baseline": same.mean() if paired.n_seeds else np.nan,
        **(_inference(paired.table, n_bootstrap, seed) if paired.n_seeds > 1 else {}),
    }


def _inference(table: np.ndarray, n_bootstrap: int, seed: int) -> dict[str, float]:
    """What needs at least two networks."""
    n_seeds, n_subjects = table.shape
    wide, narrow = two_way_interval(table, confidences=(0.95, 0.90), n_bootstrap=n_bootstrap, seed=seed)
    return {
        "ci_low": wide[0],
        "ci_high": wide[1],
        "ci90_low": narrow[0],
        "ci90_high": narrow[1],
        "p": sign_flip(table, seed=seed),
        "p_subjects": sign_flip(table.T, seed=seed),
        "p_floor": exact_floor(n_seeds),
        "sd_seeds": float(table.mean(axis=1).std(ddof=1)),
        "sd_subjects": float(np.sqrt(two_way_variance(table).columns * n_subjects)),
    }
