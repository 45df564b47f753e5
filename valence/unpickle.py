"""Recordings, first step: one array out of a pickle that somebody else wrote, without ever running what it names.

In: a file and the shape its array must have. Out: the array. A pickle is a program; this runs it with inert stand-ins
for the six names that numpy arrays need and refuses every other name. No numpy code sees the file's numbers before
they are checked: `dtype.__setstate__` would let a file change a dtype shared by the whole process, and
`_reconstruct` would allocate any shape the file asks for. A file takes few steps, and encodes no more than one array.
"""

import io
import math
import pickle
import pickletools
import re
import reprlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from valence.errors import BadInput

PICKLE_OVERHEAD = 65_536
"""bytes a file may hold beside its numbers"""
ESCAPED_BYTES = 4
"""bytes on disk for one byte of data, at most: protocol 0 writes a byte as the four characters of a hex escape"""
MOST_STEPS = 1_000
"""opcodes of a file, at most: an array of any size and protocol takes about 50, and each can make an object"""
_DTYPE = re.compile(r"[<>|=]?([biuf][1248])")
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
"""bytes that the length of an argument takes, by kind of argument"""


class _RefusedError(Exception):
    """Why a file is refused, in words."""


class _Standin:
    """What a name in the file stands for. No attribute of it can be set, so a file leaves nothing behind."""

    __slots__ = ("_call",)
    _call: Callable[..., object] | None

    def __init__(self, call: Callable[..., object] | None = None):
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: object) -> object:
        if self._call is None:
            raise _RefusedError("it makes an array in a way numpy does not")
        return self._call(*arguments)

    def __setattr__(self, name: str, value: object) -> None:
        raise _RefusedError(f"it sets the attribute {reprlib.repr(name)}")

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("it changes what a name stands for")


class _Dtype:
    """A dtype of plain numbers: kind and size from the call, byte order from the state."""

    __slots__ = ("_name",)

    def __init__(self, name: object, *_flags: object):
        match = _DTYPE.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise _RefusedError(f"its dtype is {reprlib.repr(name)}; only plain numbers are read, never objects")
        self._name = match.group(1)

    def __setstate__(self, state: object) -> None:
        # (version, byte order, subarray, field names, fields, item size, alignment, flags)
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise _RefusedError("the state of its dtype is not one that numpy writes")
        if state[2:5] != (None, None, None):
            raise _RefusedError("its dtype has fields; only plain numbers are read")
        self._name = str(state[1]) + self._name

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(self._name)


class _Array:
    """The parts of an array as the file gives them; `check` makes the array of them."""

    __slots__ = ("_dtype", "_fortran", "_raw", "_shape")

    def __init__(self) -> None:
        self.__setstate__((1, (0,), _Dtype("u1"), False, b""))

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _Dtype)):
            raise _RefusedError("the state of its array is not one that numpy writes")
        _version, self._shape, self._dtype, self._fortran, raw = state
        if not isinstance(raw, bytes | bytearray | str):  # a Python 2 string is read as latin1 text
            raise _RefusedError("its numbers are not a block of bytes")
        self._raw = raw

    def check(self, shape: tuple[int, ...]) -> np.ndarray:
        """The array, C-contiguous and in native byte order. Raises _RefusedError unless it has just this shape."""
        if self._shape != shape:
            raise _RefusedError(f"its array has shape {reprlib.repr(self._shape)}")
        dtype = self._dtype.numpy
        n_bytes = math.prod(shape) * dtype.itemsize
        if len(self._raw) != n_bytes:
            raise _RefusedError(f"its array needs {n_bytes:,} bytes and {len(self._raw):,} are there")
        raw = self._raw.encode("latin1") if isinstance(self._raw, str) else self._raw
        array = np.frombuffer(raw, dtype).reshape(shape, order="F" if self._fortran else "C")
        return np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))


def _reconstruct(*_arguments: object) -> _Array:
    return _Array()


def _scalar(dtype: object, raw: object = b"") -> _Array:
    array = _Array()
    array.__setstate__((1, (), dtype, False, raw))
    return array


def _frombuffer(raw: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


ENCODE = ("_codecs", "encode")
"""turns text into bytes; its stand-in is a method of the unpickler, which counts the bytes"""
ALLOWED: dict[tuple[str, str], Callable[..., object] | None] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Dtype,
    ENCODE: None,
}
for _core in ("numpy.core", "numpy._core"):
    ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    ALLOWED[f"{_core}.multiarray", "scalar"] = _scalar
    ALLOWED[f"{_core}.numeric", "_frombuffer"] = _frombuffer


class _Unpickler(pickle.Unpickler):
    """One load, with one budget of bytes for all text that it encodes."""

    def __init__(self, data: bytes, *, budget: int):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._budget = self._left = budget

    def find_class(self, module: str, name: str) -> _Standin:
        if (module, name) not in ALLOWED:
            refused = f"{module}.{name}"[:200]
            raise _RefusedError(f"it names {refused!r}, which could run code")
        return _Standin(self._encode if (module, name) == ENCODE else ALLOWED[module, name])

    def _encode(self, text: object, encoding: object = None) -> bytes:
        if not (isinstance(text, str) and encoding in ("latin1", "latin-1")):
            raise _RefusedError(f"it asks for the encoding {reprlib.repr(encoding)}")
        self._left -= len(text)
        if self._left < 0:
            raise _RefusedError(f"it makes more than {self._budget:,} bytes out of its text")
        return text.encode("latin1")

    def persistent_load(self, pid: object) -> None:
        raise _RefusedError(f"it names the persistent id {reprlib.repr(pid)}")


def _scan(data: bytes) -> None:
    """Walk the opcodes without running them. Raises _RefusedError where one asks for more than the file holds.

    Python's unpickler allocates a block before it reads it, a memo as long as the largest index in the file, and for
    one byte an object of a hundred.
    """
    position, n_opcodes, largest = 0, 0, -1
    name = ""
    while name != "STOP":
        opcode = _OPCODES.get(chr(data[position])) if position < len(data) else None
        if opcode is None:
            raise _RefusedError(f"it is truncated or no pickle (byte {position:,} of {len(data):,})")
        name, n_opcodes = opcode.name, n_opcodes + 1
        if n_opcodes > MOST_STEPS:
            raise _RefusedError(f"it has more than {MOST_STEPS:,} steps; an array takes about 50")
        start, end = _argument(opcode, data, position + 1)
        if name in ("BINPUT", "LONG_BINPUT"):
            largest = max(largest, int.from_bytes(data[start:end], "little"))
        elif name == "PUT":
            largest = max(largest, int(data[start:end]))
        position = end
    if largest > n_opcodes:
        raise _RefusedError(f"it asks for a memo of {largest:,} entries and has {n_opcodes} steps")


def _argument(opcode: pickletools.OpcodeInfo, data: bytes, start: int) -> tuple[int, int]:
    """First and last-plus-one byte of an opcode's argument that starts at `start`."""
    size = 0 if opcode.arg is None else opcode.arg.n
    if size == pickletools.UP_TO_NEWLINE:
        end = start
        for _ in range(2 if opcode.name in ("GLOBAL", "INST") else 1):
            end = data.find(b"\n", end) + 1 or len(data)
        return start, end
    if size < 0:
        n_bytes = _LENGTH_BYTES[size]
        size = int.from_bytes(data[start : start + n_bytes], "little")
        start += n_bytes
    end = start + size
    last = end + int.from_bytes(data[start:end], "little") if opcode.name == "FRAME" else end
    if last > len(data):
        left = max(len(data) - start, 0)
        raise _RefusedError(f"one block asks for {last - start:,} bytes and {left:,} are left: truncated or crafted")
    return start, end


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
    budget = PICKLE_OVERHEAD + 8 * math.prod(shape)
    limit = PICKLE_OVERHEAD + ESCAPED_BYTES * 8 * math.prod(shape)
    try:
        size = path.stat().st_size
        if size > limit:
            raise _RefusedError(f"it has {size:,} bytes; an array of this shape has at most {limit:,}")
        data = path.read_bytes()
        _scan(data)
        found = _Unpickler(data, budget=budget).load()
        if not isinstance(found, _Array):
            raise _RefusedError(f"it holds a {type(found).__name__.strip('_')}, not an array")
        return found.check(shape)
    except Exception as error:  # a crafted file can raise anything inside the unpickler
        reason = error if isinstance(error, _RefusedError) else f"it cannot be read: {type(error).__name__}: {error}"
        raise BadInput(
            f"{path}: {reason}",
            allowed=f"a pickled numpy array of numbers, shape {shape}",
            do="fetch the file again from its publisher, or remove it; never open it with pickle.load",
        ) from error
