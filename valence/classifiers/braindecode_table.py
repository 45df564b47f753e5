"""Classifiers of braindecode, one row each: the 31 that are trained from scratch.

Input: windows (batch, n_chans, n_times) in µV times the recipe's scale. Each ends in `final_layer`; the tap is what its
last affine map reads. Sources of the architectures: braindecode 1.8, which names the papers. Published balanced
accuracies of FACED and SEED-V: Wang et al. 2025 (CBraMod), table of the benchmark, and Chen et al. 2026 (EMOD), table
2. The networks there bear the same names; their sizes are not always those of braindecode.
"""

from functools import partial

from valence import architectures
from valence.classifiers import CLASSIFIERS, Classifier

COMPACT, INCEPTION, FILTER_BANK = "compact CNN", "inception, hemispheric", "filter bank, spectral"
TEMPORAL, ATTENTION, CLINICAL = "temporal convolution", "convolution + attention", "clinical, sleep"
POSITIONS = "electrode positions, from names of the 10-10 system"
BANK = "a sampling rate above 80 Hz, for a filter bank of 4 to 40 Hz"


def row(name: str, family: str, *, options: dict | None = None, **facts) -> Classifier:
    """One classifier that needs nothing but its shape, unless `build` among the facts says otherwise."""
    made = {"build": partial(architectures.build, name, options or {})} | facts
    return Classifier(name=name, family=family, input="windows", **made)


def placed(name: str, family: str, **facts) -> Classifier:
    """One classifier that is told where the electrodes are."""
    return row(name, family, build=partial(architectures.build_with_positions, name, {}), needs=(POSITIONS,), **facts)


for classifier in (
    row(
        "EEGNet",
        COMPACT,
        options={"final_layer_with_constraint": False},
        windows_per_second=2700,
        h200_windows_per_second=5081,
        published={"faced": 0.4090, "seed_v": 0.2961},
    ),
    row("EEGNeX", COMPACT, h200_windows_per_second=1414),
    row("ShallowFBCSPNet", COMPACT, windows_per_second=1300, h200_windows_per_second=23775),
    row("Deep4Net", COMPACT, h200_windows_per_second=16519),
    row("SCCNet", COMPACT, h200_windows_per_second=20914),
    row("EEGSimpleConv", COMPACT, h200_windows_per_second=11249),
    row("SincShallowNet", COMPACT, h200_windows_per_second=2679),
    row("TIDNet", COMPACT, h200_windows_per_second=1125),
    row("EEGInceptionERP", INCEPTION, h200_windows_per_second=1627),
    row("EEGITNet", INCEPTION, h200_windows_per_second=2165),
    row("TSception", INCEPTION, h200_windows_per_second=5182, published={"faced": 0.1840, "seed_v": 0.3852}),
    placed("EEGSym", INCEPTION, h200_windows_per_second=695),
    row("FBCNet", FILTER_BANK, needs=(BANK,), h200_windows_per_second=9050),
    row("FBMSNet", FILTER_BANK, needs=(BANK,), h200_windows_per_second=873),
    row(
        "FBLightConvNet",
        FILTER_BANK,
        build=architectures.build_light_convnet,
        needs=(BANK,),
        h200_windows_per_second=10641,
    ),
    row("IFNet", FILTER_BANK, needs=(BANK,), h200_windows_per_second=10899),
    row("EEGMiner", FILTER_BANK, h200_windows_per_second=9015),
    row("SyncNet", FILTER_BANK, h200_windows_per_second=22062),
    row("EEGTCNet", TEMPORAL, h200_windows_per_second=4774),
    row("ATCNet", TEMPORAL, h200_windows_per_second=1758),
    row("BDTCN", TEMPORAL, tap="base_tcn.final_layer.fc", h200_windows_per_second=9442),
    row("TCFormer", TEMPORAL, h200_windows_per_second=920),
    row("EEGConformer", ATTENTION, h200_windows_per_second=3622, published={"faced": 0.4559, "seed_v": 0.3537}),
    row("CTNet", ATTENTION, h200_windows_per_second=2551),
    row("MSVTNet", ATTENTION, h200_windows_per_second=1229),
    row("AttentionBaseNet", ATTENTION, tap="final_layer.1", h200_windows_per_second=3507),
    row("MEDFormer", ATTENTION, h200_windows_per_second=789),
    placed("DGCNN", "graph", h200_windows_per_second=24509),
    row("SPARCNet", CLINICAL, h200_windows_per_second=1386, published={"faced": 0.4673, "seed_v": 0.2949}),
    row("ContraWR", CLINICAL, h200_windows_per_second=5949, published={"faced": 0.4887, "seed_v": 0.3546}),
    row("SleepStagerChambon2018", CLINICAL, build=architectures.build_sleep_stager),
):
    CLASSIFIERS.add(classifier.name, classifier, source=__name__)
