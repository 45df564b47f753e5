"""Stage brain, figures: the table of findings in, one SVG text a figure out. Every number drawn is one of the table.

`draw_all` gives all that the table has rows for; each function stands on its own and returns None where it has none.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from valence.axis_panels import BLUE, GREY, ORANGE, PURPLE
from valence.brain.asymmetry import DIFFERENCE
from valence.brain.cells import HISTOGRAM, MAP
from valence.brain.class_null import CLASSES, CLIPS, SCALED
from valence.brain.figure_parts import INK, MAPS, bands_of, empty, p_text, plain, rows_of, split_items, svg
from valence.brain.time_clusters import CLUSTER, THRESHOLD
from valence.brain.time_course import CHANNEL_MEAN, CURVE
from valence.brain.topography import WORDS, topomaps

TITLES = {**WORDS, CLASSES: "class means"}


def cell_matrix(table: pd.DataFrame) -> str | None:
    """r of every channel in every band: a panel each for clips, clips with subjects of one scale, and classes."""
    cells = split_items(rows_of(table, MAP))
    protocols = [protocol for protocol in (CLIPS, SCALED, CLASSES) if protocol in set(cells["protocol"])]
    if not protocols:
        return None
    bands, channels = bands_of(cells), list(dict.fromkeys(cells["channel"]))
    figure = empty(2.7 * len(protocols) + 1.2, 0.8 + 0.17 * len(channels))
    panels = np.atleast_1d(figure.subplots(1, len(protocols), sharey=True))
    limit = float(cells["value"].abs().max())
    for panel, protocol in zip(panels, protocols, strict=True):
        here = cells[cells["protocol"] == protocol].pivot(index="channel", columns="band", values="value")
        values = here.loc[channels, bands].to_numpy()
        plain(panel, TITLES[protocol], grid="")
        image = panel.imshow(values, vmin=-limit, vmax=limit, cmap=MAPS, aspect="auto", interpolation="nearest")
        panel.set_xticks(range(len(bands)), bands)
        panel.set_yticks(range(len(channels)), channels)
        panel.tick_params(labelsize=7, length=0)
        for flat in np.argsort(-np.abs(values).ravel(), kind="stable")[:3]:
            y, x = np.unravel_index(flat, values.shape)
            colour = "white" if abs(values[y, x]) > 0.6 * limit else INK
            panel.text(x, y, f"{values[y, x]:+.2f}", ha="center", va="center", fontsize=6.5, color=colour)
    bar = figure.colorbar(image, ax=panels, shrink=0.5)
    bar.set_label("r", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return svg(figure)


def null_histogram(table: pd.DataFrame) -> str | None:
    """Largest |r| of any cell under all class permutations, and where the observed one lies."""
    bins = rows_of(table, HISTOGRAM)
    protocols = list(dict.fromkeys(bins["protocol"]))
    if not protocols:
        return None
    figure = empty(3.0 * len(protocols), 2.7)
    largest = rows_of(table, "largest cell")
    for panel, protocol in zip(np.atleast_1d(figure.subplots(1, len(protocols))), protocols, strict=True):
        here = bins[bins["protocol"] == protocol]
        edges = here["item"].str.split(" to ", expand=True).astype(float).to_numpy()
        level = protocol.removeprefix("largest cell, ")
        plain(panel, grid="y")
        title = TITLES.get(level, level)
        panel.bar(edges[:, 0], here["value"], width=edges[:, 1] - edges[:, 0], align="edge", color=GREY, alpha=0.5)
        of_level = largest[largest["protocol"] == level]
        for row in of_level.to_dict("records"):
            observed = row["item"] != "null 95th percentile"
            colour, style = (ORANGE, "-") if observed else (GREY, ":")
            panel.axvline(row["value"], color=colour, linestyle=style, linewidth=1.4)
            if observed:
                title += f"\n{row['item']}: {row['value']:.2f}, {p_text(row['p'])}"
        panel.set_title(title, fontsize=8.5, loc="left", color=INK)
        panel.set_xlim(max(0.0, edges.min() - 0.05), 1)
        panel.set_xlabel("largest |r| of any cell")
        panel.set_ylabel("share of class permutations")
    return svg(figure)


def time_curves(table: pd.DataFrame) -> str | None:
    """r by second of every band with its interval, the threshold of clusters, clusters and the peak."""
    curve = rows_of(table, CURVE, CHANNEL_MEAN)
    if curve.empty:
        return None
    parts = curve["item"].str.extract(r"^(\S+) ([\d.]+) s$")
    curve = curve.assign(band=parts[0], second=parts[1].astype(float))
    clusters = rows_of(table, CLUSTER, "mean over channels")
    ends = clusters["item"].str.extract(r"^(\S+) ([\d.]+) to ([\d.]+) s$")
    peaks = rows_of(table, "time peak", f"second of the peak, {CHANNEL_MEAN}").set_index("item")["value"]
    heights = rows_of(table, "time peak", f"r at the peak, {CHANNEL_MEAN}").groupby("item")
    threshold = rows_of(table, THRESHOLD)["value"]
    bands = bands_of(curve)
    step = float(curve["second"].min())
    figure = empty(8.0, 1.35 * len(bands) + 0.5)
    panels = np.atleast_1d(figure.subplots(len(bands), 1, sharex=True, sharey=True))
    for panel, band in zip(panels, bands, strict=True):
        here = curve[curve["band"] == band]
        plain(panel)
        panel.fill_between(here["second"], here["ci_low"], here["ci_high"], color=BLUE, alpha=0.15, linewidth=0)
        panel.plot(here["second"], here["value"], color=BLUE, linewidth=1.4)
        panel.axhline(0, color=GREY, linewidth=0.8)
        for value in threshold:
            panel.axhline(value, color=GREY, linestyle=":", linewidth=0.9)
            panel.axhline(-value, color=GREY, linestyle=":", linewidth=0.9)
        for _, start, stop in ends[ends[0] == band].itertuples(index=False):
            panel.axvspan(float(start) - step / 2, float(stop) + step / 2, color=ORANGE, alpha=0.25)
        p = heights.get_group(band)["p"].iloc[0] if band in heights.groups else np.nan
        title = f"{band}: peak at {peaks.get(band, np.nan):g} s, {p_text(p)} as the largest of its band"
        own = clusters[(ends[0] == band).to_numpy()]
        best = f"; clusters: {p_text(own['p'].min())} or more" if len(own) else "; no cluster"
        panel.set_title(title + best, fontsize=8.5, loc="left", color=INK)
        panel.set_ylabel("r")
    panels[-1].set_xlabel("second")
    return svg(figure)


def asymmetry(table: pd.DataFrame) -> str | None:
    """Right minus left, positive minus negative clips, of every pair of electrodes; the study's numbers where given."""
    rows = split_items(rows_of(table, "asymmetry", DIFFERENCE))
    if rows.empty:
        return None
    bands, pairs = bands_of(rows), list(dict.fromkeys(rows["channel"]))
    figure = empty(9.0, 1.2 + 0.2 * len(pairs))
    panels = np.atleast_1d(figure.subplots(1, len(bands), sharey=True, sharex=True))
    for panel, band in zip(panels, bands, strict=True):
        here = rows[rows["band"] == band].set_index("channel").loc[pairs]
        plain(panel, band)
        panel.axvline(0, color=GREY, linewidth=0.8)
        for place, row in enumerate(here.to_dict("records")):
            colour = BLUE if row["p"] >= 0.05 else ORANGE
            panel.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, linewidth=1.2)
            panel.plot(row["value"], place, "o", color=colour, markersize=4)
            if pd.notna(row["reference"]):
                panel.plot(row["reference"], place, "x", color=PURPLE, markersize=6, markeredgewidth=1.4)
        panel.tick_params(axis="x", rotation=45)
    panels[0].set_yticks(range(len(pairs)), pairs)
    panels[0].tick_params(axis="y", labelsize=7)
    panels[0].invert_yaxis()
    note = "right - left, positive - negative clips, nats; orange: p < .05 over placements of -, 0, + (uncorrected)"
    if rows["reference"].notna().any():
        note += "; ×: the study"
    figure.supxlabel(note, fontsize=8)
    return svg(figure)


def subsets(table: pd.DataFrame) -> str | None:
    """r over parts of the clips, a panel a cell."""
    rows = rows_of(table, "subset")
    rows = rows[~rows["protocol"].str.contains("three classes", regex=False)]
    protocols = list(dict.fromkeys(rows["protocol"]))
    if not protocols:
        return None
    items = list(dict.fromkeys(rows["item"]))
    figure = empty(8.0, 0.9 + 0.22 * len(items))
    panels = np.atleast_1d(figure.subplots(1, len(protocols), sharey=True, sharex=True))
    for panel, protocol in zip(panels, protocols, strict=True):
        here = rows[rows["protocol"] == protocol]
        plain(panel, protocol)
        panel.axvline(0, color=GREY, linewidth=0.8)
        places = [items.index(item) for item in here["item"]]
        panel.hlines(places, 0, here["value"], color=BLUE, linewidth=1.4)
        panel.plot(here["value"], places, "o", color=BLUE, markersize=5)
        panel.set_xlabel("r with the target")
    panels[0].set_yticks(range(len(items)), items)
    panels[0].invert_yaxis()
    return svg(figure)


def influence(table: pd.DataFrame) -> str | None:
    """r of single cells: of the mean over subjects, without one of them, of subjects of one scale, of the median."""
    rows = rows_of(table, "influence")
    cells = list(dict.fromkeys(rows["item"]))
    if not cells:
        return None
    maps = rows_of(table, MAP)
    series = {
        "mean over subjects": (maps[maps["protocol"] == CLIPS], BLUE, "o"),
        "without the most influential subject": (
            rows[rows["protocol"] == "without the most influential subject"],
            BLUE,
            "P",
        ),
        "every subject of one scale": (maps[maps["protocol"] == SCALED], ORANGE, "D"),
        "median over subjects": (rows[rows["protocol"] == "median over subjects"], PURPLE, "s"),
    }
    figure = empty(7.5, 1.1 + 0.34 * len(cells))
    panel = plain(figure.subplots(), "what a few subjects do to r of the cohort")
    panel.axvline(0, color=GREY, linewidth=0.8)
    for place, (name, (values, colour, symbol)) in enumerate(series.items()):
        by_cell = values.set_index("item")["value"].reindex(cells)
        filled = "none" if symbol == "P" else colour
        heights = np.arange(len(cells)) + 0.17 * (place - 1.5)
        panel.plot(by_cell, heights, symbol, color=colour, markerfacecolor=filled, markersize=6, label=name)
    panel.set_yticks(range(len(cells)), cells)
    panel.invert_yaxis()
    panel.set_xlabel("r over clips")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=8, frameon=False)
    return svg(figure)


FIGURES: Mapping[str, Callable[[pd.DataFrame], str | None]] = {
    "topography": topomaps,
    "cells": cell_matrix,
    "largest-cell": null_histogram,
    "influence": influence,
    "subsets": subsets,
    "asymmetry": asymmetry,
    "time": time_curves,
}
"""name of a figure's file to what draws it from the table of findings"""
FIGURE_ONLY = (MAP, HISTOGRAM, CURVE, THRESHOLD)
"""analyses of the table whose rows are there to be drawn; a page leaves them out of its tables"""


def draw_all(table: pd.DataFrame) -> dict[str, str]:
    """Name to SVG text of every figure that the table has rows for."""
    drawn = {name: draw(table) for name, draw in FIGURES.items()}
    return {name: text for name, text in drawn.items() if text is not None}
