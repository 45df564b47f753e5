"""Names to cells: the grid, what is excluded and why, in the order in which an interrupted sweep stays readable."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valence.cell import Cell, Recipe
from valence.classifiers import CLASSIFIERS
from valence.errors import BadInput
from valence.strategies import STRATEGIES
from valence.targets import TARGETS, canonical_target

NO_TARGET = "none"


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """A combination that is not run, and why. It is printed and reported, never skipped in silence or scored 0."""

    classifier: str
    strategy: str
    target: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a sweep is asked for, before anything is read: (classifier, strategy, target, lambda_, seed)."""

    combinations: tuple[tuple[str, str, str, float, int], ...]
    exclusions: tuple[Exclusion, ...]

    @property
    def targets(self) -> set[str]:
        return {target for _, _, target, _, _ in self.combinations if target != NO_TARGET}

    @property
    def classifiers(self) -> list[str]:
        return sorted({combination[0] for combination in self.combinations})


def make_grid(
    *,
    classifiers: Sequence[str],
    strategies: Sequence[str],
    targets: Sequence[str],
    seeds: Sequence[int],
    inputs: Sequence[str],
) -> Grid:
    """Cross the names. Baselines come first, then controls, then the targets under study.

    Parameters
    ----------
    inputs : what the data set holds, of "windows" and "de".

    Raises
    ------
    BadInput : for an unknown name, or where nothing is left to run.
    """
    classifiers = [_known(CLASSIFIERS, name) for name in _unique(classifiers)]
    strategies = [_known(STRATEGIES, name) for name in _unique(strategies)]
    targets = _unique([canonical_target(name) for name in targets])
    if "none" not in strategies:
        strategies = ["none", *strategies]  # every comparison is with the matched baseline
    exclusions = []
    combinations = []
    for classifier in classifiers:
        reason = _input_missing(classifier, inputs)
        for strategy in strategies:
            kind = STRATEGIES[strategy]
            for target in [NO_TARGET] if kind.kind == "none" else targets:
                if reason:
                    exclusions.append(Exclusion(classifier=classifier, strategy=strategy, target=target, reason=reason))
                else:
                    combinations += [(classifier, strategy, target, float(kind.lambda_), seed) for seed in seeds]
    if not combinations:
        raise BadInput(
            f"nothing to run: {exclusions[0].reason if exclusions else 'no seed was asked for'}",
            allowed=f"at least one classifier that takes {' or '.join(inputs)}, one strategy, one seed",
            do="name other classifiers, or point --data-root at a folder with their input",
        )
    return Grid(combinations=tuple(sorted(combinations, key=_order)), exclusions=tuple(exclusions))


def _known(registry: Mapping[str, object], name: str) -> str:
    registry[name]
    return name


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _input_missing(classifier: str, inputs: Sequence[str]) -> str | None:
    needed = CLASSIFIERS[classifier].input
    if needed in inputs:
        return None
    return f"{classifier} takes {needed}, and the data set's folder holds only {', '.join(inputs)}"


def _order(combination: tuple[str, str, str, float, int]) -> tuple:
    classifier, strategy, target, lambda_, seed = combination
    rank = 0 if target == NO_TARGET else 1 if target_facts(target).numbered else 2
    return rank, seed, classifier, strategy, target, lambda_


def target_facts(target: str):
    """The registered target behind a canonical name such as permuted_2."""
    return TARGETS[target] if target in TARGETS else TARGETS[target.rsplit("_", 1)[0]]


def bind(
    grid: Grid,
    *,
    dataset: str,
    hashes: Mapping[str, str],
    split: str,
    recipes: Mapping[str, Recipe],
    axis_digest: str,
    weights: Mapping[str, str],
) -> list[Cell]:
    """The grid's cells, once the content of the data set and of the axis is known.

    Parameters
    ----------
    hashes, recipes : by input, "windows" or "de".
    axis_digest : digest of the axis; cells whose target does not need it carry an empty one.
    weights : classifier to the digest of the pretrained weights it starts from.
    """
    cells = []
    for classifier, strategy, target, lambda_, seed in grid.combinations:
        input = CLASSIFIERS[classifier].input
        needs_axis = target != NO_TARGET and target_facts(target).needs_axis
        cells.append(
            Cell(
                dataset=dataset,
                dataset_hash=hashes[input],
                split=split,
                classifier=classifier,
                recipe=recipes[input].name,
                recipe_hash=recipes[input].hash,
                strategy=strategy,
                target=target,
                axis=axis_digest if needs_axis else "",
                lambda_=lambda_,
                seed=seed,
                weights=weights.get(classifier, ""),
                plugins=_plugin_digests(classifier, strategy, target),
            )
        )
    return cells


def _plugin_digests(classifier: str, strategy: str, target: str) -> str:
    digests = [CLASSIFIERS.digest(classifier), STRATEGIES.digest(strategy)]
    if target != NO_TARGET:
        base = target if target in TARGETS else target.rsplit("_", 1)[0]
        digests.append(TARGETS.digest(base))
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
