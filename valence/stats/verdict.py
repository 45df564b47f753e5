"""Comparisons to verdicts: families, adjusted p values, the four verdicts, and the seeds an undecided one needs."""

import numpy as np
import pandas as pd

from valence.stats.contrasts import CONFIRMATORY
from valence.stats.multiplicity import benjamini_hochberg, holm
from valence.stats.paired import MIN_TEST_SUBJECTS
from valence.stats.power import PLANNING_SD, minimum_detectable, seeds_needed

SCOPE = ["dataset", "split", "recipe"]
COUNTS = ["n_seeds", "n_subjects", "n_missing", "n_failed"]


def adjusted(table: pd.DataFrame, *, declared: int) -> pd.DataFrame:
    """Fill family, family_size, p_holm, p_bh and exploratory_size. Every row belongs to exactly one family.

    A family is one kind of comparison (column `kind`: see valence.stats.contrasts) of one classifier, over its
    strategies, strengths, options and gradient ratios. `declared` is the size of the confirmatory kind as planned;
    comparisons that are not there yet count as p = 1. Benjamini-Hochberg takes one kind over all classifiers.
    """
    p = table["p"].to_numpy(dtype=float)
    family, size = np.full(len(p), "", dtype=object), np.zeros(len(p), dtype=int)
    p_holm, p_bh, exploratory = np.full(len(p), np.nan), np.full(len(p), np.nan), np.zeros(len(p), dtype=int)
    for at in table.groupby([*SCOPE, "classifier", "kind"]).indices.values():
        family[at] = "{kind}: {classifier} ({dataset}, {split}, {recipe})".format(**table.iloc[at[0]])
        size[at] = max(len(at), declared if table["kind"].iloc[at[0]] == CONFIRMATORY else 0)
        p_holm[at] = holm(p[at], family_size=size[at[0]])
    for at in table.groupby(["dataset", "split", "kind"]).indices.values():
        exploratory[at] = len(at)
        p_bh[at] = benjamini_hochberg(p[at])
    return table.astype(dict.fromkeys(COUNTS, int)).assign(
        family=pd.Series(family, index=table.index, dtype="str"),
        family_size=size,
        p_holm=p_holm,
        p_bh=p_bh,
        exploratory_size=exploratory,
    )


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Fill verdict, mde and seeds_needed from the adjusted table."""
    rows = table.to_dict("records")
    verdicts = [verdict(row) for row in rows]
    needed = [_seeds_needed(row) if name == "undecided" else None for row, name in zip(rows, verdicts, strict=True)]
    return table.assign(
        verdict=pd.Series(verdicts, index=table.index, dtype="str"),
        mde=np.array([_detectable(row) for row in rows], dtype=float),
        seeds_needed=pd.array(needed, dtype="Int64"),
    )


def verdict(row: dict) -> str:
    """ "helps", "hurts", "equivalent" or "undecided"; comparisons with NaN are false, so no p means undecided.

    Below MIN_TEST_SUBJECTS test subjects it is "undecided", whatever p and interval are.
    """
    if row["n_subjects"] < MIN_TEST_SUBJECTS:
        return "undecided"
    if row["p_holm"] < row["alpha"] and (row["ci_low"] > 0 or row["ci_high"] < 0):
        return "helps" if row["delta"] > 0 else "hurts"
    if -row["equivalence"] < row["ci90_low"] and row["ci90_high"] < row["equivalence"]:
        return "equivalent"
    return "undecided"


def _too_few_subjects(row: dict) -> bool:
    """Whether seeds cannot help; an arm without any cell has no test subjects at all and is told of seeds."""
    return 0 < row["n_subjects"] < MIN_TEST_SUBJECTS


def _spread(row: dict) -> tuple[float, float]:
    """sd of the difference between seeds, and the variance of the mean that subjects add.

    Where one seed shows no spread, the planning sd stands in.
    """
    if row["n_seeds"] < 2:
        return PLANNING_SD, 0.0
    return row["sd_seeds"], 0.0 if np.isnan(row["sd_subjects"]) else row["sd_subjects"] ** 2 / row["n_subjects"]


def _detectable(row: dict) -> float:
    if _too_few_subjects(row) or not row["p_floor"] * row["family_size"] < row["alpha"]:
        return np.nan
    sd, subjects = _spread(row)
    total = float(np.sqrt(sd**2 + row["n_seeds"] * subjects))
    return minimum_detectable(row["n_seeds"], sd=total, alpha=row["alpha"], family_size=row["family_size"])


def _seeds_needed(row: dict) -> int | None:
    if _too_few_subjects(row):
        return None
    sd, subjects = _spread(row)
    needed = seeds_needed(
        row["delta"],
        sd,
        subject_variance=subjects,
        equivalence=row["equivalence"],
        alpha=row["alpha"],
        family_size=row["family_size"],
    )
    return None if needed is None else max(needed, row["n_seeds"] + 1)
