"""Committed cells to statistics, report and MLflow: views that can be deleted and rebuilt at any time."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.differences import differences
from cluster.store import Store, parquet_bytes, replace
from valence.axis import Axis
from valence.cell import canonical_hash
from valence.errors import BadInput
from valence.splits import PARTS

VIEW_VERSION = 2
"""raised when statistics or report change, so that views of unchanged cells are rebuilt"""
BRAIN = "brain/brain.parquet"
"""what `brain_map.py --out OUT/brain` writes; the report has a section of it"""


@dataclass(frozen=True, kw_only=True)
class Views:
    """What was built from committed cells."""

    statistics: pd.DataFrame
    rows: pd.DataFrame
    n_planned: int
    n_missing: int
    n_failed: int
    statistics_path: Path
    report_path: Path
    n_mirrored: int
    """MLflow runs written"""
    mirror_error: str
    """why MLflow could not be written; empty where it could"""
    differences: tuple[str, ...] = ()
    """where the cells are not of one kind, a line each"""


def build(
    store: Store,
    *,
    plan: str | None,
    tracking_uri: str | None,
    partial: bool,
    say: Callable[[str], None],
    again: bool = False,
) -> Views:
    """Rebuild statistics.parquet, report.html and the MLflow mirror where the cells have changed since.

    Parameters
    ----------
    plan : the grid that has to be complete; None for all that were ever started in this folder. The views cover all
        grids where those are complete, or where they may be partial, and else this one.
    again : rebuild what seems up to date too.

    Raises
    ------
    BadInput : where cells are missing and `partial` is False.
    """
    plans = store.plans()
    everything = union_of_plans(list(plans.values()))
    family_size = _declared_family(everything)
    sweep, rows = everything, store.rows(_ids(everything))
    if plan is not None and not partial and len(rows) < len(everything["cells"]):
        sweep = union_of_plans([plans[plan]])
        rows = rows[rows["cell_id"].isin(_ids(sweep))].reset_index(drop=True)
    found = tuple(differences(sweep["cells"], list(plans.values())))
    planned = _ids(sweep)
    n_missing = len(planned) - len(rows)
    if n_missing and not partial:
        raise BadInput(
            f"{n_missing} of {len(planned)} cells are not committed yet: a table now could tell another story",
            allowed="a complete grid, or --partial, which says so on top of the report",
            do=f"run the sweep's command again to finish it, add --partial, or remove a grid that is not wanted any "
            f"more from {store.files.place}/plans",
        )
    brain = _brain(store)
    told = [family_size, sweep["exclusions"], sweep["axis_file"], found, brain is not None and brain.to_json()]
    state = canonical_hash([VIEW_VERSION, *told, *_state(rows, planned)])
    statistics = _stamped(store, state) if not again else None
    report = store.folder / "report.html"
    if statistics is None or not report.exists():
        say("statistics: paired differences, intervals, Holm")
        statistics = _compare(rows, family_size=family_size)
        facts = _facts(rows, sweep, planned, family_size=family_size) | {"differences": found}
        replace(report, _render(rows, statistics, facts, axis=_axis(store, sweep), brain=brain).encode())
        # the stamp goes last: who is interrupted before it builds both again
        replace(statistics_path(store), parquet_bytes(_stamp(statistics, state)))
    told_to = {"plans": list(plans.values()), "tracking_uri": tracking_uri, "say": say, "again": again}
    n_mirrored, mirror_error = _mirror(store, sweep, rows, statistics, state=state, **told_to)
    return Views(
        statistics=statistics,
        rows=rows,
        n_planned=len(planned),
        n_missing=n_missing,
        n_failed=int((rows["status"] == "failed").sum()),
        statistics_path=statistics_path(store),
        report_path=report,
        n_mirrored=n_mirrored,
        mirror_error=mirror_error,
        differences=found,
    )


def statistics_path(store: Store) -> Path:
    """Where the table of comparisons lies."""
    return store.folder / "statistics.parquet"


def union_of_plans(plans: Sequence[dict]) -> dict:
    """Recorded grids as one: cells and exclusions once each, facts of the last plan.

    Where a plug-in was edited, its cells of earlier plans are left out: the last plan's take their place.
    """
    latest: dict[tuple, dict] = {}
    for plan in plans:
        for cell in plan["cells"]:
            latest[tuple(value for name, value in cell.items() if name not in ("cell_id", "plugins", "recipe"))] = cell
    cells = {cell["cell_id"]: cell for cell in latest.values()}
    run = {(cell["classifier"], cell["strategy"], cell["target"]) for cell in cells.values()}
    exclusions = {}
    for plan in plans:
        for exclusion in plan["exclusions"]:
            key = (exclusion["classifier"], exclusion["strategy"], exclusion["target"])
            if key not in run:
                exclusions[key] = exclusion
    return {
        **plans[-1],
        "cells": [cells[cell_id] for cell_id in sorted(cells)],
        "exclusions": [exclusions[key] for key in sorted(exclusions)],
    }


def _ids(sweep: dict) -> list[str]:
    return [cell["cell_id"] for cell in sweep["cells"]]


def _state(rows: pd.DataFrame, planned: Sequence[str]) -> list:
    """What views are built from: they are built again when it changes."""
    return [list(planned), sorted((row.cell_id, row.status, int(row.attempts)) for row in rows.itertuples())]


def _stamp(statistics: pd.DataFrame, state: str) -> pa.Table:
    table = pa.Table.from_pandas(statistics, preserve_index=False)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"cells": state.encode()})


def _stamped(store: Store, state: str) -> pd.DataFrame | None:
    """The statistics on disk where they were made from this state; a damaged file counts as absent."""
    try:
        table = pq.read_table(statistics_path(store))
    except (pa.ArrowException, OSError):
        return None
    return table.to_pandas() if (table.schema.metadata or {}).get(b"cells") == state.encode() else None


def _compare(rows: pd.DataFrame, *, family_size: int) -> pd.DataFrame:
    from valence.stats import compare

    return compare(rows, family_size=family_size)


def _mirror(store: Store, sweep: dict, rows: pd.DataFrame, statistics: pd.DataFrame, **options: Any) -> tuple[int, str]:
    """Mirror to MLflow; runs written, and what went wrong."""
    from cluster.tracking_mirror import mirror

    return mirror(store, sweep, rows, statistics, **options)


def _declared_family(sweep: dict) -> int:
    """Comparisons of the axis with the baseline that the plans hold for one classifier: the family of Holm.

    It is that of all grids ever started in the folder: a narrower command later on does not make it smaller.
    """
    families: dict[tuple, set] = {}
    for cell in sweep["cells"]:
        if cell["target"] == "vaxis":
            key = (cell["classifier"], cell["recipe_hash"], cell["dataset_hash"], cell["weights"])
            dose = ("strategy", "lambda_", "options", "gradient_match", "axis")
            families.setdefault(key, set()).add(tuple(cell[name] for name in dose))
    return max(map(len, families.values()), default=0)


def _axis(store: Store, sweep: dict) -> Axis | None:
    return Axis.load(store.folder / sweep["axis_file"]) if sweep["axis_file"] else None


def _facts(rows: pd.DataFrame, sweep: dict, planned: list[str], *, family_size: int) -> dict:
    """What the report says that the tables do not know."""
    failed = rows[rows["status"] == "failed"]
    names = ("cell_id", "classifier", "strategy", "lambda_", "options", "gradient_match", "target", "seed", "error")
    columns = list(names)
    split = next(iter(sweep["splits"].values()))
    return {
        "preset": sweep["preset"],
        "dataset": sweep["dataset"],
        "dataset_facts": {
            "n_subjects": len({subject for part in PARTS for subject in split[part]["subjects"]}),
            "split": split["name"],
            **{part: split[part]["subjects"] for part in PARTS},
        },
        "leakage": next(iter(sweep["leakage"].values())),
        "data": next(iter(sweep["data"].values())),
        "n_cells": len(planned),
        "n_done": len(rows) - len(failed),
        "n_failed": len(failed),
        "partial": len(rows) < len(planned),
        "exclusions": sweep["exclusions"],
        "failures": failed[columns].to_dict("records"),
        "family": f"{family_size} comparisons of the axis with the baseline for each classifier",
        "seconds": float(rows["seconds"].sum()),
        "versions": json.loads(rows["versions"].iloc[0]) if len(rows) else {},
        "generated_from": canonical_hash(planned),
    }


def _brain(store: Store) -> pd.DataFrame | None:
    """What the job brain_map found, where it wrote into this sweep's folder; a damaged table counts as absent."""
    try:
        return pd.read_parquet(store.folder / BRAIN)
    except (pa.ArrowException, OSError):
        return None


def _render(
    rows: pd.DataFrame, statistics: pd.DataFrame, facts: dict, *, axis: Axis | None, brain: pd.DataFrame | None
) -> str:
    from valence.report import render_report

    return render_report(rows, statistics, facts, axis=axis, brain=brain)
