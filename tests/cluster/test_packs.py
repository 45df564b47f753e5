"""Packs: every cell once, one classifier each, bounded work, baselines first."""

from collections import Counter

import pytest

from cluster.packs import TARGET_SECONDS, make_packs
from tests.cluster.test_store import make_cell


def make_cells(n_seeds=5):
    cells = []
    for strategy in ("none", "rsa", "aux_mse"):
        for seed in range(n_seeds):
            for classifier in ("slow", "fast"):
                target = "none" if strategy == "none" else "vaxis"
                cells.append(make_cell(seed, classifier=classifier, strategy=strategy, target=target))
    return cells


@pytest.mark.parametrize("n_slots", [1, 2, 64])
@pytest.mark.parametrize("scale", [0.01, 10.0, 1000.0])
def test_every_cell_is_in_one_pack_of_its_own_kind(n_slots, scale):
    cells = make_cells()
    seconds = {cell.cell_id: scale * (4.0 if cell.classifier == "slow" else 1.0) for cell in cells}
    packs = make_packs(cells, seconds, n_slots=n_slots)
    assert Counter(cell.cell_id for pack in packs for cell in pack.cells) == Counter(cell.cell_id for cell in cells)
    for pack in packs:
        assert len({cell.classifier for cell in pack.cells}) == 1
        longest = max(seconds[cell.cell_id] for cell in pack.cells)
        assert pack.seconds <= TARGET_SECONDS + longest
        assert pack.seconds == pytest.approx(sum(seconds[cell.cell_id] for cell in pack.cells))


def test_baselines_come_first():
    cells = make_cells()
    packs = make_packs(cells, {cell.cell_id: 1.0 for cell in cells}, n_slots=2)
    kinds = [all(cell.strategy == "none" for cell in pack.cells) for pack in packs]
    assert kinds == sorted(kinds, reverse=True)
    assert any(kinds)


def test_no_cells_no_packs():
    assert make_packs([], {}, n_slots=4) == []
