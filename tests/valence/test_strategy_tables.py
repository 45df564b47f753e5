"""Tables of strategies and targets: what they say of one, and that the README's are the registries'."""

import re

import pytest

from valence.strategies import STRATEGIES
from valence.strategy_tables import FAMILIES, strategy_table, target_table
from valence.targets import TARGETS


def test_a_strategy_in_words():
    lines = strategy_table().splitlines()
    assert len(lines) == 2 + len(STRATEGIES)
    (row,) = [line for line in lines if "`lora`" in line]
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    assert cells[:4] == ["adapters", "`lora`", "values", "0.1"]
    assert cells[-1] == "full_head"
    assert "rank=8" in cells[4]
    assert all(len(re.split(r"(?<!\\)\|", line)) == len(re.split(r"(?<!\\)\|", lines[0])) for line in lines)


def test_every_family_is_one_of_the_table():
    assert {kind.family for kind in STRATEGIES.values()} <= set(FAMILIES)


def test_a_target_in_words():
    lines = target_table().splitlines()
    assert len(lines) == 2 + len(TARGETS)
    assert any(line.startswith("| `permuted_1`, `permuted_2`, … |") for line in lines)
    assert any(line.startswith("| `behaviour` |") and line.endswith("| self-ratings |") for line in lines)


@pytest.mark.parametrize(("name", "table"), [("strategies", strategy_table), ("targets", target_table)])
def test_the_readmes_tables_are_the_registries(repository, name, table):
    text = (repository / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, flags=re.DOTALL)
    assert found, f"the README has no table between <!-- {name} --> and <!-- /{name} -->"
    assert found[1].strip() == table().strip()
