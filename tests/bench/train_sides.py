"""One training, done once in this process by ours or by a peer: a task in, seconds, start-up and memory out.

All sides train the classifier as the registry builds it on the same windows, in batches of one size, for the same
number of epochs, and predict the same validation windows after each. Rewrites and packing are ours alone. A side notes
when each epoch begins and when training ends; the first epoch warms up and counts as start-up, for every side alike.
"""

import contextlib
import dataclasses
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import nn
from torch.nn import functional

import valence  # noqa: F401  # before braindecode
from valence.calibration import calibrate
from valence.cell import Cell, Recipe, canonical_hash
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.cpu_memory import keep_freed_memory
from valence.datasets.base import Part
from valence.packing import TOGETHER, train_group
from valence.prepared import Prepared
from valence.results import Result
from valence.signal import SignalSpec
from valence.splits import Split
from valence.strategies import Strategy
from valence.training import CellRun

N_CLASSES = 9
SUBJECTS = ("train", "validation", "test")
N_TEST = 9
VALIDATION_SHARE = 0.25
"""validation windows beside training windows, as in FACED"""
EVALUATION_BATCH = 256
ELECTRODES = (
    "Fp1 Fp2 Fz F3 F4 F7 F8 FC1 FC2 FC5 FC6 Cz C3 C4 T7 T8 CP1 CP2 CP5 CP6 Pz P3 P4 P7 P8 PO3 PO4 Oz O1 O2 A2 A1"
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one process trains."""

    side: str
    classifier: str
    folder: str
    """of the windows, written by `write_windows`"""
    n_train: int
    batch: int
    n_times: int
    sfreq_hz: float
    epochs: int
    threads: int
    device: str = "cpu"
    rewrites: bool = True
    mode: str | None = None
    seeds: tuple[int, ...] = (1,)
    """a cell each; peers train them one after the other, ours together, on a GPU as many of them as calibration says"""


@dataclass
class Clock:
    """When epochs of this process began and training ended: seconds of the machine's clock, and of its CPU time."""

    device: str
    epochs: list[tuple[float, float]] = field(default_factory=list)
    ended: tuple[float, float] | None = None
    """where training ended before the side returned: ours goes on to score the test samples"""

    def begin(self, *_: object) -> None:
        """Note the beginning of an epoch, or the end of the last."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.epochs.append((time.monotonic(), time.process_time()))

    def end(self) -> None:
        """Note the end of training, the first time this is called."""
        if self.ended is None:
            self.begin()
            self.ended = self.epochs.pop()


def measure(task: Task, ready: Callable[[], object] = lambda: None) -> dict:
    """Train once. `ready` is called before anything is built, and may wait for other processes.

    Returns
    -------
    dict : begun (the machine's clock at the call), steady (begin and end of what counts), cpu (CPU seconds of that),
        n_windows (trained on in that time), memory_mb (largest growth of the process, or of the GPU, data apart).
    """
    torch.set_num_threads(task.threads)
    data, clock = open_windows(task), Clock(task.device)
    ready()
    begun, before = time.monotonic(), psutil.Process().memory_info().rss
    if task.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        facts = SIDES[task.side](task, data, clock) or {}
    clock.end()
    starts, end = clock.epochs, clock.ended
    assert end is not None
    n_cells = len(starts) // task.epochs
    if not n_cells or len(starts) % task.epochs:
        raise RuntimeError(f"{task.side} began {len(starts)} epochs, which are not {task.epochs} for each cell")
    steady = _steady(task, starts, end, n_cells)
    memory = {"memory_mb": _memory(task, data, before), "before_mb": before / 2**20}
    return {"begun": begun, "cells": n_cells, **steady, **memory, **facts}


def _steady(task: Task, starts: list[tuple[float, float]], end: tuple[float, float], n_cells: int) -> dict:
    """What counts: all epochs but the first of each cell."""
    n_windows = (task.epochs - 1) * n_cells * task.n_train
    if task.side == OURS:  # together: from the moment when every cell has its first epoch behind it
        first = sorted(starts)[2 * n_cells - 1]
        return {"steady": (first[0], end[0]), "cpu": end[1] - first[1], "n_windows": n_windows}
    ends = [*starts[task.epochs :: task.epochs], end]
    firsts = starts[1 :: task.epochs]
    seconds, cpu = (sum(last[k] - first[k] for first, last in zip(firsts, ends)) for k in (0, 1))
    return {"steady": (end[0] - seconds, end[0]), "cpu": cpu, "n_windows": n_windows}


def _memory(task: Task, data: Prepared, before: int) -> float:
    if task.device == "cuda":
        return (torch.cuda.max_memory_allocated() - data.x.nbytes) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before - data.x.nbytes) / 2**20


def write_windows(folder: Path, *, n_windows: int, n_chans: int, n_times: int, seed: int = 0) -> None:
    """Pink noise of standard deviation 1, the scale of training: x.npy, float32, (n_windows, n_chans, n_times)."""
    rng = np.random.default_rng(seed)
    shape = (n_windows, n_chans, n_times)
    x = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float32, shape=shape)
    frequencies = np.fft.rfftfreq(n_times)
    gain = np.r_[0, frequencies[1:] ** -0.5]
    for row in range(n_windows):
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal((n_chans, n_times))) * gain, n_times)
        x[row] = noise / noise.std()
    x.flush()


def open_windows(task: Task) -> Prepared:
    """The windows of a task as prepared data of three subjects: train, validation, test."""
    counts = (task.n_train, round(task.n_train * VALIDATION_SHARE), N_TEST)
    x = np.load(Path(task.folder) / "x.npy", mmap_mode="r", allow_pickle=False)[: sum(counts)]
    labels = np.arange(len(x)) % N_CLASSES
    bands = 0 if CLASSIFIERS[task.classifier].input == "windows" else 5
    if bands:  # band features of 30 steps
        x = np.ascontiguousarray(x[:, :, :150]).reshape(len(x), x.shape[1], 30, bands)
    spec = SignalSpec(
        n_chans=x.shape[1],
        n_times=x.shape[2],
        n_outputs=N_CLASSES,
        sfreq=1.0 if bands else task.sfreq_hz,
        ch_names=tuple(ELECTRODES.split())[: x.shape[1]],
        n_bands=bands,
    )
    return Prepared(
        spec=spec,
        x=x,
        labels=labels,
        clips=labels,
        subjects=np.repeat(np.arange(3), counts),
        begins=np.zeros(len(x)),
        ends=np.ones(len(x)),
        subject_names=SUBJECTS,
        hash=canonical_hash([task.folder, *x.shape]),
    )


def recipe_of(task: Task) -> Recipe:
    return Recipe(name="bench", epochs=task.epochs, batch_size=task.batch, sfreq_hz=task.sfreq_hz)


def ours(task: Task, data: Prepared, clock: Clock) -> dict:
    """The cells of this process, together, by this project."""
    recipe = recipe_of(task)
    cells = [
        Cell(
            dataset="bench",
            dataset_hash=data.hash,
            split="bench:0",
            classifier=task.classifier,
            recipe=recipe.name,
            recipe_hash=recipe.hash,
            strategy="none",
            target="none",
            axis="",
            lambda_=0.0,
            seed=seed,
        )
        for seed in task.seeds
    ]
    parts = (Part((name,), tuple(range(N_CLASSES))) for name in SUBJECTS)
    results = train_cells(cells, data, Split("bench:0", *parts), recipe, task, clock)
    return {"mode": results[0].mode, "rewritten": ", ".join(results[0].rewrites)}


def train_cells(cells: list[Cell], data: Prepared, split: Split, recipe: Recipe, task: Task, clock: Clock) -> list:
    """The engine's entry point: the mode as sweeps choose it, then the cells together."""
    mode = task.mode or "eager"
    if task.device == "cpu":
        keep_freed_memory()
    targets = dict.fromkeys((cell.cell_id for cell in cells), None)
    options: dict = {"device": task.device, "rewrites": task.rewrites}
    if task.device == "cuda" and task.mode is None:
        choice = calibrate(cells[:1], data, split, recipe, targets, **options)
        mode, cells = choice.mode, cells[: choice.cells_at_once]
    if mode not in TOGETHER:  # several would train one after the other
        cells = cells[:1]
    Strategy.on_epoch = lambda self, epoch, n_epochs: clock.begin()  # type: ignore[method-assign]
    own_result = CellRun.result

    def result(self: CellRun, *, keep: bool = False) -> Result:
        clock.end()
        return own_result(self, keep=keep)

    CellRun.result = result  # type: ignore[method-assign]
    outcomes = [ended.outcome for ended in train_group(cells, data, split, recipe, targets, mode=mode, **options)]
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return outcomes


def parts_of(data: Prepared) -> list[tuple[np.ndarray, np.ndarray]]:
    """Windows and labels of training and validation, in memory."""
    chosen = (data.subjects == 0, data.subjects == 1)
    return [(np.ascontiguousarray(data.x[rows]), data.labels[rows]) for rows in chosen]


def module_of(task: Task, data: Prepared, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_classifier(CLASSIFIERS[task.classifier], data.spec).to(task.device)


def loop(task: Task, data: Prepared, clock: Clock) -> None:
    """A plain PyTorch loop with a DataLoader over tensors."""
    recipe = recipe_of(task)
    sets = [torch.utils.data.TensorDataset(*map(torch.from_numpy, part)) for part in parts_of(data)]
    train = torch.utils.data.DataLoader(sets[0], batch_size=task.batch, shuffle=True)
    validation = torch.utils.data.DataLoader(sets[1], batch_size=EVALUATION_BATCH)
    for seed in task.seeds:
        model = module_of(task, data, seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        lowest = recipe.final_learning_rate
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.epochs * len(train), eta_min=lowest)
        for _ in range(task.epochs):
            clock.begin()
            model.train()
            for x, labels in train:
                logits = model(x.to(task.device))
                labels = labels.to(task.device)
                loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
                optimizer.step()
                schedule.step()
            model.eval()
            with torch.inference_mode():
                correct = [(model(x.to(task.device)).argmax(1).cpu() == labels).sum() for x, labels in validation]
            assert 0 <= sum(map(int, correct)) <= len(sets[1])


def eeg_classifier(task: Task, data: Prepared, clock: Clock) -> None:
    """braindecode's EEGClassifier with its default loader, callbacks and scoring, and the recipe as callbacks."""
    from braindecode import EEGClassifier
    from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    class Epochs(Callback):
        def on_epoch_begin(self, net, **_):
            clock.begin()

    recipe = recipe_of(task)
    (x, labels), validation = parts_of(data)
    n_steps = task.epochs * (len(x) // task.batch)
    cosine = {"T_max": n_steps, "eta_min": recipe.final_learning_rate}
    for seed in task.seeds:
        EEGClassifier(
            module_of(task, data, seed),
            criterion=nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing),
            optimizer=torch.optim.AdamW,
            optimizer__lr=recipe.learning_rate,
            optimizer__weight_decay=recipe.weight_decay,
            batch_size=task.batch,
            max_epochs=task.epochs,
            train_split=predefined_split(Dataset(*validation)),
            callbacks=[
                ("epochs", Epochs()),
                ("clip", GradientNormClipping(recipe.clip_norm)),
                ("cosine", LRScheduler("CosineAnnealingLR", step_every="batch", **cosine)),
            ],
            device=task.device,
            verbose=0,
        ).fit(x, labels)


def torcheeg_trainer(task: Task, data: Prepared, clock: Clock) -> None:
    """torcheeg's ClassifierTrainer as it is (Adam, accuracy), without log files and checkpoints, which slow it down."""
    from pytorch_lightning.callbacks import Callback

    trainer_class = import_torcheeg()

    class Epochs(Callback):
        def on_train_epoch_start(self, trainer, module):
            clock.begin()

    recipe = recipe_of(task)
    sets = [torch.utils.data.TensorDataset(*map(torch.from_numpy, part)) for part in parts_of(data)]
    train = torch.utils.data.DataLoader(sets[0], batch_size=task.batch, shuffle=True)
    validation = torch.utils.data.DataLoader(sets[1], batch_size=EVALUATION_BATCH)
    for seed in task.seeds:
        with tempfile.TemporaryDirectory() as folder:
            trainer_class(
                module_of(task, data, seed),
                num_classes=N_CLASSES,
                lr=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                accelerator="gpu" if task.device == "cuda" else "cpu",
            ).fit(
                train,
                validation,
                max_epochs=task.epochs,
                default_root_dir=folder,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                gradient_clip_val=recipe.clip_norm,
                callbacks=[Epochs()],
            )


def import_torcheeg() -> Callable:
    """torcheeg's trainer. Its package imports much that the trainer does not use."""
    import logging

    import scipy.signal

    # torcheeg 1.1.2 imports this name at once, which scipy has elsewhere since 1.13; nothing here calls it
    scipy.signal.hann = scipy.signal.windows.hann
    from torcheeg.trainers import ClassifierTrainer

    for name in ("pytorch_lightning", "torcheeg"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return ClassifierTrainer


OURS = "valence"
SIDES: dict[str, Callable[[Task, Prepared, Clock], dict | None]] = {
    OURS: ours,
    "EEGClassifier": eeg_classifier,
    "PyTorch loop": loop,
    "torcheeg": torcheeg_trainer,
}


def in_child(task: Task, connection, barrier) -> None:
    """Measure in this process and send what came out, or the error."""
    try:
        connection.send(measure(task, barrier.wait))
    except Exception as error:
        barrier.abort()
        connection.send({"error": f"{type(error).__name__}: {error}", "task": dataclasses.asdict(task)})
