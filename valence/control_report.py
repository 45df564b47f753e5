"""The control of the engine to one HTML file that opens from disk: what it claims, what was found, in figures."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from valence.figure_style import BLUE, GREY, ORANGE, lay_out, numbers, whiskers
from valence.page import embedded, render
from valence.stats.control import CONTENT

WORLDS = {"unsaturated": BLUE, "saturated": ORANGE}


def render_control(findings: pd.DataFrame, comparisons: pd.DataFrame, worlds: dict[str, tuple[str, str]]) -> str:
    """The page.

    Parameters
    ----------
    findings : `valence.stats.control.control_findings` of these comparisons.
    comparisons : of all sweeps of the control, with columns world and repetition.
    worlds : name to what it is and why it is there.
    """
    content = comparisons[comparisons["comparison"] == CONTENT]
    return render(
        "control.html.j2",
        findings=findings.to_dict("records"),
        worlds=worlds,
        n_sweeps=len(comparisons.groupby(["world", "repetition"])),
        figures=[embedded(_gains(content), "gains"), embedded(_null(content), "null")],
    )


def _gains(content: pd.DataFrame) -> go.Figure:
    """Content of every strategy in the two worlds with an axis."""
    figure = go.Figure()
    for world, colour in WORLDS.items():
        rows = content[content["world"] == world].sort_values("strategy")
        figure.add_trace(
            go.Scatter(
                x=numbers(rows["delta"]),
                y=list(rows["strategy"]),
                name=world,
                mode="markers",
                marker={"color": colour, "size": 9},
                error_x=whiskers(rows["delta"], rows["ci_low"], rows["ci_high"], colour),
                customdata=np.stack([rows["p_holm"], rows["n_seeds"]], axis=1).tolist(),
                hovertemplate="%{y}<br>Δ %{x:+.4f}<br>p Holm %{customdata[0]:.3g}, %{customdata[1]} seeds",
            )
        )
    lay_out(figure, title="The true axis against its permuted and random twins: Δ balanced accuracy", height=340)
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    return figure


def _null(content: pd.DataFrame) -> go.Figure:
    """p values of the world without an axis, sorted, beside those of an honest test."""
    p = np.sort(content.loc[content["world"] == "no_axis", "p"].to_numpy(dtype=float))
    expected = (np.arange(len(p)) + 0.5) / max(len(p), 1)
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot"}, name="an honest test")
    )
    figure.add_trace(
        go.Scatter(
            x=expected.tolist(), y=p.tolist(), mode="markers", marker={"color": BLUE, "size": 6}, name="seen",
            hovertemplate="expected %{x:.3f}<br>p %{y:.3f}",
        )
    )  # fmt: skip
    lay_out(figure, title="Without an axis: p values in their order, expected and seen", height=420)
    figure.update_xaxes(title="share of comparisons", range=[-0.02, 1.02])
    figure.update_yaxes(title="p", range=[-0.02, 1.02])
    return figure
