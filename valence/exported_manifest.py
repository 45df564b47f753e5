"""Ensembles to a folder and back, the manifest: what members have to be given, as JSON, every field checked.

In: a dictionary or a file that anybody may have written. Out: validated dataclasses, or an error; nothing is run.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from valence.cell import Recipe
from valence.decoder import BandFeatures, TrainedOn
from valence.features import EDGES, Band
from valence.processing import Processing
from valence.signal import SignalSpec

FORMAT = 1
INPUT_FIELDS = ("sfreq_hz", "window_s", "stride_s", "scale", "band_features", "de_window_s", "de_normalisation")
"""fields of a recipe that say what the input looks like; how members were trained plays no part any more"""
LARGEST_MANIFEST, MOST_VALUES = 2**20, 2**26
"""bytes; numbers in one sample: what an honest folder never reaches"""


def described(trained_on: TrainedOn) -> dict[str, Any]:
    """What members have to be given, as JSON has it."""
    bands = trained_on.bands
    return {
        "spec": dataclasses.asdict(trained_on.spec),
        "recipe": {name: getattr(trained_on.recipe, name) for name in INPUT_FIELDS},
        "processing": dataclasses.asdict(trained_on.processing),
        "sfreq_hz": trained_on.sfreq_hz,
        "classes": list(trained_on.classes),
        "bands": None
        if bands is None
        else {
            "kind": bands.kind,
            "bands": [list(band) for band in bands.bands],
            "edges": bands.edges,
            "mean": bands.mean.tolist(),
            "sd": bands.sd.tolist(),
        },
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest, of this format. Raises ValueError and OSError."""
    if path.stat().st_size > LARGEST_MANIFEST:
        raise ValueError(f"{path.stat().st_size:,} bytes, more than {LARGEST_MANIFEST:,}")

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no number")

    told = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError(f"format {told.get('format') if isinstance(told, dict) else None!r}")
    return told


def read_trained_on(told: dict[str, Any]) -> TrainedOn:
    """What members have to be given. Raises what a wrong type, a missing key or a value out of range raises."""
    spec, recipe = dict(told["spec"]), {name: told["recipe"][name] for name in INPUT_FIELDS}
    whole = {name: int(spec[name]) for name in ("n_chans", "n_times", "n_outputs", "n_bands")}
    if math.prod(max(value, 1) for name, value in whole.items() if name != "n_outputs") > MOST_VALUES:
        raise ValueError(f"samples of {whole}")
    return TrainedOn(
        spec=SignalSpec(**whole, sfreq=float(spec["sfreq"]), ch_names=tuple(map(str, spec["ch_names"]))),
        recipe=Recipe(name="exported", epochs=1, **recipe),
        processing=Processing(**told["processing"]),
        sfreq_hz=float(told["sfreq_hz"]),
        classes=tuple(map(str, told["classes"])),
        bands=_bands(told["bands"], whole),
    )


def _bands(told: dict[str, Any] | None, whole: dict[str, int]) -> BandFeatures | None:
    if told is None:
        return None
    mean, sd = np.array(told["mean"], dtype=np.float64), np.array(told["sd"], dtype=np.float64)
    if mean.shape != sd.shape or mean.shape != (whole["n_chans"], whole["n_bands"]) or not (sd > 0).all():
        raise ValueError(f"mean {mean.shape} and sd {sd.shape} of band features")
    if told["kind"] not in ("de", "psd") or told["edges"] not in EDGES:
        raise ValueError(f"band features {told['kind']!r} with edges {told['edges']!r}")
    bands = tuple(Band(str(name), float(low), float(high)) for name, low, high in told["bands"])
    return BandFeatures(kind=told["kind"], bands=bands, edges=told["edges"], mean=mean, sd=sd)
