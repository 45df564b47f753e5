"""Pretrained weights that a user asks for: a file, a folder or the hub, to a copy in the sweep's folder."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from cluster.store import Store
from cluster.words import names_of, path_of
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.errors import BadInput
from valence.once import build_once
from valence.signal import SignalSpec

HUB = "hub"
"""the word for the repository that a classifier's row names"""
WEIGHTS = "weights"
ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json")


def pretrained_of(text: str | None, classifiers: Sequence[str]) -> dict[str, str]:
    """ "CBraMod=/weights.safetensors,Labram=hub" to classifier and place. Raises BadInput for what cannot be used."""
    places: dict[str, str] = {}
    for part in names_of(text, "--pretrained") or []:
        name, equals, place = (word.strip() for word in part.partition("="))
        if not equals or not place:
            raise BadInput(
                f"--pretrained {part!r}",
                allowed=f"CLASSIFIER=PATH, or CLASSIFIER={HUB} for the published weights",
                do="say where the weights of this classifier are",
            )
        if name not in CLASSIFIERS or name not in classifiers:
            CLASSIFIERS[name]  # an unknown name gets close matches
            raise BadInput(
                f"--pretrained {part}: {name} is not among this sweep's classifiers",
                allowed=", ".join(classifiers),
                do="name it with --classifiers too, or leave it out",
            )
        if CLASSIFIERS[name].pretrained is None:
            able = [name for name, row in CLASSIFIERS.items() if row.pretrained]
            raise BadInput(f"--pretrained {part}", allowed=", ".join(able), do="leave this classifier out")
        if place != HUB and not path_of(place, "--pretrained").exists():
            raise BadInput(f"--pretrained {part}: no such file", allowed="a file or folder", do="correct the path")
        places[name] = place
    return places


def digest_of(path: Path) -> str:
    """16 hex digits over the content of a file, or over the names and contents of a folder's weight files."""
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file() and file.suffix in ENDINGS)
    if not found:
        raise BadInput(f"{path} holds no weights", allowed=f"files that end in {', '.join(ENDINGS)}", do="correct it")
    return found


def keep_weights(places: Mapping[str, str], store: Store, specs: Mapping[str, SignalSpec]) -> dict[str, Path]:
    """Copy the weights into the sweep's folder, which every node sees, and try each on its classifier.

    Parameters
    ----------
    specs : by input.

    Returns
    -------
    Classifier to its file or folder there.

    Raises
    ------
    BadInput : for weights of another architecture, or where the hub cannot be reached.
    """
    kept = {}
    for name, place in places.items():
        row = CLASSIFIERS[name]
        assert row.pretrained is not None
        source = _from_hub(name) if place == HUB else path_of(place, "--pretrained")
        row.pretrained.load(build_classifier(row, specs[row.input]), source)
        folder = store.folder / WEIGHTS / digest_of(source)
        build_once(folder, is_complete=Path.is_dir, build=partial(_copy, source))
        kept[name] = folder / source.name if source.is_file() else folder
    return kept


def digest_in(kept: Path, store: Store) -> str:
    """The digest of weights that `keep_weights` has put into the sweep's folder."""
    return kept.relative_to(store.folder / WEIGHTS).parts[0]


def _copy(source: Path, folder: Path) -> None:
    for file in _files(source):
        shutil.copyfile(file, folder / file.name)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    pretrained = CLASSIFIERS[name].pretrained
    assert pretrained is not None
    try:
        patterns = [f"*{ending}" for ending in ENDINGS]
        return Path(snapshot_download(pretrained.hub_id, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"--pretrained {name}={HUB}: {pretrained.hub_id} cannot be fetched ({type(error).__name__})",
            allowed="a machine that reaches the hub, or a local file",
            do=f"fetch it elsewhere and give --pretrained {name}=PATH",
        ) from error
