"""Stage brain: the table of findings and its figures in, a page that opens from disk, or a section of a report, out.

Every number comes from the table. The page has no script of its own and asks for nothing from a network.
"""

import base64
import re
from collections.abc import Iterator, Mapping

import pandas as pd
from markupsafe import Markup

from valence.brain.brain_figures import FIGURE_ONLY, draw_all
from valence.brain.leave_out import HISTOGRAM, NULL, RIDGE
from valence.brain.ridge import CLASS_OUT, CLIP_OUT
from valence.brain.ridge_figures import ridge_nulls, ridge_protocols
from valence.brain.time_course import PEAKS
from valence.page import render

CAPTIONS = {
    "ridge": "Nested ridge by what is left out, with 95 % over subjects",
    "ridge-nulls": "Nested ridge with the values of the classes in every order",
    "topography": "r over the head by band, and mean |r| of regions",
    "cells": "r of every channel in every band",
    "largest-cell": "The largest |r| of any cell under class permutations",
    "influence": "What a few subjects do to r of the strongest cells",
    "subsets": "r over parts of the clips",
    "asymmetry": "Right minus left, positive minus negative clips",
    "time": "r by second",
}
"""name of a figure to what it shows"""
NO_TABLE = {*FIGURE_ONLY, HISTOGRAM, PEAKS}
_NAME = re.compile(r"\b(p|m|image)[0-9a-f]{10}\b")
OPEN = 3
"""tables that are open when the page opens"""
COLUMNS = ("protocol", "of", "value", "95 %", "p", "n", "null", "the study", "note")


def figures_of(table: pd.DataFrame) -> dict[str, str]:
    """Name to SVG text of every figure that the table has rows for."""
    ridge = {"ridge": ridge_protocols(table), "ridge-nulls": ridge_nulls(table)}
    drawn = {name: text for name, text in ridge.items() if text is not None} | draw_all(table)
    return {name: _with_steady_names(text) for name, text in drawn.items()}


def _with_steady_names(svg: str) -> str:
    """The same figure with its parts named by their order.

    matplotlib names them by coordinates to the last bit, and those differ by rounding from one layout to the next.
    """
    names: dict[str, str] = {}
    return _NAME.sub(lambda found: names.setdefault(found[0], f"{found[1]}{len(names)}"), svg)


def page(table: pd.DataFrame, figures: Mapping[str, str], *, facts: Mapping[str, object]) -> str:
    """The page, a whole HTML text. facts : name to what is said of data and target above the findings."""
    return render("brain.html.j2", facts=facts, **_content(table, figures))


def section(table: pd.DataFrame, figures: Mapping[str, str]) -> Markup:
    """The findings alone, a <section> to stand in another page that has the report's style."""
    return Markup(render("brain_section.html.j2", **_content(table, figures)))  # noqa: S704 escaped inside


def answer(table: pd.DataFrame) -> list[str]:
    """What a reader must not miss, a sentence each."""
    return list(_answer(table))


def _content(table: pd.DataFrame, figures: Mapping[str, str]) -> dict[str, object]:
    shown = table[~table["analysis"].isin(NO_TABLE)]
    return {
        "answer": answer(table),
        "figures": [
            # an image each: inside one document, two figures could give two shapes the same name
            {"name": name, "caption": CAPTIONS.get(name, name), "data": base64.b64encode(text.encode()).decode()}
            for name, text in figures.items()
        ],
        "columns": COLUMNS,
        "tables": [
            {"name": name, "rows": [_cells(row) for row in rows.to_dict("records")], "open": number < OPEN}
            for number, (name, rows) in enumerate(shown.groupby("analysis", sort=False))
        ],
    }


def _cells(row: dict) -> tuple[str, ...]:
    interval = "" if pd.isna(row["ci_low"]) else f"[{_text(row['ci_low'])}, {_text(row['ci_high'])}]"
    value = _text(row["value"]) if pd.notna(row["value"]) else "–"
    n = "" if pd.isna(row["n"]) else f"{int(row['n']):,}"
    said = "; ".join(filter(None, (row["reason"], row["note"])))
    p = "" if pd.isna(row["p"]) else f"{row['p']:.2g}"
    return (row["protocol"], row["item"], value, interval, p, n, row["null"], _text(row["reference"]), said)


def _text(value: float) -> str:
    """Three digits with a sign where it is below 1, as correlations are; nothing where there is no number."""
    if pd.isna(value):
        return ""
    if abs(value) >= 1000 or (abs(value) >= 1 and value == round(value)):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 or abs(value) < 0.01 else f"{value:+.3f}"


def _mean(null: pd.Series, protocol: str) -> str:
    return f", whose mean is {null[protocol]:+.2f}" if protocol in null.index else ""


def _answer(table: pd.DataFrame) -> Iterator[str]:
    ridge = table[(table["analysis"] == RIDGE) & table["value"].notna()].set_index("protocol")
    null = table[table["analysis"] == NULL].set_index("protocol")["value"]
    told = {CLIP_OUT: "leaving a clip out", CLASS_OUT: "leaving its whole class out"}
    parts = [
        f"{words}, predictions correlate with the target at {ridge.loc[name, 'value']:+.2f} "
        f"(p {ridge.loc[name, 'p']:.2g} over class permutations{_mean(null, name)})"
        for name, words in told.items()
        if name in ridge.index
    ]
    if parts:
        yield f"{'; '.join(parts)}.".capitalize()
    same = "new subjects, same clips"
    if same in ridge.index:
        row = ridge.loc[same]
        yield (
            f"People whom the ridge has not seen, watching clips that it has: {row['value']:+.2f} (p {row['p']:.2g}); "
            "any values of the classes can be read from clips that were trained on."
        )
    largest = table[(table["analysis"] == "largest cell") & table["p"].notna()].head(1)
    for row in largest.to_dict("records"):
        yield (
            f"The strongest cell over {row['protocol']} is {row['item']}, |r| {row['value']:.2f}, "
            f"p {row['p']:.2g} as the largest of all cells."
        )
        carried = table[(table["analysis"] == "influence") & (table["item"] == row["item"]) & table["value"].notna()]
        for found in carried[carried["protocol"] == "subjects that carry half of r"].to_dict("records"):
            n = int(found["value"])
            yield f"Half of it is gone without {n} subject{'s' * (n > 1)} ({found['note']})."
    p = table.loc[~table["analysis"].isin(NO_TABLE), "p"].dropna()
    if len(p):
        yield f"Of {len(p)} p values below, {int((p <= 0.05).sum())} are .05 or less; none is corrected over analyses."
