"""How long a sweep takes, as its plan predicts it and as it then is.

python -m tests.bench.eta [--data-root DIR] [--steps N] [--classifiers NAMES] [--out DIR]
One sweep that grows: for each step two seeds more, the plan is asked for first, then the sweep is run. The first plan
knows the table of speeds alone, those after it what is committed by then. DIR: a folder in FACED's format; 60 made
subjects of band features where not given. Prints predicted and actual seconds of each step, their ratio, and the
median of the ratios. Seconds are of training: from when Ray runs to the last commit.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from cluster import pipeline
from cluster.data import planned_work
from cluster.disk import disk_bytes
from cluster.estimate import several_devices, wall_time
from cluster.listener import Listener
from cluster.placement import place
from cluster.planned_cells import planned_cells
from cluster.request import Request, resolve
from cluster.session import Session, local_slots
from cluster.store import Store
from tests.jobs.conftest import write_de

KINDS = ("cells", "predictions", "features", "prepared")
SEEDS_A_STEP = 2


class Clock(Listener):
    """When training began, what the sweep's own line said of it, and when it ended."""

    predicted_s = begun = ended = 0.0

    def cells_begin(self, *, n_cells: int, n_committed: int, predicted_s: float) -> None:
        self.begun, self.predicted_s = time.monotonic(), predicted_s

    def cell(self, ended: object) -> None:
        self.ended = time.monotonic()


def asked(arguments: argparse.Namespace, root: Path, out: Path, n_seeds: int) -> Request:
    return resolve(
        dataset="faced",
        data_root=str(root),
        classifiers=arguments.classifiers,
        strategies=arguments.strategies,
        targets="random",
        recipe=f"epochs={arguments.epochs}",
        seeds=str(n_seeds),
        out=str(out),
    )


def predicted(request: Request) -> tuple[int, float, float]:
    """Cells to train, and seconds and bytes that they will take."""
    store = Store(request.out)
    planned, work = planned_cells(request, store), planned_work(request)
    session = Session(n_cpus=local_slots(), n_gpus=0)
    placement = place(
        planned.waiting,
        work=work,
        rows=store.rows(),
        how=request.execution,
        session=session,
        several=several_devices(planned.waiting, request.execution, session),
    )
    added = disk_bytes(request, planned, work)
    return len(planned.waiting), wall_time(planned.waiting, placement).seconds, sum(added[kind] for kind in added)


def on_disk(out: Path) -> int:
    return sum(path.stat().st_size for kind in KINDS for path in (out / kind).rglob("*") if path.is_file())


def grow(arguments: argparse.Namespace, root: Path, out: Path) -> None:
    ratios = []
    print(f"{'cells':>6} {'predicted s':>12} {'actual s':>9} {'ratio':>6} {'load':>5} {'disk MB':>16}", flush=True)
    for step in range(arguments.steps):
        request = asked(arguments, root, out, SEEDS_A_STEP * (step + 1))
        before = on_disk(out)
        n_cells, seconds, n_bytes = predicted(request)
        clock = Clock()
        pipeline.run(request, tracking_uri=None, retry_failed=False, partial=False, listener=clock)
        actual = clock.ended - clock.begun
        disk = f"{n_bytes / 1e6:.2f} {(on_disk(out) - before) / 1e6:.2f}"
        load = os.getloadavg()[0]
        print(f"{n_cells:6} {seconds:12.1f} {actual:9.1f} {seconds / actual:6.2f} {load:5.1f} {disk:>16}", flush=True)
        ratios += [seconds / actual] if step else []
    if ratios:
        print(f"median ratio of plans that know committed cells: {statistics.median(ratios):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--classifiers", default="de_mlp,de_logistic")
    parser.add_argument("--strategies", default="aux_mse,rsa")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="eta-") as scratch:
        root = arguments.data_root or write_de(Path(scratch) / "faced", n_subjects=60)
        grow(arguments, root, arguments.out or Path(scratch) / "out")


if __name__ == "__main__":
    main()
