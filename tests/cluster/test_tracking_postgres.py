"""A sweep mirrored to an MLflow server on PostgreSQL: twice, with mirror, server and database killed between."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cluster.store import Store
from cluster.tracking import EXPERIMENT, project
from tests.cluster.heads import free_port
from tests.cluster.test_store import make_cell, make_row

N_CELLS, N_CLASSIFIERS = 100, 4
USER, PASSWORD = "sweeper", "not-for-the-logs"
pytestmark = pytest.mark.slow


@dataclass
class Database:
    """PostgreSQL of this test on a port of its own."""

    folder: Path
    binaries: Path
    port: int
    owner: str | None
    """who runs it: PostgreSQL refuses root"""

    def uri(self, name: str = "postgres") -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def control(self, *words: str) -> None:
        command = [str(self.binaries / "pg_ctl"), "-w", "-D", str(self.folder / "data"), *words]
        with (self.folder / "pg_ctl.log").open("a") as log:  # the postmaster holds on to its end
            subprocess.run(command, check=True, user=self.owner, cwd="/", stdout=log, stderr=log, timeout=120)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self.control("-l", str(self.folder / "server.log"), "-o", options, "start")

    def values(self, query: str) -> list[tuple]:
        import psycopg

        with contextlib.closing(psycopg.connect(self.uri())) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def cells(self) -> list[str]:
        """The cell of each run that counts, from MLflow's tables as they are."""
        query = "SELECT t.value FROM tags t JOIN runs r USING (run_uuid) WHERE t.key = 'cell_id'"
        return [value for (value,) in self.values(f"{query} AND r.lifecycle_stage = 'active'")]


def postgres_binaries() -> Path:
    """Where initdb and pg_ctl lie; skips where they do not."""
    pytest.importorskip("psycopg", reason="needs psycopg, which is in the extra test")
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or ([Path(found)] if found else [])
    if not places:
        pytest.skip("needs PostgreSQL: the Debian package postgresql")
    return places[-1].resolve().parent


@pytest.fixture(scope="module")
def database():
    binaries = postgres_binaries()
    # not in pytest's own folder, which nobody but its owner may enter
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    owner = "nobody" if os.geteuid() == 0 else None
    if owner:
        shutil.chown(folder, owner)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    words = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-sync"]
    command = [str(binaries / "initdb"), "-D", str(folder / "data"), *words]
    subprocess.run(command, check=True, user=owner, cwd="/", capture_output=True, timeout=120)
    database = Database(folder, binaries, free_port(), owner)
    database.start()
    try:
        yield database
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # a test has killed it
            database.control("-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """`mlflow server` in a process group of its own."""

    def __init__(self, database: Database, folder: Path):
        self.port, self.folder = free_port(), folder
        self.uri = f"http://127.0.0.1:{self.port}"
        # the address with its password in the environment: words of a command are everybody's to read
        self.environment = {
            **os.environ, "MLFLOW_BACKEND_STORE_URI": database.uri(), "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }  # fmt: skip
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", *place, "--artifacts-destination", str(self.folder / "a")]
        with (self.folder / "mlflow.log").open("a") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, start_new_session=True, stdout=log, stderr=log, cwd=self.folder
            )
        deadline = time.monotonic() + 240
        while True:
            with (
                contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
                urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer,
            ):
                assert answer.status == 200
                return
            log = (self.folder / "mlflow.log").read_text()
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.3)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    server = Server(database, tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("sweep"))
    for number in range(N_CELLS):
        cell = make_cell(number, classifier=f"c{number % N_CLASSIFIERS}")
        failed = {"status": "failed"} if number % 10 == 9 else {}
        store.commit(make_row(cell, **failed, kappa=0.001 * number, peak_memory_mb=100.0 + number, device="cpu"))
    return store


def in_a_process(store, uri):
    """A mirror that can be killed."""
    mirror = multiprocessing.get_context("fork").Process(
        target=project, args=(store.rows(),), kwargs={"folder": store.folder, "tracking_uri": uri}
    )
    mirror.start()
    return mirror


def wait_for(database, n_runs, mirror):
    deadline = time.monotonic() + 180
    while len(database.cells()) < n_runs:
        assert mirror.is_alive(), mirror.exitcode
        assert time.monotonic() < deadline
        time.sleep(0.05)


def contents(server):
    """What MLflow tells of each cell's run, by cell, and the names of classifiers' runs."""
    client = MlflowClient(tracking_uri=server.uri)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id], max_results=1000)
    cells = [run for run in runs if run.data.tags["level"] == "cell"]
    by_cell = {run.data.tags["cell_id"]: run for run in cells}
    assert len(by_cell) == len(cells), "a cell has two runs"
    told = {
        cell: (run.info.status, run.info.end_time, run.data.metrics, run.data.params, run.data.tags, run.info.run_id)
        for cell, run in by_cell.items()
    }
    return told, sorted(run.info.run_name for run in runs if run.data.tags["level"] == "classifier")


def test_every_cell_is_there_once_whatever_is_killed(database, server, store):
    mirror = in_a_process(store, server.uri)
    wait_for(database, 20, mirror)
    mirror.kill()
    mirror.join()
    assert mirror.exitcode == -signal.SIGKILL

    mirror = in_a_process(store, server.uri)
    wait_for(database, 45, mirror)
    server.kill()
    server.start()  # the mirror waits for it
    wait_for(database, 70, mirror)
    mirror.kill()  # and the database, as a machine that loses its power
    mirror.join()
    database.control("-m", "immediate", "stop")
    database.start()

    assert project(store.rows(), folder=store.folder, tracking_uri=server.uri) > 0
    assert sorted(database.cells()) == sorted(store.committed())
    told, parents = contents(server)
    assert parents == [f"c{number}" for number in range(N_CLASSIFIERS)]
    for row in store.rows().itertuples():
        status, end, metrics, _, tags, _ = told[row.cell_id]
        assert status == ("FINISHED" if row.status == "done" else "FAILED")
        assert end == int(row.finished_at.timestamp() * 1000)
        assert metrics["kappa"] == pytest.approx(row.kappa, abs=0)
        assert metrics["system/peak_memory_megabytes"] == row.peak_memory_mb
        assert tags["status"] == row.status

    assert project(store.rows(), folder=store.folder, tracking_uri=server.uri) == 0
    assert contents(server) == (told, parents)


def test_views_go_to_the_server_and_no_password_into_files(database, server, tmp_path, tmp_path_factory, capfd):
    from tests.cluster.test_views import build, commit, save_plan, sweep_cells

    store = Store(tmp_path)
    save_plan(store, "one", sweep_cells(["rsa"]))
    commit(store, sweep_cells(["rsa"]))
    built = build(store, tracking_uri=server.uri)
    assert (built.mirror_error, built.n_mirrored) == ("", 12)
    assert "http://" not in capfd.readouterr().out, "MLflow's client prints two lines a run unless told not to"
    client = MlflowClient(tracking_uri=server.uri)
    (run,) = client.search_runs([client.get_experiment_by_name(f"{EXPERIMENT}-sweeps").experiment_id])
    elsewhere = tmp_path_factory.mktemp("downloads")
    copy = client.download_artifacts(run.info.run_id, "report.html", str(elsewhere))
    assert Path(copy).read_bytes() == (store.folder / "report.html").read_bytes()
    # straight to the database, whose address has a password
    built = build(store, tracking_uri=database.uri())
    assert (built.mirror_error, built.n_mirrored) == ("", 0), "the same runs"
    assert json.loads((tmp_path / "mlflow.json").read_text())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]
