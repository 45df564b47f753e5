"""Stages paraphrases and activations of a study: what every LLM and encoder writes and reads, in folders that stay.

An engine starts with the first call that needs it: where all paraphrases and activations are there, none does.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from cluster import axis_steps as steps
from cluster.axis_folder import AxisFolder, writing_of
from cluster.axis_request import ALL, StudyRequest
from cluster.remote_engine import RemoteEngine
from cluster.session import ray_session
from valence.activation_files import ActivationFiles, read_to_files
from valence.cache import write_whole
from valence.cell import canonical_hash
from valence.concepts import concept_texts
from valence.encoder_networks import NliEncoder
from valence.encoders import encoder_hash, load_encoder, load_nli
from valence.llms import LLM, engine_identity, engine_version, weights_hash
from valence.paraphrases import Generation, Request
from valence.stories import load_stories, nonce_stories
from valence.study_read import Read

OnEvent = Callable[[str], None]


class RaySession(contextlib.ExitStack):
    """Ray for as long as a study needs it, from the first engine on."""

    _running = False

    def start(self) -> None:
        """Connect, once."""
        if not self._running:
            self.enter_context(ray_session())
            self._running = True


class LlmEngine:
    """An LLM's engine, which starts at the first call and ends with the block."""

    def __init__(self, llm: LLM, engine: str, session: RaySession, on_event: OnEvent):
        self._llm, self._name, self._session, self._on_event = llm, engine, session, on_event
        self._engine: RemoteEngine | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "LlmEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def turn_into(self, llm: LLM) -> None:
        """Load another LLM in place of this one, where it has started."""
        self._llm = llm
        if self._engine is not None:
            self._engine.turn_into(llm)

    def identity(self) -> str:
        return engine_identity(self._llm, self._name)

    def n_layers(self) -> int:
        return self._started().n_layers()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._started().count_tokens(texts)

    def generate(self, requests: Sequence[Request], *, temperature: float, max_new_tokens: int) -> list[Generation]:
        return self._started().generate(requests, temperature=temperature, max_new_tokens=max_new_tokens)

    def activations(self, texts: Sequence[str], *, layers: Sequence[int], pooling: str = "last") -> np.ndarray:
        return self._started().activations(texts, layers=layers, pooling=pooling)

    def _started(self) -> RemoteEngine:
        if self._engine is None:
            self._session.start()
            self._engine = self._stack.enter_context(RemoteEngine(self._llm, self._name, self._say))
        return self._engine

    def _say(self, line: str) -> None:
        """What the engine tells, but of each reading: the files tell of that."""
        if not line.startswith("activations: "):
            self._on_event(line)


class EncoderEngine:
    """An encoder read as an LLM of one layer; of an NLI classifier, its score of valence in one dimension."""

    def __init__(self, name: str, *, nli: bool = False):
        self._name, self._nli = name, nli
        self._encoder: Any = None

    def identity(self) -> str:
        return canonical_hash([encoder_hash(self._name), self._nli, engine_version("transformers")])

    def n_layers(self) -> int:
        return 1

    def activations(self, texts: Sequence[str], *, layers: Sequence[int], pooling: str = "last") -> np.ndarray:
        if self._encoder is None:
            self._encoder = load_nli(self._name) if self._nli else load_encoder(self._name)
        scored = self._nli and isinstance(self._encoder, NliEncoder)
        rows = self._encoder.score(texts)[:, None] if scored else self._encoder.encode(texts)
        return rows[:, None, :]


def folder_of(request: StudyRequest, llm: LLM) -> Path:
    """Where an LLM's parts lie."""
    return request.out / "llms" / safe(llm.name)


def safe(name: str) -> str:
    """A name as a folder's."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "--" for letter in name).lstrip(".")


def writing_identity(request: StudyRequest, writer: LLM) -> dict:
    """What decides the paraphrases."""
    return writing_of(writer, weights_hash(writer), how=request.how, engine=request.engine, seed=request.seed)


def written(request: StudyRequest, writer: LLM, engine: LlmEngine, on_event: OnEvent) -> pd.DataFrame:
    """All paraphrases of one writer, from the study's folder or the cache, and written as far as they are not there."""
    writing = writing_identity(request, writer)
    parts = AxisFolder(request.out / "writers" / safe(writer.name), writing, writing=writing)
    parts.open()
    running = cast(RemoteEngine, engine)  # one that starts with its first call
    table = steps.written(writer, running, parts, how=request.how, seed=request.seed, on_event=on_event)
    for warning in steps.facts_of_paraphrases(table, request.how)[1]:
        on_event(f"{writer.name}: note that {warning}")
    return table


def texts_to_read(request: StudyRequest, kept: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """What each LLM reads, by name of the part."""
    texts = {
        "paraphrases": tuple(kept["text"]),
        "stories": tuple(story.text for story in load_stories()),
        "concepts": tuple(row.text for row in concept_texts()),
    }
    if request.nonce:
        texts["nonce"] = tuple(story.text for seed in range(request.nonce) for story in nonce_stories(seed=seed))
    if request.clips:
        texts["clips"] = tuple(request.clips.values())
    for name, loaded in request.benchmarks.items():
        texts[f"evaluation/{name}"] = loaded.evaluation.texts
        if len(loaded.training):
            texts[f"training/{name}"] = loaded.training.texts
    return texts


def read_llm(
    request: StudyRequest, llm: LLM, table: pd.DataFrame, writer: str, engine: LlmEngine, on_event: OnEvent
) -> Read:
    """Activations of everything an LLM reads; all layers where all are asked for, but of what only the axis's needs."""
    folder = folder_of(request, llm)
    kept = table[table["kept"]].reset_index(drop=True)
    if writer != llm.name:  # the place of the token that is read is counted in tokens of who reads
        kept = kept.assign(n_tokens=_lengths(folder / "lengths.json", engine, tuple(kept["text"])))
    n_layers = _n_layers(folder / "engine.json", engine)
    layers = range(n_layers) if request.layers == ALL else [request.layer]
    files: dict[str, ActivationFiles] = {}
    for part, texts in texts_to_read(request, kept).items():
        wanted = [request.layer % n_layers if request.layers == ALL else request.layer]
        wanted = wanted if part.startswith("training/") or part == "nonce" else [int(layer) for layer in layers]

        def say(line: str, part: str = part) -> None:
            on_event(f"{llm.name}, {part}: {line.removeprefix('activations: ')}")

        place = folder / "activations" / part
        files[part] = read_to_files(engine, texts, place, layers=wanted, pooling=request.pooling, on_event=say)
    facts = {
        "llm": llm.name,
        "family": llm.family or llm.name,
        "llm_hash": weights_hash(llm),
        "engine": request.engine,
        "engine_version": engine_version(request.engine),
        "dtype": llm.dtype,
        "n_paraphrases": request.how.n,
        "writer": writer,
    }
    return Read(facts=facts, table=kept, n_layers=n_layers, files=files)


def read_encoder(
    request: StudyRequest, name: str, texts: Mapping[str, Sequence[str]], on_event: OnEvent, *, nli: bool = False
) -> dict[str, np.ndarray]:
    """What an encoder makes of texts, by part: float32 (n_texts, d)."""
    engine, out = EncoderEngine(name, nli=nli), {}
    folder = request.out / "encoders" / (f"nli-{safe(name)}" if nli else safe(name))
    for part, of_part in texts.items():

        def say(line: str, part: str = part) -> None:
            on_event(f"{name}, {part}: {line.removeprefix('activations: ')}")

        out[part] = read_to_files(engine, of_part, folder / part, layers=[0], on_event=say).layer(0)
    return out


def _n_layers(path: Path, engine: LlmEngine) -> int:
    """Hidden states of the engine's LLM, remembered beside its activations."""
    return int(_remembered(path, engine.identity(), engine.n_layers))


def _lengths(path: Path, engine: LlmEngine, texts: tuple[str, ...]) -> list[int]:
    """Tokens of texts by the engine's own tokenizer, remembered likewise."""
    return _remembered(path, canonical_hash([engine.identity(), texts]), lambda: engine.count_tokens(texts))


def _remembered(path: Path, key: str, compute: Callable[[], Any]) -> Any:
    """What a small file holds under a key; computed and written where it holds something else."""
    try:
        return json.loads(path.read_text())[key]
    except (OSError, ValueError, KeyError, TypeError):
        value = compute()
        write_whole(path, lambda temporary: temporary.write_text(json.dumps({key: value}) + "\n"))
        return value
