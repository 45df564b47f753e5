"""Named immutable files of a store: put if absent, read, listed; in a folder here, in object storage elsewhere.

Names have one folder in them, "cells/0123.parquet". What a name holds never changes but by delete and put.
"""

import contextlib
import errno
import functools
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from valence.cache import write_whole
from valence.errors import BadInput

T = TypeVar("T")


class Unusable(BadInput):
    """The store cannot be written or reached; nothing is wrong with what it holds."""


class Files(Protocol):
    """What a store needs of its place."""

    place: str
    """what a person calls it"""

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Write a file that appears whole or not at all; False where the name is taken, and then nothing changes."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a file in place of what is there; readers see the old or the new one, whole."""

    def read(self, name: str) -> bytes:
        """Content of a file. Raises FileNotFoundError."""

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Names with their contents, in order; None for those that are not there (any more)."""

    def exists(self, name: str) -> bool:
        """True where the name is taken."""

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    def names(self, folder: str) -> list[str]:
        """Names in a folder, without the folder, in no order; nothing half-written."""

    def stamps(self, folder: str) -> dict[str, str]:
        """Names in a folder with what tells one content from another: size and time, or the store's own tag."""

    def by_time(self, folder: str) -> list[str]:
        """Names in a folder, last written last."""

    def touch(self, name: str) -> None:
        """Make a file the last written one of its folder."""


def put_if_absent(path: Path, content: bytes) -> bool:
    """Write a file that appears whole or not at all; False where the name is taken, and then nothing changes.

    A hard link refuses an existing name, where a rename would overwrite it: a worker counted dead may still commit.
    Raises Unusable for a folder that is full or cannot be written.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    return True


def replace(path: Path, content: bytes) -> None:
    """Write a view (a file that may be rebuilt at any time) so that readers see the old or the new one, whole."""
    with _told(path):
        write_whole(path, lambda temporary: temporary.write_bytes(content))


_TROUBLE = {
    errno.ENOSPC: ("no space is left on its disk", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or ask for more"),
    errno.EFBIG: ("the file is larger than this process may write", "raise the limit on file sizes (ulimit -f)"),
    errno.EROFS: ("its disk is mounted read-only", "mount it for writing, or give another --out"),
    errno.EACCES: ("this user may not write there", "change the folder's owner or mode, or give another --out"),
    errno.EPERM: ("this user may not write there", "change the folder's owner or mode, or give another --out"),
}


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system refuses, as one message that a person can act on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _TROUBLE:
            raise
        what, do = _TROUBLE[error.errno]
        raise Unusable(
            f"{path} cannot be written: {what}",
            allowed="a folder with room that this user may write to, on every node that trains",
            do=f"{do}, then run the same command again: all committed cells stay",
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Folder:
    """Files in a folder, on a local disk or one that nodes share."""

    def __init__(self, folder: Path):
        self.place = str(folder)
        self._folder = folder

    def put_if_absent(self, name: str, content: bytes) -> bool:
        return put_if_absent(self._folder / name, content)

    def replace(self, name: str, content: bytes) -> None:
        replace(self._folder / name, content)

    def read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unusable(
                f"{self._folder / name} cannot be read: {error.strerror}",
                allowed="a folder that this user may read, on a disk that answers",
                do="correct its mode or mount it again, then run the same command again",
            ) from error

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        for name in names:
            try:
                yield name, self.read(name)
            except FileNotFoundError:  # put aside since it was listed
                yield name, None

    def exists(self, name: str) -> bool:
        return (self._folder / name).exists()

    def delete(self, name: str) -> None:
        path = self._folder / name
        with _told(path), contextlib.suppress(FileNotFoundError):
            path.unlink()
            _sync_folder(path.parent)

    def names(self, folder: str) -> list[str]:
        return self._each(folder, lambda entry: entry.name)

    def stamps(self, folder: str) -> dict[str, str]:
        return dict(self._each(folder, _stamp))

    def by_time(self, folder: str) -> list[str]:
        return [name for _, name in sorted(self._each(folder, lambda entry: (entry.stat().st_mtime, entry.name)))]

    def touch(self, name: str) -> None:
        with _told(self._folder / name):
            os.utime(self._folder / name)

    def _each(self, folder: str, of: Callable[[os.DirEntry[str]], T]) -> list[T]:
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder / folder) as entries:
            for entry in entries:
                if entry.name[0] != ".":
                    with contextlib.suppress(FileNotFoundError):  # put aside since it was listed
                        found.append(of(entry))
        return found


def _stamp(entry: os.DirEntry[str]) -> tuple[str, str]:
    facts = entry.stat()
    return entry.name, f"{facts.st_size}-{facts.st_mtime_ns}"


@functools.cache
def open_files(url: str) -> Files:
    """The files at a URL, s3://bucket/prefix or gs://bucket/prefix. Raises BadInput for one that cannot be used."""
    try:
        from cluster.objects import Objects
    except ImportError as error:
        raise BadInput(
            f"--store {url}: obstore is not installed ({error})",
            allowed="results in object storage with the extra cloud",
            do="install valence[cloud], or leave --store out",
        ) from error
    return Objects(url)
