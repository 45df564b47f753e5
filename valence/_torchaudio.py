"""Set-up: lets torchaudio be imported beside a torch build that its compiled part was not made for.

PyPI's Linux wheels of torchaudio are CUDA builds. Beside a CPU build of torch their shared library cannot be
loaded, and `import torchaudio` raises; transformers and braindecode import it and need its Python parts alone.
torchaudio itself works without the library when the file is absent: this makes "cannot be loaded" the same case.
"""

import importlib.abc
import importlib.machinery
import logging
import sys
from types import ModuleType

MODULE = "torchaudio._extension.utils"
logger = logging.getLogger(__name__)


class _TolerantLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        load = module._load_lib

        def load_if_loadable(lib: str) -> bool:
            try:
                return load(lib)
            except OSError as error:
                logger.debug("torchaudio runs without its compiled part: %s", error)
                return False

        module._load_lib = load_if_loadable  # type: ignore[attr-defined]


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _TolerantLoader(spec.loader)
        return spec


def tolerate_foreign_torchaudio() -> None:
    """Install the import hook once in this process; costs nothing until torchaudio is imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
