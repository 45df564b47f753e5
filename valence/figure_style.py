"""What figures share: colours, markers, layout. Nothing here knows what is drawn."""

import pandas as pd
import plotly.graph_objects as go

BLUE, ORANGE, GREEN, PURPLE, RED, GREY = "#2f7fd1", "#cf7500", "#0b9a73", "#b05fc0", "#d0506a", "#868686"
TEXT, GRID, BAND = "#7a7a7a", "rgba(128,128,128,0.22)", "rgba(128,128,128,0.16)"
MARKERS = {
    "vaxis": (BLUE, "circle"),
    "permuted": (ORANGE, "diamond"),
    "random": (GREEN, "square"),
    "detached": (GREY, "cross"),
    "none": (RED, "hexagram"),
}
"""colour and symbol by kind of target, in the order of rows and legend; other targets come after these"""
OTHER_COLOUR = PURPLE
OTHER_SYMBOLS = ("triangle-up", "triangle-down", "star", "pentagon", "hourglass", "bowtie", "x", "triangle-left")
"""of other targets, in their order"""


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


def legend_on_top(figure: go.Figure, *, n_entries: int, room_px: int = 0) -> None:
    """Move the legend between title and plot, with so much room below it: a tall figure is read from its top.

    There is room for as many lines as it takes on a telephone, where three entries fit beside each other.
    """
    lines = -(-n_entries // 3)
    figure.update_layout(
        margin={"t": 58 + 29 * lines + room_px, "b": 50},
        legend={
            **{"yref": "container", "y": 1 - 54 / figure.layout.height, "yanchor": "top"},
            **{"xref": "container", "x": 0.01, "xanchor": "left"},
        },
    )


def ticks_on_both_sides(figure: go.Figure) -> None:
    """Repeat the ticks of the x axis above a figure that is taller than a screen, by a trace without points."""
    figure.add_trace(go.Scatter(x=[None], y=[None], xaxis="x2", showlegend=False, hoverinfo="skip"))
    figure.update_layout(
        xaxis2={
            **{"overlaying": "x", "side": "top", "matches": "x", "showgrid": False, "zeroline": False},
            **{"ticks": "outside", "ticklen": 4, "fixedrange": True},
        }
    )
