"""An address that leads to no Ray cluster is one clear message within half a minute."""

import http.server
import socket
import subprocess
import sys
import threading
import time

import pytest

from cluster.address import ANSWER_S, CONNECT_S, check_reachable
from tests.cluster.heads import free_port
from tests.jobs.conftest import write_de
from valence.errors import BadInput


@pytest.mark.parametrize("address", ["x", "head:", ":6379", "head:six", "http://head:8265", "https://head"])
def test_words_that_are_no_address(address):
    with pytest.raises(BadInput, match="not the address of a Ray head"):
        check_reachable(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:{free}", "no-such-host.invalid:6379", "ray://127.0.0.1:{free}", "h:99999"]
)
def test_nobody_listens(address):
    began = time.monotonic()
    with pytest.raises(BadInput, match=r"cannot be reached.*\n.*HOST:6379.*\n.*unset RAY_ADDRESS"):
        check_reachable(address.format(free=free_port()))
    assert time.monotonic() - began < 30


def test_something_else_listens():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(BadInput, match="what listens there is no Ray head"):
            check_reachable(f"127.0.0.1:{server.server_port}")
        server.shutdown()
    assert time.monotonic() - began < CONNECT_S + ANSWER_S + 5


def test_something_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(BadInput, match=r"no Ray head: (DEADLINE_EXCEEDED|UNAVAILABLE)"):
            check_reachable(f"127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - began < CONNECT_S + ANSWER_S + 5


def test_the_command_says_so(repository, tmp_path):
    words = [
        "--dataset",
        "faced",
        "--data-root",
        write_de(tmp_path / "faced"),
        "--classifiers",
        "de_logistic",
        "--strategies",
        "none",
    ]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, repository / "jobs" / "saturation_grid.py", *words, "--out", tmp_path / "out"],
        env={"RAY_ADDRESS": f"127.0.0.1:{free_port()}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 90  # most of it imports
