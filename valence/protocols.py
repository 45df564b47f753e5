"""How published work cuts and scales these data sets: a recipe and a protocol's name in, a recipe of its windows out.

A protocol fixes what is done to a recording (`processing`) and what a window is (rate, length, stride, scale). Training
stays the recipe's own. `counts` are the windows that the published splits give; a preparation that finds other numbers
has other data.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from valence.cell import Recipe
from valence.errors import BadInput
from valence.processing import Processing
from valence.registry import unknown_name

AS_STORED = Processing()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One row: what a published protocol does up to the windows."""

    name: str
    datasets: tuple[str, ...]
    """names of the data sets that it is for"""
    processing: Processing = AS_STORED
    """steps before the clips are cut; none where the files hold processed signals"""
    sfreq_hz: float
    window_s: float
    stride_s: float
    scale: float
    """windows are multiplied by this, from µV"""
    counts: tuple[int, int, int] | None = None
    """windows in training, validation and test of the protocol's own split; None where nothing is published"""
    source: str
    note: str = ""
    """what one has to know to compare with published numbers"""

    def __post_init__(self) -> None:
        for field in ("sfreq_hz", "window_s", "stride_s", "scale"):
            if not getattr(self, field) > 0:
                raise BadInput(
                    f"protocol {self.name!r}: {field} is {getattr(self, field)}",
                    allowed="a positive number",
                    do="correct the protocol",
                )


FACED_COUNTS = (6_720, 1_680, 1_932)
"""80, 20 and 23 subjects in sorted order, 28 clips, 3 windows"""
FACED_OFFICIAL = Processing(
    name="faced-official",
    low_hz=0.05,
    high_hz=47,
    interpolate="detected",
    reference="average",
    sfreq_hz=250,
)
SEED_V = Processing(name="seed-v-cbramod", low_hz=0.3, high_hz=75, sfreq_hz=200)

_ROWS = (
    Protocol(
        name="faced-cbramod",
        datasets=("faced", "simulated"),
        sfreq_hz=200,
        window_s=10,
        stride_s=10,
        scale=0.01,
        counts=FACED_COUNTS,
        source="Wang et al. 2025, CBraMod, ICLR; its preprocessing_faced.py",
        note="Processed_data as published, 7,500 samples resampled to 6,000 in the frequency domain",
    ),
    Protocol(
        name="faced-emod",
        datasets=("faced", "simulated"),
        sfreq_hz=250,
        window_s=10,
        stride_s=10,
        scale=1.0,
        counts=FACED_COUNTS,
        source="EMOD's FACED preparation",
        note="Processed_data as published, 2,500 samples a window, µV",
    ),
    Protocol(
        name="faced-official",
        datasets=("faced_raw", "faced_bids"),
        processing=FACED_OFFICIAL,
        sfreq_hz=250,
        window_s=10,
        stride_s=10,
        scale=1.0,
        counts=FACED_COUNTS,
        source="Chen et al. 2023, doi 10.1038/s41597-023-02650-w; the code and README on Synapse, syn50614194",
        note="the published code also takes ocular components out, clip by clip and with no fixed seed: see"
        " faced-official-ica. It cuts the last 30 s before it filters, so that its high-pass of 66 s is longer than"
        " the signal; here it sees the recording around the clip. The rule for bad channels is this project's own",
    ),
    Protocol(
        name="faced-official-ica",
        datasets=("faced_raw", "faced_bids"),
        processing=dataclasses.replace(FACED_OFFICIAL, name="faced-official-ica", ica_components=30),
        sfreq_hz=250,
        window_s=10,
        stride_s=10,
        scale=1.0,
        counts=FACED_COUNTS,
        source="Chen et al. 2023, doi 10.1038/s41597-023-02650-w; the code and README on Synapse, syn50614194",
        note="faced-official with ocular components removed; ICA is fitted once a subject, and the rule for a component"
        " is this project's own",
    ),
    Protocol(
        name="faced-paper",
        datasets=("faced_raw", "faced_bids"),
        processing=dataclasses.replace(FACED_OFFICIAL, name="faced-paper", low_hz=0.5, notch_hz=50),
        sfreq_hz=250,
        window_s=10,
        stride_s=10,
        scale=1.0,
        counts=FACED_COUNTS,
        source="Chen et al. 2023, doi 10.1038/s41597-023-02650-w, text of Methods",
        note="the text has 0.5 to 47 Hz and a notch at 50 Hz where the published code has 0.05 to 47 Hz and none",
    ),
    Protocol(
        name="seed-v-cbramod",
        datasets=("seed_v",),
        processing=SEED_V,
        sfreq_hz=200,
        window_s=1,
        stride_s=1,
        scale=0.01,
        counts=(34_432, 42_960, 40_352),
        source="Wang et al. 2025, CBraMod, ICLR; its preprocessing_SEEDV.py",
        note="trials 0–4, 5–9 and 10–14 of every session: the parts share all subjects. CBraMod resamples before it"
        " filters, which changes nothing below 94 Hz. The counts are those of all 48 recordings",
    ),
    Protocol(
        name="seed-v-5s",
        datasets=("seed_v",),
        processing=SEED_V,
        sfreq_hz=200,
        window_s=5,
        stride_s=5,
        scale=0.01,
        counts=(6_670, 8_277, 7_791),
        source="the 5-s variant of CBraMod's SEED-V protocol",
        note="the counts are those of 47 recordings: all but one of session 1, as 7_1_20180411.cnt is corrupt in the"
        " published set; with it they would be 6,816, 8,480 and 7,984",
    ),
)
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({row.name: row for row in _ROWS})
"""by name"""


def find_protocol(name: str, dataset: str) -> Protocol:
    """The protocol of this name, for this data set. Raises BadInput for a name that is not known or not for it."""
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, list(PROTOCOLS))
    if dataset not in PROTOCOLS[name].datasets:
        fitting = [row.name for row in _ROWS if dataset in row.datasets]
        raise BadInput(
            f"protocol {name} is for the data set {' or '.join(PROTOCOLS[name].datasets)}, not {dataset}",
            allowed=f"for {dataset}: {', '.join(fitting) or 'none'}",
            do="take one of these, or a recipe of your own",
        )
    return PROTOCOLS[name]


def apply_protocol(recipe: Recipe, protocol: Protocol) -> Recipe:
    """The recipe with the protocol's rate, windows and scale, named "recipe+protocol"; training stays as it was."""
    return dataclasses.replace(
        recipe,
        name=f"{recipe.name}+{protocol.name}",
        sfreq_hz=protocol.sfreq_hz,
        window_s=protocol.window_s,
        stride_s=protocol.stride_s,
        scale=protocol.scale,
    )
