"""What a row of the corpus of malformed files is, and the ways in which data sets are read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.valence import malformed_files as files
from valence.cell import Recipe
from valence.datasets import DATASETS
from valence.datasets.base import Dataset
from valence.prepared import Prepared, prepare
from valence.processing import Processing
from valence.splits import make_split

RATE = Processing(name="rate", sfreq_hz=250.0)
SLOW = Processing(name="slow", sfreq_hz=2.0)
"""for recordings of 4 Hz, which take no time"""
RECIPES = {"faced_raw": {}, "faced_bids": {}, "seed_v": {"sfreq_hz": 2.0, "window_s": 10.0}}


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """One row."""

    name: str
    make: Callable[[Path, files.Stock], object]
    """writes into an empty folder"""
    told: str
    """regular expression that the message has, beside `file`"""
    file: str
    """what of the folder the message names; "" where it is no file's fault"""
    read: Callable[[Path], object]
    most_seconds: float = 20.0
    """that reading may take, on a machine that does other work as well"""


def reader(name: str, input: str, processing: Processing | None = None) -> Callable[[Path], Prepared]:
    """From a folder to prepared arrays, as a sweep goes."""

    def read(root: Path) -> Prepared:
        recipe = Recipe(name="malformed", epochs=1, **RECIPES.get(name, {}))
        dataset = DATASETS[name](root, processing=processing)
        return prepare(dataset, input, recipe, root.parent / "prepared", workers=1)

    return read


def asker(name: str, ask: Callable[[Dataset], object]) -> Callable[[Path], object]:
    """From a folder to what somebody asks of the data set."""
    return lambda root: ask(DATASETS[name](root))


DE, WINDOWS = reader("faced", "de"), reader("faced", "windows")
RAW, BIDS = reader("faced_raw", "windows", RATE), reader("faced_bids", "windows", RATE)
CNT, NPZ = reader("seed_v", "windows", SLOW), reader("seed_v", "de")


def row(name: str, read: Callable, make: Callable, file: str, told: str, **more) -> Malformed:
    return Malformed(name=name, make=make, read=read, file=file, told=told, **more)


def standard(root: Path) -> object:
    return make_split(DATASETS["faced"](root), "de", "standard")


TABLE = b"sub,Gender,Age,Cohort ,Sample_rate,Unit\r\n"
"""columns of Recording_info.csv"""
PKL, MAT, INFO = "sub000.pkl", "sub000.mat", "Recording_info.csv"
DATA, EVENTS, REMARKS = "sub004/data.bdf", "sub004/evt.bdf", "sub004/After_remarks.mat"
EVENTS_TSV, CNT_FILE, NPZ_FILE = "events.tsv", "1_1_20180718.cnt", "1_123.npz"
DESCRIBE = asker("faced", lambda dataset: dataset.clip_descriptions())
RANKS = asker("faced_raw", lambda dataset: dataset.presentation("sub004"))
