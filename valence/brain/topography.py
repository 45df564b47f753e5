"""Stage brain, figures: where on the head. The table of findings in, topographic maps as SVG text out."""

from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from valence.axis_panels import BLUE, GREY, ORANGE
from valence.brain.cells import MAP
from valence.brain.class_null import CLIPS, SCALED
from valence.brain.electrodes import electrode_info
from valence.brain.figure_parts import INK, MAPS, PAPER, bands_of, empty, p_text, plain, rows_of, split_items, svg

WORDS = {CLIPS: "mean over subjects", SCALED: "every subject of one scale"}
MARKS = {CLIPS: (BLUE, "o"), SCALED: (ORANGE, "D")}
RESOLUTION = 48
NAMED = 3
"""electrodes whose names are on a map: those with the largest |r|"""


def topomaps(table: pd.DataFrame) -> str | None:
    """r over the head in every band, as it is and with every subject of one scale, and mean |r| of regions below.

    Parameters
    ----------
    table : `valence.brain.rows.table` with the rows of cells and regions.

    Returns
    -------
    str : SVG; None where the table has no map.
    """
    cells = split_items(rows_of(table, MAP))
    protocols = [protocol for protocol in WORDS if protocol in set(cells["protocol"])]
    if not protocols:
        return None
    bands = bands_of(cells)
    figure = empty(9.0, 2.1 * len(protocols) + 2.6)
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=[2.1 * len(protocols), 2.6]))
    info = electrode_info(tuple(dict.fromkeys(cells["channel"])))
    limit = float(cells[cells["protocol"].isin(protocols)]["value"].abs().max())
    panels = above.subplots(len(protocols), len(bands), squeeze=False)
    for line, protocol in zip(panels, protocols, strict=True):
        for panel, band in zip(line, bands, strict=True):
            here = cells[(cells["protocol"] == protocol) & (cells["band"] == band)]
            image = _map(panel, here, info, limit)
            panel.set_title(f"{band}" if protocol == protocols[0] else "", fontsize=9, color=INK)
        line[0].text(-0.12, 0.5, WORDS[protocol], transform=line[0].transAxes, rotation=90, va="center", fontsize=8)
    bar = above.colorbar(image, ax=panels, shrink=0.7, pad=0.02)
    bar.set_label("r over clips", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    _regions(below, table, bands)
    return svg(figure)


def _map(panel: Any, cells: pd.DataFrame, info: Any, limit: float) -> Any:
    import mne
    from matplotlib.patheffects import withStroke

    values = cells["value"].to_numpy()
    names = [""] * len(values)
    for place in np.argsort(-np.abs(values), kind="stable")[:NAMED]:
        names[place] = cells["channel"].iloc[place]
    # triangles are solved one by one, and threads that wait for each other take seconds a map
    with mne.utils.use_log_level("error"), threadpool_limits(1):
        image, _ = mne.viz.plot_topomap(
            values,
            info,
            axes=panel,
            show=False,
            cmap=MAPS,
            vlim=(-limit, limit),
            contours=0,
            res=RESOLUTION,
            extrapolate="head",
            names=names,
        )
    for text in panel.texts:
        x, y = text.get_position()
        text.set(position=(x, y + 0.012), fontsize=7, path_effects=[withStroke(linewidth=1.6, foreground=PAPER)])
    return image


def _regions(figure: Any, table: pd.DataFrame, bands: list[str]) -> None:
    """Mean |r| of regions, over all bands and in each."""
    rows = rows_of(table, "region")
    rows = rows[~rows["item"].str.contains(" - ", regex=False)]
    panels = figure.subplots(1, len(bands) + 1, sharex=True, sharey=True)
    names = list(dict.fromkeys(rows["item"].str.split(" ").str[0]))
    for panel, band in zip(panels, ["", *bands], strict=True):
        plain(panel, band or "regions, all bands", grid="x")
        for shift, (protocol, (colour, symbol)) in zip((-0.14, 0.14), MARKS.items(), strict=True):
            for place, region in enumerate(names):
                kind = f"{protocol}, by band" if band else protocol
                here = rows[(rows["protocol"] == kind) & (rows["item"] == f"{region} {band}".strip())]
                for row in here.to_dict("records"):
                    y = place + shift
                    panel.plot([max(row["ci_low"], 0), row["ci_high"]], [y, y], color=colour, linewidth=1.2)
                    panel.plot(row["value"], y, symbol, color=colour, markersize=4)
                    if not band and protocol == CLIPS:
                        panel.annotate(
                            p_text(row["p"]),
                            (1.0, place),
                            xycoords=("axes fraction", "data"),
                            ha="right",
                            va="center",
                            fontsize=6.5,
                            color=GREY,
                        )
        panel.set_xlabel("mean |r|")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    panels[0].set_xlim(left=0)
    handles = [
        panels[0].plot([], [], symbol, color=colour, markersize=4, label=WORDS[protocol])[0]
        for protocol, (colour, symbol) in MARKS.items()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2, fontsize=8, frameon=False)
