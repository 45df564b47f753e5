"""What the job valence_axis runs: each LLM, then what compares them; each part is found done when it is.

OUT/llms/NAME has an LLM's activations, axis.safetensors (for saturation_grid --axis) and tables; OUT itself the tables
of all, figures and the MLflow database. Everything can be deleted and is made again from what is left.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pandas as pd

from cluster.axis_comparison import compare, llms_only, read_encoders
from cluster.axis_reading import (
    EncoderEngine,
    LlmEngine,
    OnEvent,
    RaySession,
    folder_of,
    read_llm,
    writing_identity,
    written,
)
from cluster.axis_request import StudyRequest
from cluster.axis_study_files import AXIS, HASH, is_of, load_tables, save_tables
from cluster.axis_untrained import ENGINE, read_untrained
from cluster.llm_pool import side_by_side
from valence.agreement import Reading, families
from valence.axis_null_rows import PER_STORY
from valence.cell import canonical_hash
from valence.concepts import concept_texts
from valence.errors import BadInput
from valence.llms import LLM, engine_identity, engine_version
from valence.llms.untrained import UNTRAINED
from valence.stories import nonce_stories
from valence.study_read import Read, check_read
from valence.study_tables import TABLES, tables_of_llm

FORMAT = 3
"""raised whenever the same texts and activations would give other tables"""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What came out."""

    tables: Mapping[str, pd.DataFrame]
    axes: Mapping[str, Path]
    """file of each LLM's axis, by name"""
    reused: bool
    """True where all of it was there"""
    failed: Mapping[str, str]
    """why an LLM could not be done, by name"""
    hash: str


def run_study(request: StudyRequest, *, on_event: OnEvent) -> Study:
    """Read every LLM and encoder as far as that has not been done, and make the tables.

    Several LLMs that are still to be done run side by side where the cluster has room. One that cannot be done is left
    out and named in the result; BadInput is raised where that leaves none, and for encoders that cannot be loaded.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    study_hash = hash_of_study(request)
    axes = {llm.name: folder_of(request, llm) / AXIS for llm in request.llms}
    tables = load_tables(request.out, study_hash)
    if tables is not None and not all(is_of(path, tables["axes"], name) for name, path in axes.items()):
        tables = None
    reused = tables is not None
    failed: dict[str, str] = {}
    if tables is None:
        # from here on files of LLMs may be another study's: an interrupted one must not leave this mark
        (request.out / HASH).unlink(missing_ok=True)
        tables, failed = _make_tables(request, on_event)
        axes = {name: path for name, path in axes.items() if name not in failed}
        # of a study that is not whole the tables are there to be read, but the next run makes them again
        save_tables(request.out, tables, study_hash if not failed else f"without {', '.join(failed)}")
    return Study(tables=tables, axes=axes, failed=failed, reused=reused, hash=study_hash)


def hash_of_study(request: StudyRequest) -> str:
    """16 hex digits over everything that decides the tables."""
    encoders = [[name, EncoderEngine(name).identity()] for name in request.encoders]
    nli = None if request.nli is None else EncoderEngine(request.nli, nli=True).identity()
    images = None if request.images is None else request.images.rated.hash
    return canonical_hash([FORMAT, [hash_of_llm(request, llm) for llm in request.llms], encoders, nli, images])


def hash_of_llm(request: StudyRequest, llm: LLM) -> str:
    """16 hex digits over everything that decides an LLM's tables."""
    writer = request.writer or llm
    choices = [request.layers, request.layer, request.pooling, request.method, request.sign_rule, request.seed]
    benchmarks = [loaded.hash for loaded in request.benchmarks.values()]
    parts = [engine_identity(llm, request.engine), llm.name, llm.family, writing_identity(request, writer)]
    own = [[text.id, text.text] for text in concept_texts()]
    own += [[story.id, story.text] for seed in range(request.nonce) for story in nonce_stories(seed=seed)]
    networks = [UNTRAINED, PER_STORY, request.untrained, engine_version(ENGINE)]
    return canonical_hash([FORMAT, *parts, *choices, benchmarks, list(request.clips.items()), own, networks])


def _make_tables(request: StudyRequest, on_event: OnEvent) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Tables of all LLMs that could be done, and why the others could not."""
    with RaySession() as session:
        shared: pd.DataFrame | None = None
        reads: dict[str, Read] = {}
        if request.writer is not None:
            shared, reads = _write(request, request.writer, session, on_event)

        def work(llm: LLM) -> _Done:
            return _do(request, llm, shared, reads.get(llm.name), session, on_event)

        found: dict[str, _Done | BadInput] = {llm.name: work(llm) for llm in request.llms if _is_done(request, llm)}
        missing = [llm for llm in request.llms if llm.name not in found]
        if len(missing) == 1:  # no need for Ray where only its tables are to be made again
            try:
                found[missing[0].name] = work(missing[0])
            except BadInput as error:
                found[missing[0].name] = error
        elif missing:
            session.start()
            found |= side_by_side(missing, work, on_event=on_event)
    done = {llm.name: found[llm.name] for llm in request.llms if isinstance(found[llm.name], _Done)}
    failed = {llm.name: str(found[llm.name]) for llm in request.llms if llm.name not in done}
    if not done:
        raise next(error for error in found.values() if isinstance(error, BadInput))
    return _tables_of_all(request, cast(dict[str, _Done], done), on_event), failed


def _write(
    request: StudyRequest, writer: LLM, session: RaySession, on_event: OnEvent
) -> tuple[pd.DataFrame, dict[str, Read]]:
    """The paraphrases that all read; and where the writer is one of them, what it reads, with the engine that wrote."""
    reads: dict[str, Read] = {}
    with LlmEngine(writer, request.engine, session, on_event) as engine:
        table = written(request, writer, engine, on_event)
        if writer in request.llms and not _is_done(request, writer):
            with contextlib.suppress(BadInput):  # told when it is the LLM's turn, which then fails alone
                reads[writer.name] = read_llm(request, writer, table, writer.name, engine, on_event)
    return table, reads


def _tables_of_all(request: StudyRequest, done: dict[str, "_Done"], on_event: OnEvent) -> dict[str, pd.DataFrame]:
    tables = {name: pd.concat([one.tables[name] for one in done.values()], ignore_index=True) for name in TABLES}
    readings = [one.reading for one in done.values()]
    encoded = read_encoders(request, readings[0], on_event)
    tables["validity"] = pd.concat([tables["validity"], *encoded.validity], ignore_index=True)
    on_event(f"agreement of {len(readings)} LLMs and {len(encoded.readings)} encoders")
    tables["agreement"] = compare(request, readings, encoded.readings)
    tables["families"] = families(llms_only(tables["agreement"]))
    by_writer = {one.writer: one.written for one in done.values()}
    tables["paraphrases"] = pd.concat(by_writer.values(), ignore_index=True)
    return tables


@dataclass(frozen=True, kw_only=True, eq=False)
class _Done:
    """One LLM, done."""

    tables: dict[str, pd.DataFrame]
    reading: Reading
    writer: str
    written: pd.DataFrame


def _is_done(request: StudyRequest, llm: LLM) -> bool:
    return _own_tables(request, llm) is not None


def _own_tables(request: StudyRequest, llm: LLM) -> dict[str, pd.DataFrame] | None:
    """An LLM's tables, where they are of this study and its axis file is the one they tell of."""
    folder = folder_of(request, llm)
    tables = load_tables(folder / "tables", hash_of_llm(request, llm))
    return tables if tables is not None and is_of(folder / AXIS, tables["axes"], llm.name) else None


def _do(
    request: StudyRequest,
    llm: LLM,
    shared: pd.DataFrame | None,
    read: Read | None,
    session: RaySession,
    on_event: OnEvent,
) -> _Done:
    """Everything of one LLM, as far as it is not there; `read` is what it has read already."""
    writer = (request.writer or llm).name
    if shared is not None and read is not None:
        table = shared
    else:
        with LlmEngine(llm, request.engine, session, on_event) as engine:
            table = written(request, llm, engine, on_event) if shared is None else shared
            read = read_llm(request, llm, table, writer, engine, on_event)
    # the engine has ended: its memory is free for untrained networks, and then for the fits
    check_read(read)
    tables = _tables_of(request, llm, read, session, on_event)
    return _Done(tables=tables, reading=_reading(request, read), writer=writer, written=table)


def _tables_of(
    request: StudyRequest, llm: LLM, read: Read, session: RaySession, on_event: OnEvent
) -> dict[str, pd.DataFrame]:
    """An LLM's axis and tables, from its folder where they are of the same study."""
    folder, own_hash = folder_of(request, llm), hash_of_llm(request, llm)
    tables = _own_tables(request, llm)
    if tables is None:
        found = read_untrained(request, llm, read.table, session, on_event)
        read = replace(read, untrained=tuple(found.files.values()), reason=found.reason)
        axis, tables = tables_of_llm(
            read,
            request.benchmarks,
            method=request.method,
            sign_rule=request.sign_rule,
            layer=request.layer,
            clips=tuple(request.clips),
            seed=request.seed,
            on_event=on_event,
        )
        (folder / "tables" / HASH).unlink(missing_ok=True)
        axis.save(folder / AXIS)
        save_tables(folder / "tables", tables, own_hash)
    return tables


def _reading(request: StudyRequest, read: Read) -> Reading:
    return Reading(
        llm=str(read.facts["llm"]),
        family=str(read.facts["family"]),
        texts=tuple(read.table["text"]),
        paraphrases=read.paraphrases(request.layer),
        clips=read.files["clips"].layer(request.layer) if request.clips else None,
    )
