"""Small ensembles for tests of export and streaming."""

import numpy as np
import torch
from torch import nn

from valence.cell import Recipe
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.datasets import DATASETS
from valence.decoder import BandFeatures, TrainedOn
from valence.exported import Member
from valence.features import BANDS
from valence.prepared import signal_spec
from valence.preprocessing import cut_windows
from valence.processing import Processing

FACED = DATASETS["faced"]
RECIPE = Recipe(name="small", epochs=1, sfreq_hz=100, window_s=5, stride_s=5)
DE_RECIPE = Recipe(name="small-de", epochs=1, de_window_s=5)


def trained_on(*, processing: Processing | None = None) -> TrainedOn:
    """FACED's windows of 5 s at 100 Hz."""
    return TrainedOn(
        spec=signal_spec(FACED, "windows", RECIPE),
        recipe=RECIPE,
        processing=processing or Processing(),
        sfreq_hz=250.0,
        classes=FACED.classes,
    )


def trained_on_bands() -> TrainedOn:
    """FACED's band features, 5 s a sample."""
    random = np.random.default_rng(0)
    bands = BandFeatures(
        kind="de",
        bands=BANDS,
        edges="mne",
        mean=random.standard_normal((32, 5)),
        sd=1 + random.random((32, 5)),
    )
    spec = signal_spec(FACED, "de", DE_RECIPE)
    return TrainedOn(
        spec=spec, recipe=DE_RECIPE, processing=Processing(), sfreq_hz=250.0, classes=FACED.classes, bands=bands
    )


def members(names: tuple[str, ...], about: TrainedOn, shares: tuple[float, ...]) -> list[Member]:
    """Classifiers with weights as drawn, that have seen what they are given and answer differently to each window."""
    made = []
    for at, (name, share) in enumerate(zip(names, shares)):
        torch.manual_seed(at)
        module = build_classifier(CLASSIFIERS[name], about.spec)
        x = torch.randn(32, about.spec.n_chans, about.spec.n_times, *([5] if about.bands else []))
        if about.bands is None:
            x = torch.from_numpy(cut_windows(recording(1, seed=99), sfreq=250.0, recipe=RECIPE)).flatten(0, 1)
        with torch.no_grad():
            norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
            for part in norms:
                part.momentum = 1.0  # one pass is then enough for their statistics to be those of the input
            module(x)
            logits = module.eval()(x)
            last = list(module.modules())[-1] if name == "de_mlp" else module.get_submodule("final_layer")
            spread = 2 / logits.std(0).mean()
            for parameter in last.parameters():
                parameter *= spread
        made.append(Member(classifier=name, weights=module.state_dict(), share=share))
    return made


def by_hand(made: list[Member], about: TrainedOn, x: np.ndarray) -> np.ndarray:
    """Probabilities (n, n_classes) of a softmax mixture by torch alone."""
    total, weight = 0.0, sum(member.share for member in made)
    for member in made:
        module = build_classifier(CLASSIFIERS[member.classifier], about.spec)
        module.load_state_dict(member.weights)
        with torch.no_grad():
            total = total + member.share / weight * module.eval()(torch.from_numpy(x)).softmax(1).double().numpy()
    return np.asarray(total)


def recording(n_clips: int = 28, seconds: float = 30.0, sfreq: float = 250.0, seed: int = 0) -> np.ndarray:
    """Coloured noise in µV, (n_clips, 32, n_times), nothing above 45 Hz, as cleaned EEG has it."""
    random = np.random.default_rng(seed)
    n_times = round(seconds * sfreq)
    frequencies = np.fft.rfftfreq(n_times, 1 / sfreq)
    gain = np.where((frequencies > 0.5) & (frequencies < 45), 1 / np.sqrt(np.maximum(frequencies, 1)), 0)
    spectrum = random.standard_normal((n_clips, 32, len(frequencies), 2)) @ [1, 1j]
    x = np.fft.irfft(spectrum * gain, n_times)
    return 20 * x / x.std()
