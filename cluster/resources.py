"""What a pack asks for to a promise: a node has it, the autoscaler is about to start one, or it never will."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import ray
from ray.core.generated import autoscaler_pb2
from ray.experimental.internal_kv import _internal_kv_get, internal_kv_get_gcs_client
from ray.util.placement_group import placement_group, remove_placement_group

from valence.errors import BadInput

PATIENCE_S = 40.0
"""for a node that is on its way, and for an autoscaler's first look at a new demand"""
LOOK_S = 1.0


def check_possible(asked: Mapping[str, float], *, patience_s: float = PATIENCE_S) -> None:
    """Return once a node has what one pack asks for, or the autoscaler is starting nodes. Ray must be running.

    Tune waits for ever for what no node has, without a word.

    Parameters
    ----------
    asked : amounts by resource: {"CPU": 1, "GPU": 1}.

    Raises
    ------
    BadInput : where the autoscaler says that it has no such type of node, or nothing was started in time.
    """
    if _some_node_has(asked):
        return
    demand = placement_group([dict(asked)])  # an autoscaler starts nodes for demand alone
    try:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            state = _autoscaling_state()
            if _some_node_has(asked):
                return
            if _refused(asked, state):
                raise _impossible(asked, "its autoscaler has no type of node with that")
            if _starting(state):
                return
            time.sleep(LOOK_S)
        raise _impossible(asked, f"nothing was started for it in {patience_s:.0f} s")
    finally:
        remove_placement_group(demand)


def _some_node_has(asked: Mapping[str, float]) -> bool:
    return any(
        all(node["Resources"].get(kind, 0) >= amount for kind, amount in asked.items())
        for node in ray.nodes()
        if node["Alive"]
    )


def _autoscaling_state() -> Any:
    """A ray.rpc.autoscaler.AutoscalingState: what Ray's second autoscaler reports; empty where there is none."""
    client = internal_kv_get_gcs_client()
    reply = autoscaler_pb2.GetClusterStatusReply()  # type: ignore[attr-defined]
    reply.ParseFromString(client.get_cluster_status(timeout_s=10))
    return reply.autoscaling_state


def _refused(asked: Mapping[str, float], state: Any) -> bool:
    gangs = [request for gang in state.infeasible_gang_resource_requests for request in gang.requests]
    return any(dict(request.resources_bundle) == dict(asked) for request in gangs)


def _starting(state: Any) -> bool:
    if state.pending_instances or state.pending_instance_requests:
        return True
    first = _internal_kv_get("__autoscaling_status")  # JSON of Ray's first autoscaler
    report = {} if not first else json.loads(first).get("autoscaler_report") or {}
    return bool(report.get("pending_nodes") or report.get("pending_launches"))


def _impossible(asked: Mapping[str, float], why: str) -> BadInput:
    wanted = " and ".join(f"{amount:g} {kind}" for kind, amount in asked.items())
    nodes = Counter(
        ", ".join(f"{node['Resources'].get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
        for node in ray.nodes()
        if node["Alive"]
    )
    has = "; ".join(f"{n} × {what}" for what, n in sorted(nodes.items()))
    return BadInput(
        f"each pack asks for {wanted}: no node of this cluster has that, and {why}",
        allowed=f"what one node has: {has}",
        do="ask for less of a GPU, or start a node (a type of node, in cluster.yaml) that has it",
    )
