"""All that MLflow shows of a sweep, where something has changed since it was mirrored; a mirror never stops a sweep."""

import json
from collections.abc import Callable, Sequence

import pandas as pd

from cluster.store import Store, replace
from cluster.tracking_sweep import hashes, project_sweep, sweep_files
from valence.cell import canonical_hash


def mirror(
    store: Store,
    sweep: dict,
    rows: pd.DataFrame,
    statistics: pd.DataFrame,
    *,
    state: str,
    plans: Sequence[dict],
    tracking_uri: str | None,
    say: Callable[[str], None],
    again: bool,
) -> tuple[int, str]:
    """Mirror cells, kept weights and what was built of them, unless the same went to the same place before.

    Parameters
    ----------
    sweep : the grid that the views cover; plans : all grids of the folder.
    state : of the cells.
    again : look for each run and file, even where all seems up to date.

    Returns
    -------
    int : runs of cells written; str : what went wrong, empty where nothing did.
    """
    files = sweep_files(store.folder, statistics)
    stamp = store.folder / "mlflow.json"
    told = {"cells": state, "files": hashes(files), "weights": sorted(store.files.names("trained"))}
    # an address may hold a password: of it only a hash is kept
    wanted = json.dumps({"state": canonical_hash(told), "place": canonical_hash([tracking_uri])})
    in_place = tracking_uri is not None or (store.folder / "mlflow.db").exists()
    if not len(rows) or (not again and in_place and stamp.exists() and stamp.read_text(errors="replace") == wanted):
        return 0, ""
    say("MLflow: mirroring committed cells")
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from cluster.tracking import project
    from cluster.tracking_weights import checkpoints_of

    try:
        checkpoints = checkpoints_of(store, plans, rows)
        n_written = project(rows, folder=store.folder, tracking_uri=tracking_uri, checkpoints=checkpoints)
        project_sweep(store, sweep, rows, statistics, files, tracking_uri=tracking_uri)
    except ImportError as error:
        return 0, f"{error}: the database's driver is missing; of PostgreSQL it is installed with `psycopg[binary]`"
    except (MlflowException, SQLAlchemyError, OSError) as error:  # of a server, a database, a disk
        return 0, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    replace(stamp, wanted.encode())
    return n_written, ""
