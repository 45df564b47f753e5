"""Plug-ins: one file registers one thing by name; mappings by name come out.

A registry lists the modules of its package and imports them on first use, so a new file is found without any other
edit. Outside packages join through the entry-point group `valence.plugins`, a user's files through valence.plugins.
"""

import difflib
import hashlib
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from valence.errors import BadInput
from valence.plugins import own_files

T = TypeVar("T")
ENTRY_POINTS = "valence.plugins"
_plugins_loaded = False


class Registry(Mapping[str, T], Generic[T]):
    """Read-only mapping from name to plug-in, filled by the decorator `register`.

    Parameters
    ----------
    kind : what one entry is, in the singular, for messages ("strategy").
    package : dotted package whose modules are imported to fill the registry.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}
        self._sources: dict[str, str] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds a class or function, or with `add`, a row of a table."""

        def add(entry: T) -> T:
            self.add(name, entry, source=getattr(entry, "__module__", ""))
            return entry

        return add

    def add(self, name: str, entry: T, *, source: str) -> None:
        """Add one entry. Raises ValueError where two modules claim one name, or the entry has another name itself."""
        own = getattr(entry, "name", name)
        if isinstance(own, str) and own != name:
            raise ValueError(f"{self.kind} {name!r}, registered by {source}, calls itself {own!r}: give it one name")
        known = self._sources.get(name)
        if known is not None and known != source:
            raise ValueError(
                f"{self.kind} {name!r} is registered twice, by {known} and by {source}: rename one of them"
            )
        self._entries[name] = entry
        self._sources[name] = source

    def digest(self, name: str) -> str:
        """8 hex digits of the source of a plug-in from outside; empty for one of ours.

        Ours change with the science version; a user's changes whenever its file is edited, or one beside or below it
        that it imports, and its cells with it.
        """
        self[name]
        source = self._sources[name]
        if source.split(".")[0] == "valence":
            return ""
        files = own_files(source)
        if not files:
            return ""
        content = hashlib.sha256(files[0].read_bytes())
        for file in files[1:]:
            content.update(hashlib.sha256(file.read_bytes()).digest())
        return content.hexdigest()[:8]

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries, key=str.lower))

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # modules being imported ask for their own registry
        package = importlib.import_module(self._package)
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
            _import(f"{self._package}.{module.name}", self.kind)
        _load_entry_points()


def unknown_name(kind: str, name: str, known: Mapping[str, object] | list[str]) -> BadInput:
    """The error for a name that is not there, with close matches first."""
    names = sorted(known, key=str.lower)
    lower = {known_name.lower(): known_name for known_name in names}
    close = [lower[match] for match in difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.5)]
    return BadInput(
        f"unknown {kind} {name!r}",
        allowed=", ".join(names) or "none is registered",
        do=f"did you mean {' or '.join(close)}?" if close else "take a name from the list",
    )


def _load_entry_points() -> None:
    global _plugins_loaded
    if not _plugins_loaded:
        _plugins_loaded = True
        for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS):
            entry_point.load()


def _import(module: str, kind: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:
        raise ImportError(f"the {kind} file {module.replace('.', '/')}.py cannot be imported: {error}") from error
