"""Protocols: their counts follow from the facts of the data sets, and a recipe takes all that a protocol says."""

import dataclasses

import numpy as np
import pytest

from valence.cell import Recipe
from valence.datasets.faced_raw import FacedRaw
from valence.datasets.seed_v import SeedV
from valence.errors import BadInput
from valence.preprocessing import cut_windows, n_windows
from valence.processing import Processing
from valence.protocols import PROTOCOLS, Protocol, apply_protocol, find_protocol

RECIPE = Recipe(name="mine", epochs=7, batch_size=5, learning_rate=0.2)
SEED_V_TIMES_S = (
    (
        "30 132 287 555 773 982 1271 1628 1730 2025 2227 2435 2667 2932 3204",
        "102 228 524 742 920 1240 1568 1697 1994 2166 2401 2607 2901 3172 3359",
    ),
    (
        "30 299 548 646 836 1000 1091 1392 1657 1809 1966 2186 2333 2490 2741",
        "267 488 614 773 967 1059 1331 1622 1777 1908 2153 2302 2428 2709 2817",
    ),
    (
        "30 353 478 674 825 908 1200 1346 1451 1711 2055 2307 2457 2726 2888",
        "321 418 643 764 877 1147 1284 1418 1679 1996 2275 2425 2664 2857 3066",
    ),
)
"""start and end of the trials of each session, from the publisher's trial_start_end_timestamp.txt"""


def windows_of_seed_v(protocol: Protocol) -> np.ndarray:
    """Windows of one subject: int array, (3 sessions, 15 trials)."""
    recipe = apply_protocol(RECIPE, protocol)
    durations_s = [np.subtract(*(np.array(row.split(), dtype=int) for row in rows[::-1])) for rows in SEED_V_TIMES_S]
    return np.array([[n_windows(round(s * recipe.sfreq_hz), recipe=recipe) for s in trials] for trials in durations_s])


@pytest.mark.parametrize(("name", "n_missing"), [("seed-v-cbramod", 0), ("seed-v-5s", 1)])
def test_counts_of_seed_v_follow_from_its_trial_times(name, n_missing):
    per_trial = windows_of_seed_v(PROTOCOLS[name])
    parts = per_trial.reshape(3, 3, 5).sum(axis=2)  # session, part
    counts = 16 * parts.sum(axis=0) - n_missing * parts[0]
    assert tuple(counts) == PROTOCOLS[name].counts


def test_the_corrupt_recording_explains_the_counts_of_five_seconds():
    complete = 16 * windows_of_seed_v(PROTOCOLS["seed-v-5s"]).reshape(3, 3, 5).sum(axis=(0, 2))
    assert [f"{count:,}" for count in complete] == ["6,816", "8,480", "7,984"]
    assert all(f"{count:,}" in PROTOCOLS["seed-v-5s"].note for count in complete)


@pytest.mark.parametrize(
    "protocol", [row for row in PROTOCOLS.values() if "faced" in row.name], ids=lambda row: row.name
)
def test_counts_of_faced_follow_from_its_subjects_and_clips(protocol):
    recipe = apply_protocol(RECIPE, protocol)
    clip = np.zeros((2, 7500), dtype=np.float32)
    n_windows = len(cut_windows(clip, sfreq=250, recipe=recipe))
    assert tuple(n_subjects * 28 * n_windows for n_subjects in (80, 20, 23)) == protocol.counts


def test_a_recipe_takes_the_windows_of_a_protocol_and_keeps_its_training():
    recipe = apply_protocol(RECIPE, PROTOCOLS["seed-v-5s"])
    assert (recipe.sfreq_hz, recipe.window_s, recipe.stride_s, recipe.scale) == (200, 5, 5, 0.01)
    windows = {"name": "mine+seed-v-5s", "sfreq_hz": 200, "window_s": 5, "stride_s": 5, "scale": 0.01}
    assert recipe == dataclasses.replace(RECIPE, **windows)
    assert recipe.hash != RECIPE.hash


def test_cbramods_and_emods_windows_of_one_clip():
    clip = np.random.default_rng(0).normal(scale=30, size=(2, 7500)).astype(np.float32)
    cbramod = cut_windows(clip, sfreq=250, recipe=apply_protocol(RECIPE, PROTOCOLS["faced-cbramod"]))
    emod = cut_windows(clip, sfreq=250, recipe=apply_protocol(RECIPE, PROTOCOLS["faced-emod"]))
    assert (cbramod.shape, emod.shape) == ((3, 2, 2000), (3, 2, 2500))
    np.testing.assert_array_equal(emod[1], clip[:, 2500:5000])
    assert cbramod.std() == pytest.approx(0.3 * np.sqrt(0.8), rel=0.02)  # a fifth of white noise is above 100 Hz


def test_a_data_set_and_its_protocol_mean_the_same_processing():
    assert PROTOCOLS["faced-official"].processing is FacedRaw.default_processing
    assert PROTOCOLS["seed-v-cbramod"].processing is SeedV.default_processing
    assert PROTOCOLS["seed-v-5s"].processing is SeedV.default_processing


def test_the_versions_of_faceds_own_processing_differ_as_its_text_and_code_do():
    code, text = PROTOCOLS["faced-official"].processing, PROTOCOLS["faced-paper"].processing
    assert dataclasses.replace(text, name=code.name, low_hz=0.05, notch_hz=0) == code
    assert (text.low_hz, text.high_hz, text.notch_hz) == (0.5, 47, 50)
    assert code.hash != text.hash
    assert dataclasses.replace(PROTOCOLS["faced-official-ica"].processing, name=code.name, ica_components=0) == code


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda row: row.name)
def test_every_row_is_found_for_its_data_sets_and_processes_no_signal_twice(protocol):
    for dataset in protocol.datasets:
        assert find_protocol(protocol.name, dataset) is protocol
        assert (protocol.processing == Processing()) == (dataset in ("faced", "simulated"))
    assert protocol.processing.sfreq_hz in (0, protocol.sfreq_hz)


def test_a_protocol_of_another_data_set_is_refused_with_those_that_fit():
    with pytest.raises(BadInput, match="is for the data set seed_v, not faced") as refused:
        find_protocol("seed-v-5s", "faced")
    assert "faced-cbramod, faced-emod" in str(refused.value)
    with pytest.raises(BadInput, match="faced-emod"):
        find_protocol("faced-emodd", "faced")
    with pytest.raises(BadInput, match="window_s is 0"):
        Protocol(name="no", datasets=("faced",), sfreq_hz=200, window_s=0, stride_s=1, scale=1, source="none")
