"""Stage axis, on disk: the parts of one fit in one folder, each whole or absent, and a cache of finished fits.

A folder belongs to one configuration, whose hash lies in it. Parts are reused only under the same hash; the moment it
differs they are removed, before the new hash is written. Paraphrases are kept in the cache under what decides them
alone, so that another layer or method, or another LLM that reads them, does not write them again.
"""

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

from valence.activations import POOLING, load_activations, reading_identity, save_activations
from valence.axis import METHOD, Axis
from valence.cache import cache_folder, write_whole
from valence.cell import canonical_hash
from valence.errors import BadInput
from valence.llms import LLM, engine_version
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
UNFINISHED = "paraphrases.unfinished.parquet"
"""the table so far"""

logger = logging.getLogger(__name__)


def configuration_of(
    llm: LLM,
    llm_hash: str,
    *,
    how: Paraphrasing,
    layer: int,
    engine: str,
    sign_rule: str,
    seed: int,
    pooling: str = POOLING,
    method: str = METHOD,
) -> dict:
    """Everything that decides an axis, and no path or device."""
    written = writing_of(llm, llm_hash, how=how, engine=engine, seed=seed)
    return {**written, **_fitted_by(layer, pooling, method, sign_rule)}


def writing_of(llm: LLM, llm_hash: str, *, how: Paraphrasing, engine: str, seed: int) -> dict:
    """Everything that decides the paraphrases of the stories."""
    return {
        **_read_by(llm, llm_hash, engine),
        "chat": llm.chat,
        "stories": stories_hash(),
        "paraphrasing": how.identity(),
        "seed": seed,
    }


def configuration_on_texts(
    llm: LLM,
    llm_hash: str,
    table: pd.DataFrame,
    *,
    layer: int,
    engine: str,
    sign_rule: str,
    seed: int,
    pooling: str = POOLING,
    method: str = METHOD,
) -> dict:
    """Everything that decides an axis fitted to given texts: the kept ones, whoever wrote them."""
    kept = table[table["kept"]]
    rows = [list(row) for row in kept[["story", "emotion", "set", "text"]].itertuples(index=False, name=None)]
    how = _fitted_by(layer, pooling, method, sign_rule)
    return {**_read_by(llm, llm_hash, engine), "texts": canonical_hash(rows), "seed": seed, **how}


def _fitted_by(layer: int, pooling: str, method: str, sign_rule: str) -> dict:
    read = {"layer": layer, "pooling": pooling, **reading_identity(pooling)}
    return {**read, "method": method, "sign_rule": sign_rule}


def _read_by(llm: LLM, llm_hash: str, engine: str) -> dict:
    by = {"engine": engine, "engine_version": engine_version(engine)}
    return {"format": FORMAT, "llm": llm.name, "llm_hash": llm_hash, "dtype": llm.dtype, **by}


class AxisFolder:
    """The parts of one fit.

    Parameters
    ----------
    folder : receives configuration.json, paraphrases.parquet, activations.safetensors and axis.safetensors.
    configuration : see `configuration_of`, `writing_of` and `configuration_on_texts`.
    writing : what decides the paraphrases; None where they are given.
    """

    def __init__(self, folder: Path, configuration: dict, writing: dict | None = None):
        self.folder = Path(folder)
        self.configuration = configuration
        self.hash = canonical_hash(configuration)
        self._shared = None if writing is None else f"{canonical_hash(writing)}.parquet"

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
        for name in (AXIS, ACTIVATIONS, PARAPHRASES, UNFINISHED, CONFIGURATION):
            (self.folder / name).unlink(missing_ok=True)
        text = json.dumps({"hash": self.hash, **self.configuration}, indent=1, sort_keys=True)
        write_whole(self.folder / CONFIGURATION, lambda temporary: temporary.write_text(text + "\n"))

    def paraphrases(self) -> pd.DataFrame | None:
        """The finished table, from the folder or else from the cache, or None."""
        table = _read(pd.read_parquet, self.folder / PARAPHRASES)
        if table is None and self._shared is not None:
            table = _read(pd.read_parquet, cache_folder() / "paraphrases" / self._shared)
            if table is not None:
                self._write_table(table, self.folder / PARAPHRASES)
        return table

    def save_paraphrases(self, table: pd.DataFrame) -> None:
        """Save the finished table, and share it."""
        self._write_table(table, self.folder / PARAPHRASES)
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        if self._shared is not None:
            try:
                self._write_table(table, cache_folder() / "paraphrases" / self._shared)
            except OSError as error:  # the cache is full or read-only: the table is saved
                logger.info("the paraphrases were not put into the cache: %s", error)

    def unfinished_paraphrases(self) -> pd.DataFrame | None:
        """The table that a killed run has left, or None."""
        return _read(pd.read_parquet, self.folder / UNFINISHED)

    def save_unfinished(self, table: pd.DataFrame) -> None:
        self._write_table(table, self.folder / UNFINISHED)

    @staticmethod
    def _write_table(table: pd.DataFrame, path: Path) -> None:
        write_whole(path, lambda temporary: table.to_parquet(temporary, index=False))

    def activations(self, texts: list[str]) -> np.ndarray | None:
        """Saved activations of these texts, (n_texts, 1, d_model), or None."""
        read = partial(load_activations, texts=texts, **self._reading)
        return _read(read, self.folder / ACTIVATIONS)

    def save_activations(self, activations: np.ndarray, texts: list[str]) -> None:
        save_activations(self.folder / ACTIVATIONS, activations, texts=texts, **self._reading)

    @property
    def _reading(self) -> dict:
        return {"layers": [self.configuration["layer"]], "pooling": self.configuration["pooling"]}

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
