"""Stage report: tables of a study of axes in, figures as SVG and PNG out. Every number comes from the tables.

Colours and symbols are safe for colour-blind readers; matplotlib, because the files have to be made without a browser.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from valence.axis_panels import BLUE, COLOURS, GREY, ORANGE, SYMBOLS, WIDTH_IN, legend, panels_of, save
from valence.label_places import place_labels
from valence.stories import NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHARACTER_IN = 0.078
"""width of a letter of a name"""
MOST_IN_FULL = 4
"""LLMs and encoders; of more, the figure of validity has only the predictors in MAIN"""
MAIN = ("axis", "probe", "probe after projecting out", "sentence prototypes", "NLI")
RANGES = {"random directions": "random directions, 95 % of them"}
"""predictors whose bar is no interval of one number"""


def draw_all(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write every figure that the tables have numbers for, as NAME.svg and NAME.png; returns the files."""
    figures = {
        "positions": positions(tables["positions"], tables["axes"]),
        "layers": layers(tables["layers"], tables["validity"]),
        "agreement": agreement_map(tables["agreement"]),
        "validity": validity(tables["validity"]),
        "dose": dose(tables["dose"]),
    }
    return [path for name, figure in figures.items() if figure is not None for path in save(figure, folder / name)]


def positions(table: pd.DataFrame, axes: pd.DataFrame) -> "Figure":
    """Nine emotions on the axis and on the component next to it, a panel an LLM; faint points are paraphrases."""
    llms = list(dict.fromkeys(table["llm"]))
    figure, panels = panels_of(len(llms), columns=min(len(llms), 2), height=4.4)
    for llm, panel in zip(llms, panels, strict=False):
        rows = table[table["llm"] == llm]
        for names, colour, symbol in ((NEGATIVE, ORANGE, "D"), (("neutral",), GREY, "s"), (POSITIVE, BLUE, "o")):
            faint = rows[(rows["level"] == "paraphrase") & rows["emotion"].isin(names)]
            panel.scatter(faint["position"], faint["second"], s=6, color=colour, alpha=0.16, linewidths=0)
            classes = rows[(rows["level"] == "class") & rows["emotion"].isin(names)]
            panel.scatter(classes["position"], classes["second"], s=46, color=colour, marker=symbol, zorder=3)
        _frame(panel, rows)
        _label_points(panel, rows[rows["level"] == "class"], width_in=WIDTH_IN / 2 - 0.8)
        facts = axes[axes["llm"] == llm].iloc[0]
        panel.set_title(
            f"{llm}, layer {facts['layer']} of {facts['n_layers'] - 1}: {100 * facts['explained_variance']:.0f} % "
            "of the variance\nbetween classes lies along the axis",
            fontsize=9,
            loc="left",
        )
        panel.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        panel.set_xlabel("position on the axis, sd over classes")
        panel.set_ylabel("next component, sd over classes")
    return figure


def _frame(panel: Any, rows: pd.DataFrame) -> None:
    """Limits that hold all classes and nine in ten paraphrases: a few far ones would press the classes together."""
    for column, set_limits in (("position", panel.set_xlim), ("second", panel.set_ylim)):
        classes, texts = (rows[rows["level"] == level][column] for level in ("class", "paraphrase"))
        ends = [*texts.quantile([0.05, 0.95]).dropna(), classes.min(), classes.max()]
        margin = 0.12 * (max(ends) - min(ends))
        set_limits(min(ends) - margin, max(ends) + margin)


def _label_points(panel: Any, classes: pd.DataFrame, *, width_in: float) -> None:
    """Names beside their points, with a line to those that had to be moved."""
    points = classes[["position", "second"]].to_numpy()
    shares = panel.transAxes.inverted().transform(panel.transData.transform(points))
    widths = [CHARACTER_IN * len(name) / width_in for name in classes["name"]]
    for name, point, share, (x, y, side) in zip(classes["name"], points, shares, place_labels(shares, widths)):
        moved = {"arrowprops": {"arrowstyle": "-", "color": GREY, "linewidth": 0.6}} if abs(y - share[1]) > 1e-9 else {}
        panel.annotate(
            name,
            point,
            xytext=(x, y),
            textcoords="axes fraction",
            ha=side,
            va="center",
            fontsize=9,
            zorder=4,
            **moved,
        )


def layers(table: pd.DataFrame, valid: pd.DataFrame) -> "Figure | None":
    """By depth: explained variance, cosine with the axis of the chosen layer, and validity on the benchmarks."""
    if table.groupby("llm").size().max() < 2:
        return None
    valid = of_benchmarks(valid)
    found = valid[(valid["predictor"] == "axis") & (valid["dimension"] == "valence") & valid["layer"].notna()]
    columns = [
        ("explained_variance", "variance along the axis"),
        ("cosine_to_reference", "cosine with the axis read"),
    ]
    benchmarks = list(dict.fromkeys(found["benchmark"]))
    figure, panels = panels_of(len(columns) + len(benchmarks), columns=2, height=2.7)
    for number, llm in enumerate(dict.fromkeys(table["llm"])):
        style = {"color": COLOURS[number % 10], "marker": SYMBOLS[number % 10], "markersize": 3, "linewidth": 1.2}
        rows = table[table["llm"] == llm]
        for panel, (column, title) in zip(panels, columns, strict=False):
            panel.plot(rows["depth"], rows[column], label=llm, **style)
            panel.set_title(title, fontsize=9, loc="left")
        last = rows[["layer", "depth"]].set_index("layer")["depth"]
        for panel, name in zip(panels[len(columns) :], benchmarks, strict=False):
            curve = found[(found["llm"] == llm) & (found["benchmark"] == name)].sort_values("layer")
            panel.plot(curve["layer"].map(last), curve["value"], label=llm, **style)
            kind = found[found["benchmark"] == name]["measure"].iloc[0]
            panel.set_title(f"{name}: zero-shot {kind}", fontsize=9, loc="left")
            panel.axhline(0.5 if kind == "AUC" else 0.0, color=GREY, linewidth=0.8, linestyle=":")
    for panel in panels:
        panel.set_xlabel("depth (0 embeddings, 1 last layer)")
    legend(figure, panels[0])
    return figure


def agreement_map(table: pd.DataFrame, level: str = "classes") -> "Figure | None":
    """r of class positions: above the diagonal as read, below where the two read different story sets.

    On the diagonal each with itself over two story sets, which bounds what is below.
    """
    rows = table[table["level"] == level]
    names = list(dict.fromkeys([*rows["llm_a"], *rows["llm_b"]]))
    if len(names) < 2:
        return None
    values = np.full((len(names), len(names)), np.nan)
    for row in rows.itertuples():
        a, b = names.index(row.llm_a), names.index(row.llm_b)
        if a == b:
            values[a, a] = row.r_other_set
        else:
            values[min(a, b), max(a, b)], values[max(a, b), min(a, b)] = row.r, row.r_other_set
    side = max(3.6, 0.62 * len(names) + 2.0)
    figure, (panel,) = panels_of(1, columns=1, height=side, width=side + 1.6)
    image = panel.imshow(values, vmin=-1, vmax=1, cmap="PuOr")
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right")
    panel.set_yticks(range(len(names)), names)
    panel.grid(visible=False)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.55 else "black"
            panel.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=panel, shrink=0.7, label="r over nine classes")
    panel.set_title(
        "Above the diagonal: the same texts.\nBelow, and on it with itself: different story sets.",
        fontsize=9,
        loc="left",
    )
    return figure


def validity(table: pd.DataFrame) -> "Figure | None":
    """What each predictor of valence reaches on each benchmark, with 95 % intervals; all on the same texts."""
    rows = at_the_axis(table)
    rows = rows[rows["dimension"] == "valence"]
    if rows.empty:
        return None
    if rows["llm"].nunique() > MOST_IN_FULL:
        rows = rows[rows["predictor"].isin(MAIN)]
    benchmarks = list(dict.fromkeys(rows["benchmark"]))
    labels = list(dict.fromkeys(zip(rows["llm"], rows["predictor"], strict=True)))
    figure, panels = panels_of(len(benchmarks), columns=1, height=0.6 + 0.2 * len(labels), width=WIDTH_IN)
    llms = list(dict.fromkeys(rows["llm"]))
    for name, panel in zip(benchmarks, panels, strict=False):
        here = rows[rows["benchmark"] == name].set_index(["llm", "predictor"])
        for place, label in enumerate(labels):
            if label not in here.index:
                continue
            row, number = here.loc[label], llms.index(label[0])
            colour, symbol = COLOURS[number % 10], SYMBOLS[number % 10]
            filled = colour if label[1] == "axis" else "white"
            kind = "range" if label[1] in RANGES else "ci"
            panel.plot([row[f"{kind}_low"], row[f"{kind}_high"]], [place, place], color=colour, linewidth=1.6)
            panel.plot(row["value"], place, symbol, color=colour, markerfacecolor=filled, markersize=6)
        measure = here["measure"].iloc[0]
        panel.axvline(0.5 if measure == "AUC" else 0.0, color=GREY, linewidth=0.8, linestyle=":")
        named = [f"{RANGES.get(predictor, predictor)}  ·  {llm}" for llm, predictor in labels]
        panel.set_yticks(range(len(labels)), named, fontsize=7)
        panel.invert_yaxis()
        panel.set_title(f"{name}: {measure} and 95 % interval, n = {here['n'].iloc[0]}", fontsize=9, loc="left")
    return figure


def of_benchmarks(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that have a number of a benchmark: neither those of nulls, nor those that say why there is none."""
    return table[table["null"].isna() & table["value"].notna()] if "null" in table else table


def at_the_axis(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of benchmarks without the axes of other layers than the one each LLM is read at."""
    table = of_benchmarks(table)
    chosen = table[table["predictor"] == "axis projected out"].groupby("llm")["layer"].first()
    return table[table["layer"].isna() | (table["layer"] == table["llm"].map(chosen))]


def dose(table: pd.DataFrame) -> "Figure | None":
    """Validity of an axis refitted from n paraphrases a story: mean and range of 95 % of the draws."""
    if table.empty or table["n_paraphrases"].nunique() < 2:
        return None
    benchmarks = list(dict.fromkeys(table["benchmark"]))
    figure, panels = panels_of(len(benchmarks), columns=2, height=2.8)
    for name, panel in zip(benchmarks, panels, strict=False):
        for number, llm in enumerate(dict.fromkeys(table["llm"])):
            draws = table[(table["llm"] == llm) & (table["benchmark"] == name)].groupby("n_paraphrases")["value"]
            colour = COLOURS[number % 10]
            mean, low, high = draws.mean(), draws.quantile(0.025), draws.quantile(0.975)
            panel.fill_between(mean.index, low, high, color=colour, alpha=0.15, linewidth=0)
            panel.plot(mean.index, mean, color=colour, marker=SYMBOLS[number % 10], markersize=4, label=llm)
        measure = table[table["benchmark"] == name]["measure"].iloc[0]
        panel.set_xscale("log")
        counts = sorted(table["n_paraphrases"].unique())
        panel.set_xticks(counts, [str(count) for count in counts])
        panel.minorticks_off()
        panel.set_title(f"{name}: zero-shot {measure}", fontsize=9, loc="left")
        panel.set_xlabel("paraphrases a story")
    legend(figure, panels[0])
    return figure
