"""The page of the brain and its ridge figures: every number from the table, nothing from outside runs."""

import numpy as np
import pandas as pd
import pytest

from tests.valence.scalp_cohorts import FIVE, clip_target, noise, scalp_cohort
from valence.brain import leave_out
from valence.brain.brain_page import CAPTIONS, answer, figures_of, page, section
from valence.brain.ridge_figures import ridge_nulls, ridge_protocols
from valence.brain.rows import Row, table

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    """A real table of the ridge, of 12 clips of five classes."""
    cohort = scalp_cohort(noise(3, 6, labels=FIVE), labels=FIVE)
    target = clip_target(np.random.default_rng(0).normal(size=len(FIVE)), FIVE)
    return table([*leave_out.rows(cohort, target), *leave_out.class_level_rows(cohort, target)])


def test_figures_have_what_the_table_says_and_are_the_same_again(found):
    figures = figures_of(found)
    assert set(figures) == {"ridge", "ridge-nulls"} <= set(CAPTIONS)
    assert figures_of(found) == figures
    row = found[found["analysis"] == "ridge"].iloc[1]
    for text in figures.values():
        assert text.startswith("<svg")
        assert row["protocol"] in text
        assert f"{row['value']:+.2f}" in text
    other = found.assign(value=found["value"].where(found["analysis"] != "ridge", 0.123))
    assert "+0.12" in ridge_protocols(other)
    assert "+0.12" in ridge_nulls(other)
    assert "×: the study" not in figures["ridge"]
    assert "×: the study" in ridge_protocols(found.assign(reference=0.8))


def test_a_table_without_a_ridge_has_no_figure_of_it():
    nothing = table([Row(analysis="ridge", protocol="leave-clip-out", reason="no recordings")])
    assert ridge_protocols(nothing) is None
    assert ridge_nulls(nothing) is None
    text = page(nothing, figures_of(nothing), facts={"data set": "none"})
    assert "no recordings" in text
    assert "No analysis has an answer" in text


def test_the_page_shows_every_row_once_and_what_is_missing_with_its_reason(found):
    rows = table(
        [Row(analysis="cell", protocol="clips", item=f"site {number}", value=number / 100) for number in range(9)]
    )
    whole = pd.concat([found, rows, table([Row(analysis="coupling", reason="no signals here")])], ignore_index=True)
    text = section(whole, {})
    for number in range(9):
        assert text.count(f'<td class="word">site {number}</td>') == 1
    assert "no signals here" in text
    assert "<td>–</td>" in text
    assert "ridge null histogram" not in text  # drawn, not listed


def test_what_must_not_be_missed_is_said_with_its_numbers(found):
    said = " ".join(answer(found))
    ridge = found[found["analysis"] == "ridge"].set_index("protocol")
    for name in ("leave-clip-out", "leave-class-out"):
        assert f"{ridge.loc[name, 'value']:+.2f} (p {ridge.loc[name, 'p']:.2g}" in said
    assert answer(table([])) == []


def test_nothing_from_outside_is_code(found):
    hostile = table([Row(analysis=HOSTILE, protocol=HOSTILE, item=HOSTILE, value=1.0, null=HOSTILE, note=HOSTILE)])
    text = page(
        pd.concat([found, hostile], ignore_index=True), {HOSTILE: "<svg/>"}, facts={"data set": HOSTILE, HOSTILE: "x"}
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 7
