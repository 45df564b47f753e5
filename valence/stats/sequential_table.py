"""The results table of an unfinished sweep to decisions: which comparisons have their answer, which need more seeds.

In: rows so far, the seeds in their declared order and the declared looks. Out: one row a comparison, with its decision;
and the cells that those which go on need up to their next look.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from valence.errors import BadInput
from valence.stats.arms import ARM, BLOCK, NO_TARGET, arms, block_name, checked, matched_baselines
from valence.stats.contrasts import CONFIRMATORY, Contrast, contrasts
from valence.stats.paired import MIN_TEST_SUBJECTS, pair, two_way_variance
from valence.stats.sequential import FUTILE, GO_ON, UNDECIDED, Decided, Looks, Seen, careful_df, decide, seeds_expected
from valence.stats.spending import nominal_levels
from valence.stats.verdict import SCOPE

COLUMNS = (
    *("dataset", "split", "classifier", "recipe", "strategy", "target", "lambda_", "options", "gradient_match"),
    *("comparison", "against", "decision", "delta", "ci_low", "ci_high", "p_sequential", "p_holm", "p_equivalence"),
    *("n_seeds", "n_seeds_asked", "n_subjects", "chance_by_end", "seeds_more", "seeds_expected"),
    *("kind", "family_size", "alpha", "equivalence", "spending", "looks"),
    *("axis", "plugins", "weights", "dataset_hash", "recipe_hash", "science"),
)


def sequential_decisions(
    rows: pd.DataFrame, *, seeds: Sequence[int], looks: Looks | None = None, family_size: int | None = None
) -> pd.DataFrame:
    """Decision of every comparison that the rows allow; see `valence.stats.sequential`.

    Parameters
    ----------
    rows : the results table, one row a cell; failed cells count as asked for. Nothing is adjusted for cells that were
        added outside the looks: rows of later seeds than the last whole look are not read.
    seeds : in the order in which they were declared to be run, as many as the last look has or more.
    family_size : comparisons of axis against baseline declared for one classifier; the number found where smaller.

    Returns
    -------
    One row a comparison, as `valence.stats.compare` has them: decision ("helps", "hurts", "equivalent", "futile",
    "undecided" after the last look, "go on"); delta and its repeated confidence interval ci_low, ci_high (alpha over
    all looks, so that it holds whenever one stops; one comparison), p_sequential, p_holm (in its family), p_equivalence
    (each: valid at any declared look); n_seeds, paired, that these rest on; n_seeds_asked; chance_by_end (to be decided
    by the last look; null where stopped), seeds_more (up to the next look, 0 where stopped), seeds_expected (in all,
    with 80 % power, the last look where none has it). A delta that stopped early is larger in size, on average, than
    the truth. With fewer than MIN_TEST_SUBJECTS test subjects "futile", as no number of seeds can decide.

    Raises
    ------
    BadInput : as `compare`; or for fewer, or repeated, seeds than the looks need.
    """
    looks = looks or Looks()
    order = [int(seed) for seed in seeds]
    if len(set(order)) != len(order) or len(order) < looks.n_seeds[-1]:
        raise BadInput(
            f"{len(order)} seeds, {len(set(order))} of them different, for looks after {list(looks.n_seeds)}",
            allowed="each seed once, at least as many as the last look has",
            do="give the seeds in the order in which the sweep was declared to run them",
        )
    found: list[dict[str, object]] = []
    for values, block in checked(rows).groupby(list(BLOCK), dropna=False, sort=True):
        compared = contrasts(arms(block), matched_baselines(block), name=block_name(block))
        found += [dict(zip(BLOCK, values, strict=True)) | one for one in _looked(compared, order, looks)]
    table = pd.DataFrame(found)
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    parts = [
        _family(part, looks, family_size or 0) for _, part in table.groupby([*SCOPE, "classifier", "kind"], sort=False)
    ]
    whole = (
        pd.concat(parts)
        .sort_index()
        .assign(
            alpha=looks.alpha,
            equivalence=looks.equivalence,
            spending=looks.spending,
            looks=",".join(map(str, looks.n_seeds)),
        )
    )
    return whole[list(COLUMNS)]


def _looked(compared: Iterator[Contrast], seeds: list[int], looks: Looks) -> Iterator[dict[str, object]]:
    """Identity of each comparison, and what its looks see in the field `seen`, (5, n_looks)."""
    for contrast in compared:
        asked = set(contrast.arm.index) & set(contrast.reference.index)
        what = np.full((5, len(looks.n_seeds)), np.nan)
        n_paired, n_subjects, n_taken = 0, 0, 0
        for look, n in enumerate(looks.n_seeds):
            if not asked.issuperset(seeds[:n]):
                break
            n_taken = look + 1
            paired = pair(contrast.arm.loc[seeds[:n]], contrast.reference.loc[seeds[:n]])
            n_paired, n_subjects = paired.n_seeds, paired.n_subjects
            if n_paired >= 2 and n_subjects >= MIN_TEST_SUBJECTS:
                variance = two_way_variance(paired.table)
                df = float(careful_df(variance.df, variance.columns, n_subjects))
                fields = (variance.rows * n_paired, variance.rows, variance.columns, df)
                what[:, look] = (paired.table.mean(), *fields)
        yield {
            **contrast.key._asdict(),
            "comparison": contrast.comparison,
            "kind": contrast.kind,
            "against": contrast.against,
            "n_seeds": n_paired,
            "n_seeds_asked": len(asked.intersection(seeds)),
            "n_subjects": n_subjects,
            "n_taken": n_taken,
            "seen": what,
        }


def _family(part: pd.DataFrame, looks: Looks, declared: int) -> pd.DataFrame:
    """One family with its decisions."""
    mean, per_seed, of_rows, columns, df = np.stack(part["seen"].tolist())[None].transpose(2, 0, 1, 3)
    what = Seen(mean=mean, per_seed=per_seed, rows=of_rows, columns=columns, df=df)
    size = max(len(part), declared if part["kind"].iloc[0] == CONFIRMATORY else 0)
    decided = decide(what, looks, family_size=size)
    decision, look = decided.decision[0].copy(), decided.look[0]
    taken = part["n_taken"].to_numpy()
    few = (part["n_subjects"] > 0) & (part["n_subjects"] < MIN_TEST_SUBJECTS)
    decision[few.to_numpy()] = FUTILE
    decision[(decision == GO_ON) & (taken == len(looks.n_seeds))] = UNDECIDED
    goes_on = decision == GO_ON
    ends = np.asarray([*looks.n_seeds, looks.n_seeds[-1]])
    return part.drop(columns=["seen", "n_taken"]).assign(
        decision=pd.Series(decision, index=part.index, dtype="str"),
        **_estimates(what, decided, looks),
        p_sequential=np.where(look >= 0, decided.p[0], np.nan),
        p_holm=np.where(look >= 0, decided.p_holm[0], np.nan),
        p_equivalence=np.where(look >= 0, decided.p_equivalence[0], np.nan),
        chance_by_end=np.where(goes_on, decided.chance[0, :, -1], np.nan),
        seeds_more=np.where(goes_on, ends[taken] - part["n_seeds_asked"].clip(upper=ends[taken]), 0),
        seeds_expected=pd.array(np.where(goes_on, seeds_expected(decided, looks)[0], np.nan), dtype="Int64"),
        family_size=size,
    )


def _estimates(what: Seen, decided: Decided, looks: Looks) -> dict[str, np.ndarray]:
    """Mean and repeated confidence interval at the look of the decision; NaN where there was none."""
    look = decided.look[0]
    at = np.arange(len(look)), np.maximum(look, 0)
    mean, error, df = what.mean[0][at], what.error[0][at], what.df[0][at]
    levels = nominal_levels(looks.fractions, looks.alpha, spending=looks.spending)[np.maximum(look, 0)]
    margin = stats.t.isf(levels / 2, df) * error
    return {"delta": mean, "ci_low": mean - margin, "ci_high": mean + margin}


def cells_to_add(rows: pd.DataFrame, decisions: pd.DataFrame, *, seeds: Sequence[int]) -> pd.DataFrame:
    """Cells up to the next look of the comparisons that go on, and of the baselines and controls that they need.

    Parameters
    ----------
    rows : those that `sequential_decisions` made the decisions from.
    seeds : as it was given them.

    Returns
    -------
    One row a cell that has no row yet: the identity of its arm, and its seed.
    """
    rows, order = checked(rows), [int(seed) for seed in seeds]
    goes_on = decisions[decisions["decision"] == GO_ON]
    found: list[dict[str, object]] = []
    for key, cells in rows.groupby([*BLOCK, *ARM], dropna=False, sort=True):
        arm = dict(zip([*BLOCK, *ARM], key, strict=True))
        until = [
            row["n_seeds_asked"] + row["seeds_more"]
            for row in goes_on[_same(goes_on, arm, BLOCK)].to_dict("records")
            if _needs(row, arm)
        ]
        missing = [seed for seed in order[: max(until, default=0)] if seed not in set(cells["seed"])]
        found += [arm | {"seed": seed} for seed in missing]
    return pd.DataFrame(found, columns=[*BLOCK, *ARM, "seed"])


def _same(table: pd.DataFrame, arm: dict[str, object], names: Sequence[str]) -> np.ndarray:
    return np.logical_and.reduce([np.full(len(table), True), *(table[name] == arm[name] for name in names)])


def _needs(row: dict, arm: dict[str, object]) -> bool:
    """Whether a comparison cannot be made without an arm of its block."""
    if arm["target"] == NO_TARGET and row["comparison"] != "content":
        # a baseline under other options is no baseline of this comparison, yet the cost of keeping it is small
        return arm["strategy"] in (row["strategy"], row["against"])
    targets = {*str(row["target"]).split(", "), *(str(row["against"]).split(", ") * (row["comparison"] == "content"))}
    fixed = [name for name in ARM if name not in ("target", "axis")]
    alike = all(row[name] == arm[name] for name in fixed) and arm["axis"] in (row["axis"], "")
    return alike and arm["target"] in targets
