"""The recipe ladder on a cluster: one sweep a step in one store, then the steps' table from what was kept.

A ladder (valence.ladder) in; cells, ladder.parquet and ensembles.parquet in the folder, and what they say, out.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster import pipeline, presets
from cluster.grid import NO_TARGET, Combination, Grid
from cluster.listener import Listener
from cluster.request import Request, resolve
from cluster.session import ray_session
from cluster.store import Store, replace
from cluster.words import recipes_of
from valence.cell import Recipe
from valence.classifiers import CLASSIFIERS
from valence.ensemble import members
from valence.ensemble_report import contributions, rules_table
from valence.kept import Kept, read_kept
from valence.ladder import Ladder, Rung, rungs, trained
from valence.ladder_table import ladder_table
from valence.strategy_options import doses_of
from valence.targets import canonical_target

RULES = ("uniform", "weighted", "greedy", "residual_diversity", "best_single")
"""of ensembles, all fitted on validation, that are set side by side"""


@dataclass(frozen=True, kw_only=True)
class Climbed:
    """What a ladder came to."""

    table: pd.DataFrame
    """of valence.ladder_table"""
    rules: pd.DataFrame
    """rules of ensembles over the cells of the largest one; empty where the ladder has none"""
    contributions: pd.DataFrame
    """of its members"""
    n_cells: int
    n_new: int
    lost: tuple[str, ...]
    """messages of packs that were given up"""
    n_failed: int


def steps_of(ladder: Ladder, *, classifier: str = "", recipe: str | None = None) -> list[Rung]:
    """What each step trains.

    Parameters
    ----------
    classifier : in place of the ladder's.
    recipe : words of `--recipe` that change the recipe before the first step.
    """
    start = recipes_of(recipe, {"windows": ladder.recipe, "de": ladder.recipe})
    return rungs(ladder, classifier=classifier, recipe=start[CLASSIFIERS[classifier or ladder.classifier].input])


def request_of(rung: Rung, seeds: Sequence[int], words: Mapping[str, Any]) -> Request:
    """The sweep of one step: its cells and those that they build on, without any other.

    Parameters
    ----------
    words : of cluster.request.resolve.
    """
    input, unused = CLASSIFIERS[rung.classifier].input, Recipe(name="unused", epochs=1)
    preset = dataclasses.replace(
        presets.preset("quick"),
        name=f"ladder: {rung.name}",
        description=rung.step.note,
        classifiers=(rung.classifier,),
        strategies=(rung.strategy,),
        targets=() if rung.target == NO_TARGET else (rung.target,),
        recipes={"windows": unused, "de": unused} | {input: rung.recipe},
    )
    request = resolve(preset=preset, seeds=",".join(map(str, seeds)), keep=True, **words)
    return dataclasses.replace(request, grid=_own(request.grid, rung))


def _own(grid: Grid, rung: Rung) -> Grid:
    """A grid without the baselines that it would be compared with: here they are steps of their own."""
    [dose] = doses_of(rung.strategy)
    target = NO_TARGET if rung.target == NO_TARGET else canonical_target(rung.target)
    wanted: dict[Combination, None] = {}
    for one in grid.combinations:
        if one.dose == dose and one.target == target:
            link: Combination | None = one
            while link is not None:
                wanted[link] = None
                link = link.earlier
    return dataclasses.replace(grid, combinations=tuple(one for one in grid.combinations if one in wanted))


def climb(
    found: Sequence[Rung],
    seeds: Sequence[int],
    words: Mapping[str, Any],
    *,
    tracking_uri: str | None,
    retry_failed: bool,
    listener: Listener,
) -> Climbed:
    """Train what is not committed yet of every step, then write the tables.

    Raises
    ------
    BadInput : where a step cannot be run, before anything is trained.
    """
    requests = {rung.name: request_of(rung, seeds, words) for rung in trained(found)}
    outcomes = {}
    with ray_session():
        for rung in trained(found):
            listener.stage(f"step {rung.name}: {rung.classifier}, {rung.recipe.epochs} epochs, {rung.strategy}")
            outcomes[rung.name] = pipeline.run(
                requests[rung.name],
                tracking_uri=tracking_uri,
                retry_failed=retry_failed,
                partial=True,
                listener=listener,
                with_views=False,
            )
    store = Store(next(iter(requests.values())).out)
    cells = {rung.name: _kept(store, outcomes[rung.name].plan, rung) for rung in trained(found)}
    table = ladder_table(found, cells)
    rules, of_members = _of_largest(found, cells)
    for name, written in (("ladder", table), ("ensembles", rules), ("contributions", of_members)):
        replace(store.folder / f"{name}.parquet", written.to_parquet(index=False))
    _mirror(store, [cell.cell_id for kept in cells.values() for cell in kept], tracking_uri, listener)
    planned = {cell["cell_id"] for plan in store.plans().values() for cell in plan["cells"]}
    return Climbed(
        table=table,
        rules=rules,
        contributions=of_members,
        n_cells=sum(outcome.n_cells for outcome in outcomes.values()),
        n_new=sum(outcome.n_new for outcome in outcomes.values()),
        lost=tuple(message for outcome in outcomes.values() for message in outcome.lost),
        n_failed=len(store.failed(planned)),
    )


def _kept(store: Store, plan: str, rung: Rung) -> list[Kept]:
    """The cells of a step that are done."""
    ids = [
        cell["cell_id"]
        for cell in store.plans()[plan]["cells"]
        if cell["strategy"] == rung.strategy and cell["recipe_hash"] == rung.recipe.hash
    ]
    rows = store.rows(ids)
    done = set(rows.loc[rows["status"] == "done", "cell_id"])
    asked = [cell_id for cell_id in ids if cell_id in done]
    return read_kept(store.folder, asked, parts=()) if asked else []


def _mirror(store: Store, cell_ids: Sequence[str], tracking_uri: str | None, listener: Listener) -> None:
    from mlflow.exceptions import MlflowException

    from cluster.tracking import project

    listener.stage("MLflow: mirroring committed cells")
    try:
        project(store.rows(cell_ids), folder=store.folder, tracking_uri=tracking_uri)
    except MlflowException as error:  # a mirror is never worth the table
        listener.stage(f"MLflow was not written: {str(error).splitlines()[0]}")


def _of_largest(found: Sequence[Rung], cells: Mapping[str, Sequence[Kept]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rules side by side, and what each member gives, for the ensemble with the most candidates."""
    candidates = [
        [cell for name in rung.step.ensemble for cell in cells.get(name, ())]
        for rung in found
        if rung.step.ensemble and not rung.reason
    ]
    most = max(candidates, key=len, default=[])
    if len(most) < 2:
        return pd.DataFrame(), pd.DataFrame()
    given = members(most)
    return rules_table(given, [(rule, None) for rule in RULES]), contributions(given)
