"""A user's word for a plug-in, a dotted name or a file, to its module, and the files it is made of."""

import ast
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path

from valence.errors import BadInput

ENDING = ".py"


def is_file_word(word: str) -> bool:
    """True where the word names a file, not a module."""
    return word.endswith(ENDING)


def load_plugin(word: str) -> str:
    """Import a user's plug-in, a file that ends in .py or a dotted name; returns the module's name.

    Raises BadInput where there is no such file or module, or it cannot be imported.
    """
    try:
        return _load_file(Path(word)) if is_file_word(word) else importlib.import_module(word).__name__
    except BadInput:
        raise
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name in (word, word.split(".")[0])
        way = f"python {word}" if is_file_word(word) else f"python -c 'import {word}'"
        raise BadInput(
            f"plug-in {word}: " + ("no such module" if missing else f"{type(error).__name__}: {error}"),
            allowed="a file that ends in .py, or a module by dotted name that can be imported from here",
            do="give the file, or put the folder that holds it on PYTHONPATH" if missing else f"correct it: {way}",
        ) from error


def _load_file(path: Path) -> str:
    if not path.is_file():
        raise BadInput(f"plug-in {path}: no such file", allowed="an existing .py file", do="correct the path")
    name, path = path.stem, path.resolve()
    if not name.isidentifier():
        raise BadInput(
            f"plug-in {path.name}", allowed="a file name that is a Python name, such as my_loss.py", do="rename it"
        )
    known = sys.modules.get(name)
    if known is not None:
        if _text(getattr(known, "__file__", None)) == path.read_bytes():
            return name
        raise BadInput(
            f"plug-in {path.name}: another module is called {name}", allowed="a name of its own", do="rename the file"
        )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for files beside it
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return name


def _text(file: str | None) -> bytes | None:
    return Path(file).read_bytes() if file and Path(file).is_file() else None


def own_files(module: str) -> list[Path]:
    """The file of a module, first, and those in or below its folder that it imports, directly or through others."""
    first = inspect.getsourcefile(sys.modules[module])
    if first is None:
        return []
    folder, found, waiting = Path(first).resolve().parent, [], [Path(first).resolve()]
    while waiting:
        file = waiting.pop(0)
        if file in found:
            continue
        found.append(file)
        for name in _imported(
            ast.parse(file.read_text(encoding="utf-8")), package=sys.modules[module].__package__ or ""
        ):
            loaded = getattr(sys.modules.get(name), "__file__", None)
            ours = name.split(".")[0] in ("valence", "cluster", "jobs")
            if loaded and not ours and Path(loaded).resolve().is_relative_to(folder) and "site-packages" not in loaded:
                waiting.append(Path(loaded).resolve())
    return [found[0], *sorted(found[1:])]


def _imported(tree: ast.AST, *, package: str) -> list[str]:
    """Names of modules that a file may import."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (package if node.level else "", node.module or "")))
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names
