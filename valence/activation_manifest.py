"""Stage activations, on disk: what a folder of activations holds, in manifest.json."""

import json
from dataclasses import dataclass
from pathlib import Path

from valence.errors import BadInput

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of activations holds."""

    texts_hash: str
    layers: tuple[int, ...]
    pooling: str
    llm: str
    """the engine's identity"""
    n_texts: int
    n_llm_layers: int
    """hidden states of the LLM, blocks + 1"""
    d_model: int
    texts_per_shard: int
    format: int = FORMAT

    def spans(self) -> list[slice]:
        """Texts of each shard."""
        starts = range(0, self.n_texts, self.texts_per_shard)
        return [slice(start, min(start + self.texts_per_shard, self.n_texts)) for start in starts]


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a folder. Raises BadInput where there is none that can be used."""
    path = folder / MANIFEST
    try:
        facts = json.loads(path.read_text())
        manifest = Manifest(**{**facts, "layers": tuple(facts["layers"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise unusable(path, f"{type(error).__name__}: {error}") from error
    if manifest.format != FORMAT:
        raise unusable(path, f"its format is {manifest.format}, not {FORMAT}")
    return manifest


def unusable(path: Path, why: str) -> BadInput:
    """The error for a folder that is not as `read_to_files` writes it."""
    return BadInput(
        f"activations in {path.parent}: {path.name}: {why}",
        allowed="a folder as read_to_files writes it, whole",
        do="read the activations again; what is whole is reused",
    )
