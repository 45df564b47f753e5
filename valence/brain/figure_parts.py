"""Stage brain, figures: what all of them share. A matplotlib figure in, SVG text out; the same figure, the same bytes.

The paper is light and opaque, so that figures can be read on a dark page as well.
"""

import hashlib
import io
import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from valence.axis_panels import GREY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER, INK = "#fbfbf9", "#222222"
MAPS = "PuOr"
"""orange for negative, purple for positive: told apart by colour-blind readers too"""
SALT = "valence"
_ID = re.compile(r'((?:\bid="|#))([A-Za-z]\w*?[0-9a-f]{10})(?=["\)])')
"""ids that are hashes, where they are given and where they are used"""


def svg(figure: "Figure") -> str:
    """The figure as SVG text, from its <svg> tag on."""
    import matplotlib as mpl

    content = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": SALT, "svg.fonttype": "none"}):
        figure.savefig(content, format="svg", facecolor=PAPER, metadata=nothing)
    text = content.getvalue()
    return _named_by_content(text[text.index("<svg") :])


def _named_by_content(text: str) -> str:
    """The same with ids counted, in front of them a digest of the whole: figures on one page share none.

    matplotlib makes ids of places to the last bit, and the last bit of a layout may differ from run to run, while all
    that is written of it has six digits.
    """
    numbers: dict[str, int] = {}
    counted = _ID.sub(lambda match: f"{match[1]}{numbers.setdefault(match[2], len(numbers))}", text)
    digest = hashlib.sha256(counted.encode()).hexdigest()[:8]
    return _ID.sub(lambda match: f"{match[1]}d{digest}-{numbers[match[2]]}", text)


def empty(width_in: float, height_in: float) -> "Figure":
    """A figure to add panels to."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def plain(panel: Any, title: str = "", *, grid: str = "both") -> Any:
    """A panel's looks: no frame above and to the right, faint lines, small letters."""
    panel.set_facecolor(PAPER)
    panel.spines[["top", "right"]].set_visible(False)
    if grid:
        panel.grid(visible=True, axis=grid, color=GREY, alpha=0.2, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=8, colors=INK)
    for label in (panel.xaxis.label, panel.yaxis.label):
        label.set_fontsize(8)
    panel.set_title(title, fontsize=9, loc="left", color=INK)
    return panel


def rows_of(table: pd.DataFrame, analysis: str, protocol: str | None = None) -> pd.DataFrame:
    """Rows of an analysis that have a value."""
    chosen = (table["analysis"] == analysis) & table["value"].notna()
    return table[chosen] if protocol is None else table[chosen & (table["protocol"] == protocol)]


def split_items(rows: pd.DataFrame) -> pd.DataFrame:
    """With columns `channel` and `band`, which the items of cells and pairs are made of: "PO3 gamma"."""
    parts = rows["item"].str.rsplit(" ", n=1)
    return rows.assign(channel=parts.str[0], band=parts.str[1])


def bands_of(rows: pd.DataFrame) -> list[str]:
    """Bands in the order of the table."""
    return list(dict.fromkeys(rows["band"]))


def p_text(p: float) -> str:
    """p in three digits: "p .046", "p < .001"."""
    return "p < .001" if p < 0.001 else "p 1" if p > 0.9995 else f"p {p:.3f}".replace("0.", ".")
