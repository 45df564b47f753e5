"""Stage axis, on disk: the parts of one fit in one folder, each whole or absent, and a cache of finished fits.

A folder belongs to one configuration, whose hash lies in it. Parts are reused only under the same hash; the moment it
differs they are removed, before the new hash is written.
"""

import dataclasses
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from valence.activations import POOLING, load_activations, save_activations
from valence.axis import METHOD, Axis
from valence.cache import cache_folder, write_whole
from valence.cell import canonical_hash
from valence.errors import BadInput
from valence.llms import LLM
from valence.paraphrases import Paraphrasing
from valence.stories import stories_hash

FORMAT = 1
"""raised whenever the same configuration would give another axis"""
CONFIGURATION, PARAPHRASES, ACTIVATIONS, AXIS = (
    "configuration.json",
    "paraphrases.parquet",
    "activations.safetensors",
    "axis.safetensors",
)

logger = logging.getLogger(__name__)


def configuration_of(
    llm: LLM, llm_hash: str, *, how: Paraphrasing, layer: int, engine: str, sign_rule: str, seed: int
) -> dict:
    """Everything that decides an axis, and no path or device."""
    return {
        "format": FORMAT,
        "llm": llm.name,
        "llm_hash": llm_hash,
        "chat": llm.chat,
        "dtype": llm.dtype,
        "engine": engine,
        "stories": stories_hash(),
        "paraphrasing": dataclasses.asdict(how),
        "layer": layer,
        "pooling": POOLING,
        "method": METHOD,
        "sign_rule": sign_rule,
        "seed": seed,
    }


class AxisFolder:
    """The parts of one fit.

    Parameters
    ----------
    folder : receives configuration.json, paraphrases.parquet, activations.safetensors and axis.safetensors.
    configuration : see `configuration_of`.
    """

    def __init__(self, folder: Path, configuration: dict):
        self.folder = Path(folder)
        self.configuration = configuration
        self.hash = canonical_hash(configuration)

    def finished(self, on_event: Callable[[str], None] = logger.info) -> Axis | None:
        """The axis of this configuration, from the folder or else from the cache, which is then copied in."""
        if self._is_ours(self.folder):
            axis = _read(Axis.load, self.folder / AXIS)
            if axis is not None:
                return axis
        cached = self._cached
        axis = _read(Axis.load, cached / AXIS) if self._is_ours(cached) else None
        if axis is None:
            return None
        self.open()
        # the axis last: it alone says that a folder is finished
        for name in (PARAPHRASES, ACTIVATIONS, AXIS):
            if (cached / name).is_file():
                write_whole(self.folder / name, partial(shutil.copyfile, cached / name))
        on_event(f"axis of {self.configuration['llm']}: taken from the cache, {cached}")
        return axis

    def open(self) -> None:
        """Make the folder this configuration's: parts of another one are removed."""
        if self._is_ours(self.folder):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (AXIS, ACTIVATIONS, PARAPHRASES, CONFIGURATION):
            (self.folder / name).unlink(missing_ok=True)
        text = json.dumps({"hash": self.hash, **self.configuration}, indent=1, sort_keys=True)
        write_whole(self.folder / CONFIGURATION, lambda temporary: temporary.write_text(text + "\n"))

    def paraphrases(self) -> pd.DataFrame | None:
        """The saved table, or None."""
        return _read(pd.read_parquet, self.folder / PARAPHRASES)

    def save_paraphrases(self, table: pd.DataFrame) -> None:
        write_whole(self.folder / PARAPHRASES, lambda temporary: table.to_parquet(temporary, index=False))

    def activations(self, texts: list[str]) -> np.ndarray | None:
        """Saved activations of these texts, (n_texts, 1, d_model), or None."""
        layers = [self.configuration["layer"]]
        return _read(lambda path: load_activations(path, texts=texts, layers=layers), self.folder / ACTIVATIONS)

    def save_activations(self, activations: np.ndarray, texts: list[str]) -> None:
        layers = [self.configuration["layer"]]
        save_activations(self.folder / ACTIVATIONS, activations, texts=texts, layers=layers)

    def finish(self, axis: Axis) -> None:
        """Save the axis, and put a copy of all parts into the cache."""
        axis.save(self.folder / AXIS)
        cached = self._cached
        if self._is_ours(cached) and _read(Axis.load, cached / AXIS) is not None:
            return
        half = cached.with_name(f".{cached.name}.{secrets.token_hex(8)}")
        try:
            half.mkdir(parents=True)
            for name in (CONFIGURATION, PARAPHRASES, ACTIVATIONS, AXIS):
                shutil.copyfile(self.folder / name, half / name)
            shutil.rmtree(cached, ignore_errors=True)
            os.replace(half, cached)
        except OSError as error:  # another sweep was faster, or the cache is full or read-only: the axis is saved
            logger.info("the axis was not put into the cache: %s", error)
        finally:
            shutil.rmtree(half, ignore_errors=True)

    @property
    def _cached(self) -> Path:
        return cache_folder() / "axes" / self.hash

    def _is_ours(self, folder: Path) -> bool:
        try:
            return json.loads((folder / CONFIGURATION).read_text())["hash"] == self.hash
        except (OSError, ValueError, KeyError, TypeError):
            return False


def _read(load: Callable, path: Path):
    """What a part holds; None where it is absent, or damaged, and then it is made again."""
    if not path.is_file():
        return None
    try:
        return load(path)
    except (BadInput, OSError, ValueError) as error:
        logger.warning("made again: %s", error)
        return None
