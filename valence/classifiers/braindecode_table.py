"""Classifiers of braindecode, one row each. braindecode is imported when one is built, not before.

Input: windows (batch, n_chans, n_times) in µV times the recipe's scale. Each ends in `final_layer`, the tap.
Sources: Lawhern et al. 2018, EEGNet; Schirrmeister et al. 2017, ShallowFBCSPNet; in the form of braindecode 1.8.
"""

import importlib
import warnings
from functools import partial

from torch import nn

from valence.classifiers import CLASSIFIERS, Classifier
from valence.signal import SignalSpec


def build(architecture: str, options: dict, spec: SignalSpec) -> nn.Module:
    """A freshly initialised module of braindecode.models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # braindecode's use of mne montages
        warnings.simplefilter("ignore", DeprecationWarning)  # EEGNet's final layer, chosen explicitly below
        models = importlib.import_module("braindecode.models")
        return getattr(models, architecture)(
            n_chans=spec.n_chans, n_times=spec.n_times, n_outputs=spec.n_outputs, sfreq=spec.sfreq, **options
        )


for row in (
    Classifier(
        name="EEGNet",
        family="compact CNN",
        input="windows",
        build=partial(build, "EEGNet", {"final_layer_with_constraint": False}),
        windows_per_second=2700,
        h200_windows_per_second=5081,
        published={"faced": 0.4090, "seed-v": 0.2961},
    ),
    Classifier(
        name="ShallowFBCSPNet",
        family="compact CNN",
        input="windows",
        build=partial(build, "ShallowFBCSPNet", {}),
        windows_per_second=1300,
        h200_windows_per_second=23775,
    ),
):
    CLASSIFIERS.add(row.name, row, source=__name__)
