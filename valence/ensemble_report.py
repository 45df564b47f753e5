"""Ensembles, the tables: members in, one row a rule, member or pair out, with intervals and the study's numbers.

An ensemble is one network of networks, so its interval is over test subjects alone and says nothing of other seeds;
column `null` says so. Source of the reference numbers: arXiv:2606.00129, FACED, EMOD.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from valence.disagreement import kappa_matrix, off_diagonal, right_by_number
from valence.ensemble import Ensemble, Members, by_subject, fit, leave_one_out, single_accuracies
from valence.ensemble_controls import Controls
from valence.ensemble_headroom import expected_accuracy
from valence.ensemble_selection import accuracies, residual_correlations, right
from valence.errors import BadInput
from valence.intervals import fisher_interval
from valence.reliability import fit_temperature
from valence.stats import sign_flip, two_way_interval

STUDY = {
    ("uniform", 5): 0.6798,
    ("uniform", 10): 0.6948,
    ("uniform", 25): 0.6755,
    ("best_single", 1): 0.6755,
    ("strongest residual", 7): 0.6962,
    ("weakest residual", 7): 0.6829,
}
"""test balanced accuracy by rule and number of members"""
STUDY_CONTRIBUTION_R = 0.743
"""of leave-one-out contribution and residual encoding, 10 members"""
EXACT_MEMBERS = 8
"""up to so many members all their permutations are gone through"""
N_PERMUTATIONS = 10_000
OVER_SUBJECTS = "test subjects resampled; the networks are these"


def rules_table(given: Members, asked: Sequence[tuple[str, int | None]], *, pool: str = "softmax") -> pd.DataFrame:
    """Every rule, fitted on validation, against the mean of single members on the same test subjects.

    Parameters
    ----------
    asked : rules and sizes (None: as many as the rule finds best).

    Returns
    -------
    One row each: rule, n_candidates, n_members, validation and test balanced accuracy; gain over the mean single
    member with ci_low, ci_high and p over subjects; calibration error, Brier score and cross-entropy at temperature 1
    and (…_scaled) at the one fitted on validation; reference, the study's accuracy.
    """
    found = [fit(given.validation, given.names, rule, size=size, pool=pool) for rule, size in asked]
    return pd.DataFrame([_rule_row(each, given) for each in found])


def _rule_row(found: Ensemble, given: Members) -> dict[str, object]:
    scaled = replace(found, temperature=fit_temperature(found.mixture(given.validation), given.validation.labels))
    scores, after = found.scores(given.test), scaled.scores(given.test)
    probabilistic = ("calibration_error", "brier", "cross_entropy")
    return {
        "rule": found.rule,
        "n_candidates": len(given),
        "n_members": found.n_members,
        "validation_balanced_accuracy": found.scores(given.validation)["balanced_accuracy"],
        "balanced_accuracy": scores["balanced_accuracy"],
        **gain_over_singles(found, given),
        **{name: scores[name] for name in probabilistic},
        "temperature": scaled.temperature,
        **{f"{name}_scaled": after[name] for name in probabilistic},
        "reference": STUDY.get((found.rule, found.n_members), np.nan),
    }


def gain_over_singles(found: Ensemble, given: Members) -> dict[str, object]:
    """Ensemble less the mean of all members by themselves, paired by test subject: gain, ci_low, ci_high, p, null."""
    singles = by_subject(right(given.test.logits, given.test.labels), given.test)[0].mean(0)
    return _over_subjects(subject_accuracies(found, given) - singles)


def gain_over_controls(found: Ensemble, given: Members, controls: Controls) -> dict[str, object]:
    """Ensemble less the mean of equal-size ensembles of baseline cells, paired by test subject.

    Returns
    -------
    gain, ci_low, ci_high, p and null over subjects; share_at_least, the share of control draws at least as accurate;
    n_draws and n_apart, how many of the draws could share no seed.
    """
    accuracy = float(found.scores(given.test)["balanced_accuracy"] or 0)
    return {
        **_over_subjects(subject_accuracies(found, given) - controls.subject_accuracy),
        "share_at_least": controls.share_at_least(accuracy),
        "n_draws": len(controls.accuracy),
        "n_apart": controls.n_apart,
    }


def subject_accuracies(found: Ensemble, given: Members) -> np.ndarray:
    """Balanced accuracy of each test subject, (n_subjects,), in the order of their names."""
    return by_subject(right(found.mixture(given.test), given.test.labels), given.test)[0]


def _over_subjects(difference: np.ndarray) -> dict[str, object]:
    """Subjects are the sampled rows, of a table with one column."""
    table = difference[:, None]
    [[low, high]] = two_way_interval(table)
    p = sign_flip(table)
    return {"gain": float(difference.mean()), "ci_low": low, "ci_high": high, "p": p, "null": OVER_SUBJECTS}


def contributions(given: Members, *, pool: str = "softmax") -> pd.DataFrame:
    """One row a member: its accuracies, what leaving it out costs, and how alike its answers are to the others'."""
    kappas = kappa_matrix(given.test.logits.argmax(2), given.test.logits.shape[2])
    alike = residual_correlations(replace(given.validation, features=None))
    others = ~np.eye(len(given), dtype=bool)
    return pd.DataFrame(
        {
            "member": given.names,
            "seed": given.seeds,
            "validation_balanced_accuracy": accuracies(given.validation),
            "balanced_accuracy": single_accuracies(given),
            "contribution": leave_one_out(given, pool=pool),
            "mean_kappa": np.nanmean(np.where(others, kappas, np.nan), axis=1),
            "mean_residual_correlation": np.nanmean(np.where(others, alike, np.nan), axis=1),
        }
    )


def contribution_against(contribution: np.ndarray, strength: np.ndarray, *, seed: int = 0) -> dict[str, object]:
    """Whether members that encode more (of a residual, say) give more to the ensemble.

    Returns
    -------
    r with Fisher's interval (members taken as independent, which they are not: they share test samples); p, two-sided,
    of strengths permuted over members, all of them up to `EXACT_MEMBERS`; n; reference, the study's r of 10 members.

    Raises
    ------
    BadInput : below three members, or where one of both does not vary.
    """
    x, y = np.asarray(strength, dtype=float), np.asarray(contribution, dtype=float)
    if x.shape != y.shape or len(x) < 3 or not np.ptp(x) or not np.ptp(y) or not np.isfinite([x, y]).all():
        raise BadInput(
            f"strengths {x.shape} and contributions {y.shape} of members, or one of both does not vary",
            allowed="3 members or more with finite numbers that differ",
            do="give more members, or leave out those without a strength",
        )
    x, y = stats.zscore(x), stats.zscore(y)
    r, n = float(np.clip(x @ y / len(x), -1, 1)), len(x)
    if n <= EXACT_MEMBERS:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        random = np.random.default_rng(seed)
        orders = np.array([np.arange(n), *(random.permutation(n) for _ in range(N_PERMUTATIONS))])
    null = np.abs(x[orders] @ y) / n
    low, high = fisher_interval(r, n)
    return {
        "r": r,
        "ci_low": low,
        "ci_high": high,
        "p": float((null >= abs(r) - 1e-12).mean()),
        "n": n,
        "null": f"{'all' if n <= EXACT_MEMBERS else f'{N_PERMUTATIONS:,}'} permutations of members",
        "reference": STUDY_CONTRIBUTION_R,
    }


def headroom(given: Members, *, pool: str = "softmax") -> dict[str, float]:
    """What the uniform ensemble gains, beside what members as accurate and as alike are expected to.

    Returns
    -------
    n_members; single, their mean test accuracy; residual_correlation and mean_kappa of pairs; expected and limit
    (`valence.ensemble_headroom`, of as many members and of any number); observed; gain; share_of_headroom, the gain
    over what is between single and limit; one_right, share of samples that at least one member gets right. What
    has no answer, at chance, is nan.

    Raises
    ------
    BadInput : below two members.
    """
    if len(given) < 2:
        raise BadInput(f"{len(given)} members", allowed="2 or more", do="give more cells")
    n_classes = given.test.logits.shape[2]
    single = float(single_accuracies(given).mean())
    alike = float(off_diagonal(residual_correlations(replace(given.validation, features=None))).mean())
    uniform = fit(given.validation, given.names, pool=pool)
    observed = float(uniform.scores(given.test)["balanced_accuracy"] or 0)
    knows = 1 / n_classes < single < 1  # else there is nothing to expect
    expected, limit = (
        expected_accuracy(single, alike, number, n_classes) if knows else np.nan for number in (len(given), np.inf)
    )
    predicted = given.test.logits.argmax(2)
    return {
        "n_members": len(given),
        "single": single,
        "residual_correlation": alike,
        "mean_kappa": float(np.nanmean(off_diagonal(kappa_matrix(predicted, n_classes)))),
        "expected": expected,
        "limit": limit,
        "observed": observed,
        "gain": observed - single,
        "share_of_headroom": (observed - single) / (limit - single) if limit > single else np.nan,
        "one_right": float(1 - right_by_number(predicted == given.test.labels)[0]),
    }


def weights_table(found: Ensemble) -> pd.DataFrame:
    """One row a member with a weight, from the heaviest."""
    table = pd.DataFrame({"member": found.members, "weight": found.weights})
    return table[table["weight"] > 0].sort_values("weight", ascending=False, kind="stable").reset_index(drop=True)
