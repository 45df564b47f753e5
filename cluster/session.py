"""Ray for one command: a cluster of this machine's own, the one at RAY_ADDRESS, or the one a job was submitted to."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cluster.address import check_reachable
from valence.errors import BadInput

RAY_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""set by Ray for the entry point of a submitted job"""
MOST = {"CPU": "valence/most-cpus", "GPU": "valence/most-gpus"}
"""labels of a head whose autoscaler starts nodes from zero: how much of each it may start, see cluster.yaml"""

_DEFAULTS = {
    # Tune's own loggers write four files a trial; the Parquet cells are the record
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "60",
    # the command itself handles Ctrl-C: committed cells stay, the rest is resumable
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # the autoscaler has to see all of the demand
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",
    # Ray Train takes in one report of an epoch at each look, and training waits for it
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "1",
}


def in_submitted_job() -> bool:
    """True inside `ray job submit`, whose working folder is a copy that Ray deletes."""
    return RAY_JOB_VARIABLE in os.environ


def prepare_environment() -> None:
    """Set what Ray and Tune read at import, where the user has not."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the cluster offers, or will once its autoscaler has started all that it may."""

    n_cpus: int
    n_gpus: int

    @property
    def n_slots(self) -> int:
        """Packs that can train at once: one a GPU, else one a CPU core."""
        return self.n_gpus or self.n_cpus


def local_slots() -> int:
    """CPU cores this process may use: the packs that a cluster of this machine's own trains at once without a GPU."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def ray_session(*, plugins: Sequence[str] = ()) -> Iterator[Session]:
    """Connect to Ray for the length of a command.

    RAY_ADDRESS decides; where it is not set, a cluster is started on this machine and ended with the command.

    Parameters
    ----------
    plugins : the user's modules. Nodes of a cluster have them from the working folder of a submitted job alone.
    """
    prepare_environment()
    import ray

    if ray.is_initialized():  # a command of several sweeps connects once
        yield _offered()
        return
    # Tune warns of every trial without its own result files, Ray of the token that it makes by itself
    logging.getLogger("ray").setLevel(logging.ERROR)
    address = os.environ.get("RAY_ADDRESS") or "local"
    options: dict = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        options["include_dashboard"] = False
    elif not in_submitted_job():
        if plugins:
            raise BadInput(
                f"--plugin {','.join(plugins)} with RAY_ADDRESS: the cluster's nodes do not have the file",
                allowed="plug-ins on this machine's own cluster, or in a submitted job",
                do="ray job submit --working-dir . -- python jobs/saturation_grid.py --plugin ...",
            )
        # workers run the driver's code, whatever is installed there
        root = Path(__file__).resolve().parent
        options["runtime_env"] = {"py_modules": [str(root), str(root.parent / "valence")]}
    check_reachable(address)
    on_terminate = signal.getsignal(signal.SIGTERM)
    ray.init(address=address, configure_logging=False, **options)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)  # Ray's own ends the process without a word
    try:
        yield _offered()
    finally:
        ray.shutdown()


def _offered() -> Session:
    import ray

    now, nodes = ray.cluster_resources(), [node for node in ray.nodes() if node["Alive"]]

    def most(kind: str) -> int:
        labelled = [int(node["Labels"].get(MOST[kind], 0)) for node in nodes]
        return max(int(now.get(kind, 0)), *labelled)

    return Session(n_cpus=max(most("CPU"), 1), n_gpus=most("GPU"))


@dataclass
class MemoryPeak:
    """Peak memory of this process and all its descendants, bytes, sampled; shared pages count once (PSS on Linux)."""

    interval_s: float = 1.0
    peak_bytes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "MemoryPeak":
        self._thread = threading.Thread(target=self._watch, daemon=True, name="memory-peak")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.sample()

    def sample(self) -> int:
        """Take one sample now and return the peak so far."""
        process = psutil.Process()
        total = sum(_memory(member) for member in (process, *process.children(recursive=True)))
        self.peak_bytes = max(self.peak_bytes, total)
        return self.peak_bytes

    def _watch(self) -> None:
        wait_s = self.interval_s
        while not self._stop.wait(wait_s):
            started = time.monotonic()
            self.sample()
            # counting shared pages walks the page tables of every process: never more than 2 % of a core
            wait_s = max(self.interval_s, 50 * (time.monotonic() - started))


def _memory(process: psutil.Process) -> int:
    try:
        facts = process.memory_full_info()
        return getattr(facts, "pss", None) or facts.uss
    except psutil.AccessDenied:
        with contextlib.suppress(psutil.Error):
            return process.memory_info().rss
        return 0
    except psutil.NoSuchProcess:  # ended since it was listed
        return 0
