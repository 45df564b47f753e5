"""Recordings to classifiers: three foundation architectures of braindecode that take any rate, length and montage.

They are braindecode's own with another `forward`: names and shapes of tensors are the same, so published weights fit.
What a forward pass needs of a recording lies in buffers, so it moves to the device once. Imported when one is built.
"""

import torch
from braindecode.models import LUNA, CBraMod, Labram
from braindecode.models.labram import LABRAM_CHANNEL_ORDER
from torch.nn import functional

from valence.errors import BadInput


def resample(x: torch.Tensor, n_new: int) -> torch.Tensor:
    """(..., n) to (..., n_new) by FFT, for n_new equal to n the input itself; as scipy.signal.resample."""
    n = x.shape[-1]
    if n_new == n:
        return x
    spectrum = torch.fft.rfft(x)[..., : min(n, n_new) // 2 + 1]
    if min(n, n_new) % 2 == 0:  # the highest bin stands for two frequencies of the longer one, or sums two
        weight = torch.ones(spectrum.shape[-1], dtype=x.dtype, device=x.device)
        weight[-1] = 0.5 if n_new > n else 2.0
        spectrum = spectrum * weight
    return torch.fft.irfft(spectrum, n=n_new) * (n_new / n)


def fill(x: torch.Tensor, n_padded: int) -> torch.Tensor:
    """(..., n) to (..., n_padded) with zeros at the end."""
    return x if x.shape[-1] == n_padded else functional.pad(x, (0, n_padded - x.shape[-1]))


class PatchedCBraMod(CBraMod):
    """CBraMod of windows at any rate and length."""

    n_resampled: int
    n_padded: int

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_times) to logits (batch, n_outputs)."""
        return super().forward(fill(resample(x, self.n_resampled), self.n_padded))


class MontageLabram(Labram):
    """LaBraM of windows at any rate and length, with the position embeddings of the recording's channels."""

    n_resampled: int
    n_padded: int
    input_chans: torch.Tensor

    def set_channels(self, ch_names: tuple[str, ...]) -> None:
        """Choose embeddings by name. Raises BadInput for names that LaBraM does not know."""
        known = {name.upper(): row for row, name in enumerate(LABRAM_CHANNEL_ORDER, start=1)}
        unknown = [name for name in ch_names if name.upper() not in known]
        if unknown:
            raise BadInput(
                f"LaBraM has no embedding of channel{'s' * (len(unknown) > 1)} {', '.join(unknown)}",
                allowed=", ".join(LABRAM_CHANNEL_ORDER),
                do="name the channels by their sites, drop those that are no electrodes, or leave Labram out",
            )
        rows = [0] + [known[name.upper()] for name in ch_names]  # 0 is the class token
        self.register_buffer("input_chans", torch.tensor(rows), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_times) to logits (batch, n_outputs)."""
        patches = fill(resample(x, self.n_resampled), self.n_padded)
        return self.final_layer(self.forward_features(patches, input_chans=self.input_chans))


class MontageLuna(LUNA):
    """LUNA of windows of any length, with the positions of the recording's electrodes on its device."""

    n_padded: int
    places: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_times) to logits (batch, n_outputs)."""
        places = self.places.to(x.dtype).expand(len(x), -1, -1)
        return super().forward(fill(x, self.n_padded), channel_locations=places)


CLASSES = {"CBraMod": PatchedCBraMod, "Labram": MontageLabram, "LUNA": MontageLuna}
