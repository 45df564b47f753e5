"""Packs: every cell once, one classifier each, bounded work, baselines first, no slot idle for long at the end."""

import heapq
import math
from collections import Counter

import numpy as np
import pytest

from cluster.cost import table_cost
from cluster.packs import PACKS_PER_SLOT, TARGET_SECONDS, make_packs
from tests.cluster.test_cost import WORK
from tests.cluster.test_store import make_cell
from valence.classifiers import CLASSIFIERS


def make_cells(n_seeds=5, classifiers=("slow", "fast"), strategies=("none", "rsa", "aux_mse")):
    cells = []
    for strategy in strategies:
        for seed in range(n_seeds):
            for classifier in classifiers:
                target = "none" if strategy == "none" else "vaxis"
                cells.append(make_cell(seed, classifier=classifier, strategy=strategy, target=target))
    return cells


@pytest.mark.parametrize("n_slots", [1, 2, 64])
@pytest.mark.parametrize("scale", [0.01, 10.0, 1000.0])
@pytest.mark.parametrize("at_once", [None, {"slow": 3}, {"slow": 100, "fast": 2}])
def test_every_cell_is_in_one_pack_of_its_own_kind(n_slots, scale, at_once):
    cells = make_cells()
    seconds = {cell.cell_id: scale * (4.0 if cell.classifier == "slow" else 1.0) for cell in cells}
    packs = make_packs(cells, seconds, n_slots=n_slots, at_once=at_once)
    assert Counter(cell.cell_id for pack in packs for cell in pack.cells) == Counter(cell.cell_id for cell in cells)
    for pack in packs:
        assert len({cell.classifier for cell in pack.cells}) == 1
        group = (at_once or {}).get(pack.cells[0].classifier, 1)
        longest = max(seconds[cell.cell_id] for cell in pack.cells)
        assert pack.seconds <= max(TARGET_SECONDS, group * longest)
        assert pack.seconds == pytest.approx(sum(seconds[cell.cell_id] for cell in pack.cells))


def test_baselines_come_first():
    cells = make_cells()
    packs = make_packs(cells, {cell.cell_id: 1.0 for cell in cells}, n_slots=2)
    kinds = [all(cell.strategy == "none" for cell in pack.cells) for pack in packs]
    assert kinds == sorted(kinds, reverse=True)
    assert any(kinds)


def test_what_matters_most_is_trained_first():
    """Of a long grid, the first quarter by importance is in packs of the first third of the work."""
    cells = make_cells(n_seeds=400)
    packs = make_packs(cells, {cell.cell_id: 1.0 for cell in cells}, n_slots=4)
    order = [cell.cell_id for pack in packs for cell in pack.cells]
    place = {cell_id: index for index, cell_id in enumerate(order)}
    assert max(place[cell.cell_id] for cell in cells[: len(cells) // 4]) < len(cells) / 3


def test_cells_that_train_together_stay_together():
    cells = make_cells(n_seeds=32, classifiers=("fast",), strategies=("none",))
    packs = make_packs(cells, {cell.cell_id: 1.0 for cell in cells}, n_slots=2, at_once={"fast": 8})
    assert [len(pack.cells) for pack in packs] == [8] * 4
    packs = make_packs(cells, {cell.cell_id: 1.0 for cell in cells}, n_slots=16, at_once={"fast": 8})
    assert [len(pack.cells) for pack in packs] == [2] * 16, "no device idles so that others train 8 at once"
    alone = make_packs(cells, {cell.cell_id: 1.0 for cell in cells}, n_slots=2)
    assert min(len(pack.cells) for pack in alone) == 1


def test_no_cells_no_packs():
    assert make_packs([], {}, n_slots=4) == []


def even_packs(cells, seconds, n_slots):
    """What the packs are compared with: as many seconds in each, cut over the whole list, longest first by eighths."""
    budget = min(TARGET_SECONDS, sum(seconds[cell.cell_id] for cell in cells) / (n_slots * PACKS_PER_SLOT))
    members, packs = {}, []
    place = {cell.cell_id: index for index, cell in enumerate(cells)}
    for cell in cells:
        key = (cell.strategy == "none", cell.classifier)
        members.setdefault(key, []).append(cell)
        if sum(seconds[one.cell_id] for one in members[key]) >= budget:
            packs.append(members.pop(key))
    packs += members.values()
    eighth = max(len(cells) // 8, 1)

    def order(pack):
        total = sum(seconds[cell.cell_id] for cell in pack)
        return pack[0].strategy != "none", place[pack[0].cell_id] // eighth, -total

    return sorted(packs, key=order)


def makespan(packs, seconds, n_slots):
    """The end of a sweep whose free slots take the next pack."""
    free = [0.0] * n_slots
    for pack in packs:
        heapq.heapreplace(free, free[0] + sum(seconds[cell.cell_id] for cell in pack))
    return max(free)


def lower_bound(seconds, n_slots):
    """No packing ends sooner: all slots busy, or j + 1 of the n·j + 1 longest cells on one slot, for every j."""
    longest = sorted(seconds, reverse=True)
    rounds = ((j + 1) * longest[n_slots * j] for j in range(math.ceil(len(longest) / n_slots)))
    return max(math.fsum(longest) / n_slots, *rounds)


def table_seconds(cell):
    return table_cost(cell.classifier, WORK).seconds / 50


GRIDS = {
    "all classifiers": (list(CLASSIFIERS), table_seconds),
    "two, 100 to 1": (["slow", "fast"], lambda cell: 100.0 if cell.classifier == "slow" else 1.0),
    "alike": (["one"], lambda cell: 20.0),
    "band features": ([name for name, row in CLASSIFIERS.items() if row.input == "de"], table_seconds),
}
STRATEGIES = ("none", *(f"loss{number}" for number in range(20)))


@pytest.fixture(scope="module", params=GRIDS)
def grid(request):
    classifiers, seconds_of = GRIDS[request.param]
    cells = make_cells(n_seeds=5, classifiers=classifiers, strategies=STRATEGIES)
    return cells, {cell.cell_id: seconds_of(cell) for cell in cells}


@pytest.mark.parametrize("n_slots", [2, 8, 32])
def test_no_slot_idles_long_at_the_end(grid, n_slots):
    """Cells that take what is predicted, and cells that take something near it."""
    cells, seconds = grid
    noise = np.exp(0.15 * np.random.default_rng(0).standard_normal(len(cells)))
    taken = {cell.cell_id: seconds[cell.cell_id] * factor for cell, factor in zip(cells, noise)}
    packs = [pack.cells for pack in make_packs(cells, seconds, n_slots=n_slots)]
    even = even_packs(cells, seconds, n_slots)
    for actual in (seconds, taken):
        bound = lower_bound(actual.values(), n_slots)
        ours, before = (makespan(each, actual, n_slots) for each in (packs, even))
        # where a slot trains only a few cells, nobody who knows no more than the prediction does better
        if actual is seconds or max(actual.values()) < 0.05 * bound:
            assert ours <= 1.05 * bound
        assert ours <= before * 1.01


def test_fewer_idle_hours_than_packs_of_one_size(grid):
    """Over clusters of 2 to 64 slots, what is lost to idle slots at the end is a third of what it was, or less."""
    cells, seconds = grid
    lost = {"ours": 0.0, "even": 0.0}
    for n_slots in (2, 4, 8, 16, 32, 64):
        bound = lower_bound(seconds.values(), n_slots)
        packs = [pack.cells for pack in make_packs(cells, seconds, n_slots=n_slots)]
        lost["ours"] += makespan(packs, seconds, n_slots) / bound - 1
        lost["even"] += makespan(even_packs(cells, seconds, n_slots), seconds, n_slots) / bound - 1
    assert lost["ours"] <= lost["even"] / 3
