"""Comparisons to an answer in words: does this loss help, is it content or structure, could any loss have helped here?

In: the table of `valence.stats.compare` for one sweep and classifier, and whether its baseline encodes the axis. Out:
four answers, each with the numbers that it rests on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from valence.errors import BadInput
from valence.stats.arms import AXIS_TARGET, NO_TARGET
from valence.stats.labels import dose_label
from valence.stats.paired import MIN_TEST_SUBJECTS
from valence.stats.saturation import Saturation

ENCODES = 0.05
"""p below which the baseline is said to order the classes along the axis"""
FEWEST_CLASSES = 5
"""with fewer, permuted values are too like the true ones for "no more than any other values would" """
DOSE = ("strategy", "lambda_", "options", "gradient_match")
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Detached:
    """What the loss with its gradient stopped did to training."""

    largest: float
    """largest difference of balanced accuracy from the baseline over seeds and subjects; NaN where there is none"""
    same_way: bool
    """both were computed in the same way, on a CPU: then they must be equal to the last bit"""


@dataclass(frozen=True, kw_only=True)
class LossVerdict:
    """What can be said of one loss with one classifier."""

    classifier: str
    loss: str
    saturated: str
    """whether the receiving baseline leaves room for the axis: "not saturated" where a reference loss helps,
    "saturated" where the baseline encodes the axis beyond chance and every reference loss was decided, none of them
    helps and one of them does nothing; else "undecided" """
    effect: str
    """verdict of the loss with the axis against its baseline; "not run" where there is no such comparison"""
    content: str
    """verdict of the axis against its permuted and random twins"""
    structure: str
    """verdict of the twins against the baseline"""
    lines: tuple[str, ...]
    """the answer as sentences"""


def loss_verdict(
    comparisons: pd.DataFrame,
    *,
    dose: Row,
    references: Sequence[Row],
    saturation: Saturation | None,
    detached: Detached | None,
    n_classes: int,
) -> LossVerdict:
    """The verdict on one dose of a strategy.

    Parameters
    ----------
    comparisons : rows of one sweep and one classifier.
    dose, references : DOSE of the loss, and of those from the literature that say whether any could help.
    saturation : of the classifier's baseline cells; None where it could not be computed.
    detached : None where the loss was not run with its gradient stopped.

    Raises
    ------
    BadInput : where the table holds a comparison more than once: it is of several sweeps.
    """
    effect = _row(comparisons, dose, "baseline", AXIS_TARGET)
    if effect is None:  # a loss without a target
        effect = _row(comparisons, dose, "baseline", NO_TARGET)
    content, structure = (_row(comparisons, dose, name) for name in ("content", "structure"))
    others = [other for other in references if other != dose]
    tried = [row for other in others if (row := _row(comparisons, other, "baseline", AXIS_TARGET)) is not None]
    saturated, why = _saturated(saturation, tried, wanted=len(others))
    name = dose_label(dose)
    lines = (
        f"1. Is the baseline saturated? {saturated.capitalize()}. {why}",
        f"2. Does {name} help? {_told(effect)}",
        f"3. Content: the axis against its permuted and random twins. {_told(content)}",
        f"   Structure: the twins against the baseline. {_told(structure)}",
        f"   {_meaning(effect, content, structure, n_classes=n_classes)}",
        f"4. Control of the machinery: {_machinery(detached)}",
    )
    return LossVerdict(
        classifier=str(comparisons["classifier"].iloc[0]),
        loss=name,
        saturated=saturated,
        effect=_verdict(effect),
        content=_verdict(content),
        structure=_verdict(structure),
        lines=lines,
    )


def _row(comparisons: pd.DataFrame, dose: Row, comparison: str, target: str | None = None) -> Row | None:
    own = comparisons[comparisons["comparison"] == comparison]
    for field in DOSE:
        own = own[own[field] == dose[field]]
    if target is not None:
        own = own[own["target"] == target]
    if len(own) > 1:
        raise BadInput(
            f"{len(own)} comparisons of {dose_label(dose)}: {comparison}",
            allowed="comparisons of one sweep: one data set, split, recipe and axis",
            do="ask for the verdict with the command of that sweep",
        )
    return own.to_dict("records")[0] if len(own) else None


def _verdict(row: Row | None) -> str:
    return "not run" if row is None else str(row["verdict"])


def _told(row: Row | None) -> str:
    if row is None:
        return "Not run."
    if not row["n_seeds"]:
        return "It could not be computed: its cells failed, see --why."
    numbers = (
        f"Δ {row['delta']:+.4f}, 95 % interval {row['ci_low']:+.4f} to {row['ci_high']:+.4f}, p {row['p_holm']:.3g} "
        f"after Holm over {row['family_size']}, {row['n_seeds']} seeds, {row['n_subjects']} test subjects"
    )
    words = {
        "helps": "It helps",
        "hurts": "It hurts",
        "equivalent": f"It does nothing: the difference lies within ± {row['equivalence']:g}",
        "undecided": "Undecided",
    }[row["verdict"]]
    return f"{words} ({numbers}).{_needed(row)}"


def _needed(row: Row) -> str:
    if row["verdict"] != "undecided":
        return ""
    if pd.isna(row["seeds_needed"]):
        return " More seeds cannot decide it: the test subjects are too few."
    return f" About {row['seeds_needed']} seeds would decide it."


def _saturated(saturation: Saturation | None, tried: Sequence[Row], *, wanted: int) -> tuple[str, str]:
    helping = [row for row in tried if row["verdict"] == "helps"]
    told = "; ".join(f"{dose_label(row)} {row['delta']:+.4f} ({row['verdict']})" for row in tried)
    deltas = f"Losses of the literature with the axis: {told}." if told else "No loss of the literature was run."
    if saturation is None or math.isnan(saturation.strength):
        return ("not saturated" if helping else "undecided"), f"What its features tell of the axis is unknown. {deltas}"
    encoding = (
        f"Trained without the axis, its features follow it with |r| = {saturation.strength:.2f} (95th percentile of "
        f"{saturation.n_permutations:,} orders of the classes {saturation.null_95:.2f}, p {saturation.p:.3g})."
    )
    if helping:
        return "not saturated", f"{encoding} {deltas}"
    if saturation.p_floor >= ENCODES:
        few = f"{saturation.n_classes} classes have too few orders: p cannot fall below {saturation.p_floor:.2g}."
        return "undecided", f"{encoding} {few} {deltas}"
    decided = [
        row
        for row in tried
        if row["n_subjects"] >= MIN_TEST_SUBJECTS
        and row["verdict"] != "undecided"
        and row["ci_high"] < row["equivalence"]
    ]
    # a loss that ruins training says nothing of whether there is room
    nothing = any(row["verdict"] == "equivalent" for row in decided)
    hopeless = len(tried) == wanted > 0 and len(decided) == wanted and nothing
    return ("saturated" if hopeless and saturation.p < ENCODES else "undecided"), f"{encoding} {deltas}"


def _meaning(effect: Row | None, content: Row | None, structure: Row | None, *, n_classes: int) -> str:
    if content is None:
        return "Without twins nothing separates what the loss says from that it says something."
    own, first, second = _verdict(effect), content["verdict"], _verdict(structure)
    if first == "helps" and own == "helps":
        return "What the axis says is what helps: the same loss with its values on other classes does less."
    if first == "helps":
        so = {"hurts": "it hurts less", "equivalent": "it does nothing"}.get(own, "whether it helps is undecided")
        return f"The axis does better than its twins, but that is no help yet: against the baseline {so}."
    if first == "hurts":
        return "The axis does worse than the same loss with its values on other classes."
    if first == "equivalent" and n_classes < FEWEST_CLASSES:
        return f"With {n_classes} classes the twins are too like the axis: that they do as much says little."
    if first == "equivalent":
        same = {"helps": "and both help", "hurts": "and both hurt", "equivalent": "and neither does anything"}
        return f"The axis does no more than any other values would: {same.get(second, 'structure is undecided')}."
    return "Whether the axis does more than other values would cannot be said yet."


def _machinery(detached: Detached | None) -> str:
    if detached is None:
        return "the loss with its gradient stopped was not run."
    if math.isnan(detached.largest):
        return "it could not be computed: cells failed, see --why."
    if detached.largest == 0:
        return "with its gradient stopped the loss changes nothing, as it should."
    changed = f"with its gradient stopped the loss still changes balanced accuracy, by {detached.largest:.4f} at most"
    if not detached.same_way:
        return f"{changed}; its layers were computed in another way than the baseline's, which rounding explains."
    return f"{changed}: it acts by another way than its gradient (it draws random numbers, or changes the classifier)."
