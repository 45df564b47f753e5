"""Stage validity: what was read of one LLM, as the tables of a study take it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from valence.axis_layers import Layers
from valence.errors import BadInput
from valence.validity import Paraphrases


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """What was read of one LLM."""

    facts: Mapping[str, object]
    """of the axis: llm, llm_hash, engine, dtype, n_paraphrases; and family, writer, engine_version"""
    table: pd.DataFrame
    """the paraphrases that were kept"""
    n_layers: int
    """hidden states of the LLM, blocks + 1"""
    files: Mapping[str, Layers]
    """activations: of paraphrases, stories, nonce stories (one seed after the other, at the axis's layer), concepts,
    clips where there are descriptions, and evaluation/NAME and training/NAME of benchmarks"""
    untrained: Sequence[Layers] = ()
    """activations of `first_of_each_story` of the paraphrases, of each untrained network"""
    reason: str = "none was read"
    """why there are no untrained networks, or fewer than asked for"""

    def paraphrases(self, layer: int) -> Paraphrases:
        """What the axis of a layer is fitted on."""
        return Paraphrases(
            activations=self.files["paraphrases"].layer(layer),
            emotions=self.table["emotion"].to_numpy(dtype=str),
            sets=self.table["set"].to_numpy(dtype=str),
            stories=self.table["story"].to_numpy(dtype=str),
        )


def check_read(read: Read) -> None:
    """Raise BadInput where activations do not belong to the paraphrases."""
    if read.files["paraphrases"].n_texts != len(read.table):
        raise BadInput(
            f"{read.facts['llm']}: {read.files['paraphrases'].n_texts} activations of {len(read.table)} paraphrases",
            allowed="one for each",
            do="remove the LLM's folder and run again",
        )
