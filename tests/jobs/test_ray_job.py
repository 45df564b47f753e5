"""The same command on a cluster that was started by hand: as a submitted job, and by RAY_ADDRESS."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cluster.store import Store

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head():
    """A head node with a dashboard, in a process group of its own: gcs address, dashboard address, environment."""
    port, dashboard = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # Ray's sockets need a short path
    token = Path(folder) / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    command = [
        BIN / "ray", "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}",
        "--dashboard-host=127.0.0.1", f"--temp-dir={folder}", "--num-cpus=2", "--disable-usage-stats",
        f"--dashboard-agent-listen-port={free_port()}",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PATH": f"{BIN}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(dashboard)
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", environment
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.5)
    raise TimeoutError(f"nothing listens on port {port}")


ARGUMENTS = ("--classifiers", "de_logistic", "--strategies", "aux_mse", "--targets", "random", "--seeds", "2")


def test_as_a_submitted_job_and_by_address(head, repository, de_root, tmp_path, job):
    gcs, dashboard, environment = head
    out = tmp_path / "out"
    words = ("--dataset", "faced", "--data-root", de_root, "--out", out, *ARGUMENTS)
    submitted = subprocess.run(
        [BIN / "ray", "job", "submit", "--address", dashboard, "--working-dir", ".", "--", "python",
         "jobs/saturation_grid.py", *map(str, words)],
        cwd=repository, env=environment | {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "4 cells, 4 new" in submitted.stdout
    assert len(Store(out).committed()) == 4

    connected = job(*words, "--seeds", "3", env=environment | {"RAY_ADDRESS": gcs})
    assert connected.returncode == 0, connected.stdout + connected.stderr
    assert "6 cells, 2 new" in connected.stdout
