"""Comparisons to an answer in words: does this loss help, is it content or structure, could any loss have helped here?

In: the table of `valence.stats.compare` for one classifier, and whether its baseline encodes the axis. Out: four
answers, each with the numbers that it rests on.
"""

import math
from dataclasses import dataclass

import pandas as pd

from valence.stats.saturation import Saturation

ENCODES = 0.05
"""p below which the baseline is said to order the classes along the axis"""
DETACHED_BOUND = 1e-6
"""a detached loss changes nothing, to the last bit on a CPU; on a GPU by rounding"""


@dataclass(frozen=True, kw_only=True)
class LossVerdict:
    """What can be said of one loss with one classifier."""

    classifier: str
    strategy: str
    saturated: str
    """whether the receiving baseline leaves room for the axis: "not saturated" where a reference loss helps,
    "saturated" where the baseline encodes the axis beyond chance and no reference loss can gain as much as counts,
    else "undecided" """
    effect: str
    """verdict of the loss with the axis against its baseline; "not run" where there is no such comparison"""
    content: str
    """verdict of the axis against its permuted and random twins"""
    structure: str
    """verdict of the twins against the baseline"""
    lines: tuple[str, ...]
    """the answer as sentences"""


def loss_verdict(
    comparisons: pd.DataFrame, *, strategy: str, references: tuple[str, ...], saturation: Saturation | None
) -> LossVerdict:
    """The verdict on one strategy.

    Parameters
    ----------
    comparisons : rows of one classifier. Where a strategy has several doses, the first of them is told.
    references : strategies known from the literature; none of them helping is part of being saturated.
    saturation : of the classifier's baseline cells; None where it could not be computed.
    """
    classifier = str(comparisons["classifier"].iloc[0])
    effect = _row(comparisons, strategy, "baseline", "vaxis")
    content, structure = (_row(comparisons, strategy, name) for name in ("content", "structure"))
    tried = [row for name in references if (row := _row(comparisons, name, "baseline", "vaxis")) is not None]
    saturated, why = _saturated(saturation, tried)
    lines = (
        f"1. Is the baseline saturated? {saturated.capitalize()}. {why}",
        f"2. Does {strategy} help? {_told(effect)}",
        f"3. Content: the axis against its permuted and random twins. {_told(content)}",
        f"   Structure: the twins against the baseline. {_told(structure)}",
        f"   {_meaning(content, structure)}",
        f"4. Control of the machinery: {_detached(_row(comparisons, strategy, 'baseline', 'detached'))}",
    )
    return LossVerdict(
        classifier=classifier,
        strategy=strategy,
        saturated=saturated,
        effect=_verdict(effect),
        content=_verdict(content),
        structure=_verdict(structure),
        lines=lines,
    )


def _row(comparisons: pd.DataFrame, strategy: str, comparison: str, target: str | None = None) -> pd.Series | None:
    own = comparisons[(comparisons["strategy"] == strategy) & (comparisons["comparison"] == comparison)]
    if target is not None:
        own = own[own["target"] == target]
    return own.iloc[0] if len(own) else None


def _verdict(row: pd.Series | None) -> str:
    return "not run" if row is None else str(row["verdict"])


def _told(row: pd.Series | None) -> str:
    if row is None:
        return "Not run."
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


def _needed(row: pd.Series) -> str:
    if row["verdict"] != "undecided":
        return ""
    if pd.isna(row["seeds_needed"]):
        return " More seeds cannot decide it: the test subjects are too few."
    return f" About {row['seeds_needed']} seeds would decide it."


def _saturated(saturation: Saturation | None, tried: list[pd.Series]) -> tuple[str, str]:
    helping = [row["strategy"] for row in tried if row["verdict"] == "helps"]
    told = "; ".join(f"{row['strategy']} {row['delta']:+.4f} ({row['verdict']})" for row in tried)
    deltas = f"Reference losses with the axis: {told}." if told else "No reference loss was run."
    if saturation is None or math.isnan(saturation.strength):
        return ("not saturated" if helping else "undecided"), f"Its features tell nothing of the axis. {deltas}"
    encoding = (
        f"Trained without the axis, its features follow it with |r| = {saturation.strength:.2f} (95th percentile of "
        f"{saturation.n_permutations:,} orders of the classes {saturation.null_95:.2f}, p {saturation.p:.3g})."
    )
    if helping:
        return "not saturated", f"{encoding} {deltas}"
    hopeless = tried and all(row["ci_high"] < row["equivalence"] for row in tried)
    return ("saturated" if hopeless and saturation.p < ENCODES else "undecided"), f"{encoding} {deltas}"


def _meaning(content: pd.Series | None, structure: pd.Series | None) -> str:
    if content is None:
        return "Without twins nothing separates what the loss says from that it says something."
    first, second = content["verdict"], _verdict(structure)
    if first == "helps":
        return "What the axis says is what helps: the same loss with its values on other classes does less."
    if first == "hurts":
        return "The axis does worse than the same loss with its values on other classes."
    if first == "equivalent":
        same = {"helps": "and both help", "hurts": "and both hurt", "equivalent": "and neither does anything"}
        return f"The axis does no more than any other values would: {same.get(second, 'structure is undecided')}."
    return "Whether the axis does more than other values would cannot be said yet."


def _detached(row: pd.Series | None) -> str:
    if row is None:
        return "the loss with its gradient stopped was not run."
    if abs(row["delta"]) <= DETACHED_BOUND:
        return "with its gradient stopped the loss changes nothing, as it should."
    return (
        f"with its gradient stopped the loss still changes balanced accuracy by {row['delta']:+.4f}: it acts by "
        "another way than its gradient at the features (it draws random numbers, or changes the classifier)."
    )
