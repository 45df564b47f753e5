"""Makers of malformed files: an empty folder and files as published in, a folder that a reader must refuse out."""

import functools
import io
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from tests.valence import faced_recordings as faced_world
from tests.valence import malformed_pickles as pickles
from tests.valence import seed_v_recordings as seed_v_world
from valence.faced_writing import write_array


@dataclass(frozen=True)
class Stock:
    """Folder of files as published, made where a row first asks for them; rows copy what they damage."""

    folder: Path

    @functools.cached_property
    def raw(self) -> Path:
        """`Data/sub004` of cohort 1."""
        return faced_world.write_raw_subject(self.folder / "raw", "sub004")

    @functools.cached_property
    def bids(self) -> Path:
        """`sub-061` of the BIDS copy, at 250 Hz."""
        return faced_world.write_bids_subject(self.folder / "bids", "061", sfreq=250.0).parents[1]

    @functools.cached_property
    def cnt(self) -> Path:
        path = seed_v_world.recording_path(self.folder / "seed_v", 1, 1)
        return seed_v_world.write_cnt(path, seed_v_world.slow_session(1, sfreq=4), sfreq=4)


def de_path(root: Path, name: str = "sub000.pkl.pkl") -> Path:
    path = root / "EEG_Features" / "DE" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def add_de(root: Path, data: bytes | None = None, name: str = "sub000.pkl.pkl") -> Path:
    path = de_path(root, name)
    path.write_bytes(pickle.dumps(pickles.features(), 4) if data is None else data)
    return path


def signals(scale_uv: float = 12.0) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=scale_uv, size=(28, 32, 7500)).astype(np.float32)


def add_windows(root: Path, array: np.ndarray) -> None:
    write_array(root / "Processed_data/sub000.pkl", array)


def flat() -> np.ndarray:
    array = signals()
    array[:, 7] = 3.0
    return array


def with_info(data: bytes) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        add_de(root)
        (root / "Recording_info.csv").write_bytes(data)

    return make


def raw_copy(root: Path, stock: Stock) -> Path:
    return Path(shutil.copytree(stock.raw, root / "Data" / "sub004", copy_function=os.link))


def raw_file(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path, Stock], None]:
    """The raw subject with one file changed."""

    def make(root: Path, stock: Stock) -> None:
        path = raw_copy(root, stock) / name
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(change(data))

    return make


def raw_labels(change: Callable[[list[str]], list[str]]) -> Callable[[bytes], bytes]:
    """Other names of channels in the header of a BDF file."""

    def changed(data: bytes) -> bytes:
        n_signals = int(data[252:256])
        labels = [data[256 + 16 * index : 272 + 16 * index].decode().strip() for index in range(n_signals)]
        field = b"".join(label.encode().ljust(16) for label in change(labels))
        return data[:256] + field + data[256 + len(field) :]

    return changed


def units(unit: bytes) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        n_signals = int(data[252:256])
        start = 256 + 96 * n_signals
        return data[:start] + unit.ljust(8) * n_signals + data[start + 8 * n_signals :]

    return changed


def raw_info(table: bytes) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        raw_copy(root, stock)
        (root / "Recording_info.csv").write_bytes(table)

    return make


def remarks(change: Callable[[Path], object]) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        path = raw_copy(root, stock) / "After_remarks.mat"
        path.unlink()
        change(path)

    return make


def bids_events(change: Callable[[list[list[str]]], list[list[str]]]) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        copy = shutil.copytree(stock.bids, root / "sub-061", copy_function=os.link)
        path = Path(copy) / "eeg" / f"sub-061_{faced_world.TASK}_events.tsv"
        path.unlink()
        faced_world.write_tsv(path, change(faced_world.event_lines()))

    return make


def set_cell(column: str, value: str) -> Callable[[list[list[str]]], list[list[str]]]:
    return lambda lines: [
        *lines[:2],
        [value if name == column else cell for name, cell in zip(lines[0], lines[2])],
        *lines[3:],
    ]


def cnt(change: Callable[[bytes], bytes]) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        seed_v_world.recording_path(root, 1, 1).write_bytes(change(stock.cnt.read_bytes()))

    return make


def cnt_names(names: tuple[str, ...]) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        x = seed_v_world.slow_session(1, sfreq=4)[: len(names)]
        seed_v_world.write_cnt(seed_v_world.recording_path(root, 1, 1), x, sfreq=4, ch_names=names)

    return make


def npz(**parts: object) -> Callable[[Path, Stock], None]:
    return lambda root, stock: seed_v_world.write_features(root, 1, **parts)


def npz_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        path = seed_v_world.write_features(root, 1)
        path.write_bytes(change(path.read_bytes()))

    return make


def npz_objects(root: Path, stock: Stock) -> None:
    """As numpy writes objects: np.load would have to unpickle them."""
    (root / "EEG_DE_features").mkdir()
    array = np.array([pickles.touch(root.parent / "executed")], dtype=object)
    np.savez(root / "EEG_DE_features" / "1_123.npz", data=array, label=array)


def npz_bomb(root: Path, stock: Stock) -> None:
    """1 GB of zeros in a megabyte."""
    (root / "EEG_DE_features").mkdir()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|S1073741824", "fortran_order": False, "shape": ()})
    path = root / "EEG_DE_features" / "1_123.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("data.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for _ in range(64):
            member.write(bytes(2**24))


def mat(path: Path, *, dims: tuple[int, ...] = pickles.SHAPE) -> None:
    """A matrix whose header claims these dimensions and whose data are 8 bytes."""
    sizes = struct.pack(f"<{len(dims)}i", *dims)
    sizes += bytes(-len(sizes) % 8)
    body = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<II", 5, 4 * len(dims)) + sizes
    body += struct.pack("<II", 1, 2) + b"de".ljust(8, b"\0") + struct.pack("<II", 9, 8) + bytes(8)
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 14, len(body)) + body)


def mat_file(change: Callable[[Path], object]) -> Callable[[Path, Stock], None]:
    return lambda root, stock: change(de_path(root, "sub000.mat"))


def truncated_mat(path: Path) -> None:
    scipy.io.savemat(path, {"de": pickles.features()})
    path.write_bytes(path.read_bytes()[:-5000])


def bomb_mat(path: Path) -> None:
    scipy.io.savemat(path, {"de": np.zeros((28, 32, 7500, 2))}, do_compression=True)


def loop(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.name)


def pipe(path: Path) -> None:
    """Whoever opens it waits for somebody to write."""
    os.mkfifo(path)


def hdf_mat(path: Path) -> None:
    path.write_bytes(
        b"MATLAB 7.3 MAT-file, HDF5".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n" + bytes(900)
    )


def cells_mat(path: Path) -> None:
    array = np.empty(pickles.SHAPE, dtype=object)
    array[:] = "x"
    scipy.io.savemat(path, {"de": array[:1, :1]})


def workbook(data: bytes) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        add_de(root)
        (root / "Stimuli_info.xlsx").write_bytes(data)

    return make


def labels(changed: dict[str, str]) -> Callable[[bytes], bytes]:
    """Some channels of a BDF file under other names."""
    return raw_labels(lambda names: [changed.get(name, name) for name in names])


def events(triggers: list[tuple[float, str]]) -> Callable[[Path, Stock], None]:
    def make(root: Path, stock: Stock) -> None:
        path = raw_copy(root, stock) / "evt.bdf"
        path.unlink()
        faced_world.write_events(path, triggers)

    return make


def without(name: str) -> tuple[str, ...]:
    return tuple(other for other in seed_v_world.FILE_CH_NAMES if other != name)


def features_of(clips: range) -> dict[int, np.ndarray]:
    return {clip: array for clip, array in seed_v_world.simulated_features().items() if clip in clips}


def labels_turned() -> dict[int, np.ndarray]:
    """Every clip has the label of the next class."""
    return {clip: (array + 1) % 5 for clip, array in seed_v_world.published_labels().items()}


def mark(root: Path) -> Path:
    """The file that is there when something was run."""
    return root.parent / "executed"
