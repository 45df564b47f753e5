"""Recordings to conversions, as prepare_data runs it: every input of a data set, its split and the audit of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.listener import Listener
from cluster.words import names_of, path_of, positive
from valence.cell import Recipe
from valence.datasets import DATASETS, Dataset
from valence.errors import BadInput
from valence.leakage import Finding, leakage_audit
from valence.plugins import load_plugin
from valence.prepared import Prepared, prepare, read_manifest, rows_of
from valence.protocols import Protocol, apply_protocol, find_protocol
from valence.splits import PARTS, STANDARD, Split, make_split

FORMED = ("world", "n_subjects")
"""words for recordings that a data set makes by itself"""
CUT = ("protocol", "window_s", "sfreq_hz")
"""words for windows"""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a user asked for; None where nothing was."""

    dataset: str
    out: str
    data_root: str | None = None
    inputs: str | None = None
    split: str = "cohort-balanced"
    protocol: str | None = None
    window_s: float | None = None
    sfreq_hz: float | None = None
    de_window_s: float | None = None
    world: str | None = None
    n_subjects: int | None = None
    workers: int | None = None
    plugin: str | None = None


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """One input of a data set, ready for training."""

    stored: str
    """"windows", "de" or "psd" """
    prepared: Prepared
    manifest: dict
    split: Split
    counts: tuple[int, ...]
    """samples in training, validation and test"""
    published: tuple[int, ...] | None
    """the counts that the protocol's authors print, where the split is theirs"""
    audit: tuple[Finding, ...]


def prepare_all(words: Words, listener: Listener) -> Iterator[Preparation]:
    """Convert a data set into OUT/prepared, or find it converted: one input after the other.

    Raises
    ------
    BadInput : for unknown names, recordings that cannot be used, a split that this data set does not allow, and words
        that apply to nothing.
    """
    for module in names_of(words.plugin, "--plugin") or []:
        load_plugin(module)
    out = path_of(words.out, "--out")
    protocol = None if words.protocol is None else find_protocol(words.protocol, words.dataset)
    windows, bands = _recipes(words, protocol)
    dataset = _open(words, out, protocol, listener)
    inputs = _wanted(dataset, words)
    splits = {stored: make_split(dataset, stored, words.split) for stored in inputs}
    for stored, split in splits.items():
        listener.stage(f"{stored}: reading {len(dataset.subjects(stored))} subjects")
        recipe = windows if stored == "windows" else replace(bands, band_features=stored)
        input = "windows" if stored == "windows" else "de"
        prepared = prepare(dataset, input, recipe, out / "prepared", workers=words.workers, on_subject=listener.subject)
        counts = tuple(len(rows_of(prepared, getattr(split, part))) for part in PARTS)
        as_published = stored == "windows" and split.name == STANDARD and words.window_s is None
        yield Preparation(
            stored=stored,
            prepared=prepared,
            manifest=read_manifest(prepared),
            split=split,
            counts=counts,
            published=protocol.counts if protocol is not None and as_published else None,
            audit=leakage_audit(split, dataset),
        )


def _recipes(words: Words, protocol: Protocol | None) -> tuple[Recipe, Recipe]:
    """How windows and how band features are cut."""
    recipe = Recipe(name="prepared", epochs=1)
    windows = recipe if protocol is None else apply_protocol(recipe, protocol)
    if words.sfreq_hz is not None:
        windows = replace(windows, sfreq_hz=positive(words.sfreq_hz, "--sfreq-hz"))
    if words.window_s is not None:
        length = positive(words.window_s, "--window-s")
        windows = replace(windows, window_s=length, stride_s=length)
    if words.de_window_s is not None:
        recipe = replace(recipe, de_window_s=positive(words.de_window_s, "--de-window-s"))
    return windows, recipe


def _open(words: Words, out: Path, protocol: Protocol | None, listener: Listener) -> Dataset:
    kind = DATASETS[words.dataset]
    root = None if words.data_root is None else path_of(words.data_root, "--data-root")
    if root is not None or not kind.makes:
        _refuse_idle(words, FORMED, f"the data set {words.dataset}, whose recordings are in a folder")
    else:
        root = out / words.dataset
        inputs = _names(words) or kind.makes
        listener.stage(f"{words.dataset} recordings: {root}")
        kind.make(
            root,
            world=words.world or "",
            n_subjects=words.n_subjects,
            inputs=inputs,
            workers=words.workers,
            on_subject=listener.subject,
        )
    return kind(root, processing=protocol.processing if protocol is not None and protocol.processing.steps else None)


def _wanted(dataset: Dataset, words: Words) -> Sequence[str]:
    """The inputs a user named, each on disk; all that are there where none is named."""
    names = _names(words)
    for name in names:
        dataset.files(name)  # refuses what is unknown or not on disk
        if name not in dataset.inputs:
            raise BadInput(f"--inputs {name}", allowed=", ".join(dataset.inputs), do="take what is on disk")
    wanted = names or dataset.inputs
    if "windows" not in wanted:
        _refuse_idle(words, CUT, f"the inputs {', '.join(wanted)}")
    if set(wanted) == {"windows"}:
        _refuse_idle(words, ("de_window_s",), "the input windows")
    return wanted


def _names(words: Words) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names_of(words.inputs, "--inputs") or ()))


def _refuse_idle(words: Words, options: Sequence[str], what: str) -> None:
    """Raise BadInput where a word was given that changes nothing here."""
    for option in options:
        value = getattr(words, option)
        if value is not None:
            flag = "--" + option.replace("_", "-")
            raise BadInput(f"{flag} {value}, for {what}", allowed=f"{what} without {flag}", do="leave it out")
