"""Does it matter how cells are trained? Rewrites and modes against eager training, paired over seeds.

python -m tests.bench.modes [--seeds 20] [--classifiers EEGNet,ShallowFBCSPNet,EEGConformer] [--device cpu]

For each way of training: windows on which a cell trained for one epoch predicts the same class as eager training does
(a mode is compared with eager training of the same layers, rewrites with the layers as their authors wrote them); then,
after all epochs, the mean difference of balanced accuracy from the authors' layers with its 95 % interval (Student,
paired by seed), beside the spread of seeds.
On a CPU the captured step is replaced by a traced one.
"""

import argparse
import sys
from types import SimpleNamespace

import numpy as np
import torch
from scipy import stats

from tests.valence import training_world as world
from tests.valence.traced_run import TracedRun
from valence import packing
from valence.cell import canonical_hash
from valence.datasets.base import Part
from valence.packing import train_group
from valence.splits import Split

N_SUBJECTS = 40
TRAIN, VALIDATION = 16, 4
WAYS = {
    "rewrites": {"rewrites": True, "mode": "eager"},
    "graph": {"rewrites": True, "mode": "graph"},
    "batched": {"rewrites": True, "mode": "batched"},
    "batched, exact": {"rewrites": False, "mode": "batched"},
}


def cohort(*, signal: float = 0.1) -> SimpleNamespace:
    """Windows (8 channels, 2 s at 100 Hz) of many subjects; a class changes the power of channels, weakly."""
    rng = np.random.default_rng(0)
    facts = world.spec("windows")
    labels = np.tile(world.CLASS_OF_CLIP, N_SUBJECTS)
    pattern = rng.standard_normal((world.N_CLASSES, facts.n_chans, 1))
    x = rng.standard_normal((len(labels), facts.n_chans, facts.n_times)) * np.exp(signal * pattern[labels])
    return SimpleNamespace(
        spec=facts,
        x=x.astype(np.float32),
        labels=labels,
        clips=np.tile(np.arange(world.N_CLIPS), N_SUBJECTS),
        subjects=np.repeat(np.arange(N_SUBJECTS), world.N_CLIPS),
        subject_names=tuple(f"sub{number:03d}" for number in range(N_SUBJECTS)),
        begins=np.zeros(len(labels)),
        ends=np.ones(len(labels)),
        folder=None,
        hash=canonical_hash(["bench modes", signal]),
    )


def split_of(data: SimpleNamespace) -> Split:
    """Train, validation and test subjects of the cohort."""
    clips, names = tuple(range(world.N_CLIPS)), data.subject_names
    parts = (names[:TRAIN], names[TRAIN : TRAIN + VALIDATION], names[TRAIN + VALIDATION :])
    return Split("cohort-balanced:0", *(Part(part, clips) for part in parts))


def results(classifier: str, seeds: range, epochs: int, device: str, **way) -> list:
    """One result a seed."""
    data = cohort()
    about = world.recipe(epochs=epochs)
    cells = [world.cell(classifier, about=about, seed=seed) for seed in seeds]
    targets = {cell.cell_id: None for cell in cells}
    ended = train_group(cells, data, split_of(data), about, targets, device=device, **way)
    outcomes = {one.cell.seed: one.outcome for one in ended}
    for outcome in outcomes.values():
        if isinstance(outcome, Exception):
            raise outcome
    return [outcomes[seed] for seed in seeds]


def compare(classifier: str, seeds: range, epochs: int, device: str) -> None:
    """Print the rows of one classifier."""
    alone = {"rewrites": False, "mode": "eager"}
    first = {way: results(classifier, seeds, 1, device, rewrites=way, mode="eager") for way in (False, True)}
    last = results(classifier, seeds, epochs, device, **alone)
    accuracy = np.array([one.metrics["balanced_accuracy"] for one in last])
    for name, way in WAYS.items():
        once, other = (results(classifier, seeds, number, device, **way) for number in (1, epochs))
        if other[0].mode != way["mode"]:
            print(f"{classifier:18} {name:15} trains in mode {other[0].mode}")
            continue
        beside = first[bool(way["rewrites"]) and way["mode"] != "eager"]
        agree = np.mean([a.test_logits.argmax(1) == b.test_logits.argmax(1) for a, b in zip(beside, once)])
        difference = np.array([one.metrics["balanced_accuracy"] for one in other]) - accuracy
        half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
        print(
            f"{classifier:18} {name:15} {100 * agree:8.2f} %   {difference.mean():+.5f} ± {half:.5f}   "
            f"{accuracy.std(ddof=1):.5f}   {accuracy.mean():.4f}",
            flush=True,
        )


def main() -> int:
    """Run the bench; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifiers", default="EEGNet,ShallowFBCSPNet,EEGConformer")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
        packing.MODES["graph"] = TracedRun
        packing.check_mode = lambda mode, device: None
    print(f"{options.seeds} seeds, {options.epochs} epochs, {options.device}, torch {torch.__version__}")
    print(f"{'classifier':18} {'way':15} same after 1 epoch   difference of balanced accuracy   sd of seeds   mean")
    for classifier in options.classifiers.split(","):
        compare(classifier, range(options.seeds), options.epochs, options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
