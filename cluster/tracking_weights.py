"""Kept weights to MLflow: the safetensors file as it is, and beside it a signature that says what goes in and out.

The folder `classifier/` of a cell's run holds both. Its MLmodel file has no flavour that MLflow could load: the file
is a description, and nothing that is downloaded from a server runs code. `valence.kept_weights.load_weights` puts the
weights into a classifier built here.
"""

import contextlib
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cluster.store import TRAINED, Store
from valence.cell import Recipe
from valence.classifiers import CLASSIFIERS
from valence.conversion import MANIFEST
from valence.datasets import DATASETS
from valence.errors import BadInput
from valence.prepared import signal_spec
from valence.signal import SignalSpec

FOLDER = "classifier"
WEIGHTS_TAG = "weights_sha256"
"""of a run whose weights and signature are all there"""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Kept weights of a cell."""

    path: Callable[[], Path | None]
    """the file, fetched where it lies in object storage; None where it is gone"""
    spec: SignalSpec | None
    """what its classifier is told about its input, None where nobody knows any more"""


def checkpoints_of(store: Store, plans: Iterable[dict], rows: pd.DataFrame) -> dict[str, Checkpoint]:
    """By cell id, the weights that the store keeps of cells that are done. Weights of a cell never change."""
    kept = {name.removesuffix(TRAINED) for name in store.files.names("trained")}
    rows = rows[(rows["status"] == "done") & rows["cell_id"].isin(kept)]
    if rows.empty:
        return {}
    known = _specs_of_conversions(store.folder / "prepared")
    plans = list(plans)
    found, specs = {}, {}
    for row in rows.itertuples():
        key = (row.dataset, row.classifier, row.recipe_hash)
        if key not in specs:
            specs[key] = _spec(*key, plans=plans, known=known)
        found[row.cell_id] = Checkpoint(path=partial(store.trained, row.cell_id), spec=specs[key])
    return found


def _specs_of_conversions(folder: Path) -> dict[str, SignalSpec]:
    """By content hash, what the conversions in a folder hold; a damaged one counts as absent."""
    found = {}
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            spec = manifest["spec"]
            found[manifest["hash"]] = SignalSpec(**spec | {"ch_names": tuple(spec["ch_names"])})
    return found


def _spec(
    dataset: str, classifier: str, recipe_hash: str, *, plans: list[dict], known: Mapping[str, SignalSpec]
) -> SignalSpec | None:
    """From the conversion that was trained on; where it lies elsewhere, from the facts of the data set."""
    if classifier not in CLASSIFIERS:  # a plug-in of another command
        return None
    input = CLASSIFIERS[classifier].input
    own = [plan for plan in plans if plan["dataset"] == dataset and recipe_hash in plan.get("recipes", {})]
    for plan in own:
        if (conversion := plan["data"].get(input, {}).get("hash")) in known:
            return known[conversion]
    if not own or dataset not in DATASETS:
        return None
    try:
        return signal_spec(DATASETS[dataset], input, Recipe(**own[-1]["recipes"][recipe_hash]))
    except (BadInput, TypeError, AttributeError):  # facts that only the files tell, or another version's recipe
        return None


def signature_of(spec: SignalSpec):
    """MLflow's signature: float32 batches in, logits out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    shape = (-1, spec.n_chans, spec.n_times, *([spec.n_bands] if spec.n_bands else []))
    kind = np.dtype("float32")
    return ModelSignature(
        inputs=Schema([TensorSpec(kind, shape, name=spec.input)]),
        outputs=Schema([TensorSpec(kind, (-1, spec.n_outputs), name="logits")]),
    )


def log_checkpoint(client, run_id: str, row: dict, checkpoint: Checkpoint) -> dict[str, str]:
    """Log weights and signature of a cell; the tags that say so. None where the weights are gone since."""
    from mlflow.models import Model

    path = checkpoint.path()
    if path is None:
        return {}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = checkpoint.spec
    described = Model(
        artifact_path=FOLDER,
        run_id=run_id,
        signature=None if spec is None else signature_of(spec),
        flavors={"safetensors": {"data": path.name, "sha256": digest, "classifier": row["classifier"]}},
        # the cell's own, so that the same cell is described in the same bytes
        model_uuid=row["cell_id"],
        utc_time_created=row["finished_at"].isoformat(),
        metadata=None if spec is None else json.loads(json.dumps(dataclasses.asdict(spec))),
    )
    client.log_artifact(run_id, str(path), FOLDER)
    with tempfile.TemporaryDirectory() as place:
        described.save(str(Path(place) / "MLmodel"))
        client.log_artifact(run_id, str(Path(place) / "MLmodel"), FOLDER)
    return {WEIGHTS_TAG: digest, "signature": "unknown" if spec is None else "known"}
