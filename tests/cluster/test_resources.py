"""What packs ask for on a cluster of unlike nodes; a request that no node can meet is said, not waited for."""

import json
import sys
import time

import pytest
import ray

from cluster.context import Context
from cluster.packs import Pack
from cluster.placement import Work, on_cpus, work_of
from cluster.resources import check_possible
from cluster.session import Session, ray_session
from cluster.store import Store
from cluster.sweep import run_packs
from tests.cluster.heads import client_of, head_node, wait_until
from tests.valence import training_world as world
from valence.errors import BadInput
from valence.plugins import load_plugin
from valence.registry import forget

PLUGIN = '''
import json, os
import ray
import torch
from valence.strategies import STRATEGIES, Strategy

@STRATEGIES.register("tells_where")
class TellsWhere(Strategy):
    """Writes where it trains."""
    kind, lambda_ = "values", 0.5

    def prepare(self, model, spec, n_features, target):
        facts = ray.get_runtime_context()
        told = {{"pid": os.getpid(), "node": facts.get_node_id(), "asked": facts.get_assigned_resources()}}
        told |= {{"gpus": ray.get_gpu_ids(), "model": type(model).__name__}}
        with open({file!r}, "a") as file:
            print(json.dumps(told), file=file)

    def loss(self, batch, logits, features):
        return logits.sum() * 0
'''


@pytest.fixture(scope="module")
def unlike_nodes():
    """A head without CPUs, a node with a GPU (in Ray's books) and a CPU-only node; connected."""
    with head_node() as head:
        head.add_node("--num-cpus=2", "--num-gpus=1")
        head.add_node("--num-cpus=1")
        with client_of(head), ray_session():
            wait_until(lambda: ray.cluster_resources().get("CPU") == 3, "nodes")
            yield head


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))  # a plug-in's folder is put on it
    file = tmp_path / "tells_where.py"
    file.write_text(PLUGIN.format(file=str(tmp_path / "told")))
    load_plugin(str(file))
    yield str(file)
    sys.modules.pop("tells_where")
    forget("tells_where")


def sweep(folder, plugin, *, n_packs=3, **how):
    """Packs of two cells of two classifiers through run_packs; what each cell told."""
    about = world.recipe(epochs=1)
    (folder / "out" / "plans").mkdir(parents=True)
    context = Context(
        folder=str(folder / "out"),
        prepared={"de": world.dataset("de")},
        splits={"de": world.split()},
        recipes={about.hash: about},
        inputs={"de_mlp": "de", "de_logistic": "de"},
        targets={("vaxis", seed): world.target() for seed in range(2 * n_packs)},
        plugins=(plugin,),
    )
    packs = []
    for classifier in context.inputs:
        for number in range(n_packs):
            seeds = (2 * number, 2 * number + 1)
            cells = (world.cell(classifier, "tells_where", about=about, lambda_=0.5, seed=seed) for seed in seeds)
            packs.append(Pack(cells=tuple(cells), seconds=1.0))
    ended = []
    assert run_packs(packs, context=context, on_cell=ended.append, **how) == []
    assert [one.status for one in ended] == ["done"] * 4 * n_packs
    assert Store(folder / "out").committed() == {cell.cell_id for pack in packs for cell in pack.cells}
    return [json.loads(line) for line in (folder / "told").read_text().splitlines()]


def test_some_classifiers_on_cpus_beside_the_gpu(tmp_path, plugin, unlike_nodes):
    told = sweep(tmp_path, plugin, gpus_per_pack=1.0, on_cpu=frozenset({"de_logistic"}))
    gpu_node = next(node["NodeID"] for node in ray.nodes() if "GPU" in node["Resources"])
    networks = {one["model"] for one in told}
    assert len(networks) == 2
    with_gpu, without = [one for one in told if one["gpus"]], [one for one in told if not one["gpus"]]
    assert len(with_gpu) == len(without) == 6
    assert {one["node"] for one in with_gpu} == {gpu_node}
    assert len({one["model"] for one in with_gpu}) == len({one["model"] for one in without}) == 1
    assert len({one["pid"] for one in with_gpu}) == 1  # one actor, which outlived its packs
    assert {one["node"] for one in without} - {gpu_node}  # the CPU-only node had its part


def test_parts_of_a_gpu(tmp_path, plugin, unlike_nodes):
    told = sweep(tmp_path, plugin, gpus_per_pack=0.5)
    assert all(one["gpus"] for one in told)
    assert len({one["node"] for one in told}) == 1
    assert len({one["pid"] for one in told}) == 2  # as many actors as have room on the GPU and its node's two cores


@pytest.mark.parametrize("asked", [{"CPU": 1.0, "GPU": 2.0}, {"CPU": 3.0}])
def test_what_no_node_has(unlike_nodes, asked):
    """Three CPUs are there, but no node has them."""
    began = time.monotonic()
    with pytest.raises(BadInput, match=r"no node of this cluster has that(.|\n)*1 × 1 CPU, 0 GPU; 1 × 2 CPU, 1 GPU"):
        check_possible(asked, patience_s=5)
    assert time.monotonic() - began < 15


def test_a_node_that_comes_late_is_waited_for(unlike_nodes):
    process = unlike_nodes.add_node("--num-cpus=5")
    check_possible({"CPU": 5.0})
    assert process.poll() is None


def test_work_is_shared_between_gpus_and_cores():
    node = Session(n_cpus=9, n_gpus=1)
    deep = Work(on_gpu=1000, on_cpu=100_000, longest_on_cpu=5000)
    light = Work(on_gpu=300, on_cpu=1600, longest_on_cpu=10)
    assert on_cpus({"deep": deep, "light": light}, node) == {"light"}
    # a core that trains all of the light cells would end after the GPU has trained everything
    assert on_cpus({"deep": deep, "light": light}, Session(n_cpus=2, n_gpus=1)) == frozenset()
    assert on_cpus({"light": Work(on_gpu=300, on_cpu=1600, longest_on_cpu=301)}, node) == frozenset()
    assert on_cpus({"deep": deep, "light": light}, Session(n_cpus=8, n_gpus=0)) == frozenset()
    assert on_cpus({"deep": deep, "light": light}, Session(n_cpus=8, n_gpus=8)) == frozenset()
    assert on_cpus({"deep": deep, "light": light}, Session(n_cpus=8, n_gpus=4), gpus_per_pack=0.5) == frozenset()


def test_work_is_summed_by_classifier():
    about = world.recipe()
    cells = [world.cell(name, about=about, seed=seed) for name in ("de_mlp", "de_logistic") for seed in (1, 2)]
    fast = {cell.cell_id: 1.0 + number for number, cell in enumerate(cells)}
    slow = {cell.cell_id: 10.0 * (1 + number) for number, cell in enumerate(cells)}
    assert work_of(cells, fast, slow) == {
        "de_mlp": Work(on_gpu=3, on_cpu=30, longest_on_cpu=20),
        "de_logistic": Work(on_gpu=7, on_cpu=70, longest_on_cpu=40),
    }


def test_an_actor_that_asked_for_no_gpu_takes_none(monkeypatch):
    from ray import tune

    from cluster import sweep as module

    shares = []
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module.torch.cuda, "set_per_process_memory_fraction", shares.append)
    found = [module._device(tune.PlacementGroupFactory([asked])) for asked in ({"CPU": 1}, {"CPU": 1, "GPU": 1})]
    assert (found, shares) == (["cpu", "cuda"], [])
    assert module._device(tune.PlacementGroupFactory([{"CPU": 1, "GPU": 0.25}])) == "cuda"
    assert shares == [0.25]
