"""Recordings of SEED-V: the published file of features of one subject in, differential entropy of its clips out.

`{subject}_123.npz` holds two pickles, `data` and `label`: dictionaries over the 45 clips of (n_steps, 310) features
and (n_steps,) labels, a step being 4 s. 310 is 62 channels × 5 bands with the bands of a channel side by side; the
files do not say so, and this is how the readers of the field take them. Neither numpy nor zipfile is asked for more
than an honest file holds, and the pickles are read by `valence.unpickle`.
"""

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from valence.errors import BadInput
from valence.features import Band
from valence.seed_v_files import CH_NAMES, CLASSES, END_S, FEATURE_STEP_S, LABELS, START_S, film_name
from valence.unpickle import load_arrays, most_bytes

BANDS = (
    Band("delta", 1, 4),
    Band("theta", 4, 8),
    Band("alpha", 8, 14),
    Band("beta", 14, 31),
    Band("gamma", 31, 50),
)
"""bands of the feature files, by the publisher's description"""
N_STEPS = tuple(
    int((end - start) // FEATURE_STEP_S)
    for starts, ends in zip(START_S, END_S)
    for start, end in zip(starts, ends)
)  # fmt: skip
"""steps of each clip: 1,823 in all"""
CLASS_OF_CLIP = tuple(label for session in LABELS for label in session)
_NPY_HEADER = 10_100
"""bytes that the header of an array inside the file may take"""
_MOST_BYTES = 2 * (_NPY_HEADER + most_bytes([(sum(N_STEPS), len(CH_NAMES) * len(BANDS))]))
"""of a whole file; a published one has a quarter of this"""


def read_features(path: Path) -> list[np.ndarray]:
    """The features of one subject.

    Returns
    -------
    45 float arrays, (62, n_steps of that clip, 5), differential entropy in nats, as stored.

    Raises
    ------
    BadInput : where the file is damaged, would run code, or holds other clips, shapes or labels than published.
    """
    n_values = len(CH_NAMES) * len(BANDS)
    data = _read(path, "data", {clip: (n_steps, n_values) for clip, n_steps in enumerate(N_STEPS)})
    labels = _read(path, "label", {clip: (n_steps,) for clip, n_steps in enumerate(N_STEPS)})
    for clip, expected in enumerate(CLASS_OF_CLIP):
        if (labels[clip] != expected).any():
            raise BadInput(
                f"{path}: {film_name(clip)} is labelled {', '.join(f'{value:g}' for value in np.unique(labels[clip]))}",
                allowed=f"{expected} ({CLASSES[expected]}) for each of its steps",
                do="fetch the file again from its publisher: the clips are in another order, or the file is damaged",
            )
    shape = (-1, len(CH_NAMES), len(BANDS))
    return [data[clip].reshape(shape).transpose(1, 0, 2) for clip in range(len(N_STEPS))]


def _read(path: Path, entry: str, shapes: Mapping[int, tuple[int, ...]]) -> dict[int, np.ndarray]:
    """One dictionary of arrays out of the file, by clip."""
    with _in_words(path, entry):
        pickled = _bytes_of(path, entry, most=most_bytes(shapes.values()))
    return load_arrays(pickled, shapes=shapes, source=f"{path}, entry {entry!r}")


def _bytes_of(path: Path, entry: str, *, most: int) -> bytes:
    """The bytes of an entry that is one string of bytes, as numpy writes it. Raises ValueError for any other."""
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"the file has {path.stat().st_size:,} bytes, at most {_MOST_BYTES:,} are allowed")
    with zipfile.ZipFile(path) as archive, archive.open(f"{entry}.npy") as member:
        if archive.getinfo(f"{entry}.npy").compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("compressed in a way numpy does not")
        # with a number given, no more than that is unpacked whatever the archive says of its size
        stored = io.BytesIO(member.read(_NPY_HEADER + most + 1))
    if stored.getbuffer().nbytes > _NPY_HEADER + most:
        raise ValueError(f"more than {_NPY_HEADER + most:,} bytes")
    version = np.lib.format.read_magic(stored)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"an array of format {version}")
    shape, _, dtype = read_header(stored)  # numpy refuses headers of more than 10,000 characters
    pickled = stored.read()
    if dtype.kind != "S" or math.prod(shape) != 1 or dtype.itemsize != len(pickled):
        raise ValueError(f"an array of shape {shape} of {dtype} over {len(pickled):,} bytes")
    return pickled


@contextmanager
def _in_words(path: Path, entry: str) -> Iterator[None]:
    """Whatever goes wrong inside is BadInput: a damaged archive can raise anything."""
    try:
        yield
    except Exception as error:
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise BadInput(
            f"{path}: the entry {entry!r} cannot be read: {reason}",
            allowed="a .npz file whose entries data and label are one pickle each, as published",
            do="fetch the file again from its publisher; never open it with pickle.load or allow_pickle",
        ) from error
