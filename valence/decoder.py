"""Ensembles in use: members, their weights and what they were trained on; prepared samples in, probabilities out."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from valence.cell import Recipe
from valence.decoding_forms import dtype_of, quicken
from valence.ensemble import mixed
from valence.ensemble_selection import softmax
from valence.errors import BadInput
from valence.features import Band
from valence.metrics import probabilities
from valence.processing import Processing
from valence.signal import SignalSpec


@dataclass(frozen=True, kw_only=True)
class BandFeatures:
    """How band features of a window are made, and what they were normalised by in training."""

    kind: str
    """"de" or "psd" """
    bands: tuple[Band, ...]
    edges: str
    """as `valence.features.EDGES` has them"""
    mean: np.ndarray
    """float64, (n_chans, n_bands), of the training subjects"""
    sd: np.ndarray


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """What members have to be given."""

    spec: SignalSpec
    recipe: Recipe
    """its input fields: sfreq_hz, window_s, stride_s, scale, and those of band features"""
    processing: Processing
    """steps between the recording and the clips"""
    sfreq_hz: float
    """rate of the clips in training, before they were resampled to the recipe's"""
    classes: tuple[str, ...]
    bands: BandFeatures | None = None
    """for classifiers of band features"""

    def __post_init__(self) -> None:
        if len(self.classes) != self.spec.n_outputs or len(set(self.classes)) != len(self.classes):
            raise BadInput(
                f"{len(self.classes)} class names ({', '.join(self.classes)}) for {self.spec.n_outputs} outputs",
                allowed="one name for each output, each once",
                do="give the data set's classes in their order",
            )
        if bool(self.spec.n_bands) != (self.bands is not None):
            raise BadInput(
                f"n_bands is {self.spec.n_bands} and band features are {'' if self.bands else 'not '}described",
                allowed="both or neither",
                do="say how band features are made for classifiers of band features, and only for those",
            )


@dataclass(eq=False)
class Decoder:
    """An ensemble in evaluation mode on a CPU.

    Parameters
    ----------
    precision : "float32"; "bfloat16", in which linear layers multiply; or "auto", bfloat16 where the processor has it.
    """

    modules: Sequence[nn.Module]
    shares: np.ndarray
    """(n_members,), sum 1"""
    trained_on: TrainedOn
    names: tuple[str, ...]
    """of the members' classifiers"""
    pool: str = "softmax"
    temperature: float = 1.0
    precision: str = "auto"
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        dtype = dtype_of(self.precision)
        self.modules = [copy.deepcopy(module).eval() for module in self.modules]
        quicken(self.modules, dtype)
        if dtype is not torch.float32:
            self.notes += ("linear layers multiply in bfloat16: probabilities differ from float32 in the third digit",)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Prepared samples, float32 (n, …) as in training, to logits of members, (n_members, n, n_classes)."""
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
            return torch.stack([module(given).float() for module in self.modules]).numpy()

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Prepared samples (n, …) to probabilities, float64, (n, n_classes), at the ensemble's temperature."""
        logits = self.logits(x)
        given = softmax(logits) if self.pool == "softmax" else logits
        return probabilities(mixed(given, self.shares, self.pool) / self.temperature)


def class_probabilities(decoder: Decoder, chances: np.ndarray) -> Mapping[str, float]:
    """Probabilities (n_classes,) by class name."""
    return dict(zip(decoder.trained_on.classes, map(float, chances), strict=True))
