"""A plug-in's module to the user's own files that it is made of, with their contents; and where an error in them is."""

import ast
import contextlib
import functools
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from valence.errors import BadInput

OURS = ("valence", "cluster", "jobs")
_HERE = Path(__file__).resolve().parent.parent
_as_loaded: dict[Path, bytes] = {}
"""files of plug-ins as they were when their code was loaded: a digest is of the code that runs"""


def own_files(module: str) -> list[Path]:
    """The file of a loaded module, first, and the user's others that it imports, directly or through others.

    These are the `__init__` of every package that it lies in, and what its imports, at the top or inside functions,
    name below the folder that its own top-level name lies in. Imports are read, not followed at run time, so the
    files are the same whatever this process has imported so far. What comes with Python or is installed does not
    count, but for the plug-in's own package.
    """
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        return []
    first, root = Path(file).resolve(), root_of(module)
    found, waiting = {module: first}, [*_packages_of(module), *_imported(first, module)]
    while waiting:
        name = waiting.pop()
        beside = None if name in found or not _is_users(name, module, root) else _file_below(root, name)
        if beside is not None:
            found[name] = beside
            waiting += _imported(beside, name)
    return [first, *sorted({*found.values()} - {first})]


def contents_of(module: str) -> dict[str, bytes]:
    """The files of `own_files`, in their order: path relative to their common folder, to content."""
    return {file.relative_to(root_of(module)).as_posix(): _read(file) for file in own_files(module)}


def keep_contents(module: str) -> None:
    """Hold on to the contents of a module just loaded: later edits are not of the code that runs."""
    for file in own_files(module):
        _as_loaded[file] = file.read_bytes()


def root_of(module: str) -> Path:
    """The folder that the top-level package of a loaded module, or the module itself, lies in."""
    file = Path(sys.modules[module].__file__ or "").resolve()
    return file.parents[module.count(".") + (file.name == "__init__.py")]


def _read(file: Path) -> bytes:
    return _as_loaded[file] if file in _as_loaded else file.read_bytes()


def _is_users(name: str, module: str, root: Path) -> bool:
    """True where importing `name` reads a file below `root` that is neither ours nor installed."""
    top = name.split(".")[0]
    if top == module.split(".")[0]:
        return True
    if top in sys.stdlib_module_names or is_installed(root) or (top in OURS and root == _HERE):
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    beside = _file_below(root, top)
    if spec is None or spec.origin is None or beside is None:
        folders = list(spec.submodule_search_locations or ()) if spec is not None and spec.origin is None else []
        return any(_is_same(folder, root / top) for folder in folders)
    return _is_same(spec.origin, beside)


def _is_same(one: str, other: Path) -> bool:
    return os.path.exists(one) and other.exists() and os.path.samefile(one, other)


def _file_below(root: Path, name: str) -> Path | None:
    base = root.joinpath(*name.split("."))
    candidates = (base / "__init__.py", base.with_name(base.name + ".py"))
    return next((file for file in candidates if file.is_file()), None)


def _packages_of(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imported(file: Path, name: str) -> list[str]:
    """Names of modules that a file may import, each with the packages around it."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    names = _names_in(_read(file), package)
    return [each for imported in names for each in (imported, *_packages_of(imported))]


@functools.lru_cache
def _names_in(text: bytes, package: str) -> tuple[str, ...]:
    names: list[str] = []
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # not imported so far, or no Python: it imports nothing, and its bytes count
        return ()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            with contextlib.suppress(ImportError):  # beyond the top: such a line fails when it runs
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
                names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


@functools.cache
def is_installed(path: Path) -> bool:
    """True for what comes with Python or was installed, wherever that lies."""
    if {"site-packages", "dist-packages"} & {*path.parts}:
        return True
    folders = (sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(path.is_relative_to(Path(folder).resolve()) for folder in folders)


def explained(word: str, error: BaseException) -> BadInput:
    """What went wrong when a plug-in was loaded, with the user's file and line where they are known."""
    is_file = word.endswith(".py")
    missing = not is_file and isinstance(error, ModuleNotFoundError) and f"{word}.".startswith(f"{error.name}.")
    way = f"python {word}" if is_file else f"python -c 'import {word}'"
    what = error.msg if isinstance(error, SyntaxError) else error
    return BadInput(
        f"plug-in {word}: " + ("no such module" if missing else f"{_place(error)}{type(error).__name__}: {what}"),
        allowed="a file that ends in .py, or a module by dotted name, that can be imported from here",
        do="give the file, or put the folder that holds it on PYTHONPATH" if missing else f"correct it: {way}",
    )


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: "
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        ours = any(file.is_relative_to(_HERE / folder) for folder in OURS)
        if file.is_absolute() and not ours and not is_installed(file):
            return f"{file}, line {frame.lineno}: "
    return ""
