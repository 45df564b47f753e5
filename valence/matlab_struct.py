"""Recordings: an array of numbers, or of structures of numbers, out of a MATLAB 5 file, without trusting the file.

scipy.io.loadmat ends the whole process (segmentation fault, scipy 1.17) on files with a few bytes changed, so this
reads the little that is needed by itself: numbers, one level deep, every length checked before it is used. Format:
MathWorks, "MAT-File Format", level 5.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED = 14, 15
STRUCTURE = 2
IMAGINARY = 0x800
"""mark of an array with an imaginary part"""
NUMERIC = range(6, 16)
"""classes of arrays that hold numbers, double to uint64"""
MOST_UNPACKED = 10_000_000
"""bytes of all arrays of a file together that nobody asked for; the file itself may be as large"""
MOST_ARRAYS = 1_000
"""in a file, other elements included"""
MOST_FIELDS = 100
"""of a structure"""


class NotReadableError(ValueError):
    """Why a file is not read, in words."""


def read_structures(path: Path, name: str, fields: tuple[str, ...], *, n: int) -> list[dict[str, np.ndarray]]:
    """The fields of every structure in the array `name`.

    Parameters
    ----------
    path : MATLAB file before version 7.3, compressed or not.
    name : of the array.
    fields : those that are read; they hold real numbers.
    n : how many structures the array must have.

    Returns
    -------
    For each structure, in the order of the file, float64 arrays by field, flat (column by column).

    Raises
    ------
    NotReadableError, OSError : where the file is damaged or does not hold that.
    """
    for body, order in _arrays(path, MOST_UNPACKED):
        if (found := _structures(body, order, name, fields, n)) is not None:
            return found
    raise NotReadableError(f"it holds no array {name}")


def read_numbers(path: Path, *, shape: tuple[int, ...]) -> np.ndarray:
    """The one array of as many dimensions as `shape`, whatever its name.

    Returns
    -------
    float64 array of that shape.

    Raises
    ------
    NotReadableError, OSError : where the file is damaged, or does not hold just one such array, of this shape.
    """
    found: list[tuple[str, tuple[int, ...], bytes, str]] = []
    for body, order in _arrays(path, 8 * math.prod(shape) + MOST_UNPACKED):
        _, sizes, name = _header(_elements(body, order), order)
        if len(sizes) == len(shape):
            found.append((name, sizes, body, order))
        if len(found) > 1:
            break
    if len(found) != 1 or found[0][1] != shape:
        told = ", ".join(f"{name} {sizes}" for name, sizes, *_ in found) or f"none of {len(shape)} dimensions"
        raise NotReadableError(f"arrays: {told}")
    name, _, body, order = found[0]
    return _numbers(MATRIX, body, order, name).reshape(shape, order="F")


def _arrays(path: Path, most_unpacked: int) -> Iterator[tuple[bytes, str]]:
    """Each array of a file, unpacked, and the byte order; at most `most_unpacked` bytes in the file, and unpacked."""
    if (size := path.stat().st_size) > most_unpacked:
        raise NotReadableError(f"it has {size:,} bytes, at most {most_unpacked:,} are read")
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if len(data) < 128 or order is None or data.startswith(b"MATLAB 7.3"):
        raise NotReadableError("it is no MATLAB 5 file (saved before version 7.3, or with -v7)")
    try:
        left = most_unpacked
        for place, (kind, body) in enumerate(_elements(data[128:], order)):
            if place == MOST_ARRAYS:
                raise NotReadableError(f"it holds more than {MOST_ARRAYS:,} elements")
            if kind == COMPRESSED:
                unpacked = _unpacked(body, left, most_unpacked)
                left -= len(unpacked)
                kind, body = next(_elements(unpacked, order), (0, b""))
            if kind == MATRIX:
                yield body, order
    except (struct.error, zlib.error, OverflowError, StopIteration) as error:
        raise NotReadableError(f"it is damaged: {error}") from error


def _unpacked(body: bytes, left: int, most: int) -> bytes:
    unpacked = zlib.decompressobj().decompress(body, left + 1)
    if len(unpacked) > left:
        raise NotReadableError(f"it unpacks to more than {most:,} bytes")
    return unpacked


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element, one after the other."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        if kind >> 16:  # a small element has type, length and content in these 8 bytes
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            if size > 4:
                raise NotReadableError("it is damaged: a small element is too long")
        if start + size > len(data):
            raise NotReadableError(f"it is truncated: an element has {size:,} bytes and {len(data) - start:,} are left")
        yield kind, data[start : start + size]
        # all but compressed elements fill up to a multiple of 8 bytes
        at = start + size if kind == COMPRESSED else at + 8 if start == at + 4 else start + -(-size // 8) * 8


def _header(parts: Iterator[tuple[int, bytes]], order: str) -> tuple[int, tuple[int, ...], str]:
    """Class of an array, its shape, and its name."""
    try:
        (_, flags), (_, dimensions), (_, name) = next(parts), next(parts), next(parts)
        sizes = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions[: len(dimensions) // 4 * 4])
        marks = struct.unpack_from(f"{order}I", flags)[0]
    except (struct.error, StopIteration) as error:
        raise NotReadableError(f"it is truncated or damaged: {error or 'an array ends early'}") from error
    if min(sizes, default=-1) < 0:
        raise NotReadableError(f"it is damaged: an array has sizes {sizes}")
    if marks & IMAGINARY:
        raise NotReadableError(f"the array {name.decode('latin-1')} is complex")
    return marks & 0xFF, sizes, name.decode("latin-1")


def _structures(
    body: bytes, order: str, wanted: str, fields: tuple[str, ...], n: int
) -> list[dict[str, np.ndarray]] | None:
    """The fields of each structure; None where the array has another name."""
    parts = _elements(body, order)
    try:
        kind, sizes, name = _header(parts, order)
        if name != wanted:
            return None
        if kind != STRUCTURE or math.prod(sizes) != n:
            raise NotReadableError(f"{name} has class {kind} and {math.prod(sizes)} entries")
        (_, length), (_, text) = next(parts), next(parts)
        width = struct.unpack_from(f"{order}i", length)[0]
        if not 1 <= width <= 64:
            raise NotReadableError(f"it is damaged: names of fields have {width} bytes")
        names = [text[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(text), width)]
        if len(names) > MOST_FIELDS:
            raise NotReadableError(f"{name} has {len(names):,} fields")
        if missing := set(fields) - set(names):
            raise NotReadableError(f"{name} has no field {', '.join(sorted(missing))}")
        found = []
        for _ in range(n):
            values = {field: next(parts) for field in names}
            found.append({field: _numbers(*values[field], order, field) for field in fields})
    except (StopIteration, struct.error) as error:
        raise NotReadableError(f"it is truncated or damaged: {error or 'an array ends early'}") from error
    return found


def _numbers(kind: int, body: bytes, order: str, field: str) -> np.ndarray:
    """Values of an array of real numbers."""
    if kind != MATRIX:
        raise NotReadableError(f"{field} is no array")
    parts = _elements(body, order)
    kind, sizes, _ = _header(parts, order)
    if kind not in NUMERIC:
        raise NotReadableError(f"{field} holds no numbers (class {kind})")
    size = math.prod(sizes)
    stored, values = next(parts, (0, b""))
    if stored not in NUMBERS or len(values) != size * np.dtype(NUMBERS[stored]).itemsize:
        raise NotReadableError(f"{field} has {size} values in {len(values)} bytes of type {stored}")
    return np.frombuffer(values, order + NUMBERS[stored]).astype(np.float64)
