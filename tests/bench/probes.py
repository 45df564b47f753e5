"""Probes and ablations of kept cells beside a plain loop over scikit-learn and numpy, in one run. Prints Markdown.

python -m tests.bench.probes [--cells 16] [--workers 2] [--width 128]
Cells are planted: features of 1,680 validation and 1,932 test samples, FACED's split. Times are CPU seconds of one core
a cell; the plain loop does the same numbers one by one, a few of each null, and is scaled up to all of them. The limit
is 5 minutes for 1,000 cells on two cores.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: a cell is one thread's work, cells run beside each other

import argparse
import itertools
import multiprocessing
import time
from collections.abc import Callable

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import valence  # noqa: F401 settles which torchaudio can be imported, before others ask
from tests.valence import planted_cells as planted
from tests.valence.training_world import CLASS_OF_CLIP, N_CLIPS
from valence import cell_ablations, cell_probes
from valence.ablation import N_RANDOM, ablate
from valence.brain.ridge import LAMBDAS
from valence.decodability import N_ORDERS, clip_folds, decoded_clips, decoded_subjects, folds_of_subjects
from valence.probes import class_component, class_encodings, group_means
from valence.residual_held_out import N_RESAMPLES, residual_interval
from valence.residual_probes import N_PERMUTATIONS, residual_basis, residual_encoding

LIMIT_S, N_CELLS = 300, 1_000
TARGET = planted.target()


class Sides:
    """One cell, and every part of the work done by us and by a plain loop: scaled-up CPU seconds."""

    def __init__(self, width: int):
        self.cell = planted.cell(TARGET, residual=3.0, used=1.5, width=width)
        own = self.cell.part == "test"
        self.features, self.labels = self.cell.features[own].astype(np.float64), self.cell.labels[own]
        self.subjects, self.clips = self.cell.subjects[own], self.cell.clips[own]
        self.means = group_means(self.features, self.clips, N_CLIPS)
        self.values = TARGET.clip_values
        self.direction, self.centre = planted.residual_direction(width=width), self.features.mean(axis=0)

    def parts(self) -> dict[str, tuple[Callable[[], object], Callable[[], float]]]:
        """Name to our function, and to a plain one that returns by how much its time has to be scaled."""
        return {
            "class-PC1, all 362,880 orders": (self.classes, self.plain_classes),
            f"residual encoding, {N_PERMUTATIONS:,} permutations": (self.residual, self.plain_residual),
            f"its interval, {N_RESAMPLES} resamples": (self.interval, self.plain_interval),
            f"decoding, clips and classes out, {N_ORDERS:,} orders": (self.decode_clips, self.plain_decode_clips),
            f"decoding, subjects out, {N_ORDERS:,} orders": (self.decode_subjects, self.plain_decode_subjects),
            f"ablation, {N_RANDOM} directions": (self.ablation, self.plain_ablation),
        }

    def classes(self) -> object:
        means = group_means(self.features, self.labels, 9)
        return class_encodings(class_component(means)[None], TARGET.class_values)

    def plain_classes(self) -> float:
        n, component = 5_000, PCA(1).fit_transform(group_means(self.features, self.labels, 9))[:, 0]
        for order in itertools.islice(itertools.permutations(TARGET.class_values), n):
            np.corrcoef(component, order)
        return 362_880 / n

    def residual(self) -> object:
        return residual_encoding(self.means, self.values, CLASS_OF_CLIP)

    def plain_residual(self) -> float:
        n, basis, random = 500, residual_basis(CLASS_OF_CLIP), np.random.default_rng(0)
        scores = PCA(5).fit_transform(basis @ basis.T @ self.means)
        for _ in range(n):
            mixed = self.values.copy()
            for label in range(9):
                own = np.flatnonzero(label == CLASS_OF_CLIP)
                mixed[own] = mixed[random.permutation(own)]
            residual = basis @ (basis.T @ mixed)
            max(abs(np.corrcoef(score, residual)[0, 1]) for score in scores.T)
        return N_PERMUTATIONS / n

    def interval(self) -> object:
        return residual_interval(self.features, self.subjects, self.clips, self.values, CLASS_OF_CLIP)

    def plain_interval(self) -> float:
        n, names, random = 10, np.unique(self.subjects), np.random.default_rng(0)
        for _ in range(n):
            drawn = random.choice(names, len(names))
            rows = np.concatenate([np.flatnonzero(self.subjects == name) for name in drawn])
            means = [self.features[rows][self.clips[rows] == clip].mean(axis=0) for clip in range(N_CLIPS)]
            basis = residual_basis(CLASS_OF_CLIP)
            PCA(5).fit_transform(basis @ (basis.T @ np.stack(means)))
        return N_RESAMPLES / n

    def decode_clips(self) -> object:
        return decoded_clips(clip_folds(self.means, CLASS_OF_CLIP), self.values)

    def plain_decode_clips(self) -> float:
        for groups in (np.arange(N_CLIPS), CLASS_OF_CLIP):
            _ridge(self.means, self.values, groups)
        return N_ORDERS

    def decode_subjects(self) -> object:
        folds = folds_of_subjects(self.features, self.subjects, self.clips, CLASS_OF_CLIP)
        return decoded_subjects(folds, self.values)

    def plain_decode_subjects(self) -> float:
        owner = np.unique(self.subjects, return_inverse=True)[1]
        rows = group_means(self.features, owner * N_CLIPS + self.clips, 23 * N_CLIPS)
        _ridge(rows, np.tile(self.values, 23), np.repeat(np.arange(23), N_CLIPS))
        return N_ORDERS

    def ablation(self) -> object:
        own = self.cell.part == "test"
        arrays = (self.features, self.cell.logits[own], self.labels, self.subjects, self.cell.head[0])
        return ablate(*arrays, self.direction, self.centre)

    def plain_ablation(self) -> float:
        n, (weight, bias), random = 10, self.cell.head, np.random.default_rng(0)
        for _ in range(n):
            direction = random.normal(size=len(self.centre))
            direction /= np.linalg.norm(direction)
            changed = self.features - np.outer((self.features - self.centre) @ direction, direction)
            balanced_accuracy_score(self.labels, (changed @ weight.T + bias).argmax(axis=1))
        return N_RANDOM / n


def _ridge(features: np.ndarray, values: np.ndarray, groups: np.ndarray) -> None:
    for train, test in LeaveOneGroupOut().split(features, values, groups):
        ridge = make_pipeline(StandardScaler(), RidgeCV(LAMBDAS, scoring="neg_mean_squared_error"))
        ridge.fit(features[train], values[train]).predict(features[test])


def seconds(work: Callable[[], object], *, runs: int) -> float:
    """Median CPU seconds of some runs, the first (caches) left out."""
    work()
    taken = []
    for _ in range(runs):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def whole_cell(seed_and_width: tuple[int, int]) -> float:
    """CPU seconds of all probes and ablations of one cell, as a job does them; making the cell is left out."""
    seed, width = seed_and_width
    cell = planted.cell(TARGET, seed=seed, residual=3.0, used=1.5, width=width)
    start = time.process_time()
    cell_probes.rows(cell, TARGET)
    cell_ablations.rows(cell, TARGET)
    return time.process_time() - start


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--width", type=int, default=128)
    options = parser.parse_args()
    sides, total, plain_total = Sides(options.width), 0.0, 0.0
    print("| part, one cell | ours, CPU s | plain loop, CPU s | ratio |\n|---|---|---|---|")
    for name, (ours, plain) in sides.parts().items():
        own, start = seconds(ours, runs=5), time.process_time()
        scale = plain()
        other = (time.process_time() - start) * scale
        total, plain_total = total + own, plain_total + other
        print(f"| {name} | {own:.4f} | {other:,.2f} | {other / own:,.0f} |", flush=True)
    print(f"| together | {total:.3f} | {plain_total:,.1f} | {plain_total / total:,.0f} |\n")
    tasks = [(seed, options.width) for seed in range(options.cells + options.workers)]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        taken = pool.map(whole_cell, tasks, chunksize=1)
    cell = float(np.median(taken))
    minutes = cell * N_CELLS / options.workers / 60
    verdict = "held" if minutes * 60 <= LIMIT_S else "missed"
    print(
        f"All probes and three ablations of a cell: {cell:.3f} CPU s (median of {len(taken)} cells, {options.workers} "
        f"processes beside each other); {N_CELLS:,} cells on {options.workers} cores: {minutes:.1f} min, "
        f"limit {LIMIT_S / 60:g}: {verdict}"
    )


if __name__ == "__main__":
    main()
