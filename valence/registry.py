"""Plug-ins: one file registers one thing by name; mappings by name come out.

A registry lists the modules of its package and imports them on first use, so a new file is found without any other
edit. Outside packages join through the entry-point group `valence.plugins`, a user's files through valence.plugins.
"""

import difflib
import hashlib
import importlib
import importlib.metadata
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from valence.errors import BadInput
from valence.plugin_files import contents_of, explained

T = TypeVar("T")
ENTRY_POINTS = "valence.plugins"
FORBIDDEN = ":,/="
"""in names, beside white space: words of a command and of doses are made of names and these"""
_plugins_loaded = False
_registries: "list[Registry]" = []


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
        _registries.append(self)

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds a class or function, or with `add`, a row of a table."""
        caller = sys._getframe(1).f_globals.get("__name__", "")

        def add(entry: T) -> T:
            has_own = inspect.isclass(entry) or inspect.isfunction(entry)  # of others it is where their class is from
            self.add(name, entry, source=entry.__module__ if has_own else caller)
            return entry

        return add

    def add(self, name: str, entry: T, *, source: str) -> None:
        """Add one entry, from the module `source`.

        Raises BadInput, which names that module's file, where another module has the name, the entry has another name
        itself, or words of a command could not hold it.
        """
        if not self._is_ours(source):
            self._load()  # ours have their names first, whoever is imported first
        if not name or any(char in FORBIDDEN or char.isspace() for char in name):
            raise self._refusal(
                name, source, "is no name", f"names without white space and without {' '.join(FORBIDDEN)}"
            )
        own = getattr(entry, "name", name)
        if isinstance(own, str) and own != name:
            raise self._refusal(name, source, f"calls itself {own!r}", "one name")
        known = self._sources.get(name)
        if known is not None and known != source:
            raise self._refusal(
                name, source, f"is registered twice, also by {_file(known)}", "a name that no other has"
            )
        self._entries[name] = entry
        self._sources[name] = source

    def refusal(self, name: str, why: str, allowed: str) -> BadInput:
        """The error for an entry that cannot be used under its name; it names the file that registers it."""
        return self._refusal(name, self._sources[name], why, allowed)

    def _refusal(self, name: str, source: str, why: str, allowed: str) -> BadInput:
        return BadInput(f"{_file(source)}: {self.kind} {name!r} {why}", allowed=allowed, do="rename it in that file")

    def _is_ours(self, source: str) -> bool:
        return f"{source}.".startswith(f"{self._package}.")

    def forget(self, source: str) -> None:
        """Take back what a module has registered."""
        for name in [name for name, known in self._sources.items() if known == source]:
            del self._entries[name], self._sources[name]

    def digest(self, name: str) -> str:
        """8 hex digits of the source of a plug-in from outside; empty for one of ours.

        Ours change with the science version; a user's changes whenever its file is edited, or one beside or below it
        that it imports, and its cells with it.
        """
        self[name]
        source = self._sources[name]
        if source.split(".")[0] == "valence":
            return ""
        first, *others = contents_of(source).values() or [b""]
        content = hashlib.sha256(first)
        for other in others:
            content.update(hashlib.sha256(other).digest())
        return content.hexdigest()[:8] if first else ""

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
        try:
            package = importlib.import_module(self._package)
            for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
                _import(f"{self._package}.{module.name}", self.kind)
            _load_entry_points()
        except BaseException:
            self._loaded = False  # the next use says the same again: a registry is never half full
            raise


def forget(source: str) -> None:
    """Take back what a module has registered, wherever it has."""
    for registry in _registries:
        registry.forget(source)


def _file(module: str) -> str:
    return getattr(sys.modules.get(module), "__file__", None) or module


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
    if _plugins_loaded:
        return
    _plugins_loaded = True  # they ask for registries themselves
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry_point.load()
        except BaseException as error:
            _plugins_loaded = False
            if isinstance(error, BadInput) or not isinstance(error, Exception):
                raise
            raise explained(entry_point.module, error) from error


def _import(module: str, kind: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:
        raise ImportError(f"the {kind} file {module.replace('.', '/')}.py cannot be imported: {error}") from error
