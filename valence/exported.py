"""Ensembles to a folder and back: one safetensors file a member and a manifest. Loading never runs what a file says.

A manifest holds names and numbers. A classifier's name is looked up in the registry, which knows what is installed or
was loaded by the user; weights are plain tensors, compared with the SHA-256 in the manifest and put into a classifier
that was built here; file names are not taken from the manifest.
"""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from valence.classifiers import CLASSIFIERS, build_classifier
from valence.decoder import Decoder, TrainedOn
from valence.errors import BadInput
from valence.exported_manifest import FORMAT, described, read_manifest, read_trained_on
from valence.kept_weights import weights_bytes
from valence.signal import SignalSpec

MANIFEST, MOST_MEMBERS = "manifest.json", 1000
VERSIONS = ("valence", "torch", "braindecode")


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One trained classifier."""

    classifier: str
    """its name in the registry"""
    weights: Mapping[str, torch.Tensor] | Path
    """state dict, or the safetensors file that a sweep keeps of a cell"""
    share: float
    """its weight in the mixture; members of weight 0 are left out"""


def export_ensemble(
    folder: Path,
    members: Sequence[Member],
    trained_on: TrainedOn,
    *,
    pool: str = "softmax",
    temperature: float = 1.0,
) -> Path:
    """Write an ensemble into a new folder. Every member is built and its weights are put in before anything is written.

    Raises
    ------
    BadInput : where the folder is there, no member has a weight, or weights do not fit their classifier: those of a
        strategy that adds layers (lora, ia3) do not.
    """
    folder, used = Path(folder), [member for member in members if member.share > 0]
    total = math.fsum(member.share for member in used)
    if folder.exists() or not used or not math.isfinite(total) or any(member.share < 0 for member in members):
        raise BadInput(
            f"{folder} is there already" if folder.exists() else f"shares {[member.share for member in members]}",
            allowed="a new folder, and weights of 0 or more of which one is above 0",
            do="name another folder, or fit the ensemble again",
        )
    if trained_on.recipe.de_normalisation != "train" and trained_on.bands is not None:
        raise BadInput(
            "band features normalised by each subject's own mean and sd",
            allowed='de_normalisation "train": a stream does not know what is still to come',
            do="train members with that recipe",
        )
    contents = [_content(member) for member in used]
    for member, content in zip(used, contents):
        _built(member.classifier, trained_on.spec, content, source="this member")
    manifest = {
        "format": FORMAT,
        "members": [
            {"classifier": member.classifier, "share": member.share / total, "sha256": _hash(content)}
            for member, content in zip(used, contents)
        ],
        "pool": pool,
        "temperature": temperature,
        **described(trained_on),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
    }
    folder.mkdir(parents=True)
    for at, content in enumerate(contents):
        (folder / _file(at)).write_bytes(content)
    # last: a folder without it is none
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def load_ensemble(folder: Path, *, precision: str = "auto") -> Decoder:
    """Read an exported ensemble.

    Raises
    ------
    BadInput : naming the file, where something is missing, changed or of another format, or a classifier is unknown.
    """
    path = Path(folder) / MANIFEST
    try:
        told = read_manifest(path)
        trained_on = read_trained_on(told)
        members, pool, temperature = told["members"], told["pool"], float(told["temperature"])
        if not 1 <= len(members) <= MOST_MEMBERS:
            raise ValueError(f"{len(members)} members")
        if pool not in ("softmax", "logits") or not 0 < temperature < math.inf:
            raise ValueError(f"pool {pool!r} and temperature {temperature}")
        rows = [(str(member["classifier"]), float(member["share"]), str(member["sha256"])) for member in members]
        shares = np.array([share for _, share, _ in rows])
        if not (np.isfinite(shares).all() and (shares > 0).all() and abs(shares.sum() - 1) < 1e-6):
            raise ValueError(f"shares that sum to {shares.sum():g}")
    except BadInput as error:
        raise BadInput(f"{path}: {error}", allowed="a manifest as it was exported", do="export it again") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{path}: {type(error).__name__}: {str(error)[:200]}",
            allowed=f"the manifest of an exported ensemble, format {FORMAT}",
            do="give the folder that export_ensemble wrote, or export it again",
        ) from error
    modules = [
        _built(name, trained_on.spec, _verified(Path(folder) / _file(at), digest), source=str(Path(folder) / _file(at)))
        for at, (name, _, digest) in enumerate(rows)
    ]
    return Decoder(
        modules=modules,
        shares=shares,
        trained_on=trained_on,
        names=tuple(name for name, _, _ in rows),
        pool=pool,
        temperature=temperature,
        precision=precision,
    )


def _content(member: Member) -> bytes:
    if not isinstance(member.weights, Path):
        return weights_bytes(member.weights)
    try:
        return member.weights.read_bytes()
    except OSError as error:
        raise BadInput(f"weights {error}", allowed="the file of a cell that was kept", do="correct the path") from error


def _verified(path: Path, digest: str) -> bytes:
    """The bytes of a member's file; what is hashed is what is then read."""
    try:
        if path.is_symlink() or not path.is_file():
            raise OSError("there is no such file, or it is a link")
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error}", allowed="the file as it was exported", do="export it again") from error
    if _hash(content) != digest:
        raise BadInput(
            f"{path}: SHA-256 {_hash(content)[:16]}…, the manifest has {digest[:16]}…",
            allowed="the weights that the manifest was written for",
            do="copy the whole folder again from where it was exported",
        )
    return content


def _built(name: str, spec: SignalSpec, content: bytes, *, source: str) -> nn.Module:
    """A classifier from the registry with these weights. Leaves the random numbers of the caller alone."""
    if name not in CLASSIFIERS:
        raise BadInput(
            f"{source}: classifier {name[:80]!r} is not known here",
            allowed=", ".join(CLASSIFIERS),
            do="if it is a plug-in that you trust, load it yourself first: nothing is imported for a file",
        )
    with torch.random.fork_rng(devices=[]):
        module = build_classifier(CLASSIFIERS[name], spec)
    try:
        module.load_state_dict(load(content))
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{source}: {' '.join(str(error).split())[:200]}",
            allowed=f"weights of {name} as it is built for {spec.n_chans} channels x {spec.n_times} samples",
            do="give weights of that classifier alone, trained with a strategy that adds no layers",
        ) from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in module.state_dict().values()):
        raise BadInput(f"{source}: weights that are not finite", allowed="finite weights", do="train the cell again")
    return module.eval()


def _file(at: int) -> str:
    return f"member-{at:03d}.safetensors"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
