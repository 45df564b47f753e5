"""Tables to rows of text for the report: which columns are shown, in which order, with how many digits."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from valence.report_text import confirmatory, interval, number, p_value
from valence.stats import power_table
from valence.stats.arms import AXIS_TARGET, BASELINE
from valence.stats.labels import in_order

if TYPE_CHECKING:
    from valence.axis import Axis

SIGNS = {"helps": "▲", "hurts": "▼", "equivalent": "=", "undecided": "?"}


@dataclass(frozen=True)
class Text:
    """A table ready to print: texts only, escaped by the template."""

    columns: tuple[str, ...]
    rows: list[list[str]]
    words: tuple[int, ...] = (0,)
    """columns aligned left; the others are numbers"""
    verdicts: list[str] = field(default_factory=list)
    """one a row where rows are verdicts, for their colour"""


def comparisons(statistics: pd.DataFrame) -> Text:
    """Differences from the matched baseline, of one classifier; the axis before its controls."""
    rows = statistics.assign(control=statistics["target"] != AXIS_TARGET)
    rows = in_order(rows.sort_values(["control", "target", "axis"], kind="stable"))
    return _differences(rows, first=("strategy", "target", *_against(rows)))


def controls(statistics: pd.DataFrame) -> Text:
    """Content and structure of every strategy, of one classifier."""
    rows = in_order(statistics.sort_values(["axis", "comparison"], kind="stable"))
    return _differences(rows, first=("strategy", "comparison", *_against(rows[rows["comparison"] == "structure"])))


def _against(rows: pd.DataFrame) -> tuple[str, ...]:
    """The column that names baselines, where there is another than `none`."""
    return ("against",) if rows["against"].ne(BASELINE).any() else ()


def leakage(findings: list[dict]) -> Text:
    """What lies on both sides of the split, a row a kind of group."""
    counts = ("n_train", "n_validation", "n_test", "n_both")
    return Text(
        columns=("group", "level", "training", "validation", "test", "both sides", "what it means", "on both sides"),
        rows=[
            [found["group"], found["level"], *(str(found[name]) for name in counts), found["text"], _some(found)]
            for found in findings
        ],
        words=(0, 1, 6, 7),
        verdicts=[found["level"] for found in findings],
    )


def _some(found: dict) -> str:
    more = found["n_both"] - len(found["both"])
    return ", ".join(found["both"]) + (f" and {more} more" if more > 0 else "")


def _differences(statistics: pd.DataFrame, *, first: tuple[str, ...]) -> Text:
    columns = ("verdict", "Δ", "95 % interval", "p", "p Holm", "p BH", "seeds", "seeds needed", "subjects")
    rows = statistics.to_dict("records")
    return Text(
        columns=(*first, *columns, "unpaired", "failed", "detectable Δ", "p subjects"),
        rows=[[*(_name(row, name) for name in first), *_difference(row)] for row in rows],
        words=tuple(range(len(first) + 1)),
        verdicts=[row["verdict"] for row in rows],
    )


def _name(row: dict, name: str) -> str:
    return str(row["label"] if name == "strategy" else row[name])


def _difference(row: dict) -> list[str]:
    needed = "–"
    if row["verdict"] == "undecided":
        needed = "more subjects" if pd.isna(row["seeds_needed"]) else str(int(row["seeds_needed"]))
    return [
        f"{SIGNS[row['verdict']]} {row['verdict']}",
        number(row["delta"], sign=True),
        interval(row["ci_low"], row["ci_high"], sign=True),
        *(p_value(row[name]) for name in ("p", "p_holm", "p_bh")),
        str(row["n_seeds"]),
        needed,
        *(str(row[name]) for name in ("n_subjects", "n_missing", "n_failed")),
        number(row["mde"]),
        p_value(row["p_subjects"]),
    ]


def baselines(table: pd.DataFrame) -> Text:
    """Accuracy without alignment, one row a classifier."""
    columns = (
        "classifier",
        "recipe",
        "balanced accuracy",
        "95 % interval",
        "sd of seeds",
        "κ",
        "weighted F1",
        "chance",
    )
    return Text(
        columns=(*columns, "seeds", "subjects", "failed"),
        rows=[
            [
                row["classifier"],
                row["recipe"],
                number(row["mean"]),
                interval(row["ci_low"], row["ci_high"]),
                *(number(row[name]) for name in ("sd_seeds", "test_kappa", "test_weighted_f1", "chance")),
                *(str(row[name]) for name in ("n_seeds", "n_subjects", "n_failed")),
            ]
            for row in table.to_dict("records")
        ],
        words=(0, 1),
    )


def axis_positions(axis: "Axis") -> Text:
    """Positions of the classes, in the order of the classes."""
    pairs = zip(axis.classes, axis.class_positions, strict=True)
    return Text(columns=("class", "position"), rows=[[name, number(value, 3, sign=True)] for name, value in pairs])


def power(statistics: pd.DataFrame) -> Text:
    """What numbers of seeds can show in a family of this size, those of the sweep among them."""
    tested = confirmatory(statistics)
    size = int(tested["family_size"].max()) if len(tested) else 1
    n_seeds = sorted({5, 10, 20, *(int(n) for n in tested["n_seeds"] if n > 1)})
    table = power_table(n_seeds, family_size=size)
    return Text(
        columns=("seeds", "detectable Δ, one comparison", f"after Holm over {size}", "smallest p", "verdict possible"),
        rows=[
            [
                str(row["n_seeds"]),
                number(row["minimum_detectable"], 4),
                number(row["minimum_detectable_family"], 4) if row["reaches_alpha_family"] else "–",
                f"{row['exact_floor']:.3g}",
                "yes" if row["reaches_alpha_family"] else "no",
            ]
            for row in table.to_dict("records")
        ],
        words=(4,),
    )


def compute(rows: pd.DataFrame) -> Text:
    """Cells and seconds by classifier."""
    rows = rows.assign(**{name: rows.get(name, np.nan) for name in ("seconds", "device", "attempts")})
    return Text(
        columns=("classifier", "cells", "done", "failed", "run again", "hours", "median s a cell", "device"),
        rows=[
            [
                str(classifier),
                str(len(part)),
                *(str(int((part["status"] == status).sum())) for status in ("done", "failed")),
                str(int((part["attempts"].astype(float) > 1).sum())),
                number(part["seconds"].astype(float).sum() / 3600, 2),
                number(part["seconds"].astype(float).median(), 1),
                ", ".join(sorted(set(part["device"].dropna().astype(str)))) or "–",
            ]
            for classifier, part in rows.groupby("classifier", sort=True)
        ],
        words=(0, 7),
    )
