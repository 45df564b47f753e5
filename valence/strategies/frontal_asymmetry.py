"""Regression of the target value from frontal alpha asymmetry inside the classifier.

Formula: L = mean_i (w·d_i + b - a_{s_i})², d_i = log P(F4) - log P(F3), log P(F8) - log P(F7), log P(Fp2) - log P(Fp1),
P the power in 8-13 Hz of a channel's time course in the first layer that keeps channels apart, mean over its filters.
Source: Davidson 1992, Anterior cerebral asymmetry and the nature of emotion; the row "frontal asymmetry" of
arXiv:2606.00129.
Deviations: the layer is the first whose output depends on trained weights, has an index for each channel, and a time
course that resolves 8-13 Hz, found by trial; of several branches it is the first. Band features have no time course
left: P is the mean square of the features there. Where a classifier has no such layer (the first one mixes channels,
or cuts windows into patches), the loss reads the features of a second forward pass, in evaluation mode, of the input
with all but these six channels zero. The notes of a result say which it was. Where the layer reads the windows as
they are, it is run once more on the six channels alone, and the gradient ratio is taken at its weights.
"""

import torch

from valence.channel_features import find_channel_features
from valence.channel_power import HeardPower, OwnPower, own_power
from valence.channel_views import channel_mask, rows_of, why_missing
from valence.strategies import STRATEGIES, Batch, Circumstances, need_target
from valence.value_regression import ValueRegression

RIGHT, LEFT = ("F4", "F8", "Fp2"), ("F3", "F7", "Fp1")
ALPHA_HZ = (8.0, 13.0)
LEAST_POWER = 1e-12
"""added to power, so that the logarithm of none is finite"""


@STRATEGIES.register("frontal_asymmetry")
class FrontalAsymmetry(ValueRegression):
    """Mean squared error of a read-out from right minus left log alpha power."""

    family = "channels and topography"
    lambda_ = 0.5
    formula = "mean (w·d_i + b - a_{s_i})², d_i the log α power of F4-F3, F8-F7, Fp2-Fp1"
    source = "Davidson 1992"
    reads_input = True
    reads_inside = True
    mask: torch.Tensor

    def __init__(self):
        super().__init__()
        self._power: HeardPower | OwnPower | None = None
        self._detached = False

    def unfit(self, about: Circumstances) -> str | None:
        return why_missing((*RIGHT, *LEFT), about.spec.ch_names)

    def prepare(self, model, spec, n_features, target):
        target = need_target(target, type(self).__name__)
        rows = rows_of((*RIGHT, *LEFT), spec.ch_names)
        found = find_channel_features(model, spec, rows, ALPHA_HZ)
        super().prepare(model, spec, n_features if found is None else len(RIGHT), target)
        self.register_buffer("mask", channel_mask((*RIGHT, *LEFT), spec))
        if found is None:
            self.reads_inside = False
            self.notes = ("asymmetry from the input masked to six channels",)
            return
        weight = next(model.parameters())
        trial = torch.randn(2, spec.n_chans, spec.n_times, generator=torch.Generator().manual_seed(0)).to(weight)
        self._power = own_power(model, found, rows, trial) or HeardPower(model, found, rows)
        self.reads_inside, self._detached = self._power.reads_inside, target.detached
        what = "mean square" if found.time is None else f"alpha power at {found.rate_hz:g} Hz"
        self.notes = (f"asymmetry from {what} in {found.path}",)

    def second_look(self, x: torch.Tensor) -> torch.Tensor | None:
        return x * self.mask if self._power is None else None

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        if self._power is None:
            assert batch.second is not None, "the training loop takes the second look"
            return self.squared_errors(batch, batch.second).mean()
        power, inside = self._power.take(batch.x)
        batch.inside = inside
        logs = ((power.detach() if self._detached else power) + LEAST_POWER).log()
        right, left = logs.split(len(RIGHT), dim=1)
        return self.squared_errors(batch, right - left).mean()
