"""A study's tables on disk: written with a hash of what decides them, and found again under it alone."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from valence.axis import Axis
from valence.cache import write_whole
from valence.errors import BadInput

AXIS = "axis.safetensors"
HASH = "study.json"


def is_of(path: Path, axes: pd.DataFrame, name: str) -> bool:
    """Whether an axis file holds the axis that a table tells of."""
    digests = axes.loc[axes["llm"] == name, "digest"].tolist()
    try:
        return digests == [Axis.load(path).digest]
    except BadInput:
        return False


def save_tables(folder: Path, tables: Mapping[str, pd.DataFrame], own_hash: str) -> None:
    """Write tables, and the hash last: it alone says that they belong together."""
    (folder / HASH).unlink(missing_ok=True)
    for name, table in tables.items():
        write_whole(folder / f"{name}.parquet", partial(table.to_parquet, index=False))
    facts = json.dumps({"hash": own_hash, "tables": sorted(tables)})
    write_whole(folder / HASH, lambda temporary: temporary.write_text(facts + "\n"))


def load_tables(folder: Path, own_hash: str) -> dict[str, pd.DataFrame] | None:
    """Tables of this hash; None where they are of another one, missing or damaged, and are made again."""
    try:
        facts = json.loads((folder / HASH).read_text())
        if facts["hash"] != own_hash:
            return None
        return {name: pd.read_parquet(folder / f"{name}.parquet") for name in facts["tables"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
