"""Recipe ladder: cells of each step in, one row a step out, paired by seed, with the study's numbers beside.

A step is compared with the step before it over the same seeds and test subjects (`valence.stats`). An ensemble is one
network, so it has no seeds to be paired by: it is compared subject by subject with the mean of the single cells, or
with the ensemble before it, and its interval is over subjects alone, as `null` says.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from valence.ensemble import by_subject, fit, members
from valence.ensemble_report import OVER_SUBJECTS
from valence.ensemble_selection import Sample, right
from valence.errors import BadInput
from valence.kept import TEST, Kept
from valence.ladder import Rung
from valence.stats import exact_floor, sign_flip, two_way_interval
from valence.stats.multiplicity import holm
from valence.stats.paired import pair

PAIRED = "paired by seed; new seeds and new test subjects"
COLUMNS = (
    *("step", "against", "classifier", "recipe", "strategy", "target"),
    *("n_members", "n_seeds", "n_subjects", "n_missing", "balanced_accuracy", "sd_seeds"),
    *("delta", "ci_low", "ci_high", "p", "p_holm", "p_floor", "null", "study", "study_sd", "study_delta"),
    *("note", "reason"),
)
NUMBERS = (
    *("balanced_accuracy", "sd_seeds", "delta", "ci_low", "ci_high", "p", "p_holm", "p_floor"),
    *("study", "study_sd", "study_delta"),
)


def seeds_by_subjects(kept: Sequence[Kept]) -> pd.DataFrame:
    """Test balanced accuracy, index seed, columns subject. Raises BadInput where a seed is there twice."""
    rows = {}
    for cell in kept:
        at = cell.rows(TEST)
        sample = Sample(logits=cell.logits[None, at], labels=cell.labels[at], subjects=cell.subjects[at])
        values, names = by_subject(right(sample.logits, sample.labels)[0], sample)
        if cell.seed in rows:
            raise BadInput(
                f"two cells of {cell.classifier}, {cell.strategy}, recipe {cell.recipe} with seed {cell.seed}",
                allowed="one cell a seed in each step",
                do="name the cells of one sweep",
            )
        rows[cell.seed] = dict(zip(names.tolist(), values))
    return pd.DataFrame.from_dict(rows, orient="index").sort_index(axis=0).sort_index(axis=1)


def ladder_table(found: Sequence[Rung], cells: Mapping[str, Sequence[Kept]]) -> pd.DataFrame:
    """One row a step.

    Parameters
    ----------
    found : of `valence.ladder.rungs`.
    cells : of each step that trains, by its name; a step without any is a row with the reason.

    Returns
    -------
    Columns `COLUMNS`: balanced accuracy, its mean over seeds and subjects (of an ensemble over subjects); delta to the
    step in `against` with its 95 % interval, p, and p_holm over all steps of the table that have a p; p_floor, the
    smallest p that so many seeds can give; study, study_delta, the study's numbers.
    """
    single = {name: seeds_by_subjects(kept) for name, kept in cells.items() if kept}
    ensembles: dict[str, tuple[pd.Series, int]] = {}
    rows = []
    for rung in found:
        row = _described(rung, {each.name: each for each in found})
        if rung.reason:
            rows.append({**row, "reason": rung.reason})
        elif rung.step.ensemble:
            kept = [cell for name in rung.step.ensemble for cell in cells.get(name, ())]
            if kept:
                ensembles[rung.name] = _ensemble(kept, rung.step.rule)
            rows.append({**row, **_of_ensemble(rung, ensembles, single)})
        else:
            rows.append({**row, **_of_seeds(rung, single)})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    tested = table["p"].notna()  # the first step has nothing to be tested against
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"].to_numpy(dtype=float))
    counts = dict.fromkeys(("n_members", "n_seeds", "n_subjects", "n_missing"), "Int64")
    return table.astype(dict.fromkeys(NUMBERS, "float64") | counts).fillna({"reason": "", "null": ""})


def _described(rung: Rung, all_rungs: Mapping[str, Rung]) -> dict[str, object]:
    study, before = rung.step.study, all_rungs[rung.after].step.study if rung.after else None
    return {
        "step": rung.name,
        "against": rung.after,
        "classifier": rung.classifier,
        "recipe": rung.recipe.name,
        "strategy": rung.strategy,
        "target": rung.target,
        "study": study,
        "study_sd": rung.step.study_sd,
        "study_delta": None if study is None or before is None else study - before,
        "note": rung.step.note,
    }


def _of_seeds(rung: Rung, single: Mapping[str, pd.DataFrame]) -> dict[str, object]:
    table = single.get(rung.name)
    if table is None:
        return {"reason": "no cell of this step is done"}
    means = table.mean(axis=1)
    row: dict[str, object] = {
        "n_members": 1,
        "n_seeds": len(table),
        "n_subjects": table.shape[1],
        "balanced_accuracy": float(means.mean()),
        "sd_seeds": float(means.std(ddof=1)) if len(means) > 1 else np.nan,
    }
    if rung.after not in single:
        return row
    paired = pair(table, single[rung.after])
    if not paired.n_seeds:
        return {**row, "reason": f"no seed in common with {rung.after!r}"}
    [[low, high]] = two_way_interval(paired.table)
    return {
        **row,
        "n_seeds": paired.n_seeds,
        "n_missing": paired.n_missing,
        "delta": float(paired.table.mean()),
        "ci_low": low,
        "ci_high": high,
        "p": sign_flip(paired.table),
        "p_floor": exact_floor(paired.n_seeds),
        "null": PAIRED,
    }


def _ensemble(kept: Sequence[Kept], rule: str) -> tuple[pd.Series, int]:
    """Accuracy by subject, and the number of members."""
    given = members(kept)
    fitted = fit(given.validation, given.names, rule)
    values, names = by_subject(right(fitted.mixture(given.test), given.test.labels), given.test)
    return pd.Series(values, index=names), fitted.n_members


def _of_ensemble(
    rung: Rung, ensembles: Mapping[str, tuple[pd.Series, int]], single: Mapping[str, pd.DataFrame]
) -> dict[str, object]:
    if rung.name not in ensembles:
        return {"reason": "no cell of its members is done"}
    by_name, n_members = ensembles[rung.name]
    row: dict[str, object] = {
        "n_members": n_members,
        "n_subjects": len(by_name),
        "balanced_accuracy": float(by_name.mean()),
    }
    if rung.after in ensembles:
        before = ensembles[rung.after][0]
    elif rung.after in single:
        before = single[rung.after].mean(axis=0)
    else:
        return row
    difference = (by_name - before).dropna().to_numpy()[:, None]  # subjects are the sampled rows of one column
    [[low, high]] = two_way_interval(difference)
    return {
        **row,
        "delta": float(difference.mean()),
        "ci_low": low,
        "ci_high": high,
        "p": sign_flip(difference),
        "p_floor": exact_floor(len(difference)),
        "null": OVER_SUBJECTS,
    }
