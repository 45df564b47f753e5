"""Foundation architectures of braindecode, one row each: initialised at random unless pretrained weights are asked for.

Input: windows (batch, n_chans, n_times) in µV times the recipe's scale. Published balanced accuracies are of pretrained
weights, fine-tuned (Wang et al. 2025, CBraMod; Chen et al. 2026, EMOD, table 2). EEGPT's published weights come without
a licence, LUNA's were not asked for, and REVE downloads a table when built: it has no row.
"""

from functools import partial

from valence import architectures, pretrained
from valence.classifiers import CLASSIFIERS, Classifier, Pretrained

FAMILY = "foundation, random init"

for row in (
    Classifier(
        name="BIOT",
        family=FAMILY,
        input="windows",
        build=architectures.build_biot,
        published={"faced, pretrained": 0.5118, "seed_v, pretrained": 0.3837},
        pretrained=Pretrained(
            hub_id="braindecode/biot-pretrained-six-datasets-18chs",
            licence="BSD-3-Clause",
            # trained on 18 bipolar channels: another montage learns embeddings of its own
            load=partial(pretrained.load_weights, own=("encoder.channel_tokens.weight",)),
        ),
    ),
    Classifier(
        name="CBraMod",
        family=FAMILY,
        input="windows",
        build=architectures.build_cbramod,
        features_last=True,
        published={"faced, pretrained": 0.5509, "seed_v, pretrained": 0.4091},
        pretrained=Pretrained(
            hub_id="braindecode/cbramod-pretrained", licence="BSD-3-Clause", load=pretrained.load_weights
        ),
    ),
    Classifier(
        name="Labram",
        family=FAMILY,
        input="windows",
        build=architectures.build_labram,
        needs=("names of channels that LaBraM has embeddings of: the 10-10 system",),
        published={"faced, pretrained": 0.5273, "seed_v, pretrained": 0.3976},
        pretrained=Pretrained(
            hub_id="braindecode/labram-pretrained",
            licence="MIT",
            load=partial(pretrained.load_weights, cut=("temporal_embedding",)),
        ),
    ),
    Classifier(
        name="LUNA",
        family=FAMILY,
        input="windows",
        build=architectures.build_luna,
        tap="final_layer.decoder_ffn.fc2",
        needs=("electrode positions, from names of the 10-10 system",),
    ),
    Classifier(
        name="EEGPT",
        family=FAMILY,
        input="windows",
        group="variant",
        build=partial(architectures.build, "EEGPT", {}),
        tap="final_layer.probe2",
        needs=("windows of 64 samples or more",),
    ),
):
    CLASSIFIERS.add(row.name, row, source=__name__)
