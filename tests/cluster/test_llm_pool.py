"""LLMs side by side: never more GPUs than there are, every LLM once, and one that fails does not end the others."""

import threading
import time

import pytest

from cluster.llm_pool import Room, side_by_side
from valence.errors import BadInput
from valence.llms import LLM


def node(n_gpus, n_cpus=8, alive=True):
    resources = {"CPU": float(n_cpus)} | ({"GPU": float(n_gpus)} if n_gpus else {})
    return {"Alive": alive, "Resources": resources}


def llm(name, n_gpus=1):
    return LLM(name=name, source=f"hub:x/{name}", n_gpus=n_gpus)


class Watch:
    """Work that takes a moment and remembers how many GPUs were used at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.used = self.most = 0
        self.order = []

    def __call__(self, llm):
        with self.lock:
            self.used += llm.n_gpus
            self.most = max(self.most, self.used)
            self.order.append(llm.name)
        time.sleep(0.2)
        with self.lock:
            self.used -= llm.n_gpus
        if llm.name == "bad":
            raise BadInput("too few texts", allowed="more", do="write more")
        return llm.name.upper()


def test_gpus_are_filled_and_never_overbooked():
    watch = Watch()
    llms = [llm("a"), llm("b"), llm("wide", 4), llm("bad"), llm("pair", 2), llm("c")]
    results = side_by_side(llms, watch, nodes=[node(4), node(2), node(8, alive=False)])
    assert list(results) == [each.name for each in llms]
    assert {name: result for name, result in results.items() if name != "bad"} == {
        name: name.upper() for name in ("a", "b", "wide", "pair", "c")
    }
    assert isinstance(results["bad"], BadInput)
    assert watch.most == 6, "both nodes full"
    assert watch.order[:2] == ["wide", "pair"], "large ones first"
    assert sorted(watch.order) == sorted(each.name for each in llms)


def test_without_gpus_one_engine_a_node():
    watch = Watch()
    side_by_side([llm("a"), llm("b"), llm("c")], watch, nodes=[node(0)])
    assert watch.most == 1
    watch = Watch()
    side_by_side([llm("a"), llm("b"), llm("c")], watch, nodes=[node(0), node(0)])
    assert watch.most == 2


def test_an_llm_that_no_node_can_hold_is_left_out_with_the_reason():
    watch, lines = Watch(), []
    results = side_by_side([llm("wide", 4), llm("a")], watch, nodes=[node(2), node(2)], on_event=lines.append)
    assert results["a"] == "A"
    assert isinstance(results["wide"], BadInput)
    assert "wide:n_gpus=2" in str(results["wide"])
    assert watch.order == ["a"]
    assert any("left out" in line for line in lines)


def test_the_tightest_node_is_taken():
    room = Room([node(4), node(1), node(2)])
    taken = [room.take(llm("a")), room.take(llm("b", 2)), room.take(llm("c", 4)), room.take(llm("d"))]
    assert taken == [(1, 1), (2, 2), (0, 4), None]
    room.give_back((2, 2))
    assert room.take(llm("d")) == (2, 1)


def test_an_error_that_is_nobodys_input_ends_the_call():
    def work(llm):
        raise ZeroDivisionError(llm.name)

    with pytest.raises(ZeroDivisionError, match="a"):
        side_by_side([llm("a")], work, nodes=[node(1)])
