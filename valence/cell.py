"""Names to cells: one training, its identity, and every seed that comes from it."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property

from valence.errors import BadInput

SCIENCE_VERSION = 3
"""raised whenever the same cell would give another result: committed cells of older versions are then not reused"""


def canonical_hash(value: object, digits: int = 16) -> str:
    """First hex digits of SHA-256 over canonical JSON. Raises TypeError for what JSON cannot hold exactly."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def derive_seed(identity: str, stage: str) -> int:
    """A seed below 2**63 from an identity and a stage name; independent of order, process and platform."""
    return int(hashlib.sha256(f"{identity}/{stage}".encode()).hexdigest()[:16], 16) >> 1


def cast_fields(self: object) -> None:
    """Cast every field of a frozen dataclass to its declared type, so that 1 and 1.0 are one value."""
    for field in dataclasses.fields(self):  # type: ignore[arg-type]
        value = getattr(self, field.name)
        if field.type in (int, float, str, bool) and type(value) is not field.type:
            cast = field.type(value)
            if cast != value:
                raise BadInput(
                    f"{field.name} is {value!r}", allowed=f"a value of type {field.type.__name__}", do="correct it"
                )
            object.__setattr__(self, field.name, cast)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is trained and what its input looks like: everything but strategy, target and seed."""

    name: str
    epochs: int
    """passes over the training data"""
    batch_size: int = 64
    """samples (windows, or clips of DE features)"""
    learning_rate: float = 1e-3
    """peak"""
    final_learning_rate: float = 1e-6
    """end of the cosine"""
    optimizer: str = "adamw"
    """"adamw", or "adam" (weight decay as an L2 penalty)"""
    weight_decay: float = 1e-4
    warmup_epochs: int = 0
    """linear warm-up from 0"""
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    """largest global gradient norm"""
    class_weights: bool = False
    """cross-entropy weighs a class by the inverse of its share of the training samples"""
    selection: str = "balanced_accuracy"
    """the epoch kept is the best one by this score of the validation part: "balanced_accuracy" or "kappa" """
    patience_epochs: int = 0
    """training ends after so many epochs without a better one; 0: never early"""
    augmentation_p: float = 0.0
    """probability of each of four augmentations of a window (noise, time shift, channel dropout, amplitude); .6 in the
    study"""
    augmentation_shift_s: float = 0.1
    """largest time shift; the study's ±20 samples at 200 Hz"""
    sfreq_hz: float = 200.0
    """windows are resampled to this"""
    window_s: float = 10.0
    stride_s: float = 10.0
    """start of one window to start of the next"""
    scale: float = 0.01
    """windows are multiplied by this after conversion to µV"""
    band_features: str = "de"
    """which features classifiers of band features take: "de" (differential entropy) or "psd" (power)"""
    de_window_s: float = 0.0
    """length of a sample of band features; 0: a whole clip, or one step where clips differ in length"""
    de_normalisation: str = "train"
    """band features z-scored by "train" (mean and sd of the training subjects) or "subject" (each subject by itself,
    labels unused)"""

    def __post_init__(self) -> None:
        cast_fields(self)
        choices = {
            "optimizer": ("adamw", "adam"),
            "selection": ("balanced_accuracy", "kappa"),
            "de_normalisation": ("train", "subject"),
            "band_features": ("de", "psd"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                got = f"{field} is {getattr(self, field)!r}"
                raise BadInput(got, allowed=", ".join(allowed), do="take one of these")
        limits: dict[str, tuple[float, float]] = {
            "epochs": (1, math.inf),
            "batch_size": (2, math.inf),
            "learning_rate": (0, math.inf),
            "final_learning_rate": (0, math.inf),
            "weight_decay": (0, math.inf),
            "warmup_epochs": (0, math.inf),
            "label_smoothing": (0, 1),
            "clip_norm": (0, math.inf),
            "patience_epochs": (0, math.inf),
            "augmentation_p": (0, 1),
            "augmentation_shift_s": (0, math.inf),
        }
        for field, (least, most) in limits.items():
            if not least <= getattr(self, field) <= most:
                span = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
                raise BadInput(f"{field} is {getattr(self, field):g}", allowed=span, do="correct the recipe")

    @cached_property
    def hash(self) -> str:
        """8 hex digits over all fields but the name."""
        fields = dataclasses.asdict(self)
        fields.pop("name")
        return canonical_hash(fields, 8)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training: everything that can change its result and nothing that can't (no device, pack or path)."""

    dataset: str
    dataset_hash: str
    """content of the prepared arrays, 16 hex"""
    split: str
    """name, with the repeat after a colon: "cohort-balanced:0" """
    classifier: str
    recipe: str
    recipe_hash: str
    strategy: str
    target: str
    """"none" for the strategy none"""
    axis: str
    """digest of the axis the target was made from, 16 hex; empty where the target needs none"""
    lambda_: float
    """strength of the strategy"""
    seed: int
    options: str = ""
    """options of the strategy that are not its defaults, "name=value" with commas, sorted by name"""
    gradient_match: float = 0.0
    """lambda_ is scaled in each step so that the loss pulls this many times as hard on the features as cross-entropy
    does; 0: lambda_ is what it is"""
    weights: str = ""
    """digest of the pretrained weights that the classifier starts from, 16 hex; empty where they are drawn"""
    plugins: str = ""
    """digests of user plug-ins that take part; empty for our own"""
    science: int = SCIENCE_VERSION

    def __post_init__(self) -> None:
        cast_fields(self)

    @cached_property
    def cell_id(self) -> str:
        """16 hex digits over all fields but the recipe's name, which changes nothing."""
        return canonical_hash(self._identity())

    @cached_property
    def pair_id(self) -> str:
        """16 hex digits over the fields of cell_id but those of strategy and target.

        Cells that are compared share it, and with it initial weights, batch order and dropout masks: common random
        numbers make a paired difference sharper without making it less honest.
        """
        fields = self._identity()
        for name in ("strategy", "target", "axis", "lambda_", "options", "gradient_match", "plugins"):
            fields.pop(name)
        return canonical_hash(fields)

    def _identity(self) -> dict[str, object]:
        fields = dataclasses.asdict(self)
        fields.pop("recipe")
        return fields
