"""Combinations to cells: once the content of data, axes and plug-ins is known, and which cell builds on which."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cluster.grid import NO_TARGET, Grid, base_of, related, target_facts
from valence.cell import Cell, Recipe, canonical_hash
from valence.classifiers import CLASSIFIERS
from valence.strategies import STRATEGIES
from valence.strategy_options import Dose
from valence.targets import TARGETS


def bind(
    grid: Grid,
    *,
    dataset: str,
    hashes: Mapping[str, str],
    split: str,
    recipes: Mapping[str, Recipe],
    axis_digests: Sequence[str],
    ratings_digest: str = "",
    weights: Mapping[str, str],
) -> list[Cell]:
    """The grid's cells, once the content of the data set and of the axes is known.

    Parameters
    ----------
    hashes, recipes : by input, "windows" or "de".
    axis_digests : of all axes, the one under study first; cells whose target needs none carry an empty one.
    ratings_digest : of the training subjects' ratings, which stand in the axis's place for targets made from them.
    weights : classifier to the digest of the pretrained weights it starts from.
    """
    cells = []
    for one in grid.combinations:
        input = CLASSIFIERS[one.classifier].input
        cells.append(
            Cell(
                dataset=dataset,
                dataset_hash=hashes[input],
                split=split,
                classifier=one.classifier,
                recipe=recipes[input].name,
                recipe_hash=recipes[input].hash,
                **vars(one.dose),
                target=one.target,
                axis=_axis_of(one.dose, one.target, axis_digests, ratings_digest),
                seed=one.seed,
                weights=weights.get(one.classifier, ""),
                plugins=_plugin_digests(one.classifier, one.dose.strategy, one.target),
            )
        )
    return cells


def _axis_of(dose: Dose, target: str, digests: Sequence[str], ratings: str) -> str:
    """Digest of what the target is made from: of all axes where the strategy reads several, whatever the target."""
    if dose.kind.kind == "several":
        return canonical_hash(list(digests))
    if target == NO_TARGET:
        return ""
    facts = target_facts(target)
    made_from = [*digests[: int(facts.needs_axis)], *([ratings] if facts.needs_ratings else [])]
    return canonical_hash(made_from) if len(made_from) > 1 else "".join(made_from)


def earlier_cell(cell: Cell) -> Cell | None:
    """The cell whose weights this one builds on."""
    earlier = STRATEGIES[cell.strategy].earlier
    if earlier is None:
        return None
    dose, target = related(earlier.strategy, cell.target)
    return replace(
        cell,
        **vars(dose),
        target=target,
        axis="" if target == NO_TARGET else cell.axis,
        plugins=_plugin_digests(cell.classifier, dose.strategy, target),
    )


def depth(cell: Cell) -> int:
    """How many cells have to be trained, one after the other, before this one can be."""
    earlier = earlier_cell(cell)
    return 0 if earlier is None else 1 + depth(earlier)


def _plugin_digests(classifier: str, strategy: str, target: str) -> str:
    digests = [CLASSIFIERS.digest(classifier), STRATEGIES.digest(strategy)]
    if target != NO_TARGET:
        digests.append(TARGETS.digest(base_of(target)))
    earlier = STRATEGIES[strategy].earlier
    if earlier is not None:  # what the weights it builds on were made by
        digests.append(STRATEGIES.digest(earlier.strategy))
    return "".join(digests)


def as_dicts(cells: Sequence[Cell]) -> list[dict]:
    """Cells as plain dictionaries with their ids, for plans and actors."""
    return [{"cell_id": cell.cell_id, **dataclasses.asdict(cell)} for cell in cells]


def from_dict(fields: Mapping[str, Any]) -> Cell:
    """A cell from `as_dicts`; its id is computed anew and must agree."""
    cell = Cell(**{key: value for key, value in fields.items() if key != "cell_id"})
    if cell.cell_id != fields["cell_id"]:
        raise ValueError(f"cell {fields['cell_id']} hashes to {cell.cell_id}: the plan was edited or damaged")
    return cell
