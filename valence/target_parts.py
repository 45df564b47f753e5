"""Parts of a target as it was built, of any scale, to arrays of one scale, or an error that says what is wrong.

Values are z-scored, prototypes have rows of length 1 in N_PROTOTYPE_DIMS dimensions. What a target's builder gives may
be a plug-in's, so shapes, numbers and differences are checked here.
"""

from dataclasses import dataclass

import numpy as np

from valence.errors import BadInput

N_PROTOTYPE_DIMS = 64
"""width of every target's prototypes, and so the most classes that a target can have"""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a target is made of, in any scale."""

    values: np.ndarray | None = None
    """(n_classes,)"""
    clip_values: np.ndarray | None = None
    """(n_clips,); None where a clip has the value of its class"""
    prototypes: np.ndarray | None = None
    """(n_classes, d), of any width d"""
    dissimilarity: np.ndarray | None = None
    """(n_classes, n_classes), symmetric, diagonal 0; None where it is the distance of values"""
    several: np.ndarray | None = None
    """(n_axes, n_classes), of two axes or more"""


def finished(name: str, parts: Parts, *, labels: np.ndarray, n_classes: int) -> dict[str, np.ndarray | None]:
    """Arrays of a `Target` by field, float64, from the parts of the target called so.

    Parameters
    ----------
    labels : int, (n_clips,), class of each clip.

    Raises
    ------
    BadInput : for a part of another shape, one that cannot be read as numbers or has some that are not finite, one in
        which nothing differs, and a dissimilarity that is none.
    """
    values = (
        None if parts.values is None else _zscored(name, "values", _shaped(name, "values", parts.values, n_classes))
    )
    return {
        "class_values": values,
        "clip_values": _clip_values(name, parts, values, labels),
        "prototypes": None if parts.prototypes is None else _prototypes(name, parts.prototypes, n_classes),
        "dissimilarity": _dissimilarity(name, parts, values, n_classes),
        "several": None if parts.several is None else _several(name, parts.several, n_classes),
    }


def _shaped(name: str, what: str, given: np.ndarray, *shape: int | str) -> np.ndarray:
    """The array in float64. A word in the shape stands for any number above 0 (or above 1: "two or more")."""
    words = " × ".join(str(size) for size in shape)
    try:
        array = np.array(given, dtype=np.float64)  # a builder may go on using its own
    except (TypeError, ValueError) as error:
        raise _refused(name, what, f"what is no array of numbers ({error})", f"finite numbers, {words}") from error
    least = {"any": 1, "two or more": 2}
    fits = array.ndim == len(shape) and all(
        size >= least[wanted] if isinstance(wanted, str) else size == wanted for size, wanted in zip(array.shape, shape)
    )
    if not fits:
        raise _refused(name, what, f"the shape {array.shape}", f"finite numbers, {words}")
    if not np.isfinite(array).all():
        raise _refused(name, what, "numbers that are not finite", f"finite numbers, {words}")
    return array


def _refused(name: str, what: str, got: str, allowed: str) -> BadInput:
    return BadInput(
        f"target {name!r}: its {what} have {got}", allowed=allowed, do="correct the target, or leave it out"
    )


def _zscored(name: str, what: str, values: np.ndarray) -> np.ndarray:
    spread = values.std()
    if spread < 1e-12 * max(np.abs(values).max(), 1e-12):
        raise _constant(name, what)
    return (values - values.mean()) / spread


def _constant(name: str, what: str) -> BadInput:
    return _refused(name, what, "no differences", "a target that tells classes apart")


def _clip_values(name: str, parts: Parts, values: np.ndarray | None, labels: np.ndarray) -> np.ndarray | None:
    if parts.clip_values is not None:
        what = "values of clips"
        return _zscored(name, what, _shaped(name, what, parts.clip_values, len(labels)))
    return None if values is None else values[labels]


def _prototypes(name: str, given: np.ndarray, n_classes: int) -> np.ndarray:
    rows = _shaped(name, "prototypes", given, n_classes, "any")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise _refused(name, "prototypes", "a row of length 0", "rows that have a direction")
    if np.ptp(rows / lengths, axis=0).max() < 1e-12:
        raise _constant(name, "prototypes")
    return _in_fixed_width(rows / lengths)


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


def _dissimilarity(name: str, parts: Parts, values: np.ndarray | None, n_classes: int) -> np.ndarray | None:
    if parts.dissimilarity is None:
        return None if values is None else np.abs(values[:, None] - values[None, :])
    what, allowed = "dissimilarities", "numbers of 0 or more, symmetric, with 0 on the diagonal"
    given = _shaped(name, what, parts.dissimilarity, n_classes, n_classes)
    small = 1e-9 * np.abs(given).max()
    if given.min() < 0 or np.abs(given - given.T).max() > small or np.abs(np.diag(given)).max() > small:
        got = "negative numbers" if given.min() < 0 else "no symmetry, or a class that is not 0 from itself"
        raise _refused(name, what, got, allowed)
    if not given.any():
        raise _constant(name, what)
    return given


def _several(name: str, given: np.ndarray, n_classes: int) -> np.ndarray:
    what = "values on several axes"
    return np.stack([_zscored(name, what, row) for row in _shaped(name, what, given, "two or more", n_classes)])
