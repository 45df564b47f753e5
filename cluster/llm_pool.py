"""Stages paraphrases and activations on Ray: several LLMs, as many side by side as the cluster has room for."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from cluster.remote_engine import engine_resources
from valence.errors import BadInput
from valence.llms import LLM

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Room:
    """Which nodes have room for another engine: counted in GPUs, or in whole nodes where no node has a GPU.

    Parameters
    ----------
    nodes : of `ray.nodes()`.
    """

    def __init__(self, nodes: Sequence[dict]):
        self._nodes = [node for node in nodes if node["Alive"]]
        self.has_gpus = any(node["Resources"].get("GPU", 0) >= 1 for node in self._nodes)
        # an engine takes the cores of one node up to a cap, so without a GPU a node holds one
        self._free = [int(node["Resources"].get("GPU", 0)) if self.has_gpus else 1 for node in self._nodes]

    def reason_against(self, llm: LLM) -> BadInput | None:
        """Why an LLM can never run on these nodes, or None."""
        try:
            engine_resources(self._nodes, llm)
        except BadInput as error:
            return error
        return None

    def take(self, llm: LLM) -> tuple[int, int] | None:
        """Take a node's share for an engine: the index of the node and how much, or None where all is taken."""
        wanted = llm.n_gpus if self.has_gpus else 1
        # the tightest node, so that a wide one stays free for an LLM that shares its weights
        fitting = [(free, index) for index, free in enumerate(self._free) if free >= wanted]
        if not fitting:
            return None
        _, index = min(fitting)
        self._free[index] -= wanted
        return index, wanted

    def give_back(self, taken: tuple[int, int]) -> None:
        """Return what `take` gave."""
        index, wanted = taken
        self._free[index] += wanted


def side_by_side(
    llms: Sequence[LLM],
    work: Callable[[LLM], T],
    *,
    nodes: Sequence[dict] | None = None,
    on_event: Callable[[str], None] = logger.info,
) -> dict[str, T | BadInput]:
    """Do the work of each LLM, one engine per LLM at a time, large LLMs first. Ray has to be running.

    Parameters
    ----------
    llms : names are distinct.
    work : for one LLM; starts its own `RemoteEngine`, is called in a thread of its own, and leaves what it finished on
        disk, so that a second run takes it up. It may start any number of engines one after the other.
    nodes : None: of the running cluster.
    on_event : receives a line for each LLM that begins or ends; from several threads.

    Returns
    -------
    By name of the LLM, in the order given: what the work returned, or why that LLM could not be done. The others are
    done all the same. Any other error ends the call.
    """
    if nodes is None:
        import ray

        nodes = ray.nodes()
    room = Room(nodes)
    results: dict[str, T | BadInput] = {}
    waiting = []
    for llm in sorted(llms, key=lambda llm: (-llm.n_gpus, -llm.n_parameters)):
        reason = room.reason_against(llm)
        if reason is not None:
            results[llm.name] = reason
            on_event(f"{llm.name}: left out: {reason}")
        else:
            waiting.append(llm)
    _run(waiting, work, room, results, on_event)
    return {llm.name: results[llm.name] for llm in llms}


def _run(
    waiting: list[LLM],
    work: Callable[[LLM], T],
    room: Room,
    results: dict[str, T | BadInput],
    on_event: Callable[[str], None],
) -> None:
    ended: queue.Queue = queue.Queue()
    running = 0
    while waiting or running:
        for llm in list(waiting):
            taken = room.take(llm)
            if taken is not None:
                waiting.remove(llm)
                running += 1
                on_event(f"{llm.name}: begins, {len(waiting)} to go")
                # daemon: a command that is interrupted does not wait for an engine's answer
                threading.Thread(target=_one, args=(llm, work, taken, ended), daemon=True, name=llm.name).start()
        llm, taken, result, error = ended.get()
        running -= 1
        room.give_back(taken)
        if error is not None and not isinstance(error, BadInput):
            raise error
        results[llm.name] = result if error is None else error
        on_event(f"{llm.name}: {'done' if error is None else f'failed: {error}'}")


def _one(llm: LLM, work: Callable[[LLM], T], taken: tuple[int, int], ended: queue.Queue) -> None:
    try:
        ended.put((llm, taken, work(llm), None))
    except BaseException as error:  # raised again in the caller's thread
        ended.put((llm, taken, None, error))
