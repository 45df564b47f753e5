"""The results table to verdicts: every strategy and target against its baseline, content against structure."""

import numpy as np
import pandas as pd

from valence.stats.arms import BLOCK, arms, block_name, checked, matched_baselines
from valence.stats.contrasts import Contrast, contrasts
from valence.stats.paired import pair, sign_flip, two_way_interval, two_way_variance
from valence.stats.power import exact_floor
from valence.stats.verdict import adjusted, judged

COLUMNS = (
    *("dataset", "split", "classifier", "recipe", "strategy", "target", "lambda_", "options", "gradient_match"),
    *("comparison", "against"),
    *("verdict", "delta", "ci_low", "ci_high", "ci90_low", "ci90_high", "p", "p_holm", "p_bh", "p_subjects", "p_floor"),
    *("mde", "seeds_needed", "n_seeds", "n_subjects", "n_missing", "n_failed", "sd_seeds", "sd_subjects", "baseline"),
    *("family", "family_size", "exploratory_size", "alpha", "equivalence", "n_bootstrap"),
    *("axis", "plugins", "weights", "dataset_hash", "recipe_hash", "science"),
)
ESTIMATED = (
    *("delta", "ci_low", "ci_high", "ci90_low", "ci90_high", "p", "p_holm", "p_bh", "p_subjects", "p_floor", "mde"),
    *("sd_seeds", "sd_subjects", "baseline", "lambda_", "gradient_match"),
)


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
    One row a (dataset, split, classifier, recipe, strategy, target, lambda_, options, gradient_match, comparison),
    sorted: against (the matched baseline, `none` but for strategies whose rows name another in `compared_with`; or the
    controls); delta, ci_low and ci_high (95 %), ci90_low and ci90_high (equivalence asks that these lie within the
    bounds); p with its smallest reachable value p_floor, p_subjects (the same test flipping subjects), p_holm (within
    `family`, the comparisons of one kind of one classifier), p_bh (over all classifiers, exploratory); verdict; mde
    (smallest true difference found with 80 % power at these seeds, their spread and this family; null where the floor
    or too few test subjects forbid any); seeds_needed (only where undecided; null there means that test subjects are
    the limit, not seeds); n_seeds, n_subjects, n_missing (seeds not paired), n_failed (failed cells); sd_seeds (of the
    difference between seeds, mean over subjects) and sd_subjects (between subjects, beyond noise); baseline (mean
    balanced accuracy of the matched baseline over the same seeds and subjects). In "structure" and "content", permuted
    and random weigh the same however many draws there are of each.

    Verdicts: "helps" or "hurts" where p_holm < alpha and the interval excludes 0; else "equivalent" where the 90 %
    interval lies within the bounds; else "undecided". With fewer than MIN_TEST_SUBJECTS test subjects always
    "undecided".

    Raises
    ------
    BadInput : a column is missing, a strategy has no baseline, or a cell appears twice.
    """
    rows = checked(rows)
    found: list[dict[str, object]] = []
    for values, block in rows.groupby(list(BLOCK), dropna=False, sort=True):
        compared = contrasts(arms(block), matched_baselines(block), name=block_name(block))
        identity = dict(zip(BLOCK, values, strict=True))
        found += [identity | _estimate(contrast, n_bootstrap, seed) for contrast in compared]
    table = pd.DataFrame(found).reindex(columns=[*COLUMNS, "kind"]).astype(dict.fromkeys(ESTIMATED, float))
    table = table.assign(alpha=alpha, equivalence=equivalence, n_bootstrap=n_bootstrap)
    return judged(adjusted(table, declared=family_size or 0))[list(COLUMNS)].reset_index(drop=True)


def _estimate(contrast: Contrast, n_bootstrap: int, seed: int) -> dict[str, object]:
    paired = pair(contrast.arm, contrast.reference)
    same = contrast.baseline
    if (tuple(same.index), tuple(same.columns)) != (paired.seeds, paired.subjects):
        same = same.reindex(index=list(paired.seeds), columns=list(paired.subjects))
    return contrast.key._asdict() | {
        "comparison": contrast.comparison,
        "kind": contrast.kind,
        "against": contrast.against,
        "n_seeds": paired.n_seeds,
        "n_subjects": paired.n_subjects,
        "n_missing": paired.n_missing,
        "n_failed": contrast.n_failed,
        "delta": paired.table.mean() if paired.n_seeds else np.nan,
        "baseline": same.to_numpy(dtype=float).mean() if paired.n_seeds else np.nan,
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
