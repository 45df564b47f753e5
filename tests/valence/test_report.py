"""The report: whole, identical for identical input, closed to the network and to what strangers wrote."""

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.valence.pages import Elements, a_sweep, an_axis, figures_of
from tests.valence.synthetic_rows import results_table
from valence import report_text
from valence.brain.rows import Row
from valence.brain.rows import table as findings
from valence.report import render_report
from valence.stats import compare

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"
EFFECTS = {("EEGNet", "rsa", target): -0.06 for target in ("vaxis", "permuted_1", "random_1")}
EFFECTS |= {("de_mlp", "kd_prototypes", "vaxis"): 0.05}
QUIET = {"seeds": 0.003, "subjects": 0.002, "noise": 0.01}


@pytest.fixture(scope="module")
def tables():
    failures = {("EEGNet", "aux_mse", "vaxis", 2): f"RuntimeError: {HOSTILE}"}
    rows = results_table(classifiers=["EEGNet", "de_mlp"], effects=EFFECTS, spread=QUIET, failures=failures)
    return rows, compare(rows, n_bootstrap=500)


@pytest.fixture(scope="module")
def page(tables):
    rows, statistics = tables
    return render_report(rows, statistics, a_sweep(rows), axis=an_axis())


def test_same_input_gives_the_same_bytes(tables, page):
    rows, statistics = tables
    again = render_report(rows.copy(), statistics.copy(), a_sweep(rows), axis=an_axis())
    assert again == page


def test_nothing_is_loaded_from_anywhere(page):
    for tag, attributes in Elements(page).found:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert "src" not in attributes
        if attributes.get("href", "").startswith("http"):
            assert tag == "a"
    assert "default-src 'none'" in page
    assert "Plotly" in page
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_words_of_strangers_stay_words(tables):
    rows, statistics = tables
    strange = statistics.assign(strategy=statistics["strategy"].replace("rsa", HOSTILE))
    sweep = a_sweep(
        rows, family=HOSTILE, command=HOSTILE, versions={HOSTILE: HOSTILE}, preset=HOSTILE,
        exclusions=[{"classifier": HOSTILE, "strategy": "a", "target": "b", "reason": HOSTILE}],
    )  # fmt: skip
    axis = an_axis(llm=HOSTILE, notes={HOSTILE: [HOSTILE], "warnings": [HOSTILE]}, classes=(HOSTILE, "b", "c"))
    page = render_report(rows.assign(device=HOSTILE), strange, sweep, axis=axis)
    elements = Elements(page).found
    assert not [tag for tag, _ in elements if tag == "img"]
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert len(scripts) == len(figures_of(page)) + 2
    assert "alert(&#39;x&#39;)" in page


def test_verdicts_on_top_are_those_of_the_table(tables, page):
    _, statistics = tables
    tested = statistics[(statistics["comparison"] == "baseline") & (statistics["target"] == "vaxis")]
    tiles = dict(re.findall(r'<b class="(\w+)">(\d+)</b>', page))
    assert {name: int(n) for name, n in tiles.items()} == {
        verdict: int((tested["verdict"] == verdict).sum()) for verdict in report_text.VERDICTS
    }
    text = Elements(page).text
    assert "Of 8 comparisons with the axis, 1 helped and 1 hurt." in text
    assert "1 of these goes beyond what a permuted or random target does" in text
    assert re.search(r"EEGNet : balanced accuracy 0\.\d{3} without alignment; rsa \(−0\.06\d\) hurts", text)


@pytest.mark.parametrize("n_subjects", [1, 2, 3, 4])
def test_too_few_test_subjects_are_told(n_subjects):
    rows = results_table(classifiers=["EEGNet"], effects=EFFECTS, spread=QUIET, n_subjects=n_subjects)
    text = Elements(render_report(rows, compare(rows, n_bootstrap=200), a_sweep(rows), axis=an_axis())).text
    told = f"With {n_subjects} test {'subject' if n_subjects == 1 else 'subjects'} no verdict is possible"
    assert (told in text) == (n_subjects < 4)
    assert ("At least 4 test subjects are needed." in text) == (n_subjects < 4)
    assert ("helped and" in text) == (n_subjects == 4)


def test_every_section_is_there(page):
    text = Elements(page).text
    for words in (
        "Data set simulated",
        "no linear layer",
        "RuntimeError: <script>alert",
        "No subject is in two parts of the split",
        "train: 2 subjects",
        "SmolLM2-135M-Instruct",
        "48.3 %",
        "sign rule",
        "style: person a 0.41",
        "Joy is low",
        "Declared before the run: vaxis against none, 4 strategies",
        "the confirmatory families have 4 members",
        "Scientific Data 10:740",
        "arXiv:2606.00129",
        "torch 2.13.0",
        "hierarchical bootstrap over subjects and seeds",
        "9 to 10 seeds",
        "2.00 GiB",
        "0011223344556677",
    ):
        assert words in text, words


def test_downloads_are_the_whole_tables(tables, page):
    _, statistics = tables
    links = {
        attributes["download"]: attributes["href"]
        for tag, attributes in Elements(page).found
        if "download" in attributes
    }
    assert set(links) == {"statistics.csv", "baselines.csv", "cells.csv"}
    content = base64.b64decode(links["statistics.csv"].split(",", 1)[1])
    again = pd.read_csv(io.BytesIO(content))
    assert list(again.columns) == list(statistics.columns)
    np.testing.assert_allclose(again["delta"], statistics["delta"], rtol=1e-12)


def test_figures_hold_the_numbers_of_the_tables(tables, page):
    _, statistics = tables
    figures = figures_of(page)
    assert list(figures) == ["forest-0", "forest-1", "baselines", "axis"]
    drawn = sorted(x for trace in figures["forest-0"]["data"] for x in trace["x"] if x is not None)
    table = statistics[(statistics["classifier"] == "EEGNet") & (statistics["comparison"] == "baseline")]
    np.testing.assert_allclose(drawn, sorted(table["delta"]))


def test_light_and_dark_and_narrow_pages_are_provided_for(page):
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert "max-width: 560px" in page
    assert 'format: "svg"' in page


@pytest.fixture(scope="module")
def dosed():
    """Doses of one loss, and one with a matched baseline."""
    doses = [
        ("lora", 0.1, "rank=16", 0.0),
        ("lora", 0.1, "", 0.0),
        ("rsa", 1.0, "", 0.0),
        ("rsa", 5.0, "", 0.0),
        ("rsa", 0.0, "", 0.3),
    ]
    effects = {("EEGNet", "lora", "vaxis"): 0.05, ("EEGNet", "full_head", "none"): -0.1}
    rows = results_table(
        classifiers=["EEGNet"], strategies=doses, effects=effects, spread=QUIET, matched={"lora": "full_head"}
    )
    statistics = compare(rows, n_bootstrap=300)
    return render_report(rows, statistics, a_sweep(rows), axis=an_axis()), statistics


def test_doses_and_matched_baselines_are_named(dosed):
    page, _ = dosed
    text = Elements(page).text
    for words in (
        "2 forms of the loss in 5 doses were tried",
        "Matched baselines: lora is compared with full_head.",
        "lora λ=.1 rank=16 (+0.05",
        "the alignment losses lora λ=.1, lora λ=.1 rank=16, rsa, rsa λ=5 and rsa ratio=.3 (λ = 1 where none is given)",
        "rsa ratio=.3 vaxis none",
        "lora λ=.1 rank=16 vaxis full_head ▲ helps",
        "full_head none none ▼ hurts",
        "lora λ=.1 rank=16 structure full_head",
        "the axis against none or a matched baseline.",
    ):
        assert words in text, words


def test_the_effect_of_one_dose_is_held_against_the_content_of_that_dose(dosed):
    """Both doses of lora help beyond their controls. Were it that one hurt, its own content would still agree."""
    _, statistics = dosed
    assert "the effect belongs to the axis" in " ".join(report_text.answer(statistics))
    at = statistics["options"].eq("rank=16") & statistics["target"].eq("vaxis")
    assert set(statistics.loc[at, "comparison"]) == {"baseline", "content"}
    turned = statistics.assign(verdict=statistics["verdict"].mask(at, "hurts"))
    assert "the effect belongs to the axis" in " ".join(report_text.answer(turned))


def test_a_report_without_matched_baselines_does_not_speak_of_them(page):
    assert "atched baseline" not in Elements(page).text
    assert '<th class="word">against</th>' not in page


def test_long_tables_of_controls_are_folded_but_the_first():
    strategies = {f"loss{number:02d}": 0.5 for number in range(7)}
    rows = results_table(classifiers=["EEGNet", "de_mlp"], strategies=strategies, n_seeds=2, n_subjects=4)
    page = render_report(rows, compare(rows, n_bootstrap=100), a_sweep(rows), axis=None)
    section = page[page.index('<section id="controls">') : page.index('<section id="baselines">')]
    assert re.findall(r"<details( open)?><summary>(\w+)", section) == [(" open", "EEGNet"), ("", "de_mlp")]


@pytest.mark.parametrize("partial", [True, False])
def test_a_partial_sweep_says_so_on_top(tables, partial):
    rows, statistics = tables
    page = render_report(rows, statistics, a_sweep(rows, partial=partial, n_cells=999), axis=None)
    assert ('<div class="banner"' in page) == partial
    if partial:
        assert "of 999 planned cells" in page
        assert page.index('<div class="banner"') < page.index("<h1>")


def test_a_subject_in_two_parts_is_called_out(tables):
    rows, statistics = tables
    facts = {"train": ["s1", "s2"], "validation": ["s2"], "test": ["s3"]}
    page = render_report(rows, statistics, a_sweep(rows, dataset_facts=facts), axis=None)
    assert "A subject is in two parts of the split" in page
    assert "No subject is in two parts" not in page


def test_what_lies_on_both_sides_is_in_the_page(tables):
    rows, statistics = tables
    text = Elements(render_report(rows, statistics, a_sweep(rows), axis=None)).text
    assert "28 of 28 clips known" in text
    assert "1 (anger), 2 (anger) and 26 more" in text
    assert "signals as stored; µV times 0.01" in text
    assert "1 repair in reading" in text
    assert "clip 3 was not recorded" in text
    assert "which has the same clips in training and test" in text


def test_few_seeds_are_said_to_be_too_few():
    rows = results_table(classifiers=["EEGNet"], effects=EFFECTS, n_seeds=3)
    page = render_report(rows, compare(rows, n_bootstrap=200), a_sweep(rows), axis=an_axis())
    text = Elements(page).text
    assert "With 3 seeds the smallest p an exact test can give is 0.25" in text
    assert "no effect of any size could have been called" in text


@pytest.mark.parametrize("n_rows", [0, 3])
def test_nothing_to_compare_is_a_page_too(n_rows):
    rows = results_table(classifiers=["EEGNet"], n_seeds=3).iloc[:n_rows]  # the baseline alone, or nothing
    text = Elements(render_report(rows, compare(rows), {}, axis=None)).text
    assert "No comparison of the axis with the baseline has been made." in text
    assert "This sweep used no axis of an LLM." in text


def test_a_baseline_that_failed_whole():
    failures = {("EEGNet", "none", "none", seed): "boom" for seed in range(3)}
    rows = results_table(classifiers=["EEGNet"], n_seeds=3, failures=failures)
    text = Elements(render_report(rows, compare(rows), a_sweep(rows), axis=an_axis())).text
    assert "EEGNet : balanced accuracy – without alignment; 4 undecided" in text


def test_findings_in_the_brain_have_a_section(tables, page):
    rows, statistics = tables
    brain = findings(
        [
            Row(analysis="ridge", protocol="leave-clip-out", value=0.4321, p=0.02, n=28, null=HOSTILE, reference=0.86),
            Row(analysis="coupling", reason="it was not asked for"),
        ]
    )
    with_brain = render_report(rows, statistics, a_sweep(rows), axis=None, brain=brain)
    assert 'id="brain"' in with_brain
    assert 'id="brain"' not in page
    assert "+0.432" in with_brain
    assert "it was not asked for" in with_brain
    assert HOSTILE not in with_brain
    for tag, attributes in Elements(with_brain).found:
        if tag == "img":
            assert attributes["src"].startswith("data:image/svg+xml;base64,")


def test_statistics_read_back_from_parquet_give_the_same_page(tables, page, tmp_path):
    rows, statistics = tables
    statistics.to_parquet(tmp_path / "statistics.parquet")
    again = render_report(rows, pd.read_parquet(tmp_path / "statistics.parquet"), a_sweep(rows), axis=an_axis())
    assert again == page


def test_numbers_are_written_for_people():
    assert report_text.number(-0.0512, sign=True) == "−0.051"
    assert report_text.number(-0.0001, sign=True) == "0.000"
    assert report_text.number(float("nan")) == report_text.number(None) == "–"
    assert report_text.p_value(0.0002) == "<0.001"
    assert report_text.listed(["a", "b", "c"]) == "a, b and c"
    assert report_text.listed(["a"]) == "a"


def test_report_and_statistics_need_no_torch():
    code = "import sys, valence.report, valence.stats; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
