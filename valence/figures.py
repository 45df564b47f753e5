"""Tables to figures: forest of differences, baseline accuracies, class positions on the axis. Plotly, SVG on screen.

Every number comes from the tables handed in. Colours are safe for colour-blind readers, differ in shape as well, and
stand out on white and on black; backgrounds are transparent, so that a page only recolours the text.
"""

import html
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from valence.figure_style import (
    BAND,
    BLUE,
    MARKERS,
    ORANGE,
    OTHER_COLOUR,
    OTHER_SYMBOLS,
    TEXT,
    lay_out,
    legend_on_top,
    numbers,
    ticks_on_both_sides,
    whiskers,
)
from valence.report_text import DOSE, interval, number, p_value
from valence.stats.arms import AXIS_TARGET, BASELINE, control_kind, role
from valence.stats.labels import in_order

if TYPE_CHECKING:
    from valence.axis import Axis

ROW_PX, GAP_PX, TALL_PX = 19, 12, 900
"""height of a row and of the gap between two doses; from which height on a figure has ticks at both ends"""
DENSE, DENSE_PX = 45, (16, 10)
"""from so many rows on, rows and gaps are of this height"""
LONG_TICK = 28
"""letters below a name from which on they take a line more"""
LEGEND = {
    "vaxis": "LLM axis",
    "permuted": "permuted",
    "random": "random",
    "detached": "detached",
    "none": "matched baseline",
}


def target_kind(target: str) -> str:
    """Key of MARKERS for a target's name; the name itself for any other."""
    kind = role(target)
    if kind == "control":
        return control_kind(target)
    return {"axis": AXIS_TARGET, "detached": "detached", "none": "none"}.get(kind, target)


def forest(statistics: pd.DataFrame) -> go.Figure:
    """Differences from the matched baseline with 95 % intervals: one row a dose of a strategy and target.

    Parameters
    ----------
    statistics : the comparison "baseline" of one classifier, as `compare` returns it, one row or more.

    Filled markers are verdicts (helps, hurts); open ones are equivalent or undecided. The band is the range that
    counts as no difference.
    """
    row_px, gap_px = DENSE_PX if len(statistics) >= DENSE else (ROW_PX, GAP_PX)
    markers = _markers(statistics["target"])
    rows = _forest_rows(statistics, places={kind: place for place, kind in enumerate(markers)}, gap=gap_px / row_px)
    bound = float(rows["equivalence"].iloc[0])
    figure = go.Figure()
    for kind, (colour, symbol) in markers.items():
        part = rows[rows["kind"] == kind]
        figure.add_traces(_forest_traces(part, kind=kind, colour=colour, symbol=symbol))
    figure.add_vrect(x0=-bound, x1=bound, fillcolor=BAND, line_width=0, layer="below")
    figure.add_vline(x=0, line_width=1.5, line_color=TEXT, layer="below")
    ticks = rows.groupby("group", sort=False).agg({"y": "mean", "tick": "first"})
    span = float(rows["y"].max())
    height = int(span * row_px + 180)
    lay_out(figure, title=_forest_title(rows), height=height)
    figure.update_xaxes(title_text="Δ balanced accuracy")
    figure.update_yaxes(
        tickvals=ticks["y"].tolist(), ticktext=ticks["tick"].tolist(), range=[span + 0.8, -0.8], showgrid=False
    )
    tall = height > TALL_PX
    legend_on_top(figure, n_entries=len(markers), room_px=22 if tall else 0)
    if tall:
        ticks_on_both_sides(figure)
    return figure


def _markers(targets: pd.Series) -> dict[str, tuple[str, str]]:
    """Colour and symbol of every kind of target that is there, in the order of rows and legend."""
    kinds = {target_kind(target) for target in targets}
    known = {kind: marker for kind, marker in MARKERS.items() if kind in kinds}
    others = sorted(kinds - set(MARKERS))
    symbols = [OTHER_SYMBOLS[place % len(OTHER_SYMBOLS)] for place in range(len(others))]
    return known | {kind: (OTHER_COLOUR, symbol) for kind, symbol in zip(others, symbols, strict=True)}


def _forest_rows(statistics: pd.DataFrame, *, places: dict[str, int], gap: float) -> pd.DataFrame:
    """Rows in drawing order with kind, group, the group's tick label, and height y (down from 0, in rows)."""
    # of one dose: one that reads the axes of several LLMs has a digest of its own, and so may other targets
    on_axis = statistics[[role(target) == "axis" for target in statistics["target"]]]
    several_axes = bool((on_axis.groupby(DOSE)["axis"].nunique() > 1).any())
    kinds = [target_kind(target) for target in statistics["target"]]
    rows = statistics.assign(
        kind=kinds,
        place=[places[kind] for kind in kinds],
        group_axis=statistics["axis"] if several_axes else "",
    )
    rows = in_order(rows.sort_values(["group_axis", "place", "target"], kind="stable"))
    ticks = [_forest_tick(row, several_axes=several_axes) for row in rows.to_dict("records")]
    groups = pd.Series(list(zip(rows["label"], rows["group_axis"])))
    number = groups.ne(groups.shift()).cumsum().to_numpy() - 1
    return rows.assign(group=number, tick=ticks, y=np.arange(len(rows)) + number * gap)


def _forest_tick(row: dict, *, several_axes: bool) -> str:
    name, _, dose = row["label"].partition(" ")
    against = "" if row["against"] == BASELINE else f"against {row['against']}"
    which = (row["axis"][:6] or "no axis") if several_axes else ""
    second = ", ".join(part for part in (dose, which, against) if part)
    if against and len(second) > LONG_TICK:
        second = second.replace(f", {against}", f"\n{against}")
    small = f"<br><span style='font-size:10px'>{html.escape(second)}</span>" if second else ""
    return html.escape(name) + small.replace("\n", "</span><br><span style='font-size:10px'>")


def _forest_title(rows: pd.DataFrame) -> str:
    """The classifier, and the accuracies that differences are from: of `none`, then of matched baselines."""
    means = rows.groupby("against")["baseline"].mean()
    named = [(name, means[name]) for name in sorted(means.index, key=lambda name: (name != BASELINE, name))]
    told = ", ".join(f"{'baseline' if name == BASELINE else html.escape(name)} {number(mean)}" for name, mean in named)
    return (
        f"{html.escape(str(rows['classifier'].iloc[0]))}<br><span style='font-size:12px'>{told}, "
        f"{rows['n_seeds'].max()} seeds × {rows['n_subjects'].max()} subjects</span>"
    )


def _forest_traces(part: pd.DataFrame, *, kind: str, colour: str, symbol: str) -> list[go.Scatter]:
    """The points of one kind of target, and an entry of the legend, which is filled whatever the first point is."""
    decided = part["verdict"].isin(["helps", "hurts"])
    name = LEGEND.get(kind, html.escape(kind))
    legend = go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=name,
        legendgroup=kind,
        marker={"color": colour, "size": 9, "symbol": symbol},
    )
    points = go.Scatter(
        x=numbers(part["delta"]),
        y=part["y"].tolist(),
        mode="markers",
        name=name,
        legendgroup=kind,
        showlegend=False,
        marker={
            "color": colour,
            "size": 9,
            "symbol": [symbol if filled else f"{symbol}-open" for filled in decided],
            "line": {"width": 2, "color": colour},
        },
        error_x=whiskers(part["delta"], part["ci_low"], part["ci_high"], colour),
        text=[_hover(row) for row in part.to_dict("records")],
        hovertemplate="%{text}<extra></extra>",
    )
    return [legend, points]


def _hover(row: dict) -> str:
    needed = "" if pd.isna(row["seeds_needed"]) else f", {int(row['seeds_needed'])} seeds would decide"
    return (
        f"<b>{html.escape(row['label'])} → {html.escape(row['target'])}</b> against {html.escape(row['against'])}<br>"
        f"Δ {number(row['delta'], 4, sign=True)} {interval(row['ci_low'], row['ci_high'], 4, sign=True)}<br>"
        f"p {p_value(row['p'])}, Holm {p_value(row['p_holm'])}<br>{row['verdict']}{needed}"
    )


def baseline_accuracies(baselines: pd.DataFrame) -> go.Figure:
    """Balanced accuracy without alignment, with its interval, beside chance.

    Parameters
    ----------
    baselines : as `baseline_table` returns it, one row or more.
    """
    rows = baselines.sort_values("mean", na_position="first", kind="stable")
    labels = [html.escape(str(name)) for name in rows["classifier"]]
    if rows["classifier"].duplicated().any():
        labels = [
            f"{label}<br>{html.escape(str(recipe))}" for label, recipe in zip(labels, rows["recipe"], strict=True)
        ]
    figure = go.Figure(
        go.Scatter(
            x=numbers(rows["mean"]),
            y=list(range(len(rows))),
            mode="markers",
            name="balanced accuracy",
            marker={"color": BLUE, "size": 10},
            error_x=whiskers(rows["mean"], rows["ci_low"], rows["ci_high"], BLUE),
            text=[_baseline_hover(label, row) for label, row in zip(labels, rows.to_dict("records"), strict=True)],
            hovertemplate="%{text}<extra></extra>",
        )
    )
    for chance in sorted(rows["chance"].dropna().unique()):
        figure.add_vline(x=float(chance), line_dash="dash", line_width=1.5, line_color=ORANGE)
        figure.add_annotation(
            x=float(chance),
            y=1,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            text=f"chance 1/{round(1 / chance)}",
            font={"color": ORANGE, "size": 12},
        )
    lay_out(figure, title="Balanced accuracy without alignment", height=150 + 30 * len(rows))
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="mean and 95 % interval", rangemode="tozero")
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=labels, range=[-0.7, len(rows) - 0.3], showgrid=False)
    return figure


def _baseline_hover(label: str, row: dict) -> str:
    sampled = f"{row['n_seeds']} seeds × {row['n_subjects']} subjects"
    return f"<b>{label}</b><br>{number(row['mean'])} {interval(row['ci_low'], row['ci_high'])}<br>{sampled}"


def axis_positions(axis: "Axis") -> go.Figure:
    """Where the classes lie on the LLM's axis, sorted, with intervals where it has them; unit: sd over classes."""
    order = np.argsort(axis.class_positions)
    positions = pd.Series(np.asarray(axis.class_positions, dtype=float)[order])
    intervals = np.full((len(order), 2), np.nan) if axis.interval is None else np.asarray(axis.interval)[order]
    labels = [
        f"{html.escape(axis.classes[index])}  {number(axis.class_positions[index], 2, sign=True)}" for index in order
    ]
    figure = go.Figure()
    for colour, symbol, side in ((BLUE, "circle", positions >= 0), (ORANGE, "diamond", positions < 0)):
        of_side = positions.where(side)
        figure.add_trace(
            go.Scatter(
                x=numbers(of_side),
                y=list(range(len(order))),
                mode="markers",
                marker={"size": 11, "color": colour, "symbol": symbol},
                error_x=whiskers(of_side, pd.Series(intervals[:, 0]), pd.Series(intervals[:, 1]), colour),
                text=labels,
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.add_vline(x=0, line_width=1.5, line_color=TEXT, layer="below")
    title = (
        f"{html.escape(axis.llm)}, layer {number(axis.layer, 0)}<br><span style='font-size:12px'>"
        f"explains {number(100 * axis.explained_variance, 0)} % of the variance between classes</span>"
    )
    lay_out(figure, title=title, height=150 + 26 * len(order))
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="position, sd over classes")
    figure.update_yaxes(
        tickvals=list(range(len(order))), ticktext=labels, range=[-0.7, len(order) - 0.3], showgrid=False
    )
    return figure
