"""Ray clusters for tests: raylets of this machine, each in a process group of its own, ended one by one."""

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

BIN = Path(sys.executable).parent
FIRST_PORT, LAST_PORT = 20_000, 32_000
"""below Linux's own ephemeral ports, above those that Ray gives to its workers"""


@dataclass
class Head:
    """A running head node, and what a client has to know of it."""

    address: str
    dashboard: str
    environment: dict[str, str]
    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen:
        """`ray start --block` with these words, in a process group of its own."""
        command = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", *map(str, arguments)]
        with (self.folder / f"start-{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                command, env=self.environment | environment, start_new_session=True, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def add_node(self, *arguments: object) -> subprocess.Popen:
        """One more node, when it has started: of two that start together on one machine Ray may give one up."""
        for attempt in range(3):
            log = self.folder / f"start-{len(self.processes)}.log"
            process = self.start(f"--address={self.address}", *arguments)
            try:
                wait_until(lambda log=log: "will now block" in log.read_text(), str(log), of=process)
                return process
            except TimeoutError:
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")


def free_port() -> int:
    """A port that nothing listens on, of a range that Ray does not draw from."""
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def head_node(
    *,
    environment: Mapping[str, str] | None = None,
    token: str = "",
    arguments_of: Callable[[str], list[str]] = lambda address: [],
) -> Iterator[Head]:
    """A head without CPUs of its own, at the address of this machine.

    token : of the cluster; where none is given, the user's own, as a cluster that a command starts by itself has it.
        A process that was once a client of a cluster with a token cannot be one of a cluster without: Ray keeps it.
    arguments_of : further words of `ray start`, by the head's address.
    """
    from ray.util import get_node_ip_address

    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # Ray's sockets need a short path
    gcs, dashboard = f"{get_node_ip_address()}:{free_port()}", free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # SIGTERM is a notice that a node heeds for half a minute
    clean |= {
        "PATH": f"{BIN}:{clean['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    if token:
        (folder / "token").touch(mode=0o600)
        (folder / "token").write_text(token)
        clean |= {"RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    else:
        subprocess.run([BIN / "ray", "get-auth-token", "--generate"], check=True, capture_output=True, timeout=60)
    head = Head(gcs, f"http://127.0.0.1:{dashboard}", clean | dict(environment or {}), folder)
    words = ("--head", f"--port={gcs.rpartition(':')[2]}", f"--dashboard-port={dashboard}", f"--temp-dir={folder}")
    try:
        # two clusters of one machine, in tests that run beside each other, would want the same port for their agents
        agent = f"--dashboard-agent-listen-port={free_port()}"
        process = head.start(*words, agent, "--num-cpus=0", *arguments_of(gcs))
        wait_until(lambda: listens(gcs) and listens(f"127.0.0.1:{dashboard}"), str(folder), of=process)
        yield head
    finally:
        for process in reversed(head.processes):
            end(process)
        end_strays(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def client_of(head: Head) -> Iterator[None]:
    """Inside, this process is a client of that cluster, and of no other.

    Ray keeps its mode of authentication for the whole process: it is read anew at both ends.
    """
    from ray._raylet import Config

    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in head.environment.items():
                patch.setenv(name, value)
            patch.setenv("RAY_ADDRESS", head.address)
            Config.initialize("")
            yield
    finally:
        Config.initialize("")


def listens(address: str) -> bool:
    """True where something accepts connections."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def wait_until(
    condition: Callable[[], object], what: str, *, seconds: float = 90, of: subprocess.Popen | None = None
) -> None:
    """Look every half second until the condition holds; an error that says what did not come where it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or (of is not None and of.poll() is not None):
            raise TimeoutError(f"{what}: not within {seconds} s, or its process has ended")
        time.sleep(0.5)


def end(process: subprocess.Popen) -> None:
    """End a node with all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        members = psutil.Process(process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        for member in (*members, process):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait(15)


def end_strays(folder: Path) -> None:
    """End what a fake provider of nodes has started: processes that name this cluster's own folder."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
