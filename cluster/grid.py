"""Names to cells: the grid, what is excluded and why, in the order in which an interrupted sweep stays readable."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from valence.classifiers import CLASSIFIERS
from valence.errors import BadInput
from valence.signal import SignalSpec
from valence.strategies import STRATEGIES, Circumstances
from valence.strategy_options import Dose, default_dose, doses_of, make_strategy
from valence.targets import TARGETS, TargetBuilder, canonical_target

NO_TARGET = "none"
BASELINE = "none"
STUDIED = "vaxis"
"""every other target is a control of it"""


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """A combination that is not run, and why. It is printed and reported, never skipped in silence or scored 0."""

    classifier: str
    strategy: str
    target: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One cell before anything is read."""

    classifier: str
    dose: Dose
    target: str
    seed: int

    @property
    def earlier(self) -> "Combination | None":
        """The cell that this one builds on."""
        earlier = self.dose.kind.earlier
        return None if earlier is None else self._with(earlier.strategy)

    @property
    def baseline(self) -> "Combination | None":
        """The cell that this one is compared with; None for the baseline of all."""
        return None if self.dose.strategy == BASELINE else self._with(self.dose.kind.baseline)

    def _with(self, strategy: str) -> "Combination":
        dose, target = related(strategy, self.target)
        return replace(self, dose=dose, target=target)


def related(strategy: str, target: str) -> tuple[Dose, str]:
    """A strategy that a cell of this target builds on or is compared with: as it is by default, on the same target."""
    dose = default_dose(strategy)
    return dose, NO_TARGET if dose.kind.kind == "none" else target


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a sweep is asked for, before anything is read."""

    combinations: tuple[Combination, ...]
    exclusions: tuple[Exclusion, ...]

    @property
    def targets(self) -> set[str]:
        return {one.target for one in self.combinations if one.target != NO_TARGET}

    @property
    def classifiers(self) -> list[str]:
        return sorted({one.classifier for one in self.combinations})

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(one.seed for one in self.combinations))


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a data set and a command offer, known before anything is read."""

    specs: Mapping[str, SignalSpec]
    """by input that the data set holds, "windows" or "de" """
    classes: tuple[str, ...]
    """names of the labels as the axis has them"""
    has_ratings: bool
    n_axes: int
    """of how many LLMs"""


def make_grid(
    *,
    classifiers: Sequence[str],
    strategies: Sequence[str],
    targets: Sequence[str],
    seeds: Sequence[int],
    given: Given,
) -> Grid:
    """Cross the names. Baselines come first, then controls, then the targets under study.

    What a cell builds on or is compared with is part of the grid, asked for or not.

    Parameters
    ----------
    strategies : words of valence.strategy_options.doses_of.

    Raises
    ------
    BadInput : for an unknown name, or where nothing is left to run.
    """
    classifiers = [_known(CLASSIFIERS, name) for name in _unique(classifiers)]
    doses = _unique([default_dose(BASELINE), *(dose for word in strategies for dose in doses_of(word))])
    targets = _unique([canonical_target(name) for name in targets])
    _check_relations(doses)
    judge = _Judge(given)
    exclusions: list[Exclusion] = []
    combinations: dict[Combination, None] = {}
    for classifier in classifiers:
        for dose in doses:
            for target in [NO_TARGET] if dose.kind.kind == "none" else targets:
                reason = judge.why_not(classifier, dose, target)
                if reason:
                    name = label_of(dose)
                    exclusions.append(Exclusion(classifier=classifier, strategy=name, target=target, reason=reason))
                    continue
                for seed in seeds:
                    one = Combination(classifier=classifier, dose=dose, target=target, seed=seed)
                    combinations |= dict.fromkeys(with_needed(one))
    if not combinations:
        raise BadInput(
            f"nothing to run: {exclusions[0].reason if exclusions else 'no seed was asked for'}",
            allowed=f"at least one classifier that takes {' or '.join(given.specs)}, one strategy, one seed",
            do="name other classifiers, or point --data-root at a folder with their input",
        )
    return Grid(combinations=tuple(sorted(combinations, key=_order)), exclusions=tuple(exclusions))


def merged(*grids: Grid) -> Grid:
    """Several grids as one."""
    combinations = {one: None for grid in grids for one in grid.combinations}
    exclusions = {one: None for grid in grids for one in grid.exclusions}
    return Grid(combinations=tuple(sorted(combinations, key=_order)), exclusions=tuple(exclusions))


def with_needed(one: Combination) -> list[Combination]:
    """A combination after all that it builds on or is compared with."""
    needed = [need for need in (one.baseline, one.earlier) if need is not None and need != one]
    return [*(each for need in needed for each in with_needed(need)), one]


def _check_relations(doses: Sequence[Dose]) -> None:
    """Raise BadInput where a strategy's baseline takes a target, or strategies build on each other in a circle."""
    for dose in doses:
        kind, chain = dose.kind, [dose.strategy]
        if STRATEGIES[kind.baseline].kind != "none":
            raise BadInput(
                f"strategy {dose.strategy!r}: its baseline {kind.baseline!r} takes a target",
                allowed=", ".join(name for name, row in STRATEGIES.items() if row.kind == "none"),
                do="correct the class",
            )
        while (earlier := STRATEGIES[chain[-1]].earlier) is not None:
            chain.append(earlier.strategy)
            if chain.count(earlier.strategy) > 1:
                raise BadInput(
                    f"strategies build on each other: {' on '.join(chain)}",
                    allowed="a chain that ends",
                    do="correct the class",
                )


class _Judge:
    """Why a combination cannot be run. The circumstances of a classifier are asked for once for each strategy."""

    def __init__(self, given: Given):
        self._given = given
        self._unfit: dict[tuple[str, Dose], str | None] = {}

    def why_not(self, classifier: str, dose: Dose, target: str) -> str | None:
        """The reason; None where it can be run."""
        if (classifier, dose) not in self._unfit:
            self._unfit[classifier, dose] = self._strategy(classifier, dose)
        return self._unfit[classifier, dose] or self._target(dose, target) or self._needed(classifier, dose, target)

    def _strategy(self, classifier: str, dose: Dose) -> str | None:
        needed = CLASSIFIERS[classifier].input
        if needed not in self._given.specs:
            return f"{classifier} takes {needed}, and the data set's folder holds only {', '.join(self._given.specs)}"
        about = Circumstances(
            classifier=CLASSIFIERS[classifier],
            spec=self._given.specs[needed],
            classes=self._given.classes,
            n_axes=self._given.n_axes,
        )
        return make_strategy(dose.strategy, dose.options).unfit(about)

    def _target(self, dose: Dose, target: str) -> str | None:
        if target == NO_TARGET:
            return None
        facts = target_facts(target)
        if facts.detached and dose.kind.replaces_entropy:
            return "it takes the place of cross-entropy: with its gradient stopped nothing is trained"
        return facts.unfit(dose.kind.kind, classes=self._given.classes, has_ratings=self._given.has_ratings)

    def _needed(self, classifier: str, dose: Dose, target: str) -> str | None:
        one = Combination(classifier=classifier, dose=dose, target=target, seed=0)
        for what, need in (("builds on", one.earlier), ("is compared with", one.baseline)):
            reason = need and self.why_not(classifier, need.dose, need.target)
            if need and reason:
                return f"it {what} {label_of(need.dose)}, which cannot run: {reason}"
        return None


def label_of(dose: Dose) -> str:
    """A dose in words: the strategy, and what is not its default."""
    words = [dose.strategy]
    if dose.gradient_match:
        words.append(f"ratio={dose.gradient_match:g}")
    elif dose.lambda_ != default_dose(dose.strategy).lambda_:
        words.append(f"lambda={dose.lambda_:g}")
    return ":".join(words + dose.options.split(",") if dose.options else words)


def _known(registry: Mapping[str, object], name: str) -> str:
    registry[name]
    return name


def _unique(values: Iterable) -> list:
    return list(dict.fromkeys(values))


def _order(one: Combination) -> tuple:
    rank = 0 if one.target == NO_TARGET else 2 if one.target == STUDIED else 1
    return rank, one.seed, one.classifier, one.dose.strategy, one.target, one.dose


def target_facts(target: str) -> TargetBuilder:
    """The registered target behind a canonical name such as permuted_2."""
    return TARGETS[base_of(target)]


def base_of(target: str) -> str:
    """A target's name without the number of a draw."""
    return target if target in TARGETS else target.rsplit("_", 1)[0]
