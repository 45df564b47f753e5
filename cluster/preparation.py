"""Recordings to conversions, as prepare_data runs it: every input of a data set, its split and the audit of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.listener import Listener
from valence.cell import Recipe
from valence.datasets import DATASETS, Dataset
from valence.errors import BadInput
from valence.leakage import Finding, leakage_audit
from valence.prepared import Prepared, prepare, read_manifest, rows_of
from valence.protocols import apply_protocol, find_protocol
from valence.registry import load_plugin
from valence.splits import PARTS, STANDARD, Split, make_split

SIMULATED = "simulated"


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


def prepare_all(
    dataset: str,
    *,
    data_root: str | None,
    out: Path,
    inputs: str | None,
    split: str,
    protocol: str | None,
    window_s: float | None,
    sfreq_hz: float | None,
    world: str,
    n_subjects: int | None,
    workers: int | None,
    plugins: str | None,
    listener: Listener,
) -> list[Preparation]:
    """Convert a data set into `out`/prepared, or find it converted.

    Parameters
    ----------
    inputs, plugins : names with commas; None: all inputs on disk, no plug-in.
    world, n_subjects : of a simulated cohort, which is written into `out` where there is no data_root.

    Raises
    ------
    BadInput : for unknown names, recordings that cannot be used, a split that this data set does not allow.
    """
    for module in filter(None, (name.strip() for name in (plugins or "").split(","))):
        load_plugin(module)
    kind = DATASETS[dataset]
    row = None if protocol is None else find_protocol(protocol, dataset)
    recipe = Recipe(name="windows", epochs=1)
    recipe = recipe if row is None else apply_protocol(recipe, row)
    recipe = replace(
        recipe,
        window_s=window_s or recipe.window_s,
        sfreq_hz=sfreq_hz or recipe.sfreq_hz,
        stride_s=window_s or recipe.stride_s,
    )
    root = data_root
    if root is None and dataset == SIMULATED:
        root = str(simulated_cohort(out, world=world, n_subjects=n_subjects, workers=workers, listener=listener))
    found = kind(
        None if root is None else Path(root), processing=row.processing if row and row.processing.steps else None
    )
    results = []
    for stored in wanted_inputs(found, inputs):
        parts = make_split(found, stored, split)
        listener.stage(f"{stored}: reading {len(found.subjects(stored))} subjects")
        own = recipe if stored == "windows" else replace(recipe, band_features=stored)
        input = "windows" if stored == "windows" else "de"
        prepared = prepare(found, input, own, Path(out) / "prepared", workers=workers, on_subject=listener.subject)
        counts = tuple(len(rows_of(prepared, getattr(parts, part))) for part in PARTS)
        unchanged = window_s is None and parts.name == STANDARD and stored == "windows"
        results.append(
            Preparation(
                stored=stored,
                prepared=prepared,
                manifest=read_manifest(prepared),
                split=parts,
                counts=counts,
                published=row.counts if row is not None and unchanged else None,
                audit=leakage_audit(parts, found),
            )
        )
    return results


def wanted_inputs(dataset: Dataset, inputs: str | None) -> Sequence[str]:
    """The inputs a user named, each on disk; all that are there where none is named."""
    if inputs is None:
        return dataset.inputs
    names = [name for name in (part.strip() for part in inputs.split(",")) if name]
    if not names:
        raise BadInput(f"--inputs {inputs!r} names nothing", allowed=", ".join(dataset.inputs), do="name one")
    for name in names:
        dataset.files(name)  # refuses what is unknown or not on disk
    return names


def simulated_cohort(out: Path, *, world: str, n_subjects: int | None, workers: int | None, listener: Listener) -> Path:
    """A simulated cohort of a named world, in FACED's formats, written once."""
    from valence.datasets.simulated import write_world

    root = Path(out) / "simulated"
    listener.stage(f"simulated cohort, world {world}: {root}")
    return write_world(root, world, n_subjects=n_subjects, workers=workers, on_subject=listener.subject)
