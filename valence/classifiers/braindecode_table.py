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
        published={"faced": 0.4090, "seed_v": 0.2961},
    ),
    row("EEGNeX", COMPACT),
    row("ShallowFBCSPNet", COMPACT),
    row("Deep4Net", COMPACT),
    row("SCCNet", COMPACT),
    row("EEGSimpleConv", COMPACT),
    row("SincShallowNet", COMPACT),
    row("TIDNet", COMPACT),
    row("EEGInceptionERP", INCEPTION),
    row("EEGITNet", INCEPTION),
    row("TSception", INCEPTION, published={"faced": 0.1840, "seed_v": 0.3852}),
    placed("EEGSym", INCEPTION),
    row("FBCNet", FILTER_BANK, needs=(BANK,)),
    row("FBMSNet", FILTER_BANK, needs=(BANK,)),
    row(
        "FBLightConvNet",
        FILTER_BANK,
        build=architectures.build_light_convnet,
        needs=(BANK,),
    ),
    row("IFNet", FILTER_BANK, needs=(BANK,)),
    row("EEGMiner", FILTER_BANK),
    row("SyncNet", FILTER_BANK),
    row("EEGTCNet", TEMPORAL),
    row("ATCNet", TEMPORAL),
    row("BDTCN", TEMPORAL, tap="base_tcn.final_layer.fc"),
    row("TCFormer", TEMPORAL),
    row("EEGConformer", ATTENTION, published={"faced": 0.4559, "seed_v": 0.3537}),
    row("CTNet", ATTENTION),
    row("MSVTNet", ATTENTION),
    row("AttentionBaseNet", ATTENTION, tap="final_layer.1"),
    row("MEDFormer", ATTENTION),
    placed("DGCNN", "graph"),
    row("SPARCNet", CLINICAL, published={"faced": 0.4673, "seed_v": 0.2949}),
    row("ContraWR", CLINICAL, published={"faced": 0.4887, "seed_v": 0.3546}),
    row("SleepStagerChambon2018", CLINICAL, build=architectures.build_sleep_stager),
):
    CLASSIFIERS.add(classifier.name, classifier, source=__name__)
