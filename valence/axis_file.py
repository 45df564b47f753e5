"""Stage axis, the file: named arrays and facts in, one safetensors file out, and back."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from valence.cache import write_whole
from valence.errors import BadInput

FORMAT = "valence.axis/1"
Made = TypeVar("Made")


def write_axis_file(path: Path, tensors: dict[str, np.ndarray], facts: dict[str, object]) -> None:
    """Write float64 arrays, with facts and a checksum as JSON metadata; the file is there whole or not at all."""
    from safetensors.numpy import save_file

    text = json.dumps({"format": FORMAT, "checksum": _checksum(tensors), **facts}, sort_keys=True, allow_nan=False)
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata={"axis": text}))


def read_axis_file(path: Path, make: Callable[[dict[str, Any]], Made]) -> Made:
    """What `make` makes of a file's facts and arrays, by name.

    Raises BadInput, with the file's name, for anything else or a damaged file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        facts = json.loads(metadata["axis"])
        if facts.pop("format") != FORMAT:
            raise ValueError("another format")
        if facts.pop("checksum") != _checksum(tensors):
            raise ValueError("its arrays are damaged: the checksum differs")
        return make({**facts, **tensors})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = "it is not an axis" if isinstance(error, (KeyError, TypeError)) else str(error).split("\n", 1)[0]
        raise BadInput(
            f"axis file {path}: {reason}",
            allowed="an axis.safetensors written by this software",
            do="give another file, or delete it and fit the axis again",
        ) from error


def _checksum(tensors: dict[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name in sorted(tensors):
        content.update(name.encode() + np.ascontiguousarray(tensors[name], dtype="<f8").tobytes())
    return content.hexdigest()
