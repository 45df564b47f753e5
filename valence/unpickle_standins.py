"""Recordings: what the names in a pickle that somebody else wrote stand for while it runs. Nothing here runs its code.

In: the bytes, already walked by `unpickle_scan`. Out: the parts of the arrays it describes, which are checked before
numpy sees them: `dtype.__setstate__` would let a file change a dtype shared by the whole process, and `_reconstruct`
would allocate any shape the file asks for.
"""

import io
import math
import pickle
import re
import reprlib
from collections.abc import Callable

import numpy as np

from valence.unpickle_scan import RefusedError

_DTYPE = re.compile(r"[<>|=]?([biuf][1248])")


class Standin:
    """What a name in the file stands for. No attribute of it can be set, so a file leaves nothing behind."""

    __slots__ = ("_call",)
    _call: Callable[..., object] | None

    def __init__(self, call: Callable[..., object] | None = None):
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: object) -> object:
        if self._call is None:
            raise RefusedError("it makes an array in a way numpy does not")
        return self._call(*arguments)

    def __setattr__(self, name: str, value: object) -> None:
        raise RefusedError(f"it sets the attribute {reprlib.repr(name)}")

    def __setstate__(self, state: object) -> None:
        raise RefusedError("it changes what a name stands for")


class Dtype:
    """A dtype of plain numbers: kind and size from the call, byte order from the state."""

    __slots__ = ("_name",)

    def __init__(self, name: object, *_flags: object):
        match = _DTYPE.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise RefusedError(f"its dtype is {reprlib.repr(name)}; only plain numbers are read, never objects")
        self._name = match.group(1)

    def __setstate__(self, state: object) -> None:
        # (version, byte order, subarray, field names, fields, item size, alignment, flags)
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise RefusedError("the state of its dtype is not one that numpy writes")
        if state[2:5] != (None, None, None):
            raise RefusedError("its dtype has fields; only plain numbers are read")
        self._name = str(state[1]) + self._name

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(self._name)


class ArrayParts:
    """The parts of an array as the file gives them; `check` makes the array of them."""

    __slots__ = ("_dtype", "_fortran", "_raw", "_shape")

    def __init__(self) -> None:
        self.__setstate__((1, (0,), Dtype("u1"), False, b""))

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], Dtype)):
            raise RefusedError("the state of its array is not one that numpy writes")
        _version, self._shape, self._dtype, self._fortran, raw = state
        if not isinstance(raw, bytes | bytearray | str):  # a Python 2 string is read as latin1 text
            raise RefusedError("its numbers are not a block of bytes")
        self._raw = raw

    def check(self, shape: tuple[int, ...]) -> np.ndarray:
        """The array, C-contiguous and in native byte order. Raises RefusedError unless it has just this shape."""
        if self._shape != shape:
            raise RefusedError(f"its array has shape {reprlib.repr(self._shape)}")
        dtype = self._dtype.numpy
        n_bytes = math.prod(shape) * dtype.itemsize
        if len(self._raw) != n_bytes:
            raise RefusedError(f"its array needs {n_bytes:,} bytes and {len(self._raw):,} are there")
        raw = self._raw.encode("latin1") if isinstance(self._raw, str) else self._raw
        array = np.frombuffer(raw, dtype).reshape(shape, order="F" if self._fortran else "C")
        return np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))


def _reconstruct(*_arguments: object) -> ArrayParts:
    return ArrayParts()


def _scalar(dtype: object, raw: object = b"") -> ArrayParts:
    array = ArrayParts()
    array.__setstate__((1, (), dtype, False, raw))
    return array


def _frombuffer(raw: object, dtype: object, shape: object, order: object) -> ArrayParts:
    array = ArrayParts()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


ENCODE = ("_codecs", "encode")
"""turns text into bytes; its stand-in is a method of the unpickler, which counts the bytes"""
ALLOWED: dict[tuple[str, str], Callable[..., object] | None] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): Dtype,
    ENCODE: None,
}
for _core in ("numpy.core", "numpy._core"):
    ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    ALLOWED[f"{_core}.multiarray", "scalar"] = _scalar
    ALLOWED[f"{_core}.numeric", "_frombuffer"] = _frombuffer


class AllowListUnpickler(pickle.Unpickler):
    """One load, with one budget of bytes for all text that it encodes."""

    def __init__(self, data: bytes, *, budget: int):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._budget = self._left = budget

    def find_class(self, module: str, name: str) -> Standin:
        if (module, name) not in ALLOWED:
            refused = f"{module}.{name}"[:200]
            raise RefusedError(f"it names {refused!r}, which could run code")
        return Standin(self._encode if (module, name) == ENCODE else ALLOWED[module, name])

    def _encode(self, text: object, encoding: object = None) -> bytes:
        if not (isinstance(text, str) and encoding in ("latin1", "latin-1")):
            raise RefusedError(f"it asks for the encoding {reprlib.repr(encoding)}")
        self._left -= len(text)
        if self._left < 0:
            raise RefusedError(f"it makes more than {self._budget:,} bytes out of its text")
        return text.encode("latin1")

    def persistent_load(self, pid: object) -> None:
        raise RefusedError(f"it names the persistent id {reprlib.repr(pid)}")
