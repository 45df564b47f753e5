"""Tables to figures: forest of differences, baseline accuracies, class positions on the axis. Plotly, SVG on screen.

Every number comes from the tables handed in. Colours are safe for colour-blind readers, differ in shape as well, and
stand out on white and on black; backgrounds are transparent, so that a page only recolours the text.
"""

import html
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from valence.figure_style import BAND, BLUE, MARKERS, ORANGE, TEXT, lay_out, numbers, whiskers
from valence.report_text import interval, number, p_value
from valence.stats.arms import control_kind, role

if TYPE_CHECKING:
    from valence.axis import Axis

ROW_PX, GAP_PX = 19, 12


def target_kind(target: str) -> str:
    """Key of MARKERS for a target's name."""
    if role(target) == "control":
        return control_kind(target)
    return "vaxis" if role(target) == "axis" else "other"


def forest(statistics: pd.DataFrame) -> go.Figure:
    """Differences from the baseline with 95 % intervals: one row a strategy, strength and target.

    Parameters
    ----------
    statistics : the comparison "baseline" of one classifier, as `compare` returns it, one row or more.

    Filled markers are verdicts (helps, hurts); open ones are equivalent or undecided. The band is the range that
    counts as no difference.
    """
    rows = _forest_rows(statistics)
    bound = float(rows["equivalence"].iloc[0])
    figure = go.Figure()
    for kind, (colour, symbol) in MARKERS.items():
        part = rows[rows["kind"] == kind]
        if len(part):
            figure.add_traces(_forest_traces(part, kind=kind, colour=colour, symbol=symbol))
    figure.add_vrect(x0=-bound, x1=bound, fillcolor=BAND, line_width=0, layer="below")
    figure.add_vline(x=0, line_width=1.5, line_color=TEXT, layer="below")
    ticks = rows.groupby("label", sort=False)["y"].mean()
    span = float(rows["y"].max())
    lay_out(figure, title=_forest_title(rows), height=int(span * ROW_PX + 180))
    figure.update_xaxes(title_text="Δ balanced accuracy")
    figure.update_yaxes(
        tickvals=ticks.tolist(), ticktext=ticks.index.tolist(), range=[span + 0.8, -0.8], showgrid=False
    )
    return figure


def _forest_rows(statistics: pd.DataFrame) -> pd.DataFrame:
    """Rows in drawing order with their kind, the label of their group and their height y (down from 0, in rows)."""
    several_axes = statistics["axis"].replace("", None).nunique() > 1
    place = {kind: number for number, kind in enumerate(MARKERS)}
    kinds = [target_kind(target) for target in statistics["target"]]
    rows = statistics.assign(
        kind=kinds,
        place=[place[kind] for kind in kinds],
        group_axis=statistics["axis"] if several_axes else "",
    ).sort_values(["strategy", "lambda_", "group_axis", "place", "target"], kind="stable")
    labels = [_forest_label(row, several_axes=several_axes) for row in rows.to_dict("records")]
    new_group = pd.Series(labels).ne(pd.Series(labels).shift()).cumsum().to_numpy() - 1
    return rows.assign(label=labels, y=np.arange(len(rows)) + new_group * GAP_PX / ROW_PX)


def _forest_label(row: dict, *, several_axes: bool) -> str:
    which = f", {html.escape(row['axis'][:6]) or 'no axis'}" if several_axes else ""
    return f"{html.escape(row['strategy'])}<br><span style='font-size:10px'>λ {row['lambda_']:g}{which}</span>"


def _forest_title(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    baseline = rows["baseline"].mean()
    return (
        f"{html.escape(str(first['classifier']))}<br><span style='font-size:12px'>baseline "
        f"{number(baseline)}, {rows['n_seeds'].max()} seeds × {rows['n_subjects'].max()} subjects</span>"
    )


def _forest_traces(part: pd.DataFrame, *, kind: str, colour: str, symbol: str) -> list[go.Scatter]:
    """The points of one kind of target, and an entry of the legend, which is filled whatever the first point is."""
    decided = part["verdict"].isin(["helps", "hurts"])
    names = {"vaxis": "LLM axis", "permuted": "permuted", "random": "random", "other": "other target"}
    legend = go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=names[kind],
        legendgroup=kind,
        marker={"color": colour, "size": 9, "symbol": symbol},
    )
    points = go.Scatter(
        x=numbers(part["delta"]),
        y=part["y"].tolist(),
        mode="markers",
        name=names[kind],
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
        f"<b>{html.escape(row['strategy'])} → {html.escape(row['target'])}</b><br>"
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
