"""Axis and seed to a target: what a strategy aligns features to. Target and strategy are two axes of the grid.

A control is the same loss with another target, so every target carries all three parts that a strategy may read:
values (per class and per clip), prototypes, and a dissimilarity of classes. All have the same shapes: prototypes C are
read only up to a rotation (as C·Cᵀ, and against a learned projection), so they are given in as many dimensions whatever
the width of the LLM. Otherwise a control would differ in the size and the scale of the student's projection, too.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from valence.cell import derive_seed
from valence.errors import BadInput
from valence.registry import Registry

if TYPE_CHECKING:
    from valence.axis import Axis


N_PROTOTYPE_DIMS = 64
"""width of every target's prototypes, and so the most classes that a target can have"""

AXIS_ROWS = ("class_positions", "centroids", "standard_error", "interval")
"""arrays of an axis that have one row a class"""


@dataclass(frozen=True)
class Target:
    """What features are aligned to. All arrays are float64."""

    name: str
    class_values: np.ndarray
    """(n_classes,), z-scored over classes"""
    clip_values: np.ndarray
    """(n_clips,), the value of a clip's class where the target has nothing finer"""
    prototypes: np.ndarray
    """(n_classes, N_PROTOTYPE_DIMS), rows of length 1"""
    dissimilarity: np.ndarray
    """(n_classes, n_classes), symmetric, diagonal 0"""


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


@dataclass(frozen=True, kw_only=True)
class TargetBuilder:
    """One entry of the registry."""

    build: Callable[[TargetContext, int], tuple[np.ndarray, np.ndarray]]
    """context and draw number to class values (n_classes,) and prototypes (n_classes, d), in any scale and width d"""
    needs_axis: bool
    numbered: bool
    """the name takes a draw number: permuted_1, permuted_2, …"""
    meaning: str
    clip_values: Callable[[TargetContext], np.ndarray] | None = None
    """context to a value for each clip, (n_clips,), in any scale; None where a clip has the value of its class"""
    by_default: bool = True
    """whether a grid that names no targets has it"""


TARGETS: Registry[TargetBuilder] = Registry("target", __name__)


def canonical_target(name: str) -> str:
    """The one spelling of a target's name: "permuted" is "permuted_1". Raises BadInput for what is not a target."""
    base, index = _parse(name)
    return f"{base}_{index}" if TARGETS[base].numbered else base


def make_target(name: str, context: TargetContext) -> Target:
    """The target of one cell.

    Raises
    ------
    BadInput : for an unknown name, for more classes than N_PROTOTYPE_DIMS, or where the axis is missing or has other
        classes.
    """
    base, index = _parse(name)
    builder = TARGETS[base]
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
    if builder.needs_axis:
        context = _with_axis_in_order(name, context)
    values, prototypes = builder.build(context, index)
    values = _zscore(values)
    if builder.clip_values is None:
        clip_values = values[np.asarray(context.class_of_clip)]
    else:
        clip_values = _zscore(builder.clip_values(context))
    return Target(
        name=f"{base}_{index}" if builder.numbered else base,
        class_values=values,
        clip_values=clip_values,
        prototypes=_in_fixed_width(prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)),
        dissimilarity=np.abs(values[:, None] - values[None, :]),
    )


def draw(name: str, context: TargetContext, index: int) -> np.random.Generator:
    """Random numbers of draw `index` of a target: they depend on the name, the index and the cell's seed alone."""
    return np.random.default_rng(derive_seed(f"target/{name}/{index}/{context.seed}", "draw"))


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
    """The context with the rows of its axis that its labels name, in their order."""
    axis, classes = context.axis, context.classes
    if axis is None:
        raise BadInput(
            f"target {name!r} without an axis",
            allowed="an axis for this target",
            do="fit one, or use the target random",
        )
    check_axis(axis, classes)
    if _lower(axis.classes) == _lower(classes):
        return context
    order = [_lower(axis.classes).index(label) for label in _lower(classes)]
    rows: dict[str, Any] = {part: getattr(axis, part) for part in AXIS_ROWS}
    rows = {part: None if array is None else array[order] for part, array in rows.items()}
    if len(order) < len(axis.classes):  # centred over the classes that are left, as they were over all
        rows["centroids"] = rows["centroids"] - rows["centroids"].mean(axis=0)
    return replace(context, axis=replace(axis, classes=tuple(classes), **rows))


def _in_fixed_width(rows: np.ndarray) -> np.ndarray:
    """Rows (n, d) to (n, N_PROTOTYPE_DIMS) with the same R·Rᵀ: coordinates along principal axes, padded with zeros.

    The coordinates U·S of R = U·S·Vᵀ come from the n × n matrix R·Rᵀ, whose sums einsum forms in one thread: those of
    BLAS depend on how many threads it was given. The largest entry of each column is made positive.
    """
    if rows.shape[1] > N_PROTOTYPE_DIMS:
        squares, basis = np.linalg.eigh(np.einsum("id,jd->ij", rows, rows))
        squares, basis = squares[::-1], basis[:, ::-1]
        squares = np.where(squares > squares[0] * len(rows) * np.finfo(float).eps, squares, 0.0)
        signs = np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(len(rows))])
        rows = basis * signs * np.sqrt(squares)
    return np.pad(rows, ((0, 0), (0, N_PROTOTYPE_DIMS - rows.shape[1])))


def _zscore(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return (values - values.mean()) / values.std()
