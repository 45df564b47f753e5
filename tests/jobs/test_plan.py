"""--plan beside the sweep that is then run: the same cells, the same packs, the same bytes; prices and machines."""

import contextlib
import re

import pytest

import cluster.schedule
from cluster import pipeline
from cluster.data import planned_work
from cluster.disk import disk_bytes
from cluster.estimate import sweep_packs
from cluster.listener import Listener
from cluster.packs import waves
from cluster.placement import place
from cluster.planned_cells import planned_cells
from cluster.request import resolve
from cluster.session import Session
from cluster.store import Store
from tests.jobs.test_windows_end_to_end import small_axis

WORDS = {
    "dataset": "faced",
    "classifiers": "de_logistic,de_mlp",
    "strategies": "aux_mse,lora,rsa",
    "targets": "vaxis,random",
    "recipe": "epochs=2",
}


@pytest.fixture
def words(de_root, tmp_path):
    axis = tmp_path / "axis.safetensors"
    small_axis().save(axis)
    return WORDS | {"data_root": str(de_root), "axis": str(axis), "out": str(tmp_path / "out")}


def options(words, **more):
    named = {f"--{name.replace('_', '-')}": value for name, value in (words | more).items()}
    return [str(word) for pair in named.items() for word in pair]


def number(pattern, text):
    return float(re.search(pattern, text)[1])


def on_disk(out, kinds):
    return {kind: sum(path.stat().st_size for path in (out / kind).rglob("*") if path.is_file()) for kind in kinds}


def test_a_plan_is_of_what_the_sweep_then_does(job, main_here, words, tmp_path):
    first = resolve(**words, seeds="1")
    store, out = Store(first.out), tmp_path / "out"
    before = planned_cells(first, store)
    assert before.n_committed == 0
    assert len(before.waiting) == len(before.cells) == len(first.grid.combinations)
    promised = disk_bytes(first, before, planned_work(first))
    assert not out.exists()
    ran = job(*options(words, seeds=1))
    assert ran.returncode == 0, ran.stdout + ran.stderr

    # the ids of cells, which it has without reading the recordings again
    (plan,) = store.plans().values()
    assert [cell.cell_id for cell in planned_cells(first, store).cells] == [cell["cell_id"] for cell in plan["cells"]]
    assert planned_cells(first, store).waiting == []
    actual = on_disk(out, promised)
    for folder, n_bytes in promised.items():
        assert n_bytes == pytest.approx(actual[folder], rel=0.2), folder
    assert "prepared" in promised
    assert "trained" in promised, "LoRA builds on the weights of the baseline"

    # growing: what is committed is neither trained nor written a second time
    more = resolve(**words, seeds="3")
    after = planned_cells(more, store)
    assert after.n_committed == len(before.cells)
    assert len(after.waiting) == len(after.cells) - len(before.cells) > 0
    assert "prepared" not in disk_bytes(more, after, planned_work(more))
    code, output, errors = main_here(*options(words, seeds=3), "--plan", "--cores", "2")
    assert code == 0, errors
    assert f"committed: {after.n_committed} of {len(after.cells)} cells" in output
    assert f"corrected by {after.n_committed} committed cells" in output
    assert "on 2 CPU cores" in output
    _, nothing, _ = main_here(*options(words, seeds=1), "--plan", "--cores", "2")
    assert "nothing to train" in nothing


def test_a_plan_has_the_packs_of_the_sweep(words, monkeypatch):
    """What the sweep gives to its cluster is caught where Ray would take it."""
    session = Session(n_cpus=3, n_gpus=0)
    caught = []
    monkeypatch.setattr(pipeline, "ray_session", lambda **_: contextlib.nullcontext(session))
    monkeypatch.setattr(cluster.schedule, "ready", lambda cells, store: (list(cells), []))
    monkeypatch.setattr(cluster.schedule, "run_packs", lambda packs, **_: caught.append(packs) or [])
    request = resolve(**words, seeds="4")
    pipeline.run(request, tracking_uri=None, retry_failed=False, partial=False, listener=Listener())
    store = Store(request.out)
    waiting, work = planned_cells(request, store).waiting, planned_work(request)
    placement = place(waiting, work=work, rows=store.rows(), how=request.execution, session=session, several={})
    expected = [sweep_packs(wave, placement) for wave in waves(waiting)]

    def shape(found):
        of_cell = lambda cell: (cell.classifier, cell.strategy, cell.target, cell.seed)  # noqa: E731
        return [[[of_cell(cell) for cell in pack.cells] for pack in wave] for wave in found]

    assert len(caught) == 2, "LoRA's cells wait for the baselines"
    assert shape(caught) == shape(expected)


def test_machines_and_prices(main_here, words):
    def plan(*more):
        code, output, errors = main_here(*options(words, seeds=40), "--plan", *more)
        assert code == 0, errors
        return output

    alone, many = plan("--cores", "1", "--dollars-per-core-hour", "0.5"), plan("--cores", "8")
    hours = number(r"([\d.]+) core hours at 0.5", alone)
    assert number(r"cost: ([\d.]+)", alone) == pytest.approx(0.5 * hours, abs=0.006)
    assert "wall time" in many
    assert "cost: with" in many
    rented = plan("--gpus", "2", "--cores", "16", "--dollars-per-hour", "3", "--dollars-per-core-hour", "0.1")
    gpu_hours, core_hours = number(r"for ([\d.]+) GPU hours", rented), number(r"and ([\d.]+) core hours", rented)
    assert core_hours == pytest.approx(8 * gpu_hours, abs=0.05)
    assert number(r"cost: ([\d.]+)", rented) == pytest.approx(3 * gpu_hours + 0.1 * core_hours, abs=0.03)
    assert "2 GPUs and 16 CPU cores" in rented


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--plan", "--gpus", "-1"), "0 or more"),
        (("--plan", "--cores", "0"), "1 or more"),
        (("--cores", "4"), "without --plan"),
        (("--plan", "--dollars-per-core-hour", "nan"), "a price"),
        (("--plan", "--dollars-per-hour", "-1"), "a price"),
    ],
)
def test_machines_and_prices_that_cannot_be(main_here, more, message):
    code, output, errors = main_here(*more)
    assert code == 2, output + errors
    assert message in errors
