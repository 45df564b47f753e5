"""A sweep to bytes on disk: what is committed of each cell, conversions and snapshots.

In: a request and its cells. Out: bytes by folder, of the files' contents (file systems round each file up).
Each kind is written once in thought, by the functions that write it, of random numbers: those do not compress, and
neither do logits and features. Views (report, tables, MLflow) come on top: they can be deleted and rebuilt.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import torch

from cluster.binding import earlier_cell
from cluster.cell_table import METRICS, SCHEMA, parquet_bytes, row_bytes
from cluster.cells import artifacts_of
from cluster.cost import Work
from cluster.data import samples_per_subject
from cluster.planned_cells import Planned
from cluster.request import Request
from cluster.snapshots import WORTH_IT
from valence.cell import Cell
from valence.classifiers import CLASSIFIERS, build_classifier, tapped
from valence.datasets import DATASETS
from valence.kept_weights import weights_bytes
from valence.layer_features import layer_features
from valence.prepared import Prepared, signal_spec
from valence.results import Result
from valence.samples import stored_input
from valence.signal import SignalSpec
from valence.splits import BOUNDS, make_split

MANIFEST_BYTES = 48.0
"""of a cell in the manifest of a snapshot: its id and the stamp of its file"""
LEVELS = 108
"""of a subject's balanced accuracy: recalls of a few samples each have few values, which compress"""

SAMPLE_ROWS = (256, 1024)
"""rows that are written in thought, few and many: what a snapshot takes for each and for itself"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What decides how much a cell writes, of one input."""

    spec: SignalSpec
    n_clips: int
    n_samples: int
    """of all subjects"""
    n_validation: int
    n_test: int
    test_subjects: int


def disk_bytes(request: Request, planned: Planned, work: Mapping[str, Work]) -> dict[str, float]:
    """Bytes that a sweep will add, by folder; what is committed or converted already is left out.

    Parameters
    ----------
    work : by input, of cluster.data.planned_work.
    """
    sizes = {input: _sizes(request, input, work[input]) for input in work}
    added: dict[str, float] = dict(
        committed_bytes(planned.waiting, sizes, keep=request.keep, weights=built_on(planned.waiting))
    )
    added["snapshots"] = snapshot_bytes(planned.cells, sizes) if planned.waiting else 0.0
    added["prepared"] = sum(
        conversion_bytes(one.spec, one.n_samples) for input, one in sizes.items() if input not in planned.converted
    )
    return {folder: n_bytes for folder, n_bytes in added.items() if n_bytes}


def _sizes(request: Request, input: str, work: Work) -> Sizes:
    kind, recipe = DATASETS[request.dataset], request.preset.recipes[input]
    if request.data_root is None:
        n_subjects = request.preset.n_subjects
        n_tested = round((1 - BOUNDS[1]) * n_subjects)
    else:
        dataset, stored = kind(request.data_root, processing=request.processing), stored_input(input, recipe)
        n_subjects = len(dataset.subjects(stored))
        n_tested = len(make_split(dataset, stored, request.split).test.subjects)
    return Sizes(
        spec=signal_spec(kind, input, recipe),
        n_clips=kind.n_clips,
        n_samples=n_subjects * samples_per_subject(kind, input, recipe),
        n_validation=work.n_validation,
        n_test=work.n_test,
        test_subjects=n_tested,
    )


def committed_bytes(
    cells: Sequence[Cell], sizes: Mapping[str, Sizes], *, keep: bool, weights: frozenset[str] = frozenset()
) -> Counter[str]:
    """Bytes of committed cells by folder of the store: cells, predictions, features and what is kept beside them.

    Parameters
    ----------
    sizes : by input.
    keep : samples, layers and weights of every cell.
    weights : ids of cells that others build on, of which the same is kept.
    """
    total: Counter[str] = Counter()
    by_classifier: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for cell in cells:
        if cell.classifier not in by_classifier:
            of_input = sizes[CLASSIFIERS[cell.classifier].input]
            by_classifier[cell.classifier] = _cell_bytes(cell, of_input)
        bare, kept = by_classifier[cell.classifier]
        total += kept if keep or cell.cell_id in weights else bare
    return total


def built_on(cells: Sequence[Cell]) -> frozenset[str]:
    """Ids of cells whose weights others build on."""
    return frozenset(earlier.cell_id for cell in cells if (earlier := earlier_cell(cell)) is not None)


def snapshot_bytes(cells: Sequence[Cell], sizes: Mapping[str, Sizes]) -> float:
    """Bytes of one snapshot of all rows with its manifest; 0 where there are too few for one."""
    if len(cells) < WORTH_IT:
        return 0.0

    def table_bytes(n_rows: int) -> int:
        some = [cells[index] for index in np.linspace(0, len(cells) - 1, n_rows, dtype=int)]
        rows = [_row(cell, sizes[CLASSIFIERS[cell.classifier].input], seed) for seed, cell in enumerate(some)]
        return len(parquet_bytes(pa.Table.from_pylist(rows, schema=SCHEMA)))

    few, many = SAMPLE_ROWS
    head = table_bytes(few)
    a_row = (table_bytes(many) - head) / (many - few)
    return head + (len(cells) - few) * a_row + len(cells) * MANIFEST_BYTES


def conversion_bytes(spec: SignalSpec, n_samples: int) -> float:
    """Bytes of one input's conversion; band features are there a second time, normalised."""
    values = spec.n_chans * spec.n_times * (spec.n_bands or 1)
    return 4.0 * n_samples * values * (2 if spec.n_bands else 1)


def _cell_bytes(cell: Cell, sizes: Sizes) -> tuple[Counter[str], Counter[str]]:
    """Bytes by folder of one cell, and of one that is kept."""
    row = {"cells": len(row_bytes(_row(cell, sizes, 0)))}
    result = _result(cell.classifier, sizes)
    prepared = _prepared(sizes)
    found = []
    for keep in (False, True):
        files = {kind: len(parquet_bytes(table)) for kind, table in artifacts_of(result, prepared, keep=keep).items()}
        trained = {"trained": len(weights_bytes(result.weights))} if keep else {}
        found.append(Counter(row | files | trained))
    return found[0], found[1]


def _row(cell: Cell, sizes: Sizes, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    subjects = [f"sub{number:03d}" for number in range(sizes.test_subjects)]
    return {
        "cell_id": cell.cell_id,
        "pair_id": cell.pair_id,
        **dataclasses.asdict(cell),
        **{name: rng.random() for name in METRICS},
        "best_epoch": 1,
        "windows": 1,
        "recall": rng.random(sizes.spec.n_outputs).tolist(),
        "test_subjects": subjects,
        "subject_balanced_accuracy": (rng.integers(LEVELS + 1, size=sizes.test_subjects) / LEVELS).tolist(),
        "status": "done",
        "attempts": 1,
        "seconds": rng.random(),
        "mode": "eager",
        "rewrites": [],
        "compared_with": "none",
        "notes": [],
        "cells_at_once": 1,
        "peak_memory_mb": rng.random(),
        "device": "cpu",
        "device_name": 20 * "x",
        "versions": 80 * "x",
        "finished_at": datetime.now(UTC),
    }


def _result(classifier: str, sizes: Sizes) -> Result:
    """What a cell of a classifier gives, as large as a real one and of random numbers."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    spec, row = sizes.spec, CLASSIFIERS[classifier]
    sample = torch.from_numpy(random(1, spec.n_chans, spec.n_times, *([spec.n_bands] if spec.n_bands else [])))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        module = build_classifier(row, spec).eval()
        with tapped(module, row) as forward:
            width = forward(sample).features.shape[1]
    widths = {path: values.shape[1] for path, values in layer_features(module, sample).items()}
    return Result(
        metrics={},
        recall=random(spec.n_outputs),
        subject_balanced_accuracy={},
        test_logits=random(sizes.n_test, spec.n_outputs),
        test_index=np.arange(sizes.n_validation, sizes.n_validation + sizes.n_test),
        validation_logits=random(sizes.n_validation, spec.n_outputs),
        validation_index=np.arange(sizes.n_validation),
        clip_features=random(sizes.n_clips, width),
        test_features=random(sizes.n_test, width),
        validation_features=random(sizes.n_validation, width),
        layers={path: random(sizes.n_clips, number) for path, number in widths.items()},
        weights=module.state_dict(),
    )


def _prepared(sizes: Sizes) -> Prepared:
    """Samples of the validation and test subjects, clip by clip as in a conversion; nothing in them."""
    n_samples = sizes.n_validation + sizes.n_test
    of_subject = max(round(sizes.n_test / max(sizes.test_subjects, 1)), 1)
    number = np.arange(n_samples)
    clips = number % of_subject * sizes.n_clips // of_subject
    subjects = number // of_subject
    return Prepared(
        spec=sizes.spec,
        x=np.empty((n_samples, 0), np.float32),
        labels=clips % sizes.spec.n_outputs,
        clips=clips,
        subjects=subjects,
        begins=np.zeros(n_samples),
        ends=np.ones(n_samples),
        subject_names=tuple(f"sub{index:03d}" for index in range(int(subjects.max(initial=0)) + 1)),
        hash="",
    )
