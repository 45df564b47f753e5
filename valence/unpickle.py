"""Recordings, first step: arrays out of a pickle that somebody else wrote, without ever running what it names.

In: a file, or bytes, and the shapes its arrays must have. Out: the arrays. A pickle is a program. Its steps are walked
first (`unpickle_scan`), then run with inert stand-ins for the six names that numpy arrays need, every other name being
refused (`unpickle_standins`). A file takes few steps, and encodes no more bytes than its arrays have.
"""

import contextlib
import math
import reprlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from valence.errors import BadInput
from valence.unpickle_scan import RefusedError, scan
from valence.unpickle_standins import AllowListUnpickler, ArrayParts

PICKLE_OVERHEAD = 65_536
"""bytes a file may hold beside its numbers"""
ESCAPED_BYTES = 4
"""bytes on disk for one byte of data, at most: protocol 0 writes a byte as the four characters of a hex escape"""


def load_array(path: Path, *, shape: tuple[int, ...]) -> np.ndarray:
    """Read a pickle that holds one numpy array of plain numbers, protocols 0 to 5, Python 2 or 3.

    Parameters
    ----------
    path : the file.
    shape : the only shape accepted; it also bounds the size of the file, which is checked before it is read.

    Returns
    -------
    bool, integer or float array of that shape, as stored, in native byte order.

    Raises
    ------
    BadInput : naming the file and, where it asks for a name that is not allowed, that name.
    """
    with _in_words(path, f"a pickled numpy array of numbers, shape {shape}"):
        size, limit = path.stat().st_size, most_bytes([shape])
        if size > limit:
            raise RefusedError(f"it has {size:,} bytes; an array of this shape has at most {limit:,}")
        found = _run(path.read_bytes(), [shape])
        if not isinstance(found, ArrayParts):
            raise RefusedError(f"it holds a {_kind(found)}, not an array")
        return found.check(shape)


def load_arrays(data: bytes, *, shapes: Mapping[int, tuple[int, ...]], source: object) -> dict[int, np.ndarray]:
    """Read a pickle that holds a dictionary of numpy arrays of plain numbers under whole numbers.

    Parameters
    ----------
    data : the pickle; its length is checked here, whoever reads it bounds it with `most_bytes`.
    shapes : the keys, all of which must be there, and the only shape accepted for each.
    source : what the data were read from, for messages.

    Returns
    -------
    The arrays as `load_array` gives them, in the order of `shapes`.

    Raises
    ------
    BadInput : as `load_array`, and where keys are missing, unknown, repeated or no whole numbers.
    """
    with _in_words(source, f"a pickled dictionary of {len(shapes)} numpy arrays of numbers: {_listed(shapes)}"):
        limit = most_bytes(shapes.values())
        if len(data) > limit:
            raise RefusedError(f"it has {len(data):,} bytes; arrays of these shapes have at most {limit:,}")
        found = _run(data, shapes.values())
        if type(found) is not dict:
            raise RefusedError(f"it holds no dictionary but one {_kind(found)}")
        arrays = _by_number(found)
        if arrays.keys() != shapes.keys():
            missing, unknown = sorted(shapes.keys() - arrays.keys()), sorted(arrays.keys() - shapes.keys())
            raise RefusedError(f"keys missing: {reprlib.repr(missing)}; keys unknown: {reprlib.repr(unknown)}")
        return {key: _checked(arrays[key], shape, key) for key, shape in shapes.items()}


def most_bytes(shapes: Iterable[tuple[int, ...]]) -> int:
    """Size of an honest pickle that holds arrays of these shapes, at most."""
    return PICKLE_OVERHEAD + ESCAPED_BYTES * 8 * sum(map(math.prod, shapes))


def _run(data: bytes, shapes: Collection[tuple[int, ...]]) -> object:
    """What the pickle makes, with no more steps and encoded text than arrays of these shapes need."""
    scan(data, n_arrays=len(shapes))
    return AllowListUnpickler(data, budget=PICKLE_OVERHEAD + 8 * sum(map(math.prod, shapes))).load()


def _by_number(found: dict) -> dict[int, ArrayParts]:
    """A dictionary of the file, keys as whole numbers: numpy's own are not yet numbers here."""
    arrays: dict[int, ArrayParts] = {}
    for key, value in found.items():
        number = key.check(()) if isinstance(key, ArrayParts) else np.asarray(key) if type(key) is int else None
        if number is None or number.dtype.kind not in "iu":
            raise RefusedError(f"one key is {_kind(key)} {reprlib.repr(key)}, no whole number")
        if int(number) in arrays:
            raise RefusedError(f"the key {number} is there twice")
        if not isinstance(value, ArrayParts):
            raise RefusedError(f"key {number} holds a {_kind(value)}, not an array")
        arrays[int(number)] = value
    return arrays


def _checked(array: ArrayParts, shape: tuple[int, ...], key: int) -> np.ndarray:
    try:
        return array.check(shape)
    except RefusedError as error:
        raise RefusedError(f"key {key}: {error}; {shape} is allowed") from error


@contextlib.contextmanager
def _in_words(source: object, allowed: str) -> Iterator[None]:
    """Everything that goes wrong inside is BadInput, naming the source: a crafted file can raise anything."""
    try:
        yield
    except Exception as error:
        reason = error if isinstance(error, RefusedError) else f"it cannot be read: {type(error).__name__}: {error}"
        raise BadInput(
            f"{source}: {reason}",
            allowed=allowed,
            do="fetch the file again from its publisher, or remove it; never open it with pickle.load",
        ) from error


def _kind(thing: object) -> str:
    return "array" if isinstance(thing, ArrayParts) else type(thing).__name__


def _listed(shapes: Mapping[int, tuple[int, ...]], most: int = 3) -> str:
    told = [f"{key} {shape}" for key, shape in list(shapes.items())[:most]]
    return ", ".join(told) + " …" * (len(shapes) > most)
