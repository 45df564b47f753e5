"""Figures of a study: what is drawn is what the tables hold."""

import numpy as np
import pandas as pd
import pytest

from valence import axis_figures
from valence.label_places import place_labels
from valence.stories import EMOTIONS


@pytest.fixture
def tables():
    random = np.random.default_rng(0)
    llms = ("one", "two")
    classes = pd.DataFrame(
        [
            {"llm": llm, "level": level, "name": name, "emotion": name, "position": x, "second": y}
            for llm in llms
            for level, n in (("class", 1), ("paraphrase", 5))
            for name in EMOTIONS
            for x, y in random.standard_normal((n, 2))
        ]
    )
    axes = pd.DataFrame({"llm": llms, "layer": [3, 4], "n_layers": [5, 6], "explained_variance": [0.4, 0.5]})
    layers = pd.DataFrame(
        [
            {"llm": llm, "layer": layer, "depth": layer / 4, "explained_variance": v, "cosine_to_reference": c}
            for llm in llms
            for layer, (v, c) in enumerate(random.uniform(0, 1, (5, 2)))
        ]
    )
    validity = pd.DataFrame(
        [
            {
                **{"llm": llm, "benchmark": "sst2", "dimension": "valence", "predictor": predictor, "measure": "AUC"},
                **{
                    "value": 0.5 + 0.1 * layer,
                    "ci_low": 0.4,
                    "ci_high": 0.9,
                    "n": 100,
                    "n_training": 0,
                    "layer": layer,
                },
            }
            for llm in llms
            for predictor, at in (("axis", range(1, 4)), ("axis projected out", [3]), ("probe", [3]))
            for layer in at
        ]
        + [
            {
                **{"llm": "minilm", "benchmark": "sst2", "dimension": "valence", "predictor": "sentence prototypes"},
                **{"measure": "AUC", "value": 0.7, "ci_low": 0.6, "ci_high": 0.8, "n": 100, "n_training": 0},
            }
        ]
    )
    agreement = pd.DataFrame(
        [
            {"llm_a": a, "llm_b": b, "level": "classes", "r": r, "r_other_set": other}
            for a, b, r, other in (("one", "one", 1.0, 0.8), ("one", "two", 0.9, -0.3), ("two", "two", 1.0, 0.6))
        ]
    )
    dose = pd.DataFrame(
        [
            {"llm": llm, "benchmark": "sst2", "measure": "AUC", "n_paraphrases": n, "draw": draw, "value": value}
            for llm in llms
            for n in (1, 3, 5)
            for draw, value in enumerate(random.uniform(0.5, 0.9, 4))
        ]
    )
    return {
        **{"positions": classes, "axes": axes, "layers": layers, "validity": validity, "agreement": agreement},
        "dose": dose,
    }


def test_all_are_written_twice_and_again_the_same(tables, tmp_path):
    files = axis_figures.draw_all(tables, tmp_path)
    names = {"positions", "layers", "agreement", "validity", "dose"}
    assert {path.name for path in files} == {f"{name}.{form}" for name in names for form in ("svg", "png")}
    first = {path.name: path.read_bytes() for path in files if path.suffix == ".svg"}
    again = axis_figures.draw_all(tables, tmp_path / "again")
    assert {path.name: path.read_bytes() for path in again if path.suffix == ".svg"} == first


def test_nine_emotions_lie_where_the_table_says_and_are_named(tables):
    panel = axis_figures.positions(tables["positions"], tables["axes"]).axes[0]
    drawn = np.concatenate([points.get_offsets() for points in panel.collections if len(points.get_offsets()) <= 4])
    rows = tables["positions"].query("llm == 'one' and level == 'class'")
    expected = rows[["position", "second"]].to_numpy()
    assert sorted(map(tuple, np.round(drawn, 9))) == sorted(map(tuple, np.round(expected, 9)))
    assert {label.get_text() for label in panel.texts} == set(EMOTIONS)
    at = {label.get_text(): label.xy for label in panel.texts}
    for row in rows.itertuples():
        assert tuple(at[row.name]) == (row.position, row.second)


def test_names_lie_on_no_name_and_no_point():
    random = np.random.default_rng(0)
    for _ in range(30):
        points = random.uniform(0.1, 0.9, (9, 2))
        widths = [0.02 * len(name) for name in EMOTIONS]
        boxes = []
        for (x, y, side), width in zip(place_labels(points, widths), widths, strict=True):
            left = x if side == "left" else x - width
            boxes.append((left, y - 0.02, left + width, y + 0.02))
            assert left > -1e-9
            assert left + width < 1 + 1e-9
        for index, (left, bottom, right, top) in enumerate(boxes):
            assert not any(left < x < right and bottom < y < top for x, y in points)
            for other in boxes[:index]:
                assert right <= other[0] or other[2] <= left or top <= other[1] or other[3] <= bottom


def test_equal_points_have_names_apart():
    places = place_labels(np.full((4, 2), 0.5), [0.1] * 4)
    assert len(set(places)) == 4


def test_heat_map_has_the_same_texts_above_and_other_sets_below(tables):
    figure = axis_figures.agreement_map(tables["agreement"])
    values = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(values, [[0.8, 0.9], [-0.3, 0.6]])


def test_validity_leaves_other_layers_out(tables):
    figure = axis_figures.validity(tables["validity"])
    markers = [
        line for line in figure.axes[0].lines if len(line.get_xdata()) == 1 and line.get_marker() in ("o", "D", "s")
    ]
    assert len(markers) == 3 + 3 + 1
    assert sorted(float(line.get_xdata()[0]) for line in markers) == pytest.approx([0.7, *[0.8] * 6])


def test_layers_and_dose_follow_their_tables(tables):
    figure = axis_figures.layers(tables["layers"], tables["validity"])
    np.testing.assert_allclose(
        figure.axes[0].lines[0].get_ydata(), tables["layers"].query("llm == 'one'")["explained_variance"]
    )
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), [0.6, 0.7, 0.8])
    curve = axis_figures.dose(tables["dose"]).axes[0].lines[0]
    means = tables["dose"].query("llm == 'one'").groupby("n_paraphrases")["value"].mean()
    np.testing.assert_allclose(curve.get_ydata(), means)


def test_what_has_no_numbers_is_not_drawn(tables, tmp_path):
    tables["validity"], tables["dose"] = tables["validity"][:0], tables["dose"][:0]
    tables["agreement"] = tables["agreement"][:1]
    tables["layers"] = tables["layers"].groupby("llm").head(1)
    assert {path.stem for path in axis_figures.draw_all(tables, tmp_path)} == {"positions"}
