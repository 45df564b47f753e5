"""Ensembles to a folder and back, from a sweep: cells whose weights were kept, and what they were trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from valence.cell import Recipe
from valence.datasets.base import Dataset
from valence.decoder import BandFeatures, TrainedOn
from valence.ensemble import Ensemble
from valence.errors import BadInput
from valence.exported import Member
from valence.kept import Kept
from valence.prepared import signal_spec

if TYPE_CHECKING:
    from valence.prepared import Prepared

FLAT = 1e-8
"""standard deviation below which a channel and band never varies, as in training"""


def sweep_members(out: Path, found: Ensemble, kept: Sequence[Kept]) -> list[Member]:
    """Members of an ensemble with the weights that a sweep has kept of them.

    Parameters
    ----------
    out : folder of the sweep.
    found : fitted on these cells.
    kept : the cells, as `valence.kept.read_kept` gives them.

    Raises
    ------
    BadInput : where weights of a member were not kept.
    """
    by_id = {cell.cell_id: cell for cell in kept}
    members = []
    for cell_id, share in zip(found.members, found.weights, strict=True):
        path = Path(out) / "trained" / f"{cell_id}.safetensors"
        if share > 0 and (cell_id not in by_id or not path.is_file()):
            raise BadInput(
                f"no weights of cell {cell_id} in {Path(out) / 'trained'}",
                allowed="cells of a sweep that was asked to keep them (--keep)",
                do="run the sweep's command again with --keep, or take other members",
            )
        if share > 0:
            members.append(Member(classifier=by_id[cell_id].classifier, weights=path, share=float(share)))
    return members


def trained_on_windows(dataset: Dataset, recipe: Recipe) -> TrainedOn:
    """What classifiers of windows were given."""
    return TrainedOn(
        spec=signal_spec(dataset, "windows", recipe),
        recipe=recipe,
        processing=dataset.processing,
        sfreq_hz=dataset.loaded_sfreq,
        classes=tuple(dataset.classes),
    )


def trained_on_band_features(
    dataset: Dataset, recipe: Recipe, prepared: "Prepared", train: np.ndarray, *, edges: str = "mne"
) -> TrainedOn:
    """What classifiers of band features were given.

    Parameters
    ----------
    prepared : the data set's band features.
    train : rows of the training part, whose mean and sd they were normalised by.
    edges : how the data set's bands end, see `valence.features`; FACED's files fit "mne".
    """
    sample = np.asarray(prepared.x[train], dtype=np.float64)
    sd = sample.std((0, 2))
    return TrainedOn(
        spec=prepared.spec,
        recipe=recipe,
        processing=dataset.processing,
        sfreq_hz=dataset.loaded_sfreq,
        classes=tuple(dataset.classes),
        bands=BandFeatures(
            kind=recipe.band_features,
            bands=tuple(dataset.bands),
            edges=edges,
            mean=sample.mean((0, 2)),
            sd=np.where(sd > FLAT, sd, 1.0),
        ),
    )
