"""Figures of the brain: drawn from the table alone, whole SVG, the same bytes again and in another process."""

import hashlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from tests.valence.scalp_cohorts import CODED, noise, scalp_cohort
from valence.brain import (
    asymmetry,
    brain_figures,
    cells,
    influence,
    network,
    regions,
    subsets,
    time_course,
)
from valence.brain.figure_parts import empty, p_text, svg
from valence.brain.rows import Row
from valence.brain.rows import table as table_of
from valence.seed_v_files import CH_NAMES as SEED_V

ANALYSES = (cells, regions, influence, subsets, asymmetry, network, time_course)
SVG = "{http://www.w3.org/2000/svg}"


def findings(cohort) -> pd.DataFrame:
    return table_of(row for analysis in ANALYSES for row in analysis.rows(cohort, CODED))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    de = noise(0, 4, n_steps=5)
    de[:, :, 25, :, 4] += CODED.clip_values[:, None]
    return findings(scalp_cohort(de))


@pytest.fixture(scope="module")
def drawn(table) -> dict[str, str]:
    return brain_figures.draw_all(table)


def texts(drawn: str) -> str:
    """All words of a figure."""
    return " ".join(element.text or "" for element in ElementTree.fromstring(drawn).iter(f"{SVG}text"))


def test_every_figure_is_drawn_as_one_whole_svg_on_light_paper(drawn):
    assert set(drawn) == set(brain_figures.FIGURES)
    for name, text in drawn.items():
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg", name
        assert "#fbfbf9" in text
        assert not re.search(r"<dc:date>|matplotlib\.org|20\d\d-\d\d-\d\d", text), name
        assert len(text) < 900_000


def test_the_same_table_gives_the_same_bytes_here_and_elsewhere(table, drawn, tmp_path):
    assert brain_figures.draw_all(table) == drawn
    path = tmp_path / "brain.parquet"
    table.to_parquet(path)
    code = (
        "import sys, hashlib, valence, pandas as pd\n"
        "from valence.brain.brain_figures import draw_all\n"
        "for name, svg in draw_all(pd.read_parquet(sys.argv[1])).items():\n"
        "    print(name, hashlib.sha256(svg.encode()).hexdigest())\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "77"},
    ).stdout
    here = "".join(f"{name} {hashlib.sha256(text.encode()).hexdigest()}\n" for name, text in drawn.items())
    assert there == here


def test_ids_are_there_once_and_whatever_is_used_is_there(drawn):
    given = [re.findall(r'\bid="(d[0-9a-f]{8}-\d+)"', text) for text in drawn.values()]
    everywhere = [name for of_figure in given for name in of_figure]
    assert len(set(everywhere)) == len(everywhere) > 50
    for text, own in zip(drawn.values(), given, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(own)


def test_the_last_bit_of_a_layout_changes_no_byte():
    def figure(shift):
        made = empty(3.0, 2.0)
        made.set_layout_engine("none")
        panel = made.add_axes((0.1 + shift, 0.1, 0.8, 0.8))
        panel.plot([0, 1], [0, 1])
        return svg(made)

    assert figure(0.0) == figure(1e-13)
    assert figure(0.0) != figure(1e-3)


def test_what_is_drawn_is_what_the_table_holds(table, drawn):
    assert {"Fp2-Fp1", "O2-O1", "alpha"} <= set(texts(drawn["asymmetry"]).split())
    cell = table[(table["analysis"] == "map") & (table["protocol"] == "clips") & (table["item"] == "PO3 gamma")]
    assert f"{cell['value'].iloc[0]:+.2f}" in texts(drawn["cells"])
    assert "PO3 gamma: " in texts(drawn["largest-cell"])
    peak = table[table["protocol"] == "second of the peak, mean over channels"].set_index("item")["value"]
    for band, second in peak.items():
        assert f"{band}: peak at {second:g} s" in texts(drawn["time"])
    for analysis, name in (("map", "topography"), ("map", "cells"), ("asymmetry", "asymmetry"), ("subset", "subsets")):
        changed = table.assign(value=table["value"].mask(table["analysis"] == analysis, table["value"] / 2))
        assert brain_figures.FIGURES[name](changed) != drawn[name]


def test_points_lie_where_the_table_says(table):
    rows = table[(table["analysis"] == "subset") & ~table["protocol"].str.contains("three classes")]
    paths = ElementTree.fromstring(brain_figures.subsets(table)).findall(f".//{SVG}g[@id='axes_1']//{SVG}use")
    x = [float(use.get("x")) for use in paths if "clip-path" in str(use.attrib) or use.get("style")]
    values = rows[rows["protocol"] == "PO3 gamma"]["value"].to_numpy()
    # among all marks there are those of the points: the same distances between them, up to one scale
    scaled = (values - values.min()) / np.ptp(values)
    found = [run for start in range(len(x)) if len(run := np.array(x[start : start + len(values)])) == len(values)]
    found = [(run - run.min()) / np.ptp(run) for run in found if np.ptp(run) > 0]
    assert min(np.abs(run - scaled).max() for run in found) < 1e-3


def test_the_studys_numbers_are_marked_where_the_table_has_them(table, drawn):
    marked = (table["analysis"] == "asymmetry") & table["item"].str.startswith("F4-F3 alpha")
    with_reference = table.assign(reference=table["reference"].mask(marked, 0.0062))
    assert "the study" in texts(brain_figures.asymmetry(with_reference))
    assert "the study" not in texts(drawn["asymmetry"])


def test_of_an_empty_table_nothing_is_drawn():
    assert brain_figures.draw_all(table_of([])) == {}
    failed = table_of([Row(analysis="map", protocol="clips", item="Cz alpha", reason="no recording")])
    assert brain_figures.draw_all(failed) == {}


def test_62_channels_are_drawn_as_well():
    ch_names = tuple(name.upper() for name in SEED_V)
    found = table_of(
        row
        for analysis in (cells, regions, asymmetry)
        for row in analysis.rows(scalp_cohort(noise(1, 3, n_chans=62, n_steps=1), ch_names=ch_names), CODED)
    )
    drawn = brain_figures.draw_all(found)
    assert {"topography", "cells", "asymmetry", "largest-cell"} == set(drawn)
    assert "CB1" in texts(drawn["cells"])


@pytest.mark.parametrize(("p", "text"), [(0.0004, "p < .001"), (0.0456, "p .046"), (1.0, "p 1"), (0.35, "p .350")])
def test_p_is_written_short(p, text):
    assert p_text(p) == text
