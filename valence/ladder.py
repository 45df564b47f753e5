"""Recipe ladder: steps as rows of a TOML file in, what each step trains out.

A step says what it changes of the step before it: fields of the recipe, depth, strategy and target, or that it averages
cells of other steps. A user adds a step by adding a row, or gives a file of their own.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from valence.cell import Recipe
from valence.classifiers import CLASSIFIERS
from valence.ensemble_selection import RULES
from valence.errors import BadInput
from valence.registry import unknown_name
from valence.strategies import STRATEGIES

FOLDER = Path(__file__).with_name("ladders")
RECIPE_FIELDS = {each.name: each.type for each in dataclasses.fields(Recipe) if each.name != "name"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One row."""

    name: str
    after: str = ""
    """the step that it changes and is compared with; empty: the one above"""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """fields of valence.cell.Recipe that it changes"""
    deeper: bool = False
    """take the deeper form of the classifier, see `deeper`"""
    classifier: str = ""
    """take another classifier"""
    strategy: str = ""
    target: str = ""
    ensemble: tuple[str, ...] = ()
    """steps whose cells are averaged; nothing is trained"""
    rule: str = "uniform"
    """how members are chosen on validation, see valence.ensemble_selection"""
    study: float | None = None
    """the study's balanced accuracy"""
    study_sd: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """A file of steps."""

    description: str
    dataset: str
    classifier: str
    seeds: tuple[int, ...]
    recipe: Recipe
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A step as it is trained with one classifier."""

    step: Step
    after: str
    """the step that it is compared with: the nearest one before it that this classifier can take; empty: none"""
    classifier: str
    recipe: Recipe
    strategy: str = "none"
    target: str = "none"
    reason: str = ""
    """why this classifier cannot take the step; nothing is then trained, and later steps go on without its change"""

    @property
    def name(self) -> str:
        return self.step.name


def read_ladder(word: str | Path) -> Ladder:
    """A ladder by name ("faced", "seed_v") or of a TOML file.

    Raises
    ------
    BadInput : for an unknown name, and where the file names what is not there, naming the step.
    """
    path = Path(word)
    if path.suffix != ".toml":
        known = sorted(file.stem for file in FOLDER.glob("*.toml"))
        if str(word) not in known:
            raise unknown_name("ladder", str(word), [*known, "a file that ends in .toml"])
        path = FOLDER / f"{word}.toml"
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = told["step"]
        ladder = Ladder(
            description=str(told.get("description", "")),
            dataset=str(told["dataset"]),
            classifier=str(told["classifier"]),
            seeds=tuple(int(seed) for seed in told["seeds"]),
            recipe=_recipe(Recipe(name=path.stem, epochs=1), told["recipe"], where="recipe"),
            steps=tuple(_step(row) for row in rows),
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{path}: {type(error).__name__}: {error}",
            allowed="a TOML file with dataset, classifier, seeds, [recipe] and one [[step]] or more",
            do=f"begin with a copy of {FOLDER / 'faced.toml'}",
        ) from error
    _check(ladder, path)
    return ladder


def rungs(ladder: Ladder, *, classifier: str = "", recipe: Recipe | None = None) -> list[Rung]:
    """What each step trains.

    Parameters
    ----------
    classifier : in place of the ladder's.
    recipe : in place of the ladder's, for another input or a quick run. Steps change it.

    Returns
    -------
    A rung a step, in their order. Ensembles train nothing: `step.ensemble` names the rungs whose cells they average.

    Raises
    ------
    BadInput : for an unknown classifier.
    """
    first = classifier or ladder.classifier
    start = Rung(step=Step(name=""), after="", classifier=CLASSIFIERS[first].name, recipe=recipe or ladder.recipe)
    found: dict[str, Rung] = {}
    for number, step in enumerate(ladder.steps):
        parent = found[step.after or ladder.steps[number - 1].name] if number else start
        found[step.name] = _rung(step, parent, found)
    return list(found.values())


def deeper(classifier: str) -> str | None:
    """The deepest form of a classifier that is registered: its name with _depthN in it; None where there is none."""
    forms = {
        int(match[1]): name
        for name in CLASSIFIERS
        if (match := re.search(r"_depth(\d+)", name)) and name.replace(match[0], "", 1) == classifier
    }
    return forms[max(forms)] if forms else None


def _rung(step: Step, parent: Rung, before: Mapping[str, Rung]) -> Rung:
    against = parent.after if parent.reason else parent.name
    here = replace(parent, step=step, after=against, reason="")
    if step.ensemble:
        gone = [name for name in step.ensemble if before[name].reason]
        if len(gone) == len(step.ensemble):
            return replace(here, reason=f"no members: {', '.join(gone)} cannot be trained")
        return here
    classifier = step.classifier or (deeper(parent.classifier) if step.deeper else parent.classifier)
    if classifier is None:
        return replace(here, reason=f"no deeper form of {parent.classifier} is registered (with _depthN in its name)")
    recipe = _recipe(parent.recipe, step.recipe, where=step.name)
    if recipe.augmentation_p and CLASSIFIERS[classifier].input == "de":
        return replace(here, reason=f"{classifier} takes band features, and augmentations are of windows")
    recipe = replace(recipe, name=f"{parent.recipe.name}+{step.name}" if step.recipe else parent.recipe.name)
    strategy, target = step.strategy or parent.strategy, step.target or parent.target
    return replace(
        here, classifier=classifier, recipe=recipe, strategy=strategy, target="none" if strategy == "none" else target
    )


def _recipe(recipe: Recipe, changes: Mapping[str, Any], *, where: str) -> Recipe:
    for name in changes:
        if name not in RECIPE_FIELDS:
            raise unknown_name(f"field of a recipe in {where!r}:", name, list(RECIPE_FIELDS))
    try:
        return replace(recipe, **changes)
    except (TypeError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{where}: {error}", allowed=f"{RECIPE_FIELDS}", do="correct the value") from error


def _step(row: Mapping[str, Any]) -> Step:
    known = [each.name for each in dataclasses.fields(Step)]
    for name in row:
        if name not in known:
            raise unknown_name(f"field of step {row.get('name', '')!r}:", name, known)
    return Step(**{**row, "ensemble": tuple(row.get("ensemble", ()))})


def _check(ladder: Ladder, path: Path) -> None:
    """Raise BadInput where a step names what is not there."""
    above: list[str] = []
    for step in ladder.steps:
        for kind, name, known in (
            ("step", step.after, above),
            *(("step", member, above) for member in step.ensemble),
            ("strategy", step.strategy, [*STRATEGIES]),
            ("classifier", step.classifier, [*CLASSIFIERS]),
            ("rule of ensembles", step.rule, [*RULES]),
        ):
            if name and name not in known:
                raise unknown_name(f"{kind} in {path}, step {step.name!r}:", name, known)
        problem = "" if step.name and step.name not in above else "no name, or one that is there already"
        if step.ensemble and (step.recipe or step.deeper or step.classifier or step.strategy or step.target):
            problem = "an ensemble trains nothing, so it changes nothing else"
        if {*step.ensemble} & {other.name for other in ladder.steps if other.ensemble}:
            problem = "members that are ensembles themselves"
        if problem:
            raise BadInput(
                f"{path}, step {step.name!r}: {problem}",
                allowed="a name of its own, and either an ensemble of earlier steps or changes",
                do="correct the step",
            )
        above.append(step.name)
    if not ladder.seeds or len(set(ladder.seeds)) != len(ladder.seeds):
        raise BadInput(f"{path}: seeds {list(ladder.seeds)}", allowed="one seed or more, each once", do="correct them")


def trained(found: Sequence[Rung]) -> list[Rung]:
    """The rungs that train cells of their own."""
    return [rung for rung in found if not rung.reason and not rung.step.ensemble]
