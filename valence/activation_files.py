"""Stage activations, on disk: texts and an engine in, a folder of shards out, so that memory does not grow with texts.

A shard is one safetensors file with the activations of some hundred texts; `manifest.json` says of which texts, layers,
pooling and LLM. Shards are written whole, one after the other, so a reading that was killed goes on where it was.
"""

import json
import logging
import re
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from valence.activation_manifest import MANIFEST, Manifest, load_manifest, unusable
from valence.activations import POOLING, check_pooling, reading_identity
from valence.cache import write_whole
from valence.cell import canonical_hash
from valence.errors import BadInput

TEXTS_PER_SHARD = 2048
BYTES_PER_SHARD = 128 * 2**20
"""a shard crosses from the engine in one piece: with many layers it holds fewer texts"""
_SHARD_NAME = re.compile(r"\d{5,}\.safetensors")
_TENSOR = "activations"

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """What reading needs of an engine."""

    def activations(self, texts: Sequence[str], *, layers: Sequence[int], pooling: str = "last") -> np.ndarray: ...

    def n_layers(self) -> int: ...

    def identity(self) -> str:
        """Hash of weights, tokenizer, dtype and engine: everything that decides what is read."""
        ...


class ActivationFiles:
    """Activations of many texts, read shard by shard.

    Parameters
    ----------
    folder : as `read_to_files` writes it.

    Raises
    ------
    BadInput : where the folder holds no activations, not all of them, or a damaged file.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._manifest = load_manifest(folder)
        self.texts_hash, self.layers = self._manifest.texts_hash, self._manifest.layers
        self.pooling, self.n_texts, self.d_model = (
            self._manifest.pooling,
            self._manifest.n_texts,
            self._manifest.d_model,
        )
        for index, span in enumerate(self._manifest.spans()):
            if not _is_whole(_shard(folder, index), self._manifest, span):
                raise unusable(_shard(folder, index), "it is missing or damaged")

    def layer(self, layer: int) -> np.ndarray:
        """Activations of one layer: float32 array, (n_texts, d_model). -2 and its positive index are the same layer.

        Raises BadInput for a layer that was not read.
        """
        n_states = self._manifest.n_llm_layers
        positions = [read % n_states for read in self.layers]
        if layer % n_states not in positions or not -n_states <= layer < n_states:
            raise BadInput(
                f"layer {layer} of the activations in {self.folder}",
                allowed=", ".join(map(str, self.layers)),
                do="take one of these, or read the activations again with this layer",
            )
        position = positions.index(layer % n_states)
        out = np.empty((self.n_texts, self.d_model), dtype=np.float32)
        for span, shard in self.shards():
            out[span] = shard[:, position]
        return out

    def shards(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Texts (as a slice of all) and their activations, float32 (n, n_layers, d_model), memory-mapped, read-only."""
        for index, span in enumerate(self._manifest.spans()):
            yield span, _mapped(_shard(self.folder, index), self._manifest, span)


def read_to_files(
    engine: Reader,
    texts: Sequence[str],
    folder: Path,
    *,
    layers: Sequence[int],
    pooling: str = POOLING,
    texts_per_shard: int = TEXTS_PER_SHARD,
    on_event: Callable[[str], None] = logger.info,
) -> ActivationFiles:
    """Read the activations of texts into a folder; what is there of the same texts, layers, pooling and LLM stays.

    Parameters
    ----------
    engine : not asked for anything where all shards are there.
    texts : at least one.
    folder : files of another reading in it are removed.
    layers : see `valence.activations`; all are read in one pass.
    pooling : "last" or "mean".
    texts_per_shard : at most; fewer where they would take more than BYTES_PER_SHARD.
    on_event : receives a line for each shard.

    Raises
    ------
    BadInput : for no texts, an unknown layer or pooling, or activations that are not finite.
    """
    check_pooling(pooling)
    if not texts or not layers:
        raise BadInput("no texts or no layers to read", allowed="at least one of each", do="give some")
    wanted = {
        "texts_hash": canonical_hash(list(texts)),
        "layers": tuple(int(layer) for layer in layers),
        "pooling": pooling,
        "llm": _identity(engine, pooling),
    }
    manifest = _same(folder, wanted)
    if manifest is None:
        manifest = _begin(engine, texts, folder, wanted, texts_per_shard)
    spans = manifest.spans()
    left = [index for index, span in enumerate(spans) if not _is_whole(_shard(folder, index), manifest, span)]
    if len(left) < len(spans):
        on_event(f"activations: {len(spans) - len(left)} of {len(spans)} files are there")
    started = time.monotonic()
    for done, index in enumerate(left, start=1):
        read = engine.activations(texts[spans[index]], layers=manifest.layers, pooling=pooling)
        _write(_shard(folder, index), read, manifest, spans[index])
        remaining_s = (time.monotonic() - started) / done * (len(left) - done)
        on_event(f"activations: {spans[index].stop} of {len(texts)} texts, {remaining_s:.0f} s to go")
    return ActivationFiles(folder)


def _identity(engine: Reader, pooling: str) -> str:
    """Of the LLM, and of how it is pooled where that has changed."""
    reading = reading_identity(pooling)
    return canonical_hash([engine.identity(), reading]) if reading else engine.identity()


def _begin(engine: Reader, texts: Sequence[str], folder: Path, wanted: dict, texts_per_shard: int) -> Manifest:
    """Empty the folder of another reading, and write what it will hold."""
    # one text tells the width, and that the layers exist
    d_model = engine.activations(texts[:1], layers=wanted["layers"], pooling=wanted["pooling"]).shape[2]
    bytes_per_text = 4 * len(wanted["layers"]) * d_model
    manifest = Manifest(
        **wanted,
        n_texts=len(texts),
        n_llm_layers=engine.n_layers(),
        d_model=d_model,
        texts_per_shard=max(1, min(texts_per_shard, BYTES_PER_SHARD // bytes_per_text)),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        if _SHARD_NAME.fullmatch(path.name):
            path.unlink()
    text = json.dumps(asdict(manifest), indent=1)
    write_whole(folder / MANIFEST, lambda temporary: temporary.write_text(text + "\n"))
    return manifest


def _same(folder: Path, wanted: dict) -> Manifest | None:
    """The folder's manifest where it is of the same reading."""
    try:
        manifest = load_manifest(folder)
    except BadInput:
        return None
    return manifest if replace(manifest, **wanted) == manifest else None


def _write(path: Path, read: np.ndarray, manifest: Manifest, span: slice) -> None:
    from safetensors.numpy import save_file

    shape = (span.stop - span.start, len(manifest.layers), manifest.d_model)
    if read.shape != shape:
        raise ValueError(f"the engine gave activations of shape {read.shape}, not {shape}")
    if not np.isfinite(read).all():
        raise BadInput(
            f"activations of texts {span.start} to {span.stop - 1} that are not finite",
            allowed="finite numbers",
            do="take another dtype for this LLM (float16 overflows in some), or check its weights",
        )
    tensors = {_TENSOR: np.ascontiguousarray(read, dtype=np.float32)}
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata=_facts(manifest, span)))


def _facts(manifest: Manifest, span: slice) -> dict[str, str]:
    return {"reading": canonical_hash(asdict(manifest)), "start": str(span.start)}


def _header(path: Path) -> tuple[dict, int]:
    """A safetensors file's header and where its data begin; the file is not read."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), 8 + size


def _is_whole(path: Path, manifest: Manifest, span: slice) -> bool:
    """Whether a shard is there, of this reading and as long as it has to be."""
    try:
        header, start = _header(path)
        shape = [span.stop - span.start, len(manifest.layers), manifest.d_model]
        return (
            header["__metadata__"] == _facts(manifest, span)
            and (header[_TENSOR]["dtype"], header[_TENSOR]["shape"]) == ("F32", shape)
            and path.stat().st_size == start + 4 * int(np.prod(shape))
        )
    except (OSError, ValueError, KeyError, TypeError, struct.error, MemoryError, OverflowError):
        return False


def _mapped(path: Path, manifest: Manifest, span: slice) -> np.ndarray:
    shape = (span.stop - span.start, len(manifest.layers), manifest.d_model)
    return np.memmap(path, dtype="<f4", mode="r", offset=_header(path)[1], shape=shape)


def _shard(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.safetensors"
