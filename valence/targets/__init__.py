"""Axis and seed to a target: what a strategy aligns features to. Target and strategy are two axes of the grid.

A control is the same loss with another target, so a target carries all that a strategy may read, as far as it has it:
values (per class and per clip), several values at once, prototypes, and a dissimilarity of classes. All have the same
shapes: prototypes C are read only up to a rotation (as C·Cᵀ, and against a learned projection), so they are given in as
many dimensions whatever the width of the LLM. Otherwise a control would differ in the size and the scale of the
student's projection, too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from valence.cell import derive_seed
from valence.errors import BadInput
from valence.registry import Registry
from valence.target_parts import N_PROTOTYPE_DIMS, Parts, finished

if TYPE_CHECKING:
    from valence.axis import Axis
    from valence.datasets.base import Dataset

__all__ = [
    "N_PROTOTYPE_DIMS",
    "PARTS",
    "TARGETS",
    "Parts",
    "Target",
    "TargetBuilder",
    "TargetContext",
    "canonical_target",
    "check_axis",
    "draw",
    "make_target",
    "positions_of",
]

AXIS_ROWS = ("class_positions", "centroids", "standard_error", "interval")
"""arrays of an axis that have one row a class"""
PARTS = {
    "values": "class_values",
    "several": "several",
    "prototypes": "prototypes",
    "dissimilarity": "dissimilarity",
}
"""kind of a strategy to the part of a target that it reads"""


@dataclass(frozen=True)
class Target:
    """What features are aligned to. All arrays are float64; None is what a target of this name does not have."""

    name: str
    class_values: np.ndarray | None
    """(n_classes,), z-scored over classes"""
    clip_values: np.ndarray | None
    """(n_clips,), z-scored over clips; the value of a clip's class where the target has nothing finer"""
    prototypes: np.ndarray | None
    """(n_classes, N_PROTOTYPE_DIMS), rows of length 1"""
    dissimilarity: np.ndarray | None
    """(n_classes, n_classes), symmetric, diagonal 0"""
    several: np.ndarray | None = None
    """(n_axes, n_classes), each row z-scored over classes"""
    detached: bool = False
    """the loss is computed, and its gradient stopped before it reaches the classifier"""
    classes: tuple[str, ...] = ()
    """names of the classes in the order of the labels, lower case"""


@dataclass(frozen=True, kw_only=True)
class TargetContext:
    """What a target is made from."""

    class_of_clip: np.ndarray | tuple[int, ...]
    """(n_clips,), class index of each clip"""
    n_classes: int
    classes: tuple[str, ...]
    """names in the order of the labels, lower case: an axis is brought into this order"""
    axis: "Axis | None"
    seed: int
    """the cell's seed: a drawn target is drawn anew for each, so that seeds average over draws"""
    further_axes: "tuple[Axis, ...]" = ()
    """of other LLMs, for strategies that take several at once"""
    ratings: np.ndarray | None = None
    """(n_clips,), mean self-rated valence over the training subjects, NaN for clips that none of them rated; None where
    the data set has no ratings"""

    @classmethod
    def of(
        cls,
        dataset: "Dataset | type[Dataset]",
        axes: "Sequence[Axis]",
        *,
        seed: int = 0,
        ratings: np.ndarray | None = None,
    ) -> "TargetContext":
        """What targets on a data set are made from; the first of the axes is the one under study."""
        return cls(
            class_of_clip=dataset.class_of_clip,
            n_classes=len(dataset.classes),
            classes=tuple(dataset.emotions or dataset.classes),
            axis=axes[0] if axes else None,
            seed=seed,
            further_axes=tuple(axes[1:]),
            ratings=ratings,
        )

    @property
    def axes(self) -> "tuple[Axis, ...]":
        """All axes, the one under study first."""
        return () if self.axis is None else (self.axis, *self.further_axes)


@dataclass(frozen=True, kw_only=True)
class TargetBuilder:
    """One entry of the registry."""

    build: Callable[[TargetContext, int], Parts]
    """context and draw number to the target's parts"""
    needs_axis: bool
    numbered: bool
    """the name takes a draw number: permuted_1, permuted_2, …"""
    meaning: str
    kinds: frozenset[str] = frozenset(PARTS)
    """kinds of strategy that it serves"""
    needs_ratings: bool = False
    emotions: Mapping[str, float] | None = None
    """a code for each emotion that it knows, where it is made from the names of the classes"""
    detached: bool = False
    by_default: bool = True
    """whether a grid that names no targets has it"""

    def unfit(self, kind: str, *, classes: Sequence[str], has_ratings: bool) -> str | None:
        """Why it cannot serve a strategy of this kind on a data set of such classes; None where it can."""
        if kind not in self.kinds:
            return f"it serves losses that read {' or '.join(sorted(self.kinds))}, not {kind}"
        if self.numbered and kind != "prototypes" and len(classes) < FEWEST_CLASSES:
            return f"any values of {len(classes)} classes are the axis, or its mirror image: there is no such control"
        return self.lacks(classes, has_ratings=has_ratings)

    def lacks(self, classes: Sequence[str], *, has_ratings: bool) -> str | None:
        """What of a data set it is made from and does not find, a sentence; None where it finds all."""
        if self.needs_ratings and not has_ratings:
            return "the data set has no self-ratings"
        if self.emotions is None:
            return None
        unknown = [name for name in _lower(classes) if name not in self.emotions]
        if unknown:
            return f"it does not know the classes {', '.join(unknown)}"
        same = len({self.emotions[name] for name in _lower(classes)}) == 1
        return f"it is the same for {', '.join(_lower(classes))}" if same else None


TARGETS: Registry[TargetBuilder] = Registry("target", __name__)


def canonical_target(name: str) -> str:
    """The one spelling of a target's name: "permuted" is "permuted_1". Raises BadInput for what is not a target."""
    base, index = _parse(name)
    return f"{base}_{index}" if TARGETS[base].numbered else base


def make_target(name: str, context: TargetContext) -> Target:
    """The target of one cell.

    Raises
    ------
    BadInput : for an unknown name, for more classes than N_PROTOTYPE_DIMS, where the axis is missing or has other
        classes, where the data set lacks what the target is made from, or where its builder gives parts that are not
        what they should be.
    """
    base, index = _parse(name)
    builder = TARGETS[base]
    _check_classes(context)
    if lacking := builder.lacks(context.classes, has_ratings=context.ratings is not None):
        raise BadInput(
            f"target {name!r}: {lacking}", allowed="a data set that has what it is made from", do="take another target"
        )
    if builder.needs_axis:
        context = _with_axis_in_order(name, context)
    full_name = f"{base}_{index}" if builder.numbered else base
    arrays = finished(
        full_name,
        builder.build(context, index),
        labels=np.asarray(context.class_of_clip),
        n_classes=context.n_classes,
    )
    for kind in sorted(builder.kinds):
        if arrays[PARTS[kind]] is None and (kind != "several" or len(context.axes) > 1):
            raise BadInput(
                f"target {full_name!r} has no {PARTS[kind]}",
                allowed=f"these for a target that serves losses that read {kind}",
                do="correct its builder or its `kinds`",
            )
    classes = tuple(_lower(context.classes))
    return Target(name=full_name, detached=builder.detached, classes=classes, **arrays)


def _check_classes(context: TargetContext) -> None:
    if not 2 <= context.n_classes <= N_PROTOTYPE_DIMS:
        raise BadInput(
            f"n_classes is {context.n_classes}", allowed=f"2 to {N_PROTOTYPE_DIMS}", do="take another data set"
        )
    if len(context.classes) != context.n_classes:
        raise BadInput(
            f"{context.n_classes} classes with the names {', '.join(context.classes)}",
            allowed="one name for each class",
            do="correct the data set's classes",
        )


MOST_ALIKE = 0.95
"""|r| over classes beyond which a drawn target is the axis again: its mirror image is the same to most losses"""
FEWEST_CLASSES = 3
"""for drawn values: any two values of two classes are the same target"""


def is_alike(values: np.ndarray, axis: np.ndarray) -> bool:
    """True where values (n_classes,) order the classes as the axis does, or the other way round."""
    return bool(abs(np.corrcoef(values, axis)[0, 1]) > MOST_ALIKE)


def draw(name: str, context: TargetContext, index: int) -> np.random.Generator:
    """Random numbers of draw `index` of a target: they depend on the name, the index and the cell's seed alone."""
    return np.random.default_rng(derive_seed(f"target/{name}/{index}/{context.seed}", "draw"))


def parts_of_axis(context: TargetContext, order: np.ndarray | slice = slice(None)) -> Parts:
    """Positions and centroids of the classes on the axis, positions on all axes; the classes in another order."""
    assert context.axis is not None
    positions = np.stack([axis.class_positions for axis in context.axes])[:, order]
    return Parts(
        values=positions[0],
        prototypes=context.axis.centroids[order],
        several=positions if context.further_axes else None,
    )


def _parse(name: str) -> tuple[str, int]:
    if name in TARGETS:
        return name, 1
    match = re.fullmatch(r"(.+)_([1-9][0-9]*)", name)
    if match and match[1] in TARGETS:
        if TARGETS[match[1]].numbered:
            return match[1], int(match[2])
        raise BadInput(f"target {name!r}", allowed=match[1], do=f"{match[1]} is not drawn: leave the number out")
    TARGETS[name]  # raises, with close matches
    raise AssertionError("unreachable")


def check_axis(axis: "Axis", classes: Sequence[str]) -> None:
    """Raise BadInput where the axis lacks one of these classes. It may have more; neither order nor case matters."""
    if set(_lower(classes)) - set(_lower(axis.classes)):
        raise BadInput(
            f"an axis of the classes {', '.join(axis.classes)}, for recordings of the classes {', '.join(classes)}",
            allowed="an axis of the classes of the recordings, in any order, or of more",
            do="fit the axis on stories of these classes, or take the target random, which needs none",
        )


def _lower(names: Sequence[str]) -> list[str]:
    return [name.casefold() for name in names]


def _with_axis_in_order(name: str, context: TargetContext) -> TargetContext:
    """The context with the rows of its axes that its labels name, in their order."""
    if context.axis is None:
        raise BadInput(
            f"target {name!r} without an axis",
            allowed="an axis for this target",
            do="fit one, or use the target random",
        )
    first, *others = (_in_order(axis, context.classes) for axis in context.axes)
    return replace(context, axis=first, further_axes=tuple(others))


def _in_order(axis: "Axis", classes: tuple[str, ...]) -> "Axis":
    check_axis(axis, classes)
    if _lower(axis.classes) == _lower(classes):
        return axis
    order = [_lower(axis.classes).index(label) for label in _lower(classes)]
    rows: dict[str, Any] = {part: getattr(axis, part) for part in AXIS_ROWS}
    rows = {part: None if array is None else array[order] for part, array in rows.items()}
    if len(order) < len(axis.classes):  # centred over the classes that are left, as they were over all
        rows["centroids"] = rows["centroids"] - rows["centroids"].mean(axis=0)
    return replace(axis, classes=tuple(classes), **rows)
