"""How published work cuts and scales these data sets: a recipe and a protocol's name in, a recipe of its windows out.

A protocol fixes what is done to a recording (`processing`) and what a window is (rate, length, stride, scale). Training
stays the recipe's own. `counts` are the windows that the published splits give; a preparation that finds other numbers
has other data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from valence.cell import Recipe
from valence.errors import BadInput
from valence.faced_clips import OFFICIAL
from valence.processing import Processing
from valence.registry import unknown_name
from valence.seed_v_files import CBRAMOD_PROCESSING

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
_OFFICIAL = Protocol(
    name="faced-official",
    datasets=("faced_raw", "faced_bids"),
    processing=OFFICIAL,
    sfreq_hz=250,
    window_s=10,
    stride_s=10,
    scale=1.0,
    counts=FACED_COUNTS,
    source="Chen et al. 2023, doi 10.1038/s41597-023-02650-w; the code and README on Synapse, syn50614194",
    note="the published code also takes ocular components out, clip by clip and with no fixed seed: see"
    " faced-official-ica. It cuts the last 30 s before it filters, so that its high-pass of 66 s is longer than"
    " the signal; here it sees the recording around the clip. The rule for bad channels is this project's own",
)
_CBRAMOD = Protocol(
    name="faced-cbramod",
    datasets=("faced", "simulated"),
    sfreq_hz=200,
    window_s=10,
    stride_s=10,
    scale=0.01,
    counts=FACED_COUNTS,
    source="Wang et al. 2025, CBraMod, ICLR; its preprocessing_faced.py",
    note="Processed_data as published, 7,500 samples resampled to 6,000 in the frequency domain",
)
_SEED_V = Protocol(
    name="seed-v-cbramod",
    datasets=("seed_v",),
    processing=CBRAMOD_PROCESSING,
    sfreq_hz=200,
    window_s=1,
    stride_s=1,
    scale=0.01,
    counts=(34_432, 42_960, 40_352),
    source="Wang et al. 2025, CBraMod, ICLR; its preprocessing_SEEDV.py",
    note="trials 0–4, 5–9 and 10–14 of every session: the parts share all subjects. CBraMod resamples before it"
    " filters, which changes nothing below 94 Hz. The counts are those of all 48 recordings",
)
_ROWS = (
    _CBRAMOD,
    replace(
        _CBRAMOD,
        name="faced-emod",
        sfreq_hz=250,
        scale=1.0,
        source="EMOD's FACED preparation",
        note="Processed_data as published, 2,500 samples a window, µV",
    ),
    _OFFICIAL,
    replace(
        _OFFICIAL,
        name="faced-official-ica",
        processing=replace(OFFICIAL, name="faced-official-ica", ica_components=30),
        note="faced-official with ocular components removed; ICA is fitted once a subject, and the rule for a component"
        " is this project's own",
    ),
    replace(
        _OFFICIAL,
        name="faced-paper",
        processing=replace(OFFICIAL, name="faced-paper", low_hz=0.5, notch_hz=50),
        source="Chen et al. 2023, doi 10.1038/s41597-023-02650-w, text of Methods",
        note="the text has 0.5 to 47 Hz and a notch at 50 Hz where the published code has 0.05 to 47 Hz and none",
    ),
    _SEED_V,
    replace(
        _SEED_V,
        name="seed-v-5s",
        window_s=5,
        stride_s=5,
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
    return replace(
        recipe,
        name=f"{recipe.name}+{protocol.name}",
        sfreq_hz=protocol.sfreq_hz,
        window_s=protocol.window_s,
        stride_s=protocol.stride_s,
        scale=protocol.scale,
    )
