"""What figures share: colours, markers, layout. Nothing here knows what is drawn."""

import pandas as pd
import plotly.graph_objects as go

BLUE, ORANGE, GREEN, PURPLE = "#2f7fd1", "#cf7500", "#0b9a73", "#b05fc0"
TEXT, GRID, BAND = "#7a7a7a", "rgba(128,128,128,0.22)", "rgba(128,128,128,0.16)"
MARKERS = {
    "vaxis": (BLUE, "circle"),
    "permuted": (ORANGE, "diamond"),
    "random": (GREEN, "square"),
    "other": (PURPLE, "triangle-up"),
}
"""colour and symbol by kind of target, in the order of rows and legend"""


def numbers(values: pd.Series) -> list[float | None]:
    """Plain numbers with null for missing: lists, since typed arrays would be packed as base64."""
    return [None if pd.isna(value) else float(value) for value in values]


def whiskers(centre: pd.Series, low: pd.Series, high: pd.Series, colour: str) -> dict:
    """Intervals around points, missing where an interval is."""
    return {
        "type": "data",
        "symmetric": False,
        "array": numbers(high - centre),
        "arrayminus": numbers(centre - low),
        "thickness": 1.8,
        "width": 0,
        "color": colour,
    }


def lay_out(figure: go.Figure, *, title: str, height: int) -> None:
    """What all figures share. Heights are fixed, widths follow the page, dragging is left to scrolling."""
    figure.update_layout(
        template="none",
        title={
            "text": title,
            "x": 0.01,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "yref": "container",
            "pad": {"t": 14},
            "font": {"size": 15},
        },
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": TEXT},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        height=height,
        margin={"l": 10, "r": 14, "t": 60, "b": 84},
        dragmode=False,
        hovermode="closest",
        hoverlabel={"align": "left"},
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0.0,
            "yanchor": "bottom",
            "x": 0,
            "itemsizing": "constant",
        },
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True, fixedrange=True, ticks="outside", ticklen=4)
    figure.update_yaxes(automargin=True, fixedrange=True, zeroline=False, ticks="")
