"""Figures show the numbers of their tables, and no others."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from tests.valence.synthetic_rows import results_table
from valence import figures
from valence.stats import baseline_table, compare

EFFECTS = {("EEGNet", "rsa", "vaxis"): -0.06}
TARGETS = ("random_1", "vaxis", "permuted_1", "arousal")


@pytest.fixture(scope="module")
def table():
    rows = results_table(classifiers=["EEGNet"], targets=TARGETS, effects=EFFECTS)
    return compare(rows, n_bootstrap=300).query("comparison == 'baseline'")


def points(figure):
    """(y, x, low, high, symbol) of every drawn point, from the top of the figure down."""
    found = []
    for trace in json.loads(figure.to_json())["data"]:
        if trace["x"] == [None]:
            continue
        parts = (
            trace["y"],
            trace["x"],
            trace["error_x"]["arrayminus"],
            trace["error_x"]["array"],
            trace["marker"]["symbol"],
        )
        found += list(zip(*parts, strict=True))
    return sorted(found)


def test_forest_shows_every_row_of_the_table(table):
    drawn = points(figures.forest(table))
    assert len(drawn) == len(table) == 16
    kinds = table["target"].map({"vaxis": 0, "permuted_1": 1, "random_1": 2, "arousal": 3})
    ordered = table.assign(kind=kinds).sort_values(["strategy", "kind"])
    _, x, below, above, _ = (np.array(part) for part in zip(*drawn, strict=True))
    np.testing.assert_allclose(x.astype(float), ordered["delta"])
    np.testing.assert_allclose((x - below).astype(float), ordered["ci_low"])
    np.testing.assert_allclose((x + above).astype(float), ordered["ci_high"])


def test_forest_marks_kind_by_shape_and_verdict_by_filling(table):
    symbols = [symbol for *_, symbol in points(figures.forest(table))]
    assert symbols[8:12] == ["circle", "diamond-open", "square-open", "triangle-up-open"]  # rsa: only the axis hurts
    figure = figures.forest(table)
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == [
        "LLM axis", "permuted", "random", "arousal",
    ]  # fmt: skip
    assert len({trace.marker.color for trace in figure.data}) == 4


def test_forest_has_header_zero_line_and_band(table):
    figure = figures.forest(table)
    band, zero = figure.layout.shapes
    assert (band.x0, band.x1, zero.x0) == (-0.01, 0.01, 0)
    assert "EEGNet" in figure.layout.title.text
    assert f"{table['baseline'].iloc[0]:.3f}" in figure.layout.title.text
    hover = " ".join(text for trace in figure.data for text in trace.text or ())
    assert "rsa → vaxis" in hover
    assert "hurts" in hover


def test_forest_without_intervals_or_values():
    rows = results_table(classifiers=["EEGNet"], n_seeds=1, failures={("EEGNet", "rsa", "vaxis", 0): "boom"})
    table = compare(rows).query("comparison == 'baseline'")
    drawn = points(figures.forest(table))
    assert [x for _, x, *_ in drawn].count(None) == 1
    assert all(below is None for _, _, below, *_ in drawn)


def test_forest_tells_two_axes_and_two_strengths_apart(table):
    vaxis = table[table["target"] == "vaxis"]
    both = figures.forest(vaxis.assign(axis="aaaaaaaa").merge(vaxis.assign(axis="bbbbbbbb"), how="outer"))
    assert len(both.layout.yaxis.ticktext) == 8
    assert all(tick.endswith(("aaaaaa</span>", "bbbbbb</span>")) for tick in both.layout.yaxis.ticktext)
    digests = table["axis"].mask(table["strategy"] == "rsa", "of all").mask(table["target"] == "arousal", "its own")
    other = table.assign(axis=digests)
    assert list(figures.forest(other).layout.yaxis.ticktext) == list(figures.forest(table).layout.yaxis.ticktext)
    strengths = figures.forest(vaxis.assign(lambda_=0.1).merge(vaxis.assign(lambda_=0.5), how="outer"))
    assert len(set(strengths.layout.yaxis.ticktext)) == 8


DOSES = [
    ("distance_ce", 1.0, "tau=10.0", 0.0),
    ("distance_ce", 1.0, "tau=2.0", 0.0),
    ("lora", 0.1, "alpha=32.0,rank=16", 0.0),
    ("rsa", 0.0, "", 0.3),
    ("rsa", 5.0, "", 0.0),
    ("rsa", 1.0, "", 0.0),
]


@pytest.fixture(scope="module")
def doses():
    rows = results_table(
        classifiers=["EEGNet"], strategies=DOSES, targets=("vaxis", "detached", "rank", "arousal"),
        matched={"lora": "full_head"}, effects={("EEGNet", "full_head", "none"): -0.1},
    )  # fmt: skip
    return compare(rows, n_bootstrap=200).query("comparison == 'baseline'")


def test_doses_are_groups_with_their_labels_and_baselines(doses):
    figure = figures.forest(doses)
    ticks = [re.sub(r"<br>", " | ", re.sub(r"</?span[^>]*>", "", tick)) for tick in figure.layout.yaxis.ticktext]
    assert ticks == [
        "distance_ce | tau=2",
        "distance_ce | tau=10",
        "full_head",
        "lora | λ=.1 alpha=32 rank=16 | against full_head",
        "rsa",
        "rsa | λ=5",
        "rsa | ratio=.3",
    ]
    title = figure.layout.title.text
    none, full_head = (doses.loc[doses["against"] == name, "baseline"].mean() for name in ("none", "full_head"))
    assert none - full_head > 0.08
    assert f"baseline {none:.3f}, full_head {full_head:.3f}, 10 seeds" in title
    hover = " ".join(text for trace in figure.data for text in trace.text or ())
    assert "<b>lora λ=.1 alpha=32 rank=16 → vaxis</b> against full_head" in hover


def test_every_kind_of_target_has_a_marker_of_its_own(doses):
    figure = figures.forest(doses)
    entries = {trace.name: trace.marker.symbol for trace in figure.data if trace.showlegend is not False}
    assert list(entries) == ["LLM axis", "detached", "matched baseline", "arousal", "rank"]
    assert len(set(entries.values())) == 5
    for target, name in (("vaxis", "LLM axis"), ("rank", "rank"), ("none", "matched baseline")):
        [points] = [trace for trace in figure.data if trace.name == name and trace.showlegend is False]
        np.testing.assert_allclose(sorted(points.x), sorted(doses.loc[doses["target"] == target, "delta"]))


def test_a_tall_forest_has_ticks_above_and_below(table):
    rows = results_table(classifiers=["EEGNet"], strategies={f"loss{number:02d}": 0.1 for number in range(25)})
    tall = compare(rows, n_bootstrap=100).query("comparison == 'baseline'")
    figure, short = figures.forest(tall), figures.forest(table)
    assert figure.layout.xaxis2.side == "top"
    assert figure.layout.xaxis2.matches == "x"
    assert "xaxis2" not in short.layout.to_plotly_json()
    assert len(points(figure)) == 75
    assert 1200 < figure.layout.height < 1800
    assert len(set(figure.layout.yaxis.ticktext)) == 25
    heights = np.diff(figure.layout.yaxis.tickvals) * (figure.layout.height - 180) / figure.layout.yaxis.range[0]
    assert heights.min() > 40  # two lines of a label and air


def test_names_are_escaped(table):
    strange = table.assign(strategy="<b>x</b>", classifier="<i>y</i>", against="<b>x</b>", options="<b>x</b>=1")
    figure = figures.forest(strange)
    text = figure.to_json()
    assert "<b>x" not in text.replace("<b>&lt;", "")
    assert "<i>y" not in text


def test_baseline_accuracies():
    table = baseline_table(results_table(), n_bootstrap=300)
    figure = figures.baseline_accuracies(table)
    [trace] = figure.data
    ordered = table.sort_values("mean")
    np.testing.assert_allclose(trace.x, ordered["mean"])
    assert list(figure.layout.yaxis.ticktext) == list(ordered["classifier"])
    assert figure.layout.shapes[0].x0 == pytest.approx(1 / 9)
    assert figure.layout.annotations[0].text == "chance 1/9"


def test_axis_positions_are_sorted_and_labelled():
    axis = SimpleNamespace(
        llm="tiny",
        layer=-2,
        explained_variance=0.5,
        classes=("b", "a", "c"),
        class_positions=np.array([0.2, -1.3, 1.1]),
        interval=np.array([[0.1, 0.4], [-1.5, -1.2], [1.0, 1.2]]),
    )
    figure = figures.axis_positions(axis)
    assert list(figure.layout.yaxis.ticktext) == ["a  −1.30", "b  +0.20", "c  +1.10"]
    above, below = figure.data
    assert (list(above.x), list(below.x)) == ([None, 0.2, 1.1], [-1.3, None, None])
    np.testing.assert_allclose([below.error_x.arrayminus[0], below.error_x.array[0]], [0.2, 0.1])
    assert "50 %" in figure.layout.title.text
    axis.interval = None
    assert set(figures.axis_positions(axis).data[0].error_x.array) == {None}
