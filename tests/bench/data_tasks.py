"""Measurements of the data layer, each done once in this process: a task in, seconds, CPU seconds and memory out.

A task is a generator: up to its first `yield` it imports and finds its files, up to the second it is measured.
"""

import functools
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

N_SAMPLES = 84
"""windows of 10 s of one subject"""
BATCH = 64
SFREQ, NEW_SFREQ, WINDOW_S, SCALE = 250, 200, 10, 0.01
PEERS: dict[str, dict] = {
    "torcheeg, LMDB (its default)": {"io_mode": "lmdb", "same": False},
    "torcheeg, files": {"io_mode": "pickle", "same": False},
    "torcheeg, LMDB, same signal": {"io_mode": "lmdb", "same": True},
}
OURS = "valence"


def measure(task: dict) -> dict:
    """Do one task, named in `TASKS`; what it tells is added to seconds, CPU seconds and peak bytes."""
    import valence  # noqa: F401  before torch
    from cluster.session import MemoryPeak

    work = TASKS[task["task"]](task)
    next(work)
    before = cpu_seconds()
    with MemoryPeak(interval_s=0.2) as memory:
        started = time.perf_counter()
        told = next(work)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "cpu": cpu_seconds() - before, "peak": memory.peak_bytes, **told}


def cpu_seconds() -> float:
    """Of this process and of all its children that have ended or still run."""
    import psutil

    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    return total + sum(times.user + times.system for times in running)


def simulate(task: dict) -> Iterator[dict]:
    """Write a cohort."""
    from valence.datasets.simulated import write_cohort

    yield {}
    write_cohort(Path(task["home"]) / "cohort", n_subjects=task["n_subjects"], inputs=("windows",))
    yield {}


def convert(task: dict) -> Iterator[dict]:
    """Convert the cohort with one of the tools."""
    home = Path(task["home"])
    shutil.rmtree(converted(home, task["tool"]), ignore_errors=True)
    if task["tool"] == OURS:
        open_ours = opener(home)
        yield {}
        open_ours(workers=task["workers"])
    else:
        open_peer = peer(home, task["tool"])
        yield {}
        # 0 is torcheeg's word for no other process
        open_peer(num_worker=task["workers"] if task["workers"] > 1 else 0)
    yield {}


def read(task: dict) -> Iterator[dict]:
    """Open what was converted, and read every window once in random order."""
    import torch

    home = Path(task["home"])
    ours = task["tool"] == OURS
    open_it = opener(home) if ours else peer(home, task["tool"])
    order = torch.Generator().manual_seed(0)
    yield {}
    started = time.perf_counter()
    found = open_it()
    opened = time.perf_counter()
    if ours:
        x, labels = torch.from_numpy(found.x), torch.tensor(found.labels)
        rows = torch.randperm(len(x), generator=order).split(BATCH)
        n_read = sum(len(windows) for windows, _ in ((x[row], labels[row]) for row in rows))
    else:
        batches = torch.utils.data.DataLoader(found, batch_size=BATCH, shuffle=True, generator=order)
        n_read = sum(len(windows) for windows, _ in batches)
    ended = time.perf_counter()
    assert n_read == N_SAMPLES * len(list(recordings(home).glob("*.pkl")))
    yield {"opened": opened - started, "seconds": ended - opened}


def compare(task: dict) -> Iterator[dict]:
    """The largest difference between a peer's windows of the first subject and ours, µV."""
    home = Path(task["home"])
    ready, found = opener(home)(), peer(home, task["tool"])()
    yield {}
    pairs = [found[row] for row in range(N_SAMPLES)]
    assert [label for _, label in pairs] == ready.labels[:N_SAMPLES].tolist()
    differences = [np.abs(window.numpy() - ready.x[row]).max() for row, (window, _) in enumerate(pairs)]
    yield {"difference": float(max(differences)) / SCALE}


def features(task: dict) -> Iterator[dict]:
    """Convert the real DE features, or find them converted."""
    from valence.cell import Recipe
    from valence.datasets import DATASETS
    from valence.prepared import prepare

    kind = DATASETS["faced"]
    yield {}
    ready = prepare(kind(Path(task["root"])), "de", Recipe(name="bench", epochs=1), Path(task["home"]) / "features")
    yield {"subjects": len(ready.subject_names)}


def grow(task: dict) -> Iterator[dict]:
    """Convert any number of subjects, whose files are links to those of the cohort."""
    from valence.cell import Recipe
    from valence.datasets import DATASETS
    from valence.prepared import prepare

    home = Path(task["home"])
    root = home / f"linked{task['n_subjects']}"
    (root / "Processed_data").mkdir(parents=True)
    sources = sorted(recordings(home).glob("*.pkl"))
    for number in range(task["n_subjects"]):
        (root / f"Processed_data/sub{number:03d}.pkl").hardlink_to(sources[number % len(sources)])
    kind = DATASETS["faced"]
    yield {}
    prepare(kind(root), "windows", Recipe(name="bench", epochs=1), root / "prepared")
    shutil.rmtree(root)
    yield {}


TASKS: dict[str, Callable[[dict], Iterator[dict]]] = {
    "simulate": simulate,
    "convert": convert,
    "read": read,
    "compare": compare,
    "features": features,
    "grow": grow,
}


def opener(home: Path) -> Callable:
    """Our conversion of the cohort; what it needs is imported."""
    from valence.cell import Recipe
    from valence.datasets.simulated import Simulated
    from valence.prepared import prepare

    recipe = Recipe(name="bench", epochs=1, sfreq_hz=NEW_SFREQ, window_s=WINDOW_S, stride_s=WINDOW_S, scale=SCALE)
    folder = converted(home, OURS)
    return lambda workers=None: prepare(Simulated(home / "cohort"), "windows", recipe, folder, workers=workers)


def peer(home: Path, name: str) -> Callable:
    """Torcheeg's reader of the same files; what it needs is imported."""
    from torcheeg.datasets import FACEDDataset

    same = PEERS[name]["same"]
    transform("Downsample", num_points=1)
    return lambda num_worker=0: FACEDDataset(
        root_path=str(recordings(home)),
        chunk_size=WINDOW_S * (NEW_SFREQ if same else SFREQ),
        num_channel=32,
        before_trial=resample if same else None,
        offline_transform=scale if same else downsample,
        online_transform=to_tensor,
        label_transform=emotion,
        io_path=str(converted(home, name)),
        io_mode=PEERS[name]["io_mode"],
        num_worker=num_worker,
        verbose=False,
    )


@functools.cache
def transform(name: str, **options: object) -> Callable:
    """One of torcheeg's transforms. Functions use it, and not the transforms themselves, so that workers can import."""
    import scipy.signal

    # torcheeg 1.1.2 imports this name at once, which scipy has elsewhere since 1.13; nothing here calls it
    scipy.signal.hann = scipy.signal.windows.hann
    from torcheeg import transforms

    return getattr(transforms, name)(**options)


def downsample(*, eeg: np.ndarray) -> dict:
    return scale(eeg=transform("Downsample", num_points=WINDOW_S * NEW_SFREQ)(eeg=eeg)["eeg"])


def scale(*, eeg: np.ndarray) -> dict:
    return {"eeg": eeg * np.float32(SCALE)}


def to_tensor(*, eeg: np.ndarray) -> dict:
    return transform("ToTensor")(eeg=eeg)


def emotion(*, y: dict) -> dict:
    return transform("Select", key="emotion")(y=y)


def resample(x: np.ndarray) -> np.ndarray:
    import scipy.signal

    return scipy.signal.resample(x, x.shape[-1] * NEW_SFREQ // SFREQ, axis=-1)


def recordings(home: Path) -> Path:
    """The cohort's recordings."""
    return home / "cohort" / "Processed_data"


def converted(home: Path, tool: str) -> Path:
    """Where a tool keeps what it has converted."""
    return home / "converted" / tool.replace(" ", "-")
