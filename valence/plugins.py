"""A user's word for a plug-in, a dotted name or a file, to its module, here and on the nodes of a cluster."""

import contextlib
import hashlib
import importlib
import importlib.util
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from valence.cache import cache_folder, write_whole
from valence.errors import BadInput
from valence.plugin_files import contents_of, explained, keep_contents
from valence.registry import forget

ENDING = ".py"


@dataclass(frozen=True, kw_only=True)
class PluginFiles:
    """A plug-in on its way to nodes that do not share the folder that it lies in."""

    module: str
    files: tuple[tuple[str, bytes], ...]
    """path relative to the folder of its top-level name, and content; its own file first"""

    @property
    def digest(self) -> str:
        """16 hex digits of paths and contents."""
        parts = [part for path, content in self.files for part in (path.encode(), content)]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def is_file_word(word: str) -> bool:
    """True where the word names a file, not a module."""
    return word.endswith(ENDING)


def load_plugin(plugin: str | PluginFiles) -> str:
    """Import a user's plug-in; returns the module's name.

    Parameters
    ----------
    plugin : a file that ends in .py, a dotted name, or the files of one as another machine sent them.

    Raises
    ------
    BadInput : where there is no such file or module, its name is another module's, it cannot be imported, or it
        registers what cannot be registered. Nothing of it is then left.
    """
    if isinstance(plugin, PluginFiles):
        return _load_sent(plugin)
    if is_file_word(plugin):
        return _load_file(plugin)
    if plugin not in sys.modules:
        with _loading(plugin, plugin):
            importlib.import_module(plugin)
            keep_contents(plugin)
    return plugin


def plugin_files(module: str) -> PluginFiles:
    """The files of a loaded plug-in as they were loaded."""
    return PluginFiles(module=module, files=tuple(contents_of(module).items()))


def _load_file(word: str) -> str:
    path = _existing(word)
    name = path.stem
    path = path.resolve()
    _check_name(name, path)
    known = sys.modules.get(name)
    if known is None:
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # for files beside it
        _execute(word, name, path)
    elif next(iter(contents_of(name).values()), None) != path.read_bytes():
        raise BadInput(
            f"plug-in {path}: this process has loaded {getattr(known, '__file__', None)} under the name {name}",
            allowed="one file for each name, not edited while a command runs",
            do="start the command again, or rename the file",
        )
    return name


def _existing(word: str) -> Path:
    try:
        path = Path(word).expanduser()
        what = "no such file" if not path.exists() else None if path.is_file() else "not a file"
    except (OSError, RuntimeError, ValueError) as error:
        what = str(error)
    if what is not None:
        raise BadInput(f"plug-in {word}: {what}", allowed="an existing .py file", do="correct the path")
    return path


def _check_name(name: str, path: Path) -> None:
    """Raise BadInput where a file's name is no module's, or another module's, imported so far or not."""
    if not name.isidentifier() or name.startswith("__"):
        raise BadInput(
            f"plug-in {path}", allowed="a file name that is a Python name, such as my_loss.py", do="rename the file"
        )
    elsewhere = "of Python" if name in sys.stdlib_module_names else _found_elsewhere(name, path)
    if elsewhere:
        raise BadInput(
            f"plug-in {path}: another module is called {name}, {elsewhere}",
            allowed="a name of its own",
            do="rename the file",
        )


def _found_elsewhere(name: str, path: Path) -> str | None:
    """Where else `import name` would find a module, the file's own folder left out; a copy of the file is none."""
    folders = [folder for folder in sys.path if Path(folder or ".").resolve() != path.parent]
    for finder in sys.meta_path:
        spec = finder.find_spec(name, folders) if hasattr(finder, "find_spec") else None
        if spec is not None and spec.origin is not None:
            found = Path(spec.origin)
            if not found.is_file() or found.read_bytes() != path.read_bytes():
                return spec.origin
    return None


def _load_sent(plugin: PluginFiles) -> str:
    """Write the files below this node's cache, each whole, and load from there."""
    if plugin.module not in sys.modules:
        folder = cache_folder() / "plugins" / plugin.digest
        for relative, content in plugin.files:
            _put(folder / relative, content)
        sys.path.insert(0, str(folder))  # before whatever lies under the same names on this node
        importlib.invalidate_caches()
        _execute(plugin.module, plugin.module, (folder / plugin.files[0][0]).resolve())
    if plugin_files(plugin.module) != plugin:
        raise BadInput(
            f"plug-in {plugin.module}: node {platform.node()} has other modules under the names of its files",
            allowed="names of their own for " + ", ".join(path for path, _ in plugin.files),
            do="rename the files",
        )
    return plugin.module


def _put(path: Path, content: bytes) -> None:
    try:
        if not path.is_file() or path.read_bytes() != content:
            write_whole(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written on node {platform.node()}: {error.strerror}",
            allowed="a cache folder with room on every node",
            do="set VALENCE_CACHE to one",
        ) from error


def _execute(word: str, name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with _loading(word, name):
        spec.loader.exec_module(module)
        keep_contents(name)


@contextlib.contextmanager
def _loading(word: str, module: str) -> Iterator[None]:
    """Whatever goes wrong while a plug-in is loaded is one BadInput, and nothing of it stays."""
    try:
        yield
    except BaseException as error:
        sys.modules.pop(module, None)
        forget(module)
        if isinstance(error, BadInput) or not isinstance(error, Exception | SystemExit):
            raise
        raise explained(word, error) from error
