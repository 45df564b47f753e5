"""SEED-V's recordings: facts, real .cnt files read clip by clip, counts of the published protocols, bad input."""

import struct

import mne
import numpy as np
import pytest

from tests.valence.seed_v_recordings import (
    ALPHA,
    ALPHA_UV,
    FILE_CH_NAMES,
    UV_PER_COUNT,
    recording_path,
    simulated_session,
    slow_session,
    write_cnt,
    write_features,
)
from valence.datasets import DATASETS
from valence.datasets.seed_v import CBRAMOD_PROCESSING, SeedV
from valence.errors import BadInput
from valence.features import Band, differential_entropy
from valence.processing import Processing, process, to_raw
from valence.seed_v_files import CH_NAMES, END_S, KNOWN_CORRUPT, START_S
from valence.seed_v_raw import channel_columns, margin_s, read_session

SFREQ = 50
FILTERED = Processing(name="filtered", low_hz=0.5, high_hz=18.0, sfreq_hz=40.0)
SLOW = Processing(name="slow", sfreq_hz=2.0)
"""for recordings of 4 Hz, which take no time"""
PUBLISHED = {1: (34_432, 42_960, 40_352), 5: (6_670, 8_277, 7_791)}
"""windows of the CBraMod protocol and of the variant with 5-s windows, by length"""


@pytest.fixture(scope="module")
def seed_v(tmp_path_factory):
    """One subject, three sessions of their true length, read."""
    root = tmp_path_factory.mktemp("seed_v")
    for session in (1, 2, 3):
        x = simulated_session(session, sfreq=SFREQ)
        write_cnt(recording_path(root, 1, session), x, sfreq=SFREQ, events_s=START_S[session - 1])
    dataset = SeedV(root, processing=FILTERED)
    return dataset, dataset.load("sub01", "windows")


def write_slow(root, subject: int, session: int, *, sfreq: int = 4, lasts_s: int = 0, **settings):
    x = slow_session(session, sfreq=sfreq, seed=subject, lasts_s=lasts_s)
    return write_cnt(recording_path(root, subject, session), x, sfreq=sfreq, **settings)


def break_header(path):
    """Number of samples and place of the event table no longer agree: what users tell of 7_1_20180411.cnt."""
    with path.open("r+b") as file:
        file.seek(864)
        file.write(struct.pack("<i", 12345))


def test_facts():
    assert DATASETS["seed_v"] is SeedV
    assert len(SeedV.ch_names) == len(set(SeedV.ch_names)) == 62
    assert SeedV.n_clips == len(SeedV.clip_seconds) == len(SeedV.class_of_clip) == len(set(SeedV.films)) == 45
    assert (SeedV.films[17], SeedV.clip_seconds[0], SeedV.clip_seconds[44]) == ("session 2 film 3", 72.0, 178.0)
    # every block of five films shows each class once, so the standard split is balanced in films
    blocks = np.array(SeedV.class_of_clip).reshape(-1, SeedV.block_clips)
    np.testing.assert_array_equal(np.sort(blocks, axis=1), np.tile(np.arange(5), (9, 1)))
    for starts, ends in zip(START_S, END_S):
        flat = np.column_stack([starts, ends]).ravel()
        assert (np.diff(flat) > 0).all()
    known = {name.upper() for name in mne.channels.make_standard_montage("standard_1005").ch_names}
    assert [name for name in CH_NAMES if name.upper() not in known] == ["CB1", "CB2"]


def test_standard_split_is_by_trials_and_covers_every_clip():
    parts = [part.clips for part in SeedV.standard_split]
    assert parts[0] == (0, 1, 2, 3, 4, 15, 16, 17, 18, 19, 30, 31, 32, 33, 34)
    assert parts[1] == tuple(clip + 5 for clip in parts[0])
    assert parts[2] == tuple(clip + 10 for clip in parts[0])
    assert not any(part.subjects for part in SeedV.standard_split)


@pytest.mark.parametrize("n_bytes", [2, 4])
def test_files_of_the_helper_are_neuroscan_files(tmp_path, n_bytes):
    x = slow_session(1, sfreq=4, lasts_s=60)
    path = write_cnt(tmp_path / "a.cnt", x, sfreq=4, n_bytes=n_bytes, bads=["O1"], events_s=[10.0, 20.0])
    raw = mne.io.read_raw_cnt(path, header="new", verbose="error")
    assert (raw.ch_names, raw.info["sfreq"], raw.info["bads"]) == (list(FILE_CH_NAMES), 4.0, ["O1"])
    np.testing.assert_allclose(raw.get_data() * 1e6, x, atol=0.51 * UV_PER_COUNT[n_bytes])
    np.testing.assert_allclose(raw.annotations.onset, [10.0, 20.0])


@pytest.mark.parametrize("sfreq_hz", [SFREQ, 40])
def test_clips_are_what_processing_the_whole_recording_gives(seed_v, sfreq_hz):
    dataset, _ = seed_v
    processing = Processing(name="narrow", low_hz=0.3, high_hz=15.0, sfreq_hz=sfreq_hz)
    path = dataset.files("windows")["sub01"][1]
    names = ["Fp1", "Cz", "T8", "O2", "CB2"]
    x = mne.io.read_raw_cnt(path, verbose="error").get_data([name.upper() for name in names]) * 1e6
    whole = process(to_raw(x, sfreq=SFREQ, ch_names=names), processing)[0].get_data() * 1e6
    clips, _ = read_session(path, 2, processing)
    for clip, start, end in zip(clips, START_S[1], END_S[1]):
        expected = whole[:, start * sfreq_hz : end * sfreq_hz]
        found = clip[[CH_NAMES.index(name) for name in names]]
        # the filters end within the margin; the spectrum that is resampled has no end, but little of it is left there
        np.testing.assert_allclose(found, expected, atol=1e-3 if sfreq_hz == SFREQ else 0.01)


def test_without_any_step_clips_are_the_stored_numbers(tmp_path):
    """At a header rate of 1,000 Hz, from the middle of a file: one film, everything else zeros."""
    from valence import seed_v_raw

    x = np.zeros((66, 400 * 1000), dtype=np.float32)
    x[:, 30_000:102_000] = np.random.default_rng(0).normal(0, 20, (66, 72_000))
    path = write_cnt(tmp_path / "short.cnt", x, sfreq=1000, n_bytes=4)
    raw = mne.io.read_raw_cnt(path, verbose="error")
    columns = channel_columns(raw.ch_names, path)
    clip, repairs = seed_v_raw._read_clip(raw, columns, 30, 102, Processing())
    picks = [FILE_CH_NAMES.index(name.upper()) for name in CH_NAMES]
    np.testing.assert_allclose(clip, x[picks, 30_000:102_000], atol=0.51 * UV_PER_COUNT[4])
    assert clip.shape == (62, 72_000)
    assert repairs == ()
    assert margin_s(Processing()) == 0


def test_the_margin_is_longer_than_the_filter_reaches():
    from valence.raw_steps import slopes_hz

    for low_hz in (0.05, 0.3, 0.5, 1.0, 4.0):
        processing = Processing(low_hz=low_hz, high_hz=75.0, notch_hz=50.0)
        reach_s = 3.3 / 2 / min(slopes_hz(low_hz, 75.0)) + 3.3 / 2 / 0.5
        assert margin_s(processing) > reach_s


def test_the_planted_alpha_of_each_class_is_found(seed_v):
    dataset, recording = seed_v
    bands = [ALPHA, Band("beyond", 15.5, 17.5)]
    de = np.array([differential_entropy(c, sfreq=40.0, bands=bands).mean(axis=1) for c in recording.clips])
    by_class = np.array([de[np.array(dataset.class_of_clip) == label].mean(axis=0) for label in range(5)])
    # the entropy of a Gaussian signal grows by the logarithm of its gain
    expected = np.log(np.array(ALPHA_UV) / ALPHA_UV[0])
    np.testing.assert_allclose((by_class - by_class[0])[..., 0], expected[:, None] + np.zeros(62), atol=0.06)
    np.testing.assert_allclose((by_class - by_class[0])[..., 1], 0, atol=0.1)


def test_shapes_and_repairs(seed_v):
    dataset, recording = seed_v
    assert dataset.inputs == ("windows",)
    assert [clip.shape for clip in recording.clips] == [(62, round(40 * s)) for s in dataset.clip_seconds]
    assert {clip.dtype for clip in recording.clips} == {np.dtype("float32")}
    assert recording.repairs == tuple(
        f"1_{session}_20180718.cnt: recorded at 50 Hz, published at 1000 Hz" for session in (1, 2, 3)
    )
    assert dataset.recording_sfreq("sub01") == 50.0
    np.testing.assert_array_equal(dataset.presentation("sub01"), np.arange(45))
    assert (dataset.cohort("sub01"), dataset.loaded_sfreq) == (1, 40.0)


def n_windows(dataset, recording, seconds: int) -> np.ndarray:
    """Windows in the three parts of the standard split."""
    step = round(seconds * dataset.loaded_sfreq)
    return np.array(
        [sum(recording.clips[clip].shape[1] // step for clip in part.clips) for part in dataset.standard_split]
    )


def test_counts_of_the_published_protocols(tmp_path):
    """Subjects differ in nothing but subject 7's first session, so two of them stand for all sixteen."""
    for session in (1, 2, 3):
        write_slow(tmp_path, 1, session)
        write_slow(tmp_path, 7, session)
    first = recording_path(tmp_path, 7, 1)
    break_header(first)
    first.rename(first.with_name(KNOWN_CORRUPT))
    dataset = SeedV(tmp_path, processing=SLOW)
    whole, corrupt = (dataset.load(subject, "windows") for subject in ("sub01", "sub07"))
    np.testing.assert_array_equal(16 * n_windows(dataset, whole, 1), PUBLISHED[1])
    np.testing.assert_array_equal(15 * n_windows(dataset, whole, 5) + n_windows(dataset, corrupt, 5), PUBLISHED[5])
    assert all(clip.shape == (62, 0) for clip in corrupt.clips[:15])
    assert all(clip.size for clip in corrupt.clips[15:])
    assert corrupt.repairs[0].startswith(
        "7_1_20180411.cnt: published corrupt, its 15 clips are left out: cannot be read: RuntimeError: Could not "
    )
    assert not any("/" in repair for repair in corrupt.repairs)  # manifests of two machines agree


def test_the_known_file_is_read_where_it_can_be_read(tmp_path):
    path = write_slow(tmp_path, 7, 1)
    path.rename(path.with_name(KNOWN_CORRUPT))
    recording = SeedV(tmp_path, processing=SLOW).load("sub07", "windows")
    assert all(clip.size for clip in recording.clips[:15])


def test_the_repaired_file_takes_the_place_of_the_corrupt_one(tmp_path):
    path = write_slow(tmp_path, 7, 1)
    repaired = path.with_name("7_1_20180411_repaired.cnt")
    path.rename(repaired)
    path.with_name(KNOWN_CORRUPT).write_bytes(b"damaged")
    dataset = SeedV(tmp_path, processing=SLOW)
    assert dataset.files("windows") == {"sub07": (repaired,)}
    recording = dataset.load("sub07", "windows")
    assert all(clip.size for clip in recording.clips[:15])
    assert f"{repaired.name}: the publisher's repaired file is read" in recording.repairs


def test_a_session_without_a_file_is_empty_and_said(tmp_path):
    write_slow(tmp_path, 12, 2)
    dataset = SeedV(tmp_path, processing=SLOW)
    assert dataset.subjects("windows") == ("sub12",)
    recording = dataset.load("sub12", "windows")
    assert [bool(clip.size) for clip in recording.clips] == [False] * 15 + [True] * 15 + [False] * 15
    assert "12_1_{date}.cnt: no such file, the 15 clips of this session are left out" in recording.repairs
    assert sum("no such file" in repair for repair in recording.repairs) == 2


def test_channels_are_taken_by_name_in_any_order_and_case(tmp_path):
    x = slow_session(1, sfreq=4)
    order = np.random.default_rng(0).permutation(66)
    names = [FILE_CH_NAMES[index].lower() if index % 2 else FILE_CH_NAMES[index] for index in order]
    tidy = write_cnt(tmp_path / "tidy.cnt", x, sfreq=4)
    mixed = write_cnt(tmp_path / "mixed.cnt", x[order], sfreq=4, ch_names=names)
    expected, _ = read_session(tidy, 1, SLOW)
    found, _ = read_session(mixed, 1, SLOW)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)
    picks = [FILE_CH_NAMES.index(name.upper()) for name in CH_NAMES]
    assert not {FILE_CH_NAMES.index(name) for name in ("M1", "M2", "VEO", "HEO")} & set(picks)
    reference, _ = process(to_raw(x[picks], sfreq=4, ch_names=CH_NAMES), SLOW)
    assert np.corrcoef(expected[0][5], reference.get_data()[5, 60:204])[0, 1] > 0.99


def test_marked_channels_are_interpolated_and_said(tmp_path):
    path = write_slow(tmp_path, 1, 3, bads=["CP3"])
    marked = Processing(name="marked", sfreq_hz=4.0, interpolate="marked")
    clips, repairs = read_session(path, 3, marked)
    assert sum("film 1: interpolated CP3" in repair for repair in repairs) == 1
    untouched, _ = read_session(path, 3, Processing(name="plain", sfreq_hz=4.0))
    changed = [name for index, name in enumerate(CH_NAMES) if not np.allclose(clips[0][index], untouched[0][index])]
    assert changed == ["CP3"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda names: ["XX" if name == "CZ" else name for name in names], "no channel Cz among 66"),
        (lambda names: ["Cz" if name == "M1" else name for name in names], "Cz twice"),
        (lambda names: ["CZ" if name == "M1" else name for name in names], "Cz twice"),
    ],
)
def test_a_missing_or_repeated_channel_is_refused(tmp_path, change, reason):
    path = write_slow(tmp_path, 1, 1, ch_names=change(FILE_CH_NAMES))
    with pytest.raises(BadInput, match=reason) as error:
        SeedV(tmp_path, processing=SLOW).load("sub01", "windows")
    assert str(path) in str(error.value)


DAMAGE = {
    "empty": (lambda data: b"", "cannot be read"),
    "text": (lambda data: b"this is no recording\n" * 1000, "cannot be read"),
    "half a header": (lambda data: data[:400], "cannot be read"),
    "header alone": (lambda data: data[: 900 + 75 * 66], "cannot be read"),
    "truncated": (lambda data: data[: len(data) // 2], "cannot be read"),
    "no event table": (lambda data: data[:-9], "cannot be read"),
    "no rate": (lambda data: data[:376] + b"\0\0" + data[378:], r"cannot be read|at 0 Hz end before"),
    "no channels": (lambda data: data[:370] + b"\0\0" + data[372:], "cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_recording_is_refused(tmp_path, name):
    damage, reason = DAMAGE[name]
    path = write_slow(tmp_path, 3, 2)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInput, match=reason) as error:
        SeedV(tmp_path, processing=SLOW).load("sub03", "windows")
    assert str(path) in str(error.value)
    assert "move it elsewhere: its session is then left out" in str(error.value)


def test_damaged_headers_never_give_a_bare_traceback(tmp_path):
    path = write_slow(tmp_path, 3, 2)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(30):
        damaged = bytearray(data)
        for position in rng.choice([*range(364, 380), *range(864, 898), *range(900, 1050)], size=3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            clips, _ = read_session(path, 2, SLOW)
            assert [clip.shape[0] for clip in clips] == [62] * 15
        except BadInput:
            refused += 1
    assert refused > 5


def test_a_recording_that_ends_before_its_last_film_is_refused(tmp_path):
    write_slow(tmp_path, 2, 3, lasts_s=3000)
    with pytest.raises(BadInput, match="12,000 samples at 4 Hz end before the last film of session 3 does, at 3066 s"):
        SeedV(tmp_path, processing=SLOW).load("sub02", "windows")


def test_a_recording_may_end_with_its_last_film(tmp_path):
    write_slow(tmp_path, 2, 3, lasts_s=3066)
    recording = SeedV(tmp_path, processing=SLOW).load("sub02", "windows")
    assert recording.clips[44].shape == (62, 2 * 178)


@pytest.mark.parametrize(
    ("processing", "reason"),
    [
        (None, r"recorded at 4 Hz.*\n.*from the 200 Hz of the processing 'seed-v-cbramod' up"),
        (Processing(), "recorded at 4 Hz"),
        (Processing(name="narrow", low_hz=0.5, high_hz=1.9), "recorded at 4 Hz"),
        (Processing(name="mains", notch_hz=50.0, sfreq_hz=4.0), r"(?s)1_1_20180718.cnt.*notch_hz is 50"),
    ],
)
def test_a_rate_that_the_processing_does_not_take_is_refused(tmp_path, processing, reason):
    write_slow(tmp_path, 1, 1)
    with pytest.raises(BadInput, match=reason):
        SeedV(tmp_path, processing=processing).load("sub01", "windows")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["17_1_20180718.cnt"], "17_1_20180718.cnt: not the name"),
        (["0_1_20180718.cnt"], "not the name"),
        (["1_4_20180718.cnt"], "not the name"),
        (["1_1.cnt"], "not the name"),
        (["copy of 1_1_20180718.cnt"], "not the name"),
        (["1_1_20180718.cnt", "1_1_20180719.cnt"], "session 1 of sub01 is there twice"),
        (["1_1_20180718.cnt", "01_1_20180718.cnt"], "session 1 of sub01 is there twice"),
        (["1_1_20180718_repaired.cnt", "1_1_20180719.cnt"], "session 1 of sub01 is there twice"),
    ],
)
def test_names_that_cannot_be_placed_are_refused(tmp_path, names, reason):
    (tmp_path / "EEG_raw").mkdir()
    for name in names:
        (tmp_path / "EEG_raw" / name).touch()
    with pytest.raises(BadInput, match=reason):
        SeedV(tmp_path)


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    path = recording_path(tmp_path, 16, 3)
    for name in (path.name, "._16_3_20180718.cnt", "Read me.txt"):
        (path.parent / name).touch()
    write_features(tmp_path, 2)
    dataset = SeedV(tmp_path)
    assert dataset.inputs == ("windows", "de")
    assert dataset.files("windows") == {"sub16": (path,)}
    assert dataset.subjects("de") == ("sub02",)
    assert dataset.processing is CBRAMOD_PROCESSING
    assert dataset.recording_sfreq("sub16") == dataset.recording_sfreq("sub02") == 1000.0


def test_subjects_sort_as_numbers_do(tmp_path):
    for subject in (10, 2, 16, 1):
        recording_path(tmp_path, subject, 1).touch()
    assert SeedV(tmp_path).subjects("windows") == ("sub01", "sub02", "sub10", "sub16")


def test_a_wrong_folder_is_told_where_to_look(tmp_path):
    with pytest.raises(BadInput, match="no recording and no features of SEED-V"):
        SeedV(tmp_path)
    recording_path(tmp_path, 1, 1).touch()
    with pytest.raises(BadInput, match=f"give {tmp_path}, the folder above"):
        SeedV(tmp_path / "EEG_raw")
    dataset = SeedV(tmp_path)
    with pytest.raises(BadInput, match="no files for the input 'de'"):
        dataset.load("sub01", "de")
    with pytest.raises(BadInput, match="unknown subject 'sub17'"):
        dataset.load("sub17", "windows")
    with pytest.raises(BadInput, match="unknown input"):
        dataset.load("sub01", "spikes")
