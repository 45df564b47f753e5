"""What sides import, imported once: processes that measure begin as copies of one that has this module."""

import importlib.util
import warnings

from tests.bench import train_sides

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import skorch  # noqa: F401

    if importlib.util.find_spec("torcheeg") is not None:
        train_sides.import_torcheeg()
    list(train_sides.CLASSIFIERS)
