"""Wall time: cells given to slots as these become free, wave by wave, on GPUs and on cores beside them."""

import itertools

import numpy as np
import pytest

from cluster.context import Execution
from cluster.cost import Work, predict
from cluster.estimate import ACTOR_START_S, CELL_S, PACK_S, several_devices, sweep_packs, wall_time
from cluster.packs import waves
from cluster.placement import Placement, place
from cluster.session import Session
from tests.cluster.test_cost import RECIPE, Truth
from tests.valence import training_world as world

WORK = {
    "windows": Work(n_train=6720, n_validation=1680, n_test=1932, size=32 * 2000, epochs=50),
    "de": Work(n_train=2240, n_validation=560, n_test=644, size=32 * 150, epochs=60),
}
NO_ROWS = Truth().rows([])
NAMES = ("EEGNet", "ShallowFBCSPNet", "TIDNet", "de_mlp", "de_logistic")


def cells(names=NAMES, strategies=("none", "rsa"), seeds=(0, 1, 2)):
    return [
        world.cell(name, one, about=RECIPE, seed=seed)
        for one, seed, name in itertools.product(strategies, seeds, names)
    ]


def placed(members, session, how=None, rows=NO_ROWS):
    how = how or Execution()
    several = several_devices(members, how, session)
    return place(members, work=WORK, rows=rows, how=how, session=session, several=several)


def flat(members, seconds, *, n_cpus, several=None):
    """A placement by hand on CPU cores, where every cell takes as long."""
    return Placement(
        session=Session(n_cpus=n_cpus, n_gpus=0),
        gpus_per_pack=0.0,
        seconds={cell.cell_id: seconds for cell in members},
        on_cpu=frozenset(),
        several=several or {},
        at_once={},
    )


def test_by_hand_one_slot_takes_the_sum_and_four_slots_a_round_each():
    members = cells(("de_mlp",), ("none",), range(8))
    alone = wall_time(members, flat(members, 100.0, n_cpus=1))
    assert alone.seconds == pytest.approx(ACTOR_START_S + 800 + 8 * CELL_S + alone.n_packs * PACK_S)
    assert alone.cpu_s == 800
    assert alone.tail_s == 0, "one slot has no tail"
    assert alone.busy == pytest.approx(800 / alone.seconds)
    four = wall_time(members, flat(members, 100.0, n_cpus=4))
    assert four.seconds == pytest.approx(ACTOR_START_S + 200, abs=1)
    five = wall_time(members, flat(members, 100.0, n_cpus=5))
    assert five.seconds == pytest.approx(four.seconds, abs=1), "8 cells on 5 slots take two rounds, too"
    assert five.tail_s == pytest.approx(100, abs=1)
    assert five.busy == pytest.approx(0.8 * 200 / five.seconds, abs=0.01)


def test_a_wave_waits_for_the_one_before():
    """LoRA starts from the weights of the baseline: on as many slots as there are cells the two waves add up."""
    members = cells(("ShallowFBCSPNet",), ("none", "lora"), range(2))
    assert [len(wave) for wave in waves(members)] == [2, 2]
    ends = wall_time(members, flat(members, 100.0, n_cpus=4))
    assert ends.seconds == pytest.approx(2 * (100 + ACTOR_START_S), abs=1)
    unrelated = cells(("ShallowFBCSPNet",), ("none", "rsa"), range(2))
    assert wall_time(unrelated, flat(unrelated, 100.0, n_cpus=4)).seconds == pytest.approx(100 + ACTOR_START_S, abs=1)


def test_cells_on_several_devices_train_after_the_packs():
    members = cells(("de_mlp",), ("none",), range(4))
    several = dict.fromkeys(members[:2], 2)
    ends = wall_time(members, flat(members, 100.0, n_cpus=2, several=several))
    assert ends.seconds == pytest.approx(2 * ACTOR_START_S + 100 + 2 * 50, abs=1)
    assert ends.cpu_s == 400


def test_nothing_waits():
    ends = wall_time([], flat([], 1.0, n_cpus=3))
    assert (ends.seconds, ends.tail_s, ends.busy, ends.n_packs) == (0, 0, 0, 0)


def test_more_machines_never_take_longer_and_never_less_than_their_share():
    members = cells(seeds=range(10))
    before = np.inf
    for n_cpus in (1, 2, 4, 8, 16):
        ends = wall_time(members, placed(members, Session(n_cpus=n_cpus, n_gpus=0)))
        assert ends.cpu_s / n_cpus < ends.seconds <= before
        assert ends.gpu_s == 0
        before = ends.seconds


def test_gpus_alone_and_with_cores_beside_them():
    """With 64 cores the classifiers on band features leave the GPU; the sweep ends no later, and the GPU works less."""
    members = cells(seeds=range(10))
    alone, beside = (placed(members, Session(n_cpus=n_cpus, n_gpus=1)) for n_cpus in (1, 64))
    assert not alone.on_cpu
    assert beside.on_cpu
    assert beside.n_cpu_slots == 63
    one, other = wall_time(members, alone), wall_time(members, beside)
    assert other.seconds <= one.seconds
    assert other.gpu_s < one.gpu_s
    assert one.cpu_s == 0 < other.cpu_s


def test_parts_of_a_gpu_are_slots_of_their_own():
    members = cells(("EEGNet",), seeds=range(40))
    whole = placed(members, Session(n_cpus=4, n_gpus=1))
    half = placed(members, Session(n_cpus=2, n_gpus=1), Execution(gpus_per_pack=0.5))
    assert (whole.n_slots, half.n_slots) == (1, 2)
    assert wall_time(members, half).gpu_s == pytest.approx(wall_time(members, whole).gpu_s / 2)
    without = placed(members, Session(n_cpus=4, n_gpus=1), Execution(gpus_per_pack=0))
    assert without.n_slots == 4
    assert wall_time(members, without).gpu_s == 0


def test_speeds_are_those_of_committed_cells():
    truth = Truth(device=3.0)
    members = cells(("EEGNet", "de_mlp"))
    known = truth.rows(cells(("EEGNet", "de_mlp"), seeds=range(5, 25)))
    session = Session(n_cpus=2, n_gpus=0)
    placement = placed(members, session, rows=known)
    assert placement.seconds == {
        cell_id: cost.seconds for cell_id, cost in predict(members, work=WORK, rows=known).items()
    }
    actual = {cell.cell_id: truth.seconds(cell) for cell in members}
    truly = Placement(**{**vars(placement), "seconds": actual})
    assert wall_time(members, placement).seconds == pytest.approx(wall_time(members, truly).seconds, rel=0.15)
    guessed = wall_time(members, placed(members, session)).seconds
    assert guessed < 0.7 * wall_time(members, truly).seconds, "the table knows nothing of this device"


def test_groups_that_train_together_on_a_gpu_are_the_measured_ones():
    members = cells(("EEGNet",), seeds=range(40))
    session = Session(n_cpus=1, n_gpus=1)
    assert placed(members, session).at_once["EEGNet"] == 16, "of the table's fastest row"
    rows = Truth().rows(members[:4], device="cuda", mode="graph", cells_at_once=8)
    assert placed(members, session, rows=rows).at_once["EEGNet"] == 8
    assert placed(members, session, Execution(cells_at_once=5), rows=rows).at_once["EEGNet"] == 5
    assert placed(members, session, Execution(mode="eager")).at_once == {}
    assert placed(members, Session(n_cpus=8, n_gpus=0)).at_once == {}


def test_a_sweep_keeps_groups_together_whatever_its_order_of_importance():
    members = cells(("EEGNet", "ShallowFBCSPNet"), ("none", "rsa", "cka"), range(48))
    placement = placed(members, Session(n_cpus=2, n_gpus=2))
    assert placement.at_once == {"EEGNet": 16, "ShallowFBCSPNet": 6}
    packs = [pack for wave in waves(members) for pack in sweep_packs(wave, placement)]
    assert sum(len(pack.cells) for pack in packs) == len(members)
    for pack in packs:
        assert len(pack.cells) % placement.at_once[pack.cells[0].classifier] == 0
