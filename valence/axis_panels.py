"""Stage report: what the figures of a study of axes are made of, and how they are written."""

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valence.cache import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#2f7fd1", "#cf7500", "#0b9a73", "#b05fc0", "#7a7a7a"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#c23b4e", "#5a6fbf", "#8a7a2b", "#3aa6b9", "#9a5a3c", "#555555")
SYMBOLS = ("o", "D", "s", "^", "v", "P", "X", "<", ">", "h")
WIDTH_IN = 8.0


def save(figure: "Figure", path: Path) -> list[Path]:
    """The figure as SVG and PNG; the same tables give the same bytes."""
    import matplotlib as mpl

    written = []
    with mpl.rc_context({"svg.hashsalt": "valence", "svg.fonttype": "none"}):
        for suffix, options in ((".svg", {"metadata": {"Date": None}}), (".png", {"dpi": 160})):
            content = io.BytesIO()
            figure.savefig(content, format=suffix[1:], bbox_inches="tight", **options)  # type: ignore[arg-type]
            target = path.with_suffix(suffix)
            write_whole(target, partial(Path.write_bytes, data=content.getvalue()))
            written.append(target)
    return written


def panels_of(n: int, *, columns: int, height: float, width: float | None = None) -> tuple["Figure", list[Any]]:
    """A figure with n panels, filled row by row, height inches each."""
    from matplotlib.figure import Figure

    columns = max(1, min(columns, n))
    n_rows = -(-n // columns)
    total = width or (WIDTH_IN if columns > 1 else 6.0)
    figure = Figure(figsize=(total, height * n_rows), layout="constrained")
    panels = []
    for index in range(n):
        panel = figure.add_subplot(n_rows, columns, index + 1)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(visible=True, color=GREY, alpha=0.2, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.tick_params(labelsize=8)
        panel.xaxis.label.set_fontsize(8)
        panel.yaxis.label.set_fontsize(8)
        panels.append(panel)
    return figure, panels


def legend(figure: "Figure", panel: Any) -> None:
    """What a panel's colours mean, below the figure."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4, fontsize=8, frameon=False)
