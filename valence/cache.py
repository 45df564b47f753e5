"""Set-up: the folder for what can be made again at any time, and files that are there whole or not at all."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """`$VALENCE_CACHE`, or valence in the user's cache folder. Everything in it may be deleted."""
    given = os.environ.get("VALENCE_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "valence"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a file beside `path` and rename it, so that readers see the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hex; remembered in the cache, for files of many gigabytes.

    Remembered by path, size, times, device and inode: files that change places under old times are read again.
    """
    facts = path.stat()
    stamp = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_dev, facts.st_ino)
    key = hashlib.sha256(f"{path.resolve()}|{stamp}".encode()).hexdigest()
    memo = cache_folder() / "hashes" / key
    if memo.is_file() and len(known := memo.read_text()) == 64:
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # a cache that is full or read-only costs time, not the result
        write_whole(memo, lambda temporary: temporary.write_text(digest))
    return digest
