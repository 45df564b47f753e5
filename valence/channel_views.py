"""Channels by name: rows of a recording, inputs masked to some of them, and a regression from such a second look.

In: names of channels, and a recording's facts. A name is one whether in upper or lower case.
"""

from collections.abc import Sequence

import torch

from valence.errors import BadInput
from valence.signal import SignalSpec
from valence.strategies import Batch, Circumstances
from valence.value_regression import ValueRegression


def rows_of(names: Sequence[str], ch_names: Sequence[str]) -> list[int]:
    """Index of each named channel. Raises BadInput, listing those that are missing."""
    absent = missing(names, ch_names)
    if absent:
        raise BadInput(
            f"a recording without the channels {', '.join(absent)}",
            allowed=f"one with {', '.join(names)}",
            do="name the channels by their sites, or leave this strategy out",
        )
    known = {name.casefold(): row for row, name in enumerate(ch_names)}
    return [known[name.casefold()] for name in names]


def missing(names: Sequence[str], ch_names: Sequence[str]) -> list[str]:
    """Those of the names that a recording does not have."""
    known = {name.casefold() for name in ch_names}
    return [name for name in names if name.casefold() not in known]


def why_missing(names: Sequence[str], ch_names: Sequence[str]) -> str | None:
    """The missing channels in words; None where all are there."""
    absent = missing(names, ch_names)
    return f"the recording has no channel{'s' * (len(absent) > 1)} {', '.join(absent)}" if absent else None


def channel_mask(names: Sequence[str], spec: SignalSpec) -> torch.Tensor:
    """1 for the named channels and 0 for others, (n_chans, 1), or (n_chans, 1, 1) for band features."""
    mask = torch.zeros(spec.n_chans, 1, *[1] * bool(spec.n_bands))
    mask[rows_of(names, spec.ch_names)] = 1
    return mask


class MaskedRegression(ValueRegression):
    """Regression of the target value from features of a second look, at the input with all but some channels zero.

    Windows are zero at 0 µV, standardised band features at their mean.
    """

    family = "channels and topography"
    formula = "mean (w·h_i' + b - a_{s_i})², h' the features of the input with other channels zero"
    source = "arXiv:2606.00129"
    reads_input = True
    mask: torch.Tensor

    def channels(self, ch_names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the channels that are looked at, of a recording with such channels."""
        raise NotImplementedError

    def unfit(self, about: Circumstances) -> str | None:
        return why_missing(self.channels(about.spec.ch_names), about.spec.ch_names)

    def prepare(self, model, spec, n_features, target):
        super().prepare(model, spec, n_features, target)
        self.register_buffer("mask", channel_mask(self.channels(spec.ch_names), spec))

    def second_look(self, x: torch.Tensor) -> torch.Tensor | None:
        return x * self.mask

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        assert batch.second is not None, "the training loop takes the second look"
        return self.squared_errors(batch, batch.second).mean()
