"""A plug-in's module to the user's own files that it is made of, with their contents; and where an error in them is."""

import ast
import contextlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from valence.errors import BadInput

OURS = ("valence", "cluster", "jobs")
_HERE = Path(__file__).resolve().parent.parent
_kept: dict[str, tuple[ModuleType, dict[str, bytes]]] = {}
"""plug-ins with their files as they were when their code was loaded: a digest is of the code that runs"""


def contents_of(module: str) -> dict[str, bytes]:
    """A loaded module's file, first, and the user's others that it imports, directly or through others.

    These are the `__init__` of every package that it lies in, and what its imports, at the top or inside functions,
    name in or below its folder. Imports are read, not followed at run time, so the files are the same whatever this
    process has imported so far. What comes with Python or is installed does not count, but for the plug-in's own
    package.

    Returns
    -------
    path of each as Python finds it, relative to the folder of its top-level name, to its content.
    """
    loaded, contents = _kept.get(module, (None, {}))
    return contents if loaded is sys.modules[module] else _read(module)


def keep_contents(module: str) -> None:
    """Hold on to the files of a module just loaded: later edits are not of the code that runs."""
    _kept[module] = (sys.modules[module], _read(module))


def _read(module: str) -> dict[str, bytes]:
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        return {}
    first = Path(file).resolve()
    root = first.parents[module.count(".") + (first.name == "__init__.py")]
    path = first.relative_to(root).as_posix()
    contents, seen, waiting = {path: first.read_bytes()}, {module}, list(_packages_of(module))
    waiting += _imported(contents[path], path, module)
    while waiting:
        name = waiting.pop()
        folder = None if name in seen else _folder_of(name.split(".")[0], module.split(".")[0], root)
        seen.add(name)
        beside = folder and _file_below(folder, name)
        if folder and beside:
            path = beside.relative_to(folder).as_posix()
            contents[path] = beside.read_bytes()
            waiting += _imported(contents[path], path, name)
    first_path, *others = contents
    return {path: contents[path] for path in (first_path, *sorted(others))}


def _folder_of(top: str, plugin: str, root: Path) -> Path | None:
    """The folder that a top-level name lies in; None where it is not the user's, or not below the plug-in's folder."""
    if top == plugin:
        return root
    if top in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    if not places or not places[0]:
        return None
    folder = Path(places[0]).parent.resolve()  # of a link, not of what it points to
    ours = top in OURS and folder == _HERE
    return folder if folder.is_relative_to(root) and not ours and not is_installed(folder, root) else None


def _file_below(folder: Path, name: str) -> Path | None:
    base = folder.joinpath(*name.split("."))
    candidates = (base / "__init__.py", base.with_name(base.name + ".py"))
    return next((file for file in candidates if file.is_file()), None)


def _packages_of(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imported(content: bytes, path: str, module: str) -> list[str]:
    """Names of modules that a file may import, each with the packages around it."""
    package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
    return [each for name in _names_in(content, package) for each in (name, *_packages_of(name))]


def _names_in(content: bytes, package: str) -> list[str]:
    names: list[str] = []
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # not imported so far, or no Python: it imports nothing, and its bytes count
        return []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            with contextlib.suppress(ImportError):  # beyond the top: such a line fails when it runs
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
                names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def is_installed(path: Path, root: Path | None = None) -> bool:
    """True for what comes with Python or was installed, wherever that lies; `root` is where the user works."""
    if {"site-packages", "dist-packages"} & {*path.parts}:
        return True
    folders = [Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    prefixes = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    folders += [prefix for prefix in prefixes if root is not None and not root.is_relative_to(prefix)]
    return any(path.is_relative_to(folder) for folder in folders)


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
