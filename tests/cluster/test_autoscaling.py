"""A sweep that starts on no worker at all: Ray's autoscalers start raylets of this machine for it, and none in vain.

The provider of nodes is Ray's own for tests. Its second autoscaler, which `ray up` and KubeRay use, reads it as an
external one, because the wheel lacks the defaults file of the fake one.
"""

import contextlib
import importlib.util
import subprocess
import sys
import time

import pytest
import ray
import yaml

from cluster.resources import check_possible
from cluster.session import ray_session
from cluster.store import Store
from tests.cluster.heads import Head, client_of, head_node
from tests.jobs.conftest import write_de
from valence.errors import BadInput

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider"
HEAD_ID = "f" * 51 + "00000"
EMPTY = ("setup_commands", "initialization_commands", "head_setup_commands", "worker_setup_commands",
         "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude",
         "rsync_filter")  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec(PROVIDER) is None, reason="this wheel of Ray has no fake provider"),
]


@contextlib.contextmanager
def autoscaled(version: int, folder):
    """A head without workers, whose autoscaler may start two nodes with a CPU and a GPU (in Ray's books)."""
    provider = {"disable_node_updaters": True, "disable_launch_config_check": True}
    if version == 1:
        provider |= {"type": "fake_multinode"}
    else:
        module = f"{PROVIDER}.FakeMultiNodeProvider"
        provider |= {"type": "external", "module": module, "launch_multiple": True, "head_node_id": HEAD_ID}
    config = {
        "cluster_name": "fake", "max_workers": 2, "idle_timeout_minutes": 0.1, "upscaling_speed": 10,
        "auth": {"ssh_user": "ray"}, "head_node_type": "ray.head.default", "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
    }  # fmt: skip
    config |= {name: [] for name in EMPTY}
    environment = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    environment |= {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID, "RAY_CLOUD_INSTANCE_ID": HEAD_ID}
    environment |= {"RAY_enable_autoscaler_v2": "1"} if version == 2 else {}
    file = folder / "autoscaler.yaml"

    def words(address: str) -> list[str]:
        file.write_text(yaml.safe_dump(config | {"provider": provider | {"gcs_address": address}}))
        return [f"--autoscaling-config={file}", "--labels=valence/most-cpus=2,valence/most-gpus=2"]

    with head_node(arguments_of=words, environment=environment) as head:
        for name in ("RAY_OVERRIDE_NODE_ID_FOR_TESTING", "RAY_CLOUD_INSTANCE_ID"):  # the head's alone
            head.environment.pop(name)
        yield head


@contextlib.contextmanager
def connected(head: Head):
    with client_of(head), ray_session() as session:
        yield session


def test_the_main_job_starts_on_nothing(tmp_path, repository):
    words = ["--dataset", "faced", "--data-root", write_de(tmp_path / "faced"), "--classifiers", "de_logistic"]
    words += ["--strategies", "aux_mse", "--targets", "random", "--seeds", "2", "--out", tmp_path / "out"]
    with autoscaled(2, tmp_path) as head:
        with connected(head) as session:
            assert (session.n_cpus, session.n_gpus) == (2, 2)  # what may come
            assert "GPU" not in ray.cluster_resources()  # what is there
        done = subprocess.run(
            [sys.executable, str(repository / "jobs" / "saturation_grid.py"), *map(str, words)],
            env=head.environment | {"RAY_ADDRESS": head.address, "COLUMNS": "200"},
            capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        with connected(head):
            started = {node["NodeID"] for node in ray.nodes()} - {HEAD_ID}
            assert 1 <= len(started) <= 2
            deadline = time.monotonic() + 60
            while len([node for node in ray.nodes() if node["Alive"]]) > 1 and time.monotonic() < deadline:
                time.sleep(1)
            assert "GPU" not in ray.cluster_resources()  # and back to nothing
    assert "4 cells, 4 new" in done.stdout
    assert len(Store(tmp_path / "out").committed()) == 4


@pytest.mark.parametrize("version", [1, 2])
def test_what_the_autoscaler_can_start_and_what_it_cannot(tmp_path, version):
    with autoscaled(version, tmp_path) as head, connected(head):
        began = time.monotonic()
        with pytest.raises(BadInput) as error:
            check_possible({"CPU": 1.0, "GPU": 4.0})
        assert time.monotonic() - began < 60
        said = "its autoscaler has no type of node with that" if version == 2 else "nothing was started for it"
        assert f"asks for 1 CPU and 4 GPU: no node of this cluster has that, and {said}" in str(error.value)
        began = time.monotonic()
        check_possible({"CPU": 1.0, "GPU": 1.0})
        assert time.monotonic() - began < 40
