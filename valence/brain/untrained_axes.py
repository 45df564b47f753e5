"""Stage brain: what untrained LLMs read, as a study of axes left it on disk, in; an axis of each, fitted alike, out."""

from pathlib import Path

import pandas as pd

from valence.activation_files import ActivationFiles
from valence.activation_manifest import MANIFEST
from valence.axis import Axis, fit_axis
from valence.axis_null_rows import first_of_each_story
from valence.cell import canonical_hash
from valence.errors import BadInput

AXIS, UNTRAINED, TEXTS = "axis.safetensors", "untrained", "writers/*/paraphrases.parquet"


def untrained_axes(path: Path) -> list[Axis]:
    """Axes of untrained LLMs.

    Parameters
    ----------
    path : a file of one; or the folder of an LLM in a study's folder (OUT/llms/NAME of the job valence_axis), whose
        untrained networks have read the first texts of each story: their axes are fitted here, by the method, layer and
        rule of sign of the trained LLM's.

    Raises
    ------
    BadInput : where there is no axis, or none of an untrained network, in it.
    """
    if not path.is_dir():
        return [Axis.load(path)]
    folders = [found.parent for found in (path / UNTRAINED).glob(f"*/{MANIFEST}")]
    folders.sort(key=lambda folder: (len(folder.name), folder.name))  # 2 before 10
    if not folders:
        raise BadInput(
            f"{path}: no untrained networks",
            allowed=f"an axis file, or a folder with {UNTRAINED}/SEED as the job valence_axis writes it (--untrained)",
            do="give OUT/llms/NAME of such a run",
        )
    trained = Axis.load(path / AXIS)
    read = [ActivationFiles(folder) for folder in folders]
    texts = _texts(path, read[0].texts_hash)
    return [_fitted(files, texts, trained, seed=folder.name) for files, folder in zip(read, folders, strict=True)]


def _texts(path: Path, texts_hash: str) -> pd.DataFrame:
    """The paraphrases that were read, of the writer whose they are."""
    for table_path in sorted(path.parent.parent.glob(TEXTS)):
        table = pd.read_parquet(table_path)
        kept = table[table["kept"]]
        few = kept.iloc[first_of_each_story(kept["story"].to_numpy(dtype=str))]
        if canonical_hash(list(few["text"])) == texts_hash:
            return few
    raise BadInput(
        f"{path}: the texts that its untrained networks have read are not there",
        allowed=f"the study's folder whole, with {TEXTS}",
        do="run the job valence_axis again",
    )


def _fitted(files: ActivationFiles, texts: pd.DataFrame, trained: Axis, *, seed: str) -> Axis:
    return fit_axis(
        files.layer(trained.layer),
        texts["emotion"].to_numpy(dtype=str),
        texts["set"].to_numpy(dtype=str),
        classes=trained.classes,
        method=trained.method,
        sign_rule=str(trained.notes.get("sign_rule", "stories")),
        llm=f"{trained.llm}, untrained {seed}",
        layer=trained.layer,
        pooling=trained.pooling,
        n_bootstrap=0,
    )
