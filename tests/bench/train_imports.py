"""What sides import, imported once: processes that measure begin as copies of one that has this module."""

import importlib.util
import warnings

import tyro  # noqa: F401  # every process imports the program's main file: this, and the tables

from tests.bench import train_report, train_speeds  # noqa: F401
from tests.bench.train_sides import CLASSIFIERS, import_torcheeg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import braindecode.models  # noqa: F401
    import skorch  # noqa: F401

    if importlib.util.find_spec("torcheeg") is not None:
        import_torcheeg()
    len(CLASSIFIERS)  # imports the rows
