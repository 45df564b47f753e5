"""Stage axis: activations, emotions and sets of paraphrases in, a direction with nine class positions out.

1. Centroid of each class: mean over the paraphrases of each set, then over sets with equal weight.
2. Direction, by a row of `valence.axis_methods`; the study's: PC1 of the centroids, centred over classes.
3. Sign: positive against negative training stories (`sign_rule="stories"`), or the study's "joy is positive"
   (`sign_rule="joy"`). Never labels of an evaluation.
4. Class positions: projections of the centroids, z-scored over classes.

Source: arXiv:2606.00129, method; sets, sign over all stories and checks beside the axis are ours.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from valence.axis_checks import notes_of_axis
from valence.axis_file import read_axis_file, write_axis_file
from valence.axis_methods import Labelled, choose_method
from valence.axis_pca import check_sign_rule, polarity, positions, sign
from valence.axis_resampling import bootstrap_positions
from valence.errors import BadInput
from valence.stories import EMOTIONS

METHOD = "pca"
_ARRAYS = ("direction", "class_positions", "centroids", "standard_error", "interval", "clip_positions")


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """A fitted valence direction of one LLM. Arrays are float64 and read-only."""

    direction: np.ndarray
    """(d_model,), unit vector; more is more positive"""
    class_positions: np.ndarray
    """(n_classes,), projections of the class centroids, z-scored over classes (ddof 0)"""
    centroids: np.ndarray
    """(n_classes, d_model), class centroids, centred over classes"""
    classes: tuple[str, ...] = EMOTIONS
    """names, in the order of the arrays"""
    explained_variance: float
    """share of the centroids' variance that lies along the direction, 0 … 1"""
    llm: str
    llm_hash: str
    layer: int
    """index into the hidden states, see `valence.activations`"""
    pooling: str
    method: str
    n_paraphrases: int
    """asked for per story"""
    engine: str
    dtype: str
    standard_error: np.ndarray | None = None
    """(n_classes,), of class_positions, bootstrap over paraphrases with the stories as they are"""
    interval: np.ndarray | None = None
    """(n_classes, 2), 95 % percentile interval of class_positions, same bootstrap"""
    clip_positions: np.ndarray | None = None
    """(n_clips,), of texts about the clips of a data set, see `valence.axis_clips`"""
    notes: dict[str, object] = field(default_factory=dict)
    """checks beside the axis, and "warnings", a list of sentences"""

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            value = getattr(self, name)
            if value is not None:
                array = np.array(value, dtype=np.float64)
                array.setflags(write=False)
                object.__setattr__(self, name, array)
        object.__setattr__(self, "classes", tuple(self.classes))
        problem = _problem(self)
        if problem:
            raise BadInput(f"axis: {problem}", allowed="the arrays of one fitted axis", do="fit the axis again")

    @property
    def digest(self) -> str:
        """16 hex digits over positions and centroids (as float32) and classes: what a target is made from.

        Clip positions count where there are some.
        """
        content = hashlib.sha256(json.dumps(self.classes).encode())
        for array in (self.class_positions, self.centroids, self.clip_positions):
            if array is not None:
                content.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return content.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write safetensors with the other fields as JSON metadata; the file is there whole or not at all."""
        tensors = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        facts = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in _ARRAYS}
        write_axis_file(Path(path), tensors, facts)

    @classmethod
    def load(cls, path: Path) -> "Axis":
        """Read what `save` wrote. Raises BadInput, with the file's name, for anything else or a damaged file."""
        return read_axis_file(Path(path), lambda parts: cls(**{**parts, "classes": tuple(parts["classes"])}))


def fit_axis(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    *,
    classes: tuple[str, ...] = EMOTIONS,
    codes: Sequence[float] | None = None,
    method: str = METHOD,
    sign_rule: str = "stories",
    texts: Sequence[str] | None = None,
    n_tokens: np.ndarray | None = None,
    llm: str = "",
    llm_hash: str = "",
    layer: int = -2,
    pooling: str = "last",
    n_paraphrases: int = 0,
    engine: str = "",
    dtype: str = "float32",
    n_bootstrap: int | None = None,
    seed: int = 0,
) -> Axis:
    """Fit the axis, its bootstrap and its checks.

    Parameters
    ----------
    activations : float array, (n_texts, d_model)
    emotions, sets : (n_texts,), class name and story set of each text; every class in every set.
    codes : of each class: negative, 0 or positive; None: the polarity of the nine emotions.
    method : a name of `valence.axis_methods.METHODS`.
    texts, n_tokens : (n_texts,), for the checks of style; left out where not given.
    n_bootstrap : draws; None: as many as the method's row says.
    seed : of the bootstrap.

    Raises
    ------
    BadInput : for an unknown method or sign rule, shapes that differ, no texts, fewer than two classes, values that
        are not finite or the same in all classes, a class missing from a set, no positive or no negative class.
    """
    row = choose_method(method)
    labelled = labelled_texts(activations, emotions, sets, classes, codes)
    check_sign_rule(sign_rule, classes, labelled.codes)
    direction, explained_variance = row.fit_labelled(labelled)
    centroids = labelled.centroids
    direction = direction * sign(centroids @ direction, classes, rule=sign_rule, codes=labelled.codes)
    error, interval = bootstrap_positions(
        labelled, direction, method=row, n_bootstrap=row.n_bootstrap if n_bootstrap is None else n_bootstrap, seed=seed
    )
    return Axis(
        direction=direction,
        class_positions=positions(centroids, direction),
        centroids=centroids - centroids.mean(axis=0),
        classes=classes,
        explained_variance=explained_variance,
        llm=llm,
        llm_hash=llm_hash,
        layer=layer,
        pooling=pooling,
        method=method,
        n_paraphrases=n_paraphrases,
        engine=engine,
        dtype=dtype,
        standard_error=error,
        interval=interval,
        notes=notes_of_axis(labelled, direction, method=row, sign_rule=sign_rule, texts=texts, n_tokens=n_tokens),
    )


def labelled_texts(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    classes: tuple[str, ...] = EMOTIONS,
    codes: Sequence[float] | np.ndarray | None = None,
) -> Labelled:
    """The checked input of a fit, in float64. Parameters and errors as of `fit_axis`."""
    codes = _codes(classes, codes)
    activations = np.asarray(activations, dtype=np.float64)
    emotions, sets = np.asarray(emotions, dtype=str), np.asarray(sets, dtype=str)
    problem = ""
    if activations.ndim != 2 or emotions.shape != activations.shape[:1] or sets.shape != activations.shape[:1]:
        problem = f"activations {activations.shape}, emotions {emotions.shape}, sets {sets.shape}"
    elif not len(activations):
        problem = "no texts"
    elif not np.isfinite(activations).all():
        problem = "activations that are not finite"
    elif strangers := sorted(set(emotions) - set(classes)):
        problem = f"texts of {', '.join(strangers)}"
    else:
        missing = [
            f"{name} in set {set_name}"
            for set_name in sorted(set(sets))
            for name in classes
            if not ((emotions == name) & (sets == set_name)).any()
        ]
        problem = f"no text of {', '.join(missing)}" if missing else ""
    if problem:
        raise BadInput(
            f"axis: {problem}",
            allowed=f"finite (n_texts, d_model) with a class and a set each, every one of {', '.join(classes)} per set",
            do="correct the arrays",
        )
    return Labelled(activations, emotions, sets, classes, codes)


def _codes(classes: tuple[str, ...], codes: Sequence[float] | np.ndarray | None) -> np.ndarray:
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise BadInput(
            f"an axis of the classes {', '.join(classes) or '(none)'}",
            allowed="two or more different classes",
            do="give stories of at least a positive and a negative class",
        )
    array = polarity(classes) if codes is None else np.asarray(codes, dtype=np.float64)
    if array.shape != (len(classes),) or not np.isfinite(array).all():
        raise BadInput(
            f"codes of shape {array.shape} for {len(classes)} classes",
            allowed="one finite number for each class",
            do="correct them",
        )
    return array


def _problem(axis: Axis) -> str:
    n_classes = len(axis.classes)
    shapes = {
        "direction": (axis.centroids.shape[-1],),
        "class_positions": (n_classes,),
        "centroids": (n_classes, axis.centroids.shape[-1]),
        "standard_error": (n_classes,),
        "interval": (n_classes, 2),
        "clip_positions": (0 if axis.clip_positions is None else axis.clip_positions.size,),
    }
    for name, shape in shapes.items():
        array = getattr(axis, name)
        if array is not None and array.shape != shape:
            return f"{name} has shape {array.shape}, not {shape}"
        if array is not None and not np.isfinite(array).all():
            return f"{name} has values that are not finite"
    if not np.isclose(np.linalg.norm(axis.direction), 1.0, atol=1e-6):
        return f"direction has length {np.linalg.norm(axis.direction):.6g}, not 1"
    return ""
