"""EMOD: convolutions over time and frequency, axial attention over channels and time (arXiv 2511.05863, AAAI 2026).

Input: windows (batch, n_chans, n_times) in µV times the recipe's scale. Of depth 3 as published, and of 6 as in the
study's recipe. `EMOD` attends along time as the paper describes; the public code does not (`emod.Block`), and
`…_as_coded` does as it does. Published balanced accuracies are of the public code: .5899 on FACED from scratch, .6287
with contrastive pretraining on eight other data sets, whose weights come without a licence and are not offered here.
"""

import itertools
from functools import partial

import torch
from torch import nn

from valence import emod
from valence.classifiers import CLASSIFIERS, Classifier
from valence.signal import SignalSpec

N_ROWS = 72
"""rows of the channel embedding, as published"""
HIDDEN = 512
VOCABULARY = """
A1 A2 AF3 AF4 C1 C2 C3 C4 C5 C6 CB1 CB2 CP1 CP2 CP3 CP4 CP5 CP6 CPZ CZ F1 F2 F3 F4 F5 F6 F7 F8 FC1
FC2 FC3 FC4 FC5 FC6 FCZ FP1 FP2 FPZ FT7 FT8 FZ O1 O2 OZ P1 P2 P3 P4 P5 P6 P7 P8 PO3 PO4 PO5 PO6 PO7
PO8 POZ PZ T3 T4 T5 T6 T7 T8 TP7 TP8
""".split()  # noqa: SIM905  # 68 lines of one name tell less
"""channels of the data sets it was pretrained on, sorted: the published rows 1 to 68"""


def channel_rows(ch_names: tuple[str, ...]) -> list[int]:
    """A row of the embedding for each channel; a name outside the vocabulary takes one that no other channel has."""
    published = {name: row for row, name in enumerate(VOCABULARY, start=1)}
    taken = {published[name.upper()] for name in ch_names if name.upper() in published}
    free = itertools.chain((row for row in range(N_ROWS) if row not in published.values()), published.values())
    left = itertools.chain((row for row in free if row not in taken), itertools.count(N_ROWS))
    return [published[name.upper()] if name.upper() in published else next(left) for name in ch_names]


class EMOD(nn.Module):
    """The backbone (845,384 parameters at depth 3) and the head that its authors use for FACED."""

    rows: torch.Tensor

    def __init__(self, spec: SignalSpec, *, depth: int, as_coded: bool):
        super().__init__()
        n_tokens = max(1, round(emod.TOKENS_PER_SECOND * spec.n_times / spec.sfreq))
        rows = channel_rows(spec.ch_names)
        self.register_buffer("rows", torch.tensor(rows), persistent=False)
        self.tokens = emod.Tokens(n_tokens)
        self.channels = nn.Embedding(max(N_ROWS, max(rows) + 1), emod.WIDTH)
        self.blocks = nn.Sequential(*(emod.Block(as_coded=as_coded) for _ in range(depth)))
        self.head = nn.Sequential(
            emod.ChannelAttention(),
            nn.Flatten(),
            nn.Dropout(emod.DROPOUT),
            nn.Linear(n_tokens * emod.WIDTH, HIDDEN),
            nn.ELU(),
            nn.Dropout(emod.DROPOUT),
            nn.Linear(HIDDEN, emod.WIDTH),
            nn.ELU(),
            nn.Dropout(emod.DROPOUT),
        )
        self.final_layer = nn.Linear(emod.WIDTH, spec.n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_chans, n_times) to logits (batch, n_outputs)."""
        tokens = self.tokens(x) + self.channels(self.rows)[:, None]
        return self.final_layer(self.head(self.blocks(tokens)))


PUBLISHED = {"faced": 0.5899, "faced, pretrained": 0.6287, "seed_v, pretrained": 0.4124}

for name, depth, as_coded, facts in (
    ("EMOD", 3, False, {"published": PUBLISHED}),
    ("EMOD_depth6", 6, False, {"group": "variant"}),
    ("EMOD_as_coded", 3, True, {"group": "variant", "published": PUBLISHED}),
    ("EMOD_depth6_as_coded", 6, True, {"group": "variant"}),
):
    build = partial(EMOD, depth=depth, as_coded=as_coded)
    CLASSIFIERS.add(
        name, Classifier(name=name, family="emotion", input="windows", build=build, **facts), source=__name__
    )
