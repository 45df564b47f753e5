"""A cluster with a token lets nobody else in, listens on loopback, and writes the token nowhere."""

import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.cluster.heads import BIN, head_node, listens

CHECK = "import sys; from cluster.address import check_reachable; check_reachable(sys.argv[1])"


@pytest.fixture(scope="module")
def token() -> str:
    return secrets.token_hex(32)


@pytest.fixture(scope="module")
def head(token):
    with head_node(token=token) as started:
        yield started


def answer(url: str, token: str | None, *, method: str = "GET") -> int:
    """The status code of a request; proxies are left out."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("path", ["/api/jobs/", "/nodes?view=summary", "/api/v0/nodes"])
def test_who_may_ask(head, token, path):
    codes = [answer(head.dashboard + path, given) for given in (None, secrets.token_hex(32), token)]
    assert codes == [401, 403, 200]


@pytest.mark.parametrize("given", [None, "wrong"])
def test_who_may_not_run_anything(head, given):
    assert answer(head.dashboard + "/api/jobs/", given, method="POST") == (401 if given is None else 403)


def test_dashboard_listens_on_loopback_alone(head):
    port = head.dashboard.rpartition(":")[2]
    outside = head.address.rpartition(":")[0]
    assert listens(f"127.0.0.1:{port}")
    assert outside.startswith("127.") or not listens(f"{outside}:{port}")


@pytest.mark.parametrize("given", ["right", "wrong", "none"])
def test_who_may_connect(head, repository, given, tmp_path):
    environment = head.environment | {"HOME": str(tmp_path)}  # another's own token is another's
    if given == "wrong":
        (tmp_path / "token").write_text(secrets.token_hex(32))
        environment |= {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    if given == "none":
        environment = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
    words = [sys.executable, "-c", CHECK, head.address]
    done = subprocess.run(
        words, env=environment, cwd=repository, capture_output=True, text=True, timeout=120, check=False
    )
    if given == "right":
        assert done.returncode == 0, done.stderr
    else:
        assert "the cluster refuses this machine's token" in done.stderr
        assert "RAY_AUTH_TOKEN_PATH to a file of mode 0600" in done.stderr


def test_the_token_is_in_no_log(head, token):
    words = ["job", "submit", "--address", head.dashboard, "--", "python", "-c", "import ray; ray.init()"]

    def submitted() -> subprocess.CompletedProcess:
        command = [BIN / "ray", *words]
        return subprocess.run(command, env=head.environment, capture_output=True, text=True, timeout=120, check=False)

    deadline = time.monotonic() + 90
    while "No available agent" in (done := submitted()).stderr + done.stdout and time.monotonic() < deadline:
        time.sleep(1)  # the head's agent starts some seconds after its dashboard
    assert done.returncode == 0, done.stdout + done.stderr
    assert token not in done.stdout + done.stderr
    assert (head.folder / "token").stat().st_mode & 0o777 == 0o600
    others = [file for file in head.folder.rglob("*") if file.is_file() and file != head.folder / "token"]
    assert len(others) > 10
    for file in others:
        assert token.encode() not in file.read_bytes(), file
