"""A cloud's notice that it takes this machine back → this node of the Ray cluster is drained, then the watcher ends.

Runs on each node that may be taken away (cluster.yaml starts it):
    python -m cluster.spot_watcher --cloud aws --address HEAD:6379
Ray counts a failure as a preemption, which costs a pack none of its attempts, only where the node was drained before.
With --now it drains at once: for a shutdown hook, as in cluster/deploy/rayjob.yaml.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

logger = logging.getLogger(__name__)

POLL_S = 2.0
ANSWER_S = 2.0
MARGIN_S = 10.0
"""of the notice that is left to the machine's own shutdown"""
GCP_NOTICE_S = 30.0
AWS_NOTICE_S = 120.0
METADATA = {"aws": "http://169.254.169.254", "gcp": "http://metadata.google.internal"}
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # metadata are never behind a proxy


@dataclass
class AwsNotice:
    """The notice of a spot instance, by IMDSv2: a token by PUT, then 404 until there is a notice."""

    base: str = METADATA["aws"]
    token: str = ""

    def __call__(self) -> float | None:
        """Seconds until the machine is taken; None while there is no notice."""
        if not self.token:
            life = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            self.token = _read(f"{self.base}/latest/api/token", life, method="PUT")
        try:
            path = f"{self.base}/latest/meta-data/spot/instance-action"
            notice = json.loads(_read(path, {"X-aws-ec2-metadata-token": self.token}))
        except urllib.error.HTTPError as error:
            if error.code == 401:  # the token's life is over
                self.token = ""
                return self()
            if error.code == 404:
                return None
            raise
        try:
            return (datetime.fromisoformat(notice["time"]) - datetime.now(UTC)).total_seconds()
        except (KeyError, TypeError, ValueError):
            return AWS_NOTICE_S


@dataclass
class GcpNotice:
    """The notice of a spot VM: a word that turns from FALSE to TRUE."""

    base: str = METADATA["gcp"]

    def __call__(self) -> float | None:
        """Seconds until the machine is taken; None while there is no notice."""
        word = _read(f"{self.base}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
        return GCP_NOTICE_S if word.strip() == "TRUE" else None


NOTICES: dict[str, Callable[[str], Callable[[], float | None]]] = {"aws": AwsNotice, "gcp": GcpNotice}


def _read(url: str, headers: dict[str, str], *, method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310
    with _direct.open(request, timeout=ANSWER_S) as answer:
        return answer.read().decode()


def wait_for_notice(notice: Callable[[], float | None], *, poll_s: float = POLL_S) -> float:
    """Ask until there is a notice; seconds that are left then. A service that does not answer is asked again."""
    silent = False
    while True:
        try:
            left = notice()
            silent = False
        except (OSError, ValueError) as error:
            left = None
            if not silent:
                logger.warning("the metadata service does not answer: %s", error)
            silent = True
        if left is not None:
            return left
        time.sleep(poll_s)


def own_node(address: str) -> str:
    """The id, in hex, of this machine's node of the Ray cluster whose head is at that address."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import gcs_pb2
    from ray.util import get_node_ip_address

    here, alive = get_node_ip_address(), gcs_pb2.GcsNodeInfo.ALIVE  # type: ignore[attr-defined]
    nodes = GcsClient(address=address).get_all_node_info(timeout=10).items()
    found = [key.hex() for key, node in nodes if node.node_manager_address == here and node.state == alive]
    if len(found) != 1:
        raise RuntimeError(f"{len(found)} nodes of the cluster at {address} are on {here}; give --node-id")
    return found[0]


def drain(address: str, node: str, *, seconds: float) -> None:
    """Tell Ray that a node is about to be preempted; once more until Ray has taken it, or the time is over.

    Raises
    ------
    RuntimeError : where Ray never took it.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = max(int(deadline - time.monotonic()), 1)
        words = ["--address", address, "--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
        words += ["--reason-message", "spot", "--deadline-remaining-seconds", str(left)]
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            logger.warning("node %s is drained: %d s are left", node, left)
            return
        logger.error("draining failed: %s", done.stderr.strip().splitlines()[-1:])
        if time.monotonic() >= deadline:
            raise RuntimeError(f"node {node} could not be drained")
        time.sleep(1.0)


def main(arguments: list[str] | None = None) -> int:
    """Wait for the notice, drain, end."""
    parser = argparse.ArgumentParser(prog="cluster.spot_watcher", description=__doc__.splitlines()[0])
    parser.add_argument("--cloud", choices=sorted(NOTICES), help="whose metadata service is asked")
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), help="HEAD:PORT; RAY_ADDRESS if not given")
    parser.add_argument("--metadata", help="address of the metadata service, where it is not the cloud's usual one")
    parser.add_argument("--node-id", help="the node to drain; this machine's if not given")
    parser.add_argument("--poll-s", type=float, default=POLL_S)
    parser.add_argument("--now", type=float, metavar="SECONDS", help="no notice is awaited: so many seconds are left")
    options = parser.parse_args(arguments)
    if not options.address or (options.cloud is None) == (options.now is None):
        parser.error("give --address HEAD:PORT (or RAY_ADDRESS), and either --cloud or --now SECONDS")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if options.now is None:
        notice = NOTICES[options.cloud](options.metadata or METADATA[options.cloud])
        left = wait_for_notice(notice, poll_s=options.poll_s)
        logger.warning("%s takes this machine back in %.0f s", options.cloud, left)
        left -= MARGIN_S
    else:
        left = options.now
    drain(options.address, options.node_id or own_node(options.address), seconds=max(left, 1.0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
