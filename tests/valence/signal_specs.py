"""Recordings that classifiers are tried on: FACED and SEED-V as the study cuts them, and small ones."""

import torch

from valence.datasets import DATASETS
from valence.signal import SignalSpec

FACED_NAMES = DATASETS["faced"].ch_names
SEED_V_NAMES = DATASETS["seed_v"].ch_names
FACED = SignalSpec(n_chans=32, n_times=2000, n_outputs=9, sfreq=200, ch_names=FACED_NAMES)
SEED_V = SignalSpec(n_chans=62, n_times=200, n_outputs=5, sfreq=200, ch_names=SEED_V_NAMES)
QUICK = SignalSpec(n_chans=30, n_times=500, n_outputs=9, sfreq=100, ch_names=FACED_NAMES[:30])
SMALL = SignalSpec(
    n_chans=8, n_times=200, n_outputs=4, sfreq=100, ch_names=("Fz", "F3", "F4", "Cz", "C3", "C4", "O1", "O2")
)
DE_FACED = SignalSpec(n_chans=32, n_times=30, n_outputs=9, sfreq=1, ch_names=FACED_NAMES, n_bands=5)
DE_ONE = SignalSpec(n_chans=62, n_times=1, n_outputs=5, sfreq=0.25, ch_names=SEED_V_NAMES, n_bands=3)
DE_SMALL = SignalSpec(n_chans=8, n_times=6, n_outputs=4, sfreq=1, ch_names=SMALL.ch_names, n_bands=5)


def noise(spec: SignalSpec, n: int, seed: int = 0) -> torch.Tensor:
    """n samples of white noise of unit variance, in the shape of the spec."""
    shape = (n, spec.n_chans, spec.n_times) + ((spec.n_bands,) if spec.n_bands else ())
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
