"""Stage axis: activations, emotions and sets of paraphrases in, a direction with nine class positions out.

1. Centroid of each class: mean over the paraphrases of each set, then over sets with equal weight.
2. Centre the centroids over classes; PCA (singular value decomposition); the direction is PC1.
3. Sign: positive against negative training stories (`sign_rule="stories"`), or the study's "joy is positive"
   (`sign_rule="joy"`). Never labels of an evaluation.
4. Class positions: projections of the centroids, z-scored over classes.

Source: arXiv:2606.00129, method; sets, sign over all stories and checks beside the axis are ours.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from valence.axis_checks import bootstrap_positions, notes_of_axis
from valence.axis_pca import SIGN_RULES, first_component, positions, set_means, sign
from valence.cache import write_whole
from valence.errors import BadInput
from valence.stories import EMOTIONS

METHOD = "pca"
FORMAT = "valence.axis/1"
_ARRAYS = ("direction", "class_positions", "centroids", "standard_error", "interval")


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
    """share of PC1 in the variance of the centroids, 0 … 1"""
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
        """16 hex digits over positions and centroids (as float32) and classes: what a target is made from."""
        content = hashlib.sha256(json.dumps(self.classes).encode())
        for array in (self.class_positions, self.centroids):
            content.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return content.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write safetensors with the other fields as JSON metadata; the file is there whole or not at all."""
        from safetensors.numpy import save_file

        tensors = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        facts = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in _ARRAYS}
        text = json.dumps({"format": FORMAT, "checksum": _checksum(tensors), **facts}, sort_keys=True, allow_nan=False)
        tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        write_whole(Path(path), lambda temporary: save_file(tensors, temporary, metadata={"axis": text}))

    @classmethod
    def load(cls, path: Path) -> "Axis":
        """Read what `save` wrote. Raises BadInput, with the file's name, for anything else or a damaged file."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
            facts = json.loads(metadata["axis"])
            if facts.pop("format") != FORMAT:
                raise ValueError("another format")
            if facts.pop("checksum") != _checksum(tensors):
                raise ValueError("its arrays are damaged: the checksum differs")
            return cls(**tensors, **{**facts, "classes": tuple(facts["classes"])})
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            reason = "it is not an axis" if isinstance(error, (KeyError, TypeError)) else str(error).split("\n", 1)[0]
            raise BadInput(
                f"axis file {path}: {reason}",
                allowed="an axis.safetensors written by this software",
                do="give another file, or delete it and fit the axis again",
            ) from error


def fit_axis(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    *,
    classes: tuple[str, ...] = EMOTIONS,
    sign_rule: str = "stories",
    texts: list[str] | None = None,
    n_tokens: np.ndarray | None = None,
    llm: str = "",
    llm_hash: str = "",
    layer: int = -2,
    pooling: str = "last",
    n_paraphrases: int = 0,
    engine: str = "",
    dtype: str = "float32",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Axis:
    """Fit the axis, its bootstrap and its checks.

    Parameters
    ----------
    activations : float array, (n_texts, d_model)
    emotions, sets : (n_texts,), class name and story set of each text; every class in every set.
    texts, n_tokens : (n_texts,), for the checks of style; left out where not given.
    seed : of the bootstrap.

    Raises
    ------
    BadInput : for an unknown sign rule, shapes that differ, values that are not finite, a class missing from a set.
    """
    activations, emotions, sets = _checked(activations, emotions, sets, classes)
    if sign_rule not in SIGN_RULES:
        raise BadInput(f"sign rule {sign_rule!r}", allowed=", ".join(SIGN_RULES), do="take one of these")
    means = set_means(activations, emotions, sets, classes)
    centroids = means.mean(axis=0)
    direction, explained_variance = first_component(centroids)
    direction = direction * sign(centroids @ direction, classes, rule=sign_rule)
    error, interval = bootstrap_positions(
        activations, emotions, sets, direction, classes=classes, n_bootstrap=n_bootstrap, seed=seed
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
        method=METHOD,
        n_paraphrases=n_paraphrases,
        engine=engine,
        dtype=dtype,
        standard_error=error,
        interval=interval,
        notes=notes_of_axis(
            means, emotions, sets, direction, classes=classes, sign_rule=sign_rule, texts=texts, n_tokens=n_tokens
        ),
    )


def _checked(activations, emotions, sets, classes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    activations = np.asarray(activations, dtype=np.float64)
    emotions, sets = np.asarray(emotions, dtype=str), np.asarray(sets, dtype=str)
    problem = ""
    if activations.ndim != 2 or emotions.shape != activations.shape[:1] or sets.shape != activations.shape[:1]:
        problem = f"activations {activations.shape}, emotions {emotions.shape}, sets {sets.shape}"
    elif not np.isfinite(activations).all():
        problem = "activations that are not finite"
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
    return activations, emotions, sets


def _checksum(tensors: dict[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name in sorted(tensors):
        content.update(name.encode() + np.ascontiguousarray(tensors[name], dtype="<f8").tobytes())
    return content.hexdigest()


def _problem(axis: Axis) -> str:
    n_classes = len(axis.classes)
    shapes = {
        "direction": (axis.centroids.shape[-1],),
        "class_positions": (n_classes,),
        "centroids": (n_classes, axis.centroids.shape[-1]),
        "standard_error": (n_classes,),
        "interval": (n_classes, 2),
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
