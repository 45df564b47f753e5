"""The roster as a table: what it says of one classifier, and that the README's is the registry's."""

import re

import pytest

from tests.valence.signal_specs import FACED
from valence.roster import roster, roster_table

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_row_says_what_the_classifier_is():
    rows = roster(FACED, ["de_gru", "EMOD_as_coded", "EEGNet", "CBraMod"])
    assert [row.name for row in rows] == ["EEGNet", "CBraMod", "de_gru", "EMOD_as_coded"]
    first, second = rows[:2]
    assert (first.parameters, first.width, first.tap, first.pretrained) == (10_553, 16, (16, 62), "")
    assert first.published == {"faced": 0.4090, "seed_v": 0.2961}
    assert (second.width, second.tap) == (200, (32, 10, 200))
    assert second.pretrained == "braindecode/cbramod-pretrained, BSD-3-Clause"
    assert rows[2].parameters == 3 * (64 * 160 + 64 * 64 + 2 * 64) + 64 * 9 + 9


def test_table_gives_published_accuracies_in_percent_and_pretrained_ones_in_brackets():
    lines = roster_table(FACED, ["SCCNet", "EEGNet", "CBraMod", "LUNA"]).splitlines()
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert "| EEGNet | roster | compact CNN | 10,553 | 16 | 40.90 | 29.61 |  |  |" in lines
    assert any(line.startswith("| CBraMod |") and "| (55.09) | (40.91) |" in line for line in lines)
    assert "| SCCNet | roster | compact CNN | 26,719 | 1900 |  |  |  |  |" in lines


def test_the_readmes_table_is_the_registrys(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- roster -->\n(.*?)<!-- /roster -->", text, flags=re.DOTALL)
    assert found, "the README has no table between <!-- roster --> and <!-- /roster -->"
    assert found[1].strip() == roster_table(FACED).strip()
