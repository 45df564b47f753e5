"""The roster on the recordings of the study: shapes, gradients, and sizes against the published numbers of each."""

import collections

import pytest
import torch
from torch import nn

from tests.valence.signal_specs import DE_FACED, DE_ONE, FACED, QUICK, SEED_V, noise
from valence.classifiers import CLASSIFIERS, build_classifier, tapped

pytestmark = pytest.mark.usefixtures("one_thread")
SLOW = ("EEGPT", "EMOD_depth6_as_coded")
"""25 million weights, and a variant that differs from others in the order of values alone: not at full length"""
WINDOWS = [
    (name, spec) for name in CLASSIFIERS if CLASSIFIERS[name].input == "windows" for spec in (QUICK, SEED_V, FACED)
]
DE = [(name, spec) for name in CLASSIFIERS if CLASSIFIERS[name].input == "de" for spec in (DE_FACED, DE_ONE)]
CASES = [case for case in WINDOWS + DE if case[0] not in SLOW or case[1] is not FACED]

SIZES = {
    "EEGNet": (10_553, (16, 62)),
    "EEGNeX": (60_569, (496,)),
    "ShallowFBCSPNet": (98_049, (40, 127)),
    "Deep4Net": (319_534, (200, 20)),
    "SCCNet": (26_719, (1900,)),
    "EEGSimpleConv": (741_549, (180,)),
    "SincShallowNet": (96_201, (10432,)),
    "TIDNet": (431_849, (10640,)),
    "EEGInceptionERP": (25_649, (372,)),
    "EEGITNet": (17_845, (1750,)),
    "TSception": (841_877, (128,)),
    "EEGSym": (28_883, (12,)),
    "FBCNet": (23_547, (1152,)),
    "FBMSNet": (27_966, (1152,)),
    "FBLightConvNet": (12_763, (32,)),
    "IFNet": (16_233, (512,)),
    "EEGMiner": (9_946, (992,)),
    "SyncNet": (566, (50,)),
    "EEGTCNet": (4_529, (12,)),
    "ATCNet": (114_877, (32,)),
    "BDTCN": (28_929, (30,)),
    "TCFormer": (80_080, (64,)),
    "EEGConformer": (1_481_577, (32,)),
    "CTNet": (161_849, (1240,)),
    "MSVTNet": (95_679, (72,)),
    "AttentionBaseNet": (5_953, (256,)),
    "MEDFormer": (8_643_849, (384,)),
    "DGCNN": (783_946, (256,)),
    "SPARCNet": (1_228_041, (64,)),
    "ContraWR": (1_582_569, (256,)),
    "SleepStagerChambon2018": (15_193, (768,)),
    "BIOT": (3_192_585, (256,)),
    "CBraMod": (5_500_009, (32, 10, 200)),
    "Labram": (5_820_745, (200,)),
    "LUNA": (7_107_906, (1024,)),
    "EMOD": (845_384 + 3_344_266, (128,)),
    "EMOD_depth6": (1_641_488 + 3_344_266, (128,)),
}
"""weights, and what the last layer reads of one window, of FACED's 32 x 2,000 and 9 classes: counted independently when
the roster was chosen, on the same release of braindecode; EMOD's from its paper and code"""


def test_the_roster_is_the_36_of_the_study_and_six_extras():
    groups = collections.Counter(classifier.group for classifier in CLASSIFIERS.values())
    assert (groups["roster"], groups["extra"]) == (36, 6)
    assert {name for name, classifier in CLASSIFIERS.items() if classifier.group == "roster"} == set(SIZES) - {
        "EMOD_depth6"
    }
    of_roster = [classifier for classifier in CLASSIFIERS.values() if classifier.group != "variant"]
    assert all((classifier.input == "de") == (classifier.group == "extra") for classifier in of_roster)


@pytest.mark.parametrize(
    ("name", "spec"), CASES, ids=lambda part: part if isinstance(part, str) else f"{part.n_chans}x{part.n_times}"
)
def test_shape_gradients_and_size(name, spec):
    torch.manual_seed(0)
    module = build_classifier(CLASSIFIERS[name], spec)
    with tapped(module, CLASSIFIERS[name]) as forward:
        out = forward(noise(spec, 2))
    assert out.logits.shape == (2, spec.n_outputs)
    assert out.features.shape[0] == 2
    nn.functional.cross_entropy(out.logits, torch.tensor([0, spec.n_outputs - 1])).backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), key
    if spec is FACED and name in SIZES:
        n_weights, tap = SIZES[name]
        assert sum(parameter.numel() for parameter in module.parameters()) == n_weights
        steps = out.taps[0].shape[0] // 2
        assert steps == (2000 if name == "BDTCN" else 1)
        assert tuple(size for size in out.taps[0].shape[1:] if size > 1) == tap
        assert out.features.shape[1] == (200 if name == "CBraMod" else tap[0])


def test_size_of_the_slow_depth_six():
    module = CLASSIFIERS["EMOD_depth6"].build(FACED)
    assert sum(parameter.numel() for parameter in module.parameters()) == SIZES["EMOD_depth6"][0]
