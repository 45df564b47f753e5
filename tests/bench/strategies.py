"""What a strategy costs: training steps per strategy beside task-only training of the same classifier, in one run.

python -m tests.bench.strategies [--classifiers EEGNet,ShallowFBCSPNet,EEGConformer] [--device cpu] [--exact]

32 channels x 10 s at 200 Hz, batches of 64, one CPU thread. Strategies take turns for some steps, in several rounds;
printed is the median over rounds of the time of a step, as a ratio to the strategy none of the same round. A loss on
features may cost 15 %, one that looks twice 2.2 times.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import valence  # noqa: F401 settles which torchaudio can be imported, before others ask
from tests.valence import training_world as world
from tests.valence.signal_specs import FACED
from valence.cell import Cell, canonical_hash
from valence.datasets.base import Part
from valence.kept_weights import weights_bytes
from valence.packing import MODES
from valence.resident import resident
from valence.splits import Split
from valence.strategies import STRATEGIES, looks_twice
from valence.strategy_options import default_dose, make_strategy
from valence.targets import make_target
from valence.training import CellRun

N_SUBJECTS = 8
LIMITS = {True: 2.2, False: 1.15}
"""by whether a strategy looks twice"""


def cohort() -> SimpleNamespace:
    """Windows of noise, FACED's shape and channels."""
    rng = np.random.default_rng(0)
    n = N_SUBJECTS * world.N_CLIPS
    return SimpleNamespace(
        spec=FACED,
        x=rng.standard_normal((n, FACED.n_chans, FACED.n_times)).astype(np.float32),
        labels=np.tile(world.CLASS_OF_CLIP, N_SUBJECTS),
        clips=np.tile(np.arange(world.N_CLIPS), N_SUBJECTS),
        subjects=np.repeat(np.arange(N_SUBJECTS), world.N_CLIPS),
        subject_names=tuple(f"sub{number:03d}" for number in range(N_SUBJECTS)),
        begins=np.zeros(n),
        ends=np.ones(n),
        folder=None,
        hash=canonical_hash("bench strategies"),
    )


class Bench:
    """One classifier with every strategy."""

    def __init__(self, classifier: str, options: argparse.Namespace, folder: Path):
        self.classifier, self.options, self.folder = classifier, options, folder
        self.data, self.about = cohort(), world.recipe(epochs=1000, batch_size=64)
        clips, names = tuple(range(world.N_CLIPS)), self.data.subject_names
        split = Split("bench:0", *(Part(part, clips) for part in (names[:-2], names[-2:-1], names[-1:])))
        self.held = resident(self.data, split, de_normalisation="train", device=options.device)
        self.target = make_target("vaxis", world.context(n_axes=2))

    def run(self, strategy: str) -> CellRun:
        """A cell that has not begun."""
        dose, earlier = default_dose(strategy), STRATEGIES[strategy].earlier
        cell: Cell = world.cell(self.classifier, strategy, about=self.about, lambda_=dose.lambda_)
        target = None if STRATEGIES[strategy].kind == "none" else self.target
        weights = self.folder / f"{self.classifier}-{earlier.strategy}" if earlier else None
        if weights is not None and not weights.exists():
            weights.write_bytes(weights_bytes(self.run(earlier.strategy).model.state_dict()))
        return MODES[self.options.mode](
            cell, self.data, self.about, target, self.held, rewrites=not self.options.exact, earlier=weights
        )

    def seconds(self) -> dict[str, np.ndarray]:
        """Seconds of a step by strategy, (n_rounds,)."""
        runs = {name: self.run(name) for name in sorted(STRATEGIES, key=lambda name: name != "none")}
        for run in runs.values():
            steps(run, 2)
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(self.options.rounds):
            for name, run in runs.items():
                taken[name].append(steps(run, self.options.steps))
        return {name: np.array(values) for name, values in taken.items()}


def steps(run: CellRun, n: int) -> float:
    """Seconds of a training step, over n of them; the first of an epoch, where gradients are measured, is not one."""
    batches = [rows for rows in run.batches() if len(rows) == run.recipe.batch_size]
    batches = list(itertools.islice(itertools.cycle(batches), n + 1))
    device = run.data.x.device
    with run.random:
        run.begin_epoch(0)
        going = run.epoch(0, batches)
        next(going)
        started = now(device)
        for _ in going:
            pass
        return (now(device) - started) / n


def now(device: torch.device) -> float:
    """The time, once the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    """Print a table for the classifiers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifiers", default="EEGNet,ShallowFBCSPNet,EEGConformer")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--mode", default="eager", choices=["eager", "compiled", "graph"])
    parser.add_argument("--exact", action="store_true", help="layers as their authors wrote them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a strategy, in a round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.classifiers.split(",")
    ratios: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            taken = Bench(name, options, Path(folder)).seconds()
            base = taken["none"]
            print(f"{name}: {1000 * np.median(base):.1f} ms a step without a strategy", flush=True)
            for strategy, seconds in taken.items():
                ratios.setdefault(strategy, {})[name] = float(np.median(seconds / base))
    print(f"\n{'strategy':20}{'limit':>7}" + "".join(f"{name:>18}" for name in names))
    for strategy, row in sorted(ratios.items(), key=lambda item: -max(item[1].values())):
        limit = LIMITS[looks_twice(make_strategy(strategy))]
        figures = "".join(f"{ratio:17.2f}{'!' if ratio > limit else ' '}" for ratio in row.values())
        print(f"{strategy:20}{limit:7.2f}{figures}")


if __name__ == "__main__":
    main()
