"""Committed cells to statistics, report and MLflow: views that can be deleted and rebuilt at any time."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.store import Store, parquet_bytes, replace
from valence.axis import Axis
from valence.cell import canonical_hash
from valence.errors import BadInput

VIEW_VERSION = 1
"""raised when statistics or report change, so that views of unchanged cells are rebuilt"""


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


def build(
    store: Store,
    *,
    plans: Sequence[str] | None,
    tracking_uri: str | None,
    partial: bool,
    say: Callable[[str], None],
    again: bool = False,
) -> Views:
    """Rebuild statistics.parquet, report.html and the MLflow mirror where the cells have changed since.

    Parameters
    ----------
    plans : names of the grids to cover; None for all that were ever started in this folder.
    again : rebuild what seems up to date too.

    Raises
    ------
    BadInput : where cells are missing and `partial` is False.
    """
    sweep = union_of_plans(store, plans)
    planned = [cell["cell_id"] for cell in sweep["cells"]]
    rows = store.rows(planned)
    n_missing = len(planned) - len(rows)
    if n_missing and not partial:
        raise BadInput(
            f"{n_missing} of {len(planned)} cells are not committed yet: a table now could tell another story",
            allowed="a complete grid, or --partial, which says so on top of the report",
            do="run the sweep's command again to finish it, or add --partial",
        )
    state = _state(rows, planned)
    statistics, fresh = _statistics(store, rows, sweep=sweep, state=state, say=say, again=again)
    report = store.folder / "report.html"
    if fresh or not report.exists():
        replace(report, _report(rows, statistics, sweep, planned, axis=_axis(store, sweep)).encode())
    n_mirrored = _mirror(store, rows, state=state, tracking_uri=tracking_uri, say=say, again=again)
    return Views(
        statistics=statistics,
        rows=rows,
        n_planned=len(planned),
        n_missing=n_missing,
        n_failed=int((rows["status"] == "failed").sum()),
        statistics_path=store.folder / "statistics.parquet",
        report_path=report,
        n_mirrored=n_mirrored,
    )


def union_of_plans(store: Store, names: Sequence[str] | None) -> dict:
    """Recorded grids as one: cells and exclusions once each, facts of the last plan."""
    chosen = {name: plan for name, plan in store.plans().items() if names is None or name in names}
    plans = list(chosen.values())
    cells = {cell["cell_id"]: cell for plan in plans for cell in plan["cells"]}
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


def _state(rows: pd.DataFrame, planned: Sequence[str]) -> str:
    """What views are built from, as a hash: they are built again when it changes."""
    committed = sorted((row.cell_id, row.status, int(row.attempts)) for row in rows.itertuples())
    return canonical_hash([VIEW_VERSION, list(planned), committed])


def _statistics(
    store: Store, rows: pd.DataFrame, *, sweep: dict, state: str, say: Callable[[str], None], again: bool
) -> tuple[pd.DataFrame, bool]:
    """The statistics of rows, and whether they had to be computed."""
    path = store.folder / "statistics.parquet"
    if not again and path.exists() and (pq.read_schema(path).metadata or {}).get(b"cells") == state.encode():
        return pq.read_table(path).to_pandas(), False
    say("statistics: paired differences, intervals, Holm")
    from valence.stats import compare

    statistics = compare(rows, family_size=_declared_family(sweep))
    table = pa.Table.from_pandas(statistics, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"cells": state.encode()})
    replace(path, parquet_bytes(table))
    return statistics, True


def _mirror(
    store: Store, rows: pd.DataFrame, *, state: str, tracking_uri: str | None, say: Callable[[str], None], again: bool
) -> int:
    """Mirror rows to MLflow unless the same rows went to the same place before; the number of runs written."""
    stamp = store.folder / "mlflow.json"
    wanted = {"cells": state, "tracking_uri": tracking_uri}
    in_place = tracking_uri is not None or (store.folder / "mlflow.db").exists()
    if not again and in_place and stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return 0
    say("MLflow: mirroring committed cells")
    from cluster.tracking import project

    n_written = project(rows, folder=store.folder, tracking_uri=tracking_uri) if len(rows) else 0
    replace(stamp, json.dumps(wanted).encode())
    return n_written


def _declared_family(sweep: dict) -> int:
    """Comparisons of the axis with the baseline that the plan holds for one classifier: the family of Holm."""
    families: dict[tuple, set] = {}
    for cell in sweep["cells"]:
        if cell["target"] == "vaxis":
            key = (cell["classifier"], cell["recipe_hash"], cell["dataset_hash"])
            families.setdefault(key, set()).add((cell["strategy"], cell["lambda_"], cell["axis"]))
    return max(map(len, families.values()), default=0)


def _axis(store: Store, sweep: dict) -> Axis | None:
    return Axis.load(store.folder / sweep["axis_file"]) if sweep["axis_file"] else None


def _report(rows: pd.DataFrame, statistics: pd.DataFrame, sweep: dict, planned: list[str], *, axis: Axis | None) -> str:
    from valence.report import render_report

    failed = rows[rows["status"] == "failed"]
    columns = ["cell_id", "classifier", "strategy", "target", "seed", "error"]
    split = next(iter(sweep["splits"].values()))
    done = rows[rows["status"] == "done"]
    facts = {
        "preset": sweep["preset"],
        "dataset": sweep["dataset"],
        "dataset_facts": {
            "n_subjects": sum(len(split[part]) for part in ("train", "validation", "test")),
            "split": split["name"],
            **{part: list(split[part]) for part in ("train", "validation", "test")},
        },
        "recipes": sweep["recipes"],
        "n_cells": len(planned),
        "n_done": len(done),
        "n_failed": len(failed),
        "partial": len(rows) < len(planned),
        "exclusions": sweep["exclusions"],
        "failures": failed[columns].to_dict("records"),
        "seconds": float(rows["seconds"].sum()),
        "family": f"{_declared_family(sweep)} comparisons of the axis with the baseline for each classifier",
        "versions": json.loads(rows["versions"].iloc[0]) if len(rows) else {},
        "generated_from": canonical_hash(planned),
    }
    return render_report(rows, statistics, facts, axis=axis)
