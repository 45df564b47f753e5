"""Recordings to arrays, half done: which subjects of an interrupted conversion can be kept.

A draft is an array file that grows by a subject at a time and a journal with a line for each.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence

import numpy as np

from valence.cell import canonical_hash
from valence.samples import Converted


def taken_up(file, journal, subjects: Sequence[str], *, about: dict, shape: tuple[int, ...]) -> tuple[list[dict], int]:
    """Entries of subjects whose samples lie whole in the array, with all else cut off, and where samples begin.

    Samples are hashed again: after a loss of power a file may hold less than its journal says.
    """
    size = 4 * math.prod(shape)
    try:
        start = write_header(file, 0, shape)
    except ValueError:  # it was cut off within the header, or is of another shape
        file.truncate(0)
        start = write_header(file, 0, shape)
    journal.seek(0)
    entries: list[dict] = []
    whole = samples = 0
    for line in journal.read().splitlines(keepends=True):
        entry = _usable(line, about) if line.endswith(b"\n") and len(entries) < len(subjects) else None
        if entry is None or entry["subject"] != subjects[len(entries)]:
            break
        file.seek(start + samples * size)
        block = file.read(len(entry["clips"]) * size)
        if len(block) < len(entry["clips"]) * size or hashlib.sha256(block).hexdigest() != entry["sha256"]:
            break
        entries.append(entry)
        samples += len(entry["clips"])
        whole += len(line)
    journal.truncate(whole)
    journal.seek(0, os.SEEK_END)
    file.truncate(start + samples * size)
    file.seek(0, os.SEEK_END)
    return entries, start


def _usable(line: bytes, about: dict) -> dict | None:
    """A journal's entry, where it is one, and of the same sources."""
    try:
        entry = json.loads(line)
        return entry if entry["sources"] == canonical_hash(about["sources"][entry["subject"]]) else None
    except (ValueError, KeyError, TypeError):
        return None


def write_header(file, n_samples: int, shape: tuple[int, ...]) -> int:
    """Write the .npy header, or find it in a file that is not empty and open to append; returns its length.

    No number of samples changes its length. Raises ValueError where what is there is no header of this shape.
    """
    if file.mode.startswith("a") and file.seek(0, os.SEEK_END):
        file.seek(0)
        np.lib.format.read_magic(file)
        found = np.lib.format.read_array_header_1_0(file)
        if found[0][1:] != shape:
            raise ValueError(f"a header of shape {found[0]}")
        return file.tell()
    file.seek(0)
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_samples, *shape)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def entry_of(subject: str, found: Converted, digest: str, about: dict) -> dict:
    """A journal's line on one subject: its sources, the digest of its samples, and what the tables are made of."""
    return {
        "subject": subject,
        "sources": canonical_hash(about["sources"][subject]),
        "sha256": digest,
        "clips": found.clips.tolist(),
        "begins": found.begins.tolist(),
        "repairs": list(found.repairs),
    }
