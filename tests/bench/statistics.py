"""Intervals of a whole sweep: hierarchical bootstrap of every comparison, this project's and a plain loop over scipy.

python -m tests.bench.statistics [--strategies N] [--classifiers N] [--draws N] [--seeds N] [--subjects N] [--sample N]

The peer is the plain way to write it: scipy.stats.bootstrap over subjects, with a statistic that draws the seeds of
each of its resamples, for a sample of comparisons (the rest is extrapolated). `compare` is the project's whole way from
the results table to verdicts, p values and families included. Both get the same numbers, one after the other; their
unscaled percentiles are compared.
"""

import argparse
import time

import numpy as np
import pandas as pd

from tests.memory import peak_mib
from tests.valence.synthetic_rows import cell
from valence.stats import compare
from valence.stats.many import bootstrap_means_of, sign_flips, two_way_intervals
from valence.stats.mixed import NETWORKS, mixed_model
from valence.stats.sequential import Looks, decide, seen

LEVELS = [0.025, 0.975]


def sweep(n_classifiers: int, n_strategies: int, n_seeds: int, n_subjects: int) -> np.ndarray:
    """Accuracies of every cell, (n_classifiers, 1 + n_strategies, n_seeds, n_subjects); the first is the baseline."""
    random = np.random.default_rng(0)
    shape = (n_classifiers, 1 + n_strategies, n_seeds, n_subjects)
    person = random.normal(0, 0.06, (n_classifiers, 1, 1, n_subjects))
    network = random.normal(0, 0.007, (*shape[:3], 1))
    return 0.5 + person + network + random.normal(0, 0.02, shape)


def rows_of(accuracies: np.ndarray) -> pd.DataFrame:
    """The same as a results table."""
    people = [f"sub{number:03d}" for number in range(accuracies.shape[3])]
    return pd.DataFrame(
        cell(
            classifier=f"classifier_{classifier:02d}",
            strategy=f"strategy_{strategy:02d}" if strategy else "none",
            target="vaxis" if strategy else "none",
            lambda_=1.0 if strategy else 0.0,
            seed=seed,
            accuracies=values,
            subjects=people,
        )
        for classifier, arms in enumerate(accuracies)
        for strategy, seeds in enumerate(arms)
        for seed, values in enumerate(seeds)
    )


def by_scipy(table: np.ndarray, *, n_draws: int) -> np.ndarray:
    """Percentiles of the means over resampled subjects and seeds, (2,)."""
    from scipy import stats

    random = np.random.default_rng(1)

    def mean(*subjects: np.ndarray, axis: int) -> np.ndarray:
        values = np.stack(subjects)  # (n_seeds, …, n_subjects)
        seeds = random.integers(len(values), size=(len(values), *values.shape[1:-1]))
        return np.take_along_axis(values, seeds[..., None], axis=0).mean(axis=(0, axis))

    drawn = stats.bootstrap(
        tuple(table), mean, paired=True, method="percentile", n_resamples=n_draws, batch=1000, rng=random
    )
    return np.array([drawn.confidence_interval.low, drawn.confidence_interval.high])


def _looks(n_seeds: int) -> tuple[int, ...]:
    return tuple(sorted({max(2, n_seeds * quarter // 4) for quarter in (1, 2, 3, 4)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"strategies": 25, "classifiers": 36, "draws": 10_000, "seeds": 10, "subjects": 23, "sample": 20}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    options = parser.parse_args()
    accuracies = sweep(options.classifiers, options.strategies, options.seeds, options.subjects)
    tables = (accuracies[:, 1:] - accuracies[:, :1]).reshape(-1, options.seeds, options.subjects)
    started = time.perf_counter()
    two_way_intervals(tables, confidences=(0.95, 0.9), n_bootstrap=options.draws)
    intervals = time.perf_counter() - started
    sign_flips(tables)
    flips = time.perf_counter() - started - intervals
    rows = rows_of(accuracies)
    started = time.perf_counter()
    compare(rows, n_bootstrap=options.draws, family_size=options.strategies)
    whole = time.perf_counter() - started
    started = time.perf_counter()
    block = (accuracies[:, 1:] - accuracies[:, :1]).swapaxes(0, 1)
    mixed_model(block, random=NETWORKS)
    mixed = time.perf_counter() - started
    started = time.perf_counter()
    decide(seen(block.swapaxes(0, 1), looks := Looks(n_seeds=_looks(options.seeds))), looks)
    sequential = time.perf_counter() - started
    sample = tables[np.random.default_rng(0).integers(len(tables), size=options.sample)]
    by_scipy(sample[0], n_draws=10)  # imports
    started = time.perf_counter()
    theirs = np.array([by_scipy(table, n_draws=options.draws) for table in sample])
    peer = (time.perf_counter() - started) / options.sample * len(tables)
    ours = np.quantile(bootstrap_means_of(sample, n_bootstrap=options.draws), LEVELS, axis=1).T
    print(f"{len(tables)} comparisons of {options.seeds} seeds x {options.subjects} subjects, {options.draws:,} draws")
    print(f"{'way':42} {'seconds':>9} {'peer / ours':>12}")
    print(f"{'scipy.stats.bootstrap in a loop':42} {peer:9.2f} {1:12.1f}")
    print(f"{'two_way_intervals, all at once':42} {intervals:9.2f} {peer / intervals:12.1f}")
    print(f"{'sign_flips, all at once':42} {flips:9.2f}")
    print(f"{'compare, from rows to verdicts':42} {whole:9.2f} {peer / whole:12.1f}")
    print(f"{'mixed model with seven random terms':42} {mixed:9.2f}")
    print(f"{'sequential decisions':42} {sequential:9.2f}")
    widths = np.diff(theirs, axis=1)
    print(
        f"largest difference of a percentile, in widths of the interval: {np.abs((ours - theirs) / widths).max():.3f}"
    )
    print(f"largest memory of this process {peak_mib():.0f} MiB")


if __name__ == "__main__":
    main()
