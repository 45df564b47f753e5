"""Pickles that run code, ask for memory, or hold what they should not, as bytes. Where a mark is left, code has run."""

import json
import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.testing._private.utils import runstring

SHAPE = (28, 32, 30, 5)
HUGE = 2**33
"""numbers of 8 bytes: 64 GiB"""


def features() -> np.ndarray:
    """DE features as published, float64, (28, 32, 30, 5)."""
    return np.random.default_rng(0).normal(2.0, 0.3, size=SHAPE)


class Call:
    """Pickles into a call."""

    def __init__(self, function: Callable, *arguments: object):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value: object) -> bytes:
    """The opcode that pushes a text."""
    encoded = str(value).encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def touch(mark: Path) -> Call:
    return Call(os.system, f"touch {mark}")


def in_object_array(mark: Path) -> bytes:
    array = np.empty(SHAPE[:1], dtype=object)
    array[3] = touch(mark)
    return pickle.dumps(array)


def before_an_array(mark: Path) -> bytes:
    """The file gives an honest array; what it runs first is thrown away."""
    return b"\x80\x04cos\nsystem\n" + text(f"touch {mark}") + b"\x85R0" + pickle.dumps(features(), 4)[2:]


def new_object(mark: Path, opcode: bytes) -> bytes:
    """`bytes(map(os.system, [command]))`, each made by its class's __new__ alone."""
    named = b"}" if opcode == b"\x92" else b""
    commands = b"]" + text(f"touch {mark}") + b"a"
    mapped = b"cbuiltins\nmap\ncos\nsystem\n" + commands + b"\x86" + named + opcode
    return b"\x80\x04cbuiltins\nbytes\n" + mapped + b"\x85" + named + opcode + b"."


def build(mark: Path) -> bytes:
    """A state sets an attribute that the next state calls."""
    assert SimpleNamespace.__module__ == "types"
    state = b"}" + text("__setstate__") + b"cos\nsystem\nsb"
    return b"\x80\x02ctypes\nSimpleNamespace\n)R" + state + text(f"touch {mark}") + b"b."


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    **{
        f"os.system, protocol {protocol}": lambda mark, protocol=protocol: pickle.dumps(touch(mark), protocol)
        for protocol in range(6)
    },
    "builtins.eval": lambda mark: pickle.dumps(Call(eval, f"open({str(mark)!r}, 'w')")),
    "builtins.exec": lambda mark: pickle.dumps(Call(exec, f"open({str(mark)!r}, 'w')")),
    "subprocess, through reduce": lambda mark: pickle.dumps(Call(subprocess.check_call, ["touch", str(mark)])),
    "nested in a list": lambda mark: pickle.dumps([features(), [touch(mark)]]),
    "nested in a dictionary": lambda mark: pickle.dumps({"de": features(), "subject": touch(mark)}),
    "nested in an object array": in_object_array,
    "before an honest array": before_an_array,
    "a name of numpy that runs text": lambda mark: pickle.dumps(Call(runstring, f"open({str(mark)!r}, 'w')", {})),
    "os, through a module of numpy": lambda mark: (
        b"\x80\x04"
        + text("numpy.testing._private.utils")
        + text("os.system")
        + b"\x93"
        + text(f"touch {mark}")
        + b"\x85R."
    ),
    "opcode INST": lambda mark: f"(S{f'touch {mark}'!r}\nios\nsystem\n.".encode(),
    "opcode OBJ": lambda mark: b"(cos\nsystem\n" + text(f"touch {mark}") + b"o.",
    "opcode NEWOBJ": lambda mark: new_object(mark, b"\x81"),
    "opcode NEWOBJ_EX": lambda mark: new_object(mark, b"\x92"),
    "opcode BUILD": build,
}
"""name: the bytes of a pickle that creates the file `mark` where it is opened with pickle.load"""

_HEAD = b"\x80\x04cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
_HUGE = b"\x8a\x05" + HUGE.to_bytes(5, "little")
_STATE = (
    _HEAD
    + b"K\x00\x85C\x01b\x87R(K\x01"
    + _HUGE
    + b"\x85cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R\x89C\x08"
    + bytes(8)
)

GIANT: dict[str, bytes] = {
    "shape of 64 GiB given to _reconstruct": _HEAD + _HUGE + b"\x85C\x01d\x87R.",
    "shape of 64 GiB in the state": _STATE + b"tb.",
    "block of 64 GiB": b"\x80\x04\x8e" + struct.pack("<Q", 8 * HUGE) + b"x.",
    "bytearray of 64 GiB": b"\x80\x05\x96" + struct.pack("<Q", 8 * HUGE) + b"x.",
    "frame of 64 GiB": b"\x80\x04\x95" + struct.pack("<Q", 8 * HUGE) + b"N.",
    "memo of 32 GiB": b"\x80\x02Nr\xf0\xff\xff\xff.",
    "million empty lists": b"\x80\x04" + b"]" * 1_000_000 + b".",
}
"""name: the bytes of a small pickle that asks for much memory"""


def spoilt(place: tuple, value: float) -> np.ndarray:
    array = features()
    array[place] = value
    return array


def dumped(thing: object) -> bytes:
    return pickle.dumps(thing, 4)


def truncated(protocol: int) -> bytes:
    data = pickle.dumps(features(), protocol)
    return data[: len(data) * 2 // 3]


DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    **{
        f"truncated, protocol {protocol}": (lambda protocol=protocol: truncated(protocol), "truncated|crafted")
        for protocol in range(6)
    },
    "empty": (lambda: b"", "truncated or no pickle"),
    "text": (lambda: json.dumps([1, 2]).encode(), "truncated|no pickle|cannot be read"),
    "an error page": (lambda: b"<!DOCTYPE html><html>404</html>", "truncated|no pickle|cannot be read"),
    "objects": (lambda: dumped(np.full(SHAPE[:1], None)), "'O8'"),
    "many objects": (lambda: dumped(np.full(SHAPE, None)), "steps"),
    "fields": (lambda: dumped(np.zeros(SHAPE, dtype=[("a", "f4"), ("b", "f4")])), "'V8'"),
    "texts": (lambda: dumped(np.zeros(SHAPE, dtype="U2")), "'U2'"),
    "complex numbers": (lambda: dumped(np.zeros(SHAPE, dtype="c8")), "'c8'"),
    "integers": (lambda: dumped(np.ones(SHAPE, dtype=np.int32)), "of int32"),
    "27 clips": (lambda: dumped(features()[:27]), r"\(27, 32, 30, 5\)"),
    "30 channels": (lambda: dumped(features()[:, :30]), r"\(28, 30, 30, 5\)"),
    "turned axes": (lambda: dumped(np.ascontiguousarray(features().swapaxes(0, 1))), r"\(32, 28, 30, 5\)"),
    "a list": (lambda: dumped([features()]), "holds a list"),
    "a dictionary": (lambda: dumped({"de": features()}), "holds a dict"),
    "NaN": (lambda: dumped(spoilt((6, 25, 11, 4), np.nan)), "sub000, clip 7, channel PO3 holds nan"),
    "infinite": (lambda: dumped(spoilt((0, 31), -np.inf)), "clip 1, channel A2 holds -inf"),
    "beyond float32": (lambda: dumped(spoilt((27, 0, 0, 0), 1e300)), r"clip 28, channel Fp1 holds 1e\+300"),
    "persistent id, text": (lambda: b"Pelsewhere\n.", "persistent id 'elsewhere'"),
    "persistent id": (lambda: b"\x80\x02U\x09elsewhereQ.", "persistent id 'elsewhere'"),
    "extension code": (lambda: b"\x80\x02\x82\x01.", "extension code"),
}
"""name: bytes, and what the message must say (a regular expression)"""
