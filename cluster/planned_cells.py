"""A request to its cells before anything is read or converted: which are committed, and which are to be trained.

In: a request and its store. Out: cells with the ids that the sweep will give them, as far as its folder tells what its
data and its axis are. Nothing is committed of data that was never converted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.binding import bind
from cluster.data import Data, data_hash, inputs_used, training_ratings
from cluster.pipeline import digest_of, found_axes, needs_axis, to_train
from cluster.pretrained import HUB
from cluster.pretrained import digest_of as digest_of_weights
from cluster.request import Request
from cluster.store import Store
from cluster.words import path_of
from valence.cell import Cell, canonical_hash
from valence.conversion import MANIFEST
from valence.datasets import DATASETS, Dataset
from valence.prepared import Prepared, prepare, signal_spec
from valence.samples import stored_input
from valence.sources import identity
from valence.splits import make_split

UNKNOWN = "unknown"
"""in place of the digest of what is not there yet"""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The cells of a request."""

    cells: Sequence[Cell]
    waiting: Sequence[Cell]
    """those to be trained, in their order; a committed one is among them where others build on weights not kept"""
    converted: frozenset[str]
    """inputs whose recordings are converted"""

    @property
    def n_committed(self) -> int:
        """Cells with nothing left to do."""
        return len(set(self.cells) - set(self.waiting))


def planned_cells(request: Request, store: Store) -> Planned:
    """The cells of a request, without the recordings and the LLM where the sweep's folder holds no result yet."""
    data = found_data(request) if store.committed() else None
    hashes = {} if data is None else {input: data_hash(data, input) for input in data.prepared}
    digests, ratings = [UNKNOWN], ""
    if hashes and data is not None:
        axes = found_axes(request)
        digests = [axis.digest for axis in axes] if axes or not needs_axis(request) else [UNKNOWN]
        ratings = digest_of(training_ratings(data)) if len(hashes) == len(inputs_used(request)) else ""
    cells = bind(
        request.grid,
        dataset=request.dataset,
        hashes={input: hashes.get(input, UNKNOWN) for input in inputs_used(request)},
        split=request.split if data is None else next(iter(data.splits.values())).name,
        recipes=request.preset.recipes,
        axis_digests=digests,
        ratings_digest=ratings,
        weights=_weights(request, store),
    )
    return Planned(
        cells=cells,
        waiting=to_train(cells, store, keep=request.keep) if hashes else cells,
        converted=frozenset(hashes),
    )


def found_data(request: Request) -> Data | None:
    """What is converted of a request's recordings; None before a simulated cohort is written."""
    root = request.data_root or request.out / request.dataset
    if not root.is_dir():
        return None
    dataset = DATASETS[request.dataset](root, processing=request.processing)
    prepared, splits = {}, {}
    for input in inputs_used(request):
        stored = stored_input(input, request.preset.recipes[input])
        if stored not in dataset.inputs:
            continue
        splits[input] = make_split(dataset, stored, request.split)
        found = _converted(dataset, input, request)
        if found is not None:
            prepared[input] = found
    return Data(dataset=dataset, prepared=prepared, splits=splits, audits={}) if splits else None


def _converted(dataset: Dataset, input: str, request: Request) -> Prepared | None:
    """The conversion that `valence.prepared.prepare` would find; it is not made here."""
    recipe, folder = request.preset.recipes[input], request.prepared or request.out / "prepared"
    if not folder.is_dir():
        return None
    home = folder / canonical_hash(identity(dataset, input, recipe, signal_spec(dataset, input, recipe)))
    return prepare(dataset, input, recipe, folder) if (home / MANIFEST).is_file() else None


def _weights(request: Request, store: Store) -> dict[str, str]:
    """Classifier to the digest of its pretrained weights; of those from the hub the one that its rows have."""
    found = {}
    for name, place in request.pretrained.items():
        if place != HUB:
            found[name] = digest_of_weights(path_of(place, "--pretrained"))
            continue
        rows = store.rows()
        known = rows.loc[rows["classifier"] == name, "weights"].tolist() if len(rows) else []
        found[name] = known[-1] if known else UNKNOWN
    return found
