"""Stage brain, figures: the ridge by what is left out. The table of findings in, one SVG text a figure out."""

import numpy as np
import pandas as pd

from valence.axis_panels import BLUE, GREY, ORANGE, PURPLE
from valence.brain.figure_parts import INK, empty, p_text, plain, rows_of, svg
from valence.brain.leave_out import HISTOGRAM, NULL, RIDGE


def ridge_protocols(table: pd.DataFrame) -> str | None:
    """r of every protocol with its interval over subjects, on the range of 95 % of all class permutations."""
    found, null = rows_of(table, RIDGE), rows_of(table, NULL).set_index("protocol")
    if found.empty:
        return None
    figure = empty(8.0, 1.2 + 0.32 * len(found))
    panel = plain(figure.subplots(), grid="x")
    panel.axvline(0, color=GREY, linewidth=0.8)
    for place, row in enumerate(found.to_dict("records")):
        if row["protocol"] in null.index:
            of_it = null.loc[row["protocol"]]
            panel.barh(place, of_it["ci_high"] - of_it["ci_low"], 0.62, of_it["ci_low"], color=GREY, alpha=0.25)
            panel.plot([of_it["value"]] * 2, [place - 0.31, place + 0.31], color=GREY, linewidth=1.2)
        panel.plot([row["ci_low"], row["ci_high"]], [place, place], color=BLUE, linewidth=1.4)
        panel.plot(row["value"], place, "o", color=BLUE, markersize=6)
        if pd.notna(row["reference"]):
            panel.plot(row["reference"], place, "x", color=PURPLE, markersize=7, markeredgewidth=1.6)
        panel.text(1.02, place, f"{row['value']:+.2f}, {p_text(row['p'])}", va="center", fontsize=8, color=INK)
    panel.set_yticks(range(len(found)), found["protocol"])
    panel.invert_yaxis()
    panel.set_xlim(-1, 1)
    seen = "; ×: the study" if found["reference"].notna().any() else ""
    panel.set_xlabel(f"r of pooled predictions; grey: 95 % and mean of r under class permutations{seen}")
    return svg(figure)


def ridge_nulls(table: pd.DataFrame) -> str | None:
    """r of nested ridge under every class permutation, and the observed one."""
    bins, found = rows_of(table, HISTOGRAM), rows_of(table, RIDGE).set_index("protocol")
    protocols = list(dict.fromkeys(bins["protocol"]))
    if not protocols:
        return None
    columns = min(len(protocols), 3)
    lines = -(-len(protocols) // columns)
    figure = empty(3.0 * columns, 2.5 * lines)
    panels = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
    for panel, protocol in zip(panels, protocols, strict=False):
        here = bins[bins["protocol"] == protocol]
        edges = here["item"].str.split(" to ", expand=True).astype(float).to_numpy()
        row = found.loc[protocol]
        plain(panel, f"{protocol}\nr {row['value']:+.2f}, {p_text(row['p'])}", grid="y")
        panel.bar(edges[:, 0], here["value"], width=edges[:, 1] - edges[:, 0], align="edge", color=GREY, alpha=0.5)
        panel.axvline(row["value"], color=ORANGE, linewidth=1.6)
        panel.set_xlim(-1, 1)
        panel.set_xlabel("r, the pipeline refit")
        panel.set_ylabel("share of permutations")
    for panel in panels[len(protocols) :]:
        panel.set_visible(False)
    return svg(figure)
