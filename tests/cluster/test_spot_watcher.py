"""A cloud's notice drains the node that it is about; what ran there goes on elsewhere."""

import http.server
import json
import secrets
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
import ray
from ray.core.generated import common_pb2

from cluster.context import Context
from cluster.packs import Pack
from cluster.session import ray_session
from cluster.spot_watcher import AWS_NOTICE_S, AwsNotice, GcpNotice, main, wait_for_notice
from cluster.store import Store
from cluster.sweep import run_packs
from tests.cluster.heads import client_of, head_node, wait_until
from tests.valence import training_world as world

LISTED = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(*[node["NodeID"] for node in ray.nodes()])
"""


class Metadata(http.server.BaseHTTPRequestHandler):
    """The metadata services of AWS (IMDSv2: a token by PUT, which can end) and of Google Cloud."""

    def do_PUT(self):
        self.server.asked.append("PUT " + self.path)
        if self.path != "/latest/api/token" or not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            return self.answer(400, "")
        self.server.tokens.append(f"token-{len(self.server.tokens)}")
        return self.answer(200, self.server.tokens[-1])

    def do_GET(self):
        self.server.asked.append("GET " + self.path)
        if self.path == "/computeMetadata/v1/instance/preempted":
            if self.headers.get("Metadata-Flavor") != "Google":
                return self.answer(403, "")
            return self.answer(200, "TRUE\n" if self.server.notice else "FALSE\n")
        if self.path != "/latest/meta-data/spot/instance-action":
            return self.answer(404, "")
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens[-1:]:
            return self.answer(401, "")
        return self.answer(200, self.server.notice) if self.server.notice else self.answer(404, "")

    def answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Not on the terminal."""


@pytest.fixture
def metadata():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        server.notice, server.tokens, server.asked = "", [], []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def notice_of_aws(seconds: float) -> str:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"action": "terminate", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")})


def test_aws_tells_how_long_is_left(metadata):
    ask = AwsNotice(metadata.url)
    assert [ask(), ask()] == [None, None]
    assert metadata.asked.count("PUT /latest/api/token") == 1
    metadata.tokens.append("another")  # the token's life is over
    assert ask() is None
    assert metadata.asked.count("PUT /latest/api/token") == 2
    metadata.notice = notice_of_aws(100)
    assert 95 < ask() <= 100
    metadata.notice = '{"action": "terminate"}'
    assert ask() == AWS_NOTICE_S


def test_google_cloud_tells(metadata, monkeypatch):
    ask = GcpNotice(metadata.url)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # metadata are never behind a proxy
    assert ask() is None
    metadata.notice = "yes"
    assert ask() == 30


def test_a_service_that_does_not_answer_is_asked_again(metadata, caplog):
    answers = iter([OSError("no route"), OSError("no route"), ValueError("no json"), None, 7.0])

    def ask():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait_for_notice(ask, poll_s=0) == 7.0
    assert caplog.text.count("does not answer") == 1


@pytest.mark.parametrize("words", [[], ["--cloud", "aws"], ["--address", "a:1"], ["--cloud", "aws", "--now", "3"]])
def test_words_that_are_missing(words, monkeypatch, capsys):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(SystemExit) as error:
        main(words)
    assert error.value.code == 2
    assert "give --address" in capsys.readouterr().err


def drained_as(node_id: str) -> dict:
    (node,) = [node for node in ray.nodes() if node["NodeID"] == node_id]
    return {"alive": node["Alive"], "reason": node.get("DeathReasonMessage"), "kind": node.get("DeathReason")}


@pytest.mark.slow
def test_a_notice_drains_the_node_and_the_sweep_goes_on(metadata, tmp_path, repository):
    """Two nodes, an actor of the sweep on each; one is taken back while its actor is in the middle of a pack."""
    about = world.recipe(epochs=60)
    (tmp_path / "plans").mkdir()
    packs = [
        Pack(cells=tuple(world.cell("de_mlp", about=about, seed=10 * number + seed) for seed in range(6)), seconds=1.0)
        for number in range(4)
    ]
    context = Context(
        folder=str(tmp_path),
        prepared={"de": world.dataset("de")},
        splits={"de": world.split()},
        recipes={about.hash: about},
        inputs={"de_mlp": "de"},
        targets={},
    )
    with head_node() as head:
        head.add_node("--num-cpus=1", "--labels=market=on-demand")
        head.add_node("--num-cpus=1", "--labels=market=spot")
        with client_of(head), ray_session():
            wait_until(lambda: ray.cluster_resources().get("CPU") == 2, "nodes")
            spot = next(node["NodeID"] for node in ray.nodes() if node["Labels"].get("market") == "spot")
            words = ["--cloud", "aws", "--address", head.address, "--metadata", metadata.url, "--node-id", spot]
            watcher = subprocess.Popen(
                [sys.executable, "-m", "cluster.spot_watcher", *words, "--poll-s", ".2"],
                cwd=repository, env=head.environment, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            seen = []

            def give_notice():
                wait_until(lambda: len(seen) >= 3, "three cells")
                metadata.notice = notice_of_aws(16)  # less the margin: 6 s to drain

            threading.Thread(target=give_notice, daemon=True).start()
            try:
                assert run_packs(packs, context=context, gpus_per_pack=0, on_cell=seen.append) == []
                said = watcher.communicate(timeout=60)[1]
            finally:
                watcher.kill()
            assert watcher.returncode == 0, said
            assert "aws takes this machine back" in said
            assert f"node {spot} is drained" in said
            wait_until(lambda: not drained_as(spot)["alive"], "the drained node is still there", seconds=60)
            preempted = common_pb2.NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED
            assert drained_as(spot) == {"alive": False, "reason": "spot", "kind": preempted}
    committed = Store(tmp_path).committed()
    assert committed == {cell.cell_id for pack in packs for cell in pack.cells}
    assert {one.status for one in seen} == {"done"}


def test_the_node_of_this_machine(repository):
    """Found by address where there is one; never guessed where there are several."""
    code = "import sys; from cluster.spot_watcher import own_node; print(own_node(sys.argv[1]))"

    def own(head) -> subprocess.CompletedProcess:
        words = [sys.executable, "-c", code, head.address]
        return subprocess.run(
            words, cwd=repository, env=head.environment, capture_output=True, text=True, timeout=60, check=False
        )

    with head_node(token=secrets.token_hex(32)) as head:
        wait_until(lambda: own(head).returncode == 0, "a node that the head lists", seconds=60)
        listed = [sys.executable, "-c", LISTED, head.address]
        there = subprocess.run(listed, env=head.environment, capture_output=True, text=True, timeout=60, check=True)
        assert own(head).stdout.split() == there.stdout.split()
        head.add_node("--num-cpus=1")
        wait_until(lambda: "2 nodes of the cluster" in own(head).stderr, "a second node")
        assert "give --node-id" in own(head).stderr
