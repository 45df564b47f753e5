"""FACED's raw recordings: planted signals come back in µV, by name and in place; files that do not fit are refused."""

import dataclasses
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest

from tests.valence import faced_recordings as world
from valence.datasets.faced_raw import FacedRaw
from valence.errors import BadInput
from valence.faced_bdf import CH_NAMES, match_channels, read_header
from valence.faced_clips import OFFICIAL, Span, at_one_rate, margin_s, read_clips, unusual_durations
from valence.faced_raw import check_claims, find_spans, read_triggers, subject_spans
from valence.processing import Processing

PLAIN = Processing(name="rate", sfreq_hz=250.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A subject of cohort 1 whose header lost the µ of its unit."""
    folder = tmp_path_factory.mktemp("faced_raw")
    world.write_raw_subject(folder, "sub004", unit="?V")
    return folder


@pytest.fixture
def subject(root, tmp_path) -> Path:
    """A copy of the subject's folder, to be damaged."""
    return Path(shutil.copytree(root / "Data" / "sub004", tmp_path / "Data" / "sub004"))


def planted(clip: np.ndarray, sfreq: float = 250.0) -> np.ndarray:
    """Amplitude, (n_chans, n_chans), of the sine planted in each channel (columns) as found in each channel (rows)."""
    times = np.arange(clip.shape[1]) / sfreq
    angles = 2 * np.pi * np.outer([*(world.frequency(name) for name in CH_NAMES), world.SHARED_HZ], times)
    design = np.vstack([np.sin(angles), np.cos(angles), np.ones_like(times)])
    found = np.linalg.lstsq(design.T, clip.T, rcond=None)[0][: 2 * len(angles)].reshape(2, len(angles), -1)
    return np.hypot(*found).T[:, : len(CH_NAMES)]


def some_spans(*clips: int) -> list[Span | None]:
    return [Span(*world.spans()[clip]) if clip in clips else None for clip in range(28)]


def test_every_clip_comes_back_processed_in_microvolts_by_channel_name(root):
    data_set = FacedRaw(root)
    recording = data_set.load("sub004", "windows")
    assert len(recording.clips) == 28
    for clip, x in enumerate(recording.clips):
        assert x.shape == (30, 7500)
        # the average reference takes a thirtieth of every other channel's sine, and the shared sine altogether
        expected = world.amplitude(clip) * np.abs(np.eye(30) - 1 / 30)
        np.testing.assert_allclose(planted(x), expected, atol=0.01 * world.amplitude(clip))
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-3)
    assert any("?V" in repair and "data.bdf" in repair for repair in recording.repairs)
    np.testing.assert_array_equal(np.argsort(data_set.presentation("sub004")), world.ORDER)
    assert data_set.recording_sfreq("sub004") == 250
    assert data_set.cohort("sub004") == 1
    assert "The Tokyo Trial" in data_set.clip_descriptions()[0]
    with pytest.raises(BadInput, match="'de'"):
        data_set.files("de")


def test_only_the_last_half_minute_is_read_with_its_phase(root):
    path = root / "Data" / "sub004" / "data.bdf"
    clips, repairs = read_clips(path, some_spans(3, 20), PLAIN)
    assert [clip.shape[1] for clip in clips] == [7500 if clip in (3, 20) else 0 for clip in range(28)]
    assert sum("left out" in repair for repair in repairs) == 26
    times = np.arange(7500) / 250
    shared = 1.5 * np.sin(2 * np.pi * world.SHARED_HZ * times)
    for channel, name in enumerate(CH_NAMES):
        found = clips[3][channel] - np.polyval(np.polyfit(times, clips[3][channel], 1), times)
        wanted = world.amplitude(3) * (np.sin(2 * np.pi * world.frequency(name) * times) + shared)
        wanted -= np.polyval(np.polyfit(times, wanted, 1), times)
        # one count of the converter is 0.045 µV
        np.testing.assert_allclose(found, wanted, atol=0.1)


def test_margins_make_it_the_same_as_filtering_the_whole_recording(root):
    path = root / "Data" / "sub004" / "data.bdf"
    steps = dataclasses.replace(OFFICIAL, interpolate="", reference="")
    assert margin_s(steps, 250.0) == 34
    assert margin_s(PLAIN, 250.0) == 1
    clips, repairs = read_clips(path, some_spans(11), steps)
    assert not any("longer than the recording" in repair for repair in repairs)
    raw = mne.io.read_raw_bdf(path, include=["Oz", "T5"], verbose="error").load_data()
    raw.filter(0.05, 47.0, verbose="error")
    end = round(world.spans()[11][1] * 250)
    for name, label in (("Oz", "Oz"), ("P7", "T5")):
        wanted = raw.get_data(picks=[label])[0, end - 7500 : end]  # mne takes ?V for V: the numbers are µV
        np.testing.assert_allclose(clips[11][CH_NAMES.index(name)], wanted, atol=1e-6)


def test_steps_without_a_rate_give_one_rate():
    assert at_one_rate(Processing(low_hz=1.0)).sfreq_hz == 250
    assert at_one_rate(Processing(sfreq_hz=200.0)).sfreq_hz == 200


def test_channels_go_by_name(subject):
    data = subject / "data.bdf"
    straight, _ = read_clips(data, some_spans(5), PLAIN)
    shuffled = list(np.random.default_rng(0).permutation(world.COHORT_1))
    world.write_bdf(data, sfreq=250.0, labels=shuffled)
    world.set_header(data, "label", [label.upper() for label in shuffled])
    found, _ = read_clips(data, some_spans(5), PLAIN)
    np.testing.assert_allclose(found[5], straight[5], atol=0.1)
    assert match_channels(world.COHORT_1, source=data)["T5"] == "P7"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("Cz", "Cy", "no channel Cz"), ("A1", "Cz", "Cz is there twice"), ("A1", "T7", "T7 is there twice, as T3 and T7")],
)
def test_missing_and_repeated_channels_are_refused(subject, old, new, message):
    data = subject / "data.bdf"
    labels = [new if label == old else label for label in world.COHORT_1]
    if new == "T7":
        labels.sort(key=lambda label: label == "T7")  # after T3
    world.set_header(data, "label", labels)
    with pytest.raises(BadInput, match=message):
        read_clips(data, some_spans(1), PLAIN)


@pytest.mark.parametrize("unit", ["uV", "µV", "?V", "mV", "V"])
def test_every_unit_gives_microvolts(root, tmp_path, unit):
    reference, _ = read_clips(root / "Data" / "sub004" / "data.bdf", some_spans(2), PLAIN)
    scale = {"mV": 1e-3, "V": 1e-6}.get(unit, 1.0)
    data = world.write_bdf(tmp_path / "data.bdf", sfreq=250.0, labels=world.COHORT_1, unit=unit, scale=scale)
    clips, repairs = read_clips(data, some_spans(2), PLAIN)
    np.testing.assert_allclose(clips[2], reference[2], rtol=1e-3, atol=0.1)
    assert not any("converted" in repair for repair in repairs)


def test_a_unit_that_the_amplitude_denies_is_mended_and_told(subject):
    data = subject / "data.bdf"
    reference, _ = read_clips(data, some_spans(2), PLAIN)
    world.set_header(data, "unit", ["V"] * 32)
    clips, repairs = read_clips(data, some_spans(2), PLAIN)
    np.testing.assert_allclose(clips[2], reference[2], rtol=1e-6)
    assert any("data.bdf" in repair and "converted" in repair for repair in repairs)
    world.set_header(data, "unit", ["mV"] * 32)
    with pytest.raises(BadInput, match="root mean square"):
        read_clips(data, some_spans(2), PLAIN)


@pytest.mark.parametrize("units", [["T"] * 32, [""] * 32, ["uV"] * 31 + ["V"], ["V"] + ["uV"] * 31])
def test_an_unknown_unit_or_several_are_refused(subject, units):
    data = subject / "data.bdf"
    world.set_header(data, "unit", units)
    with pytest.raises(BadInput, match="unit"):
        read_clips(data, some_spans(2), PLAIN)


def test_a_damaged_recording_is_refused(subject):
    data = subject / "data.bdf"
    whole = data.read_bytes()
    for content, message in (
        (whole[:-300], "truncated"),
        (whole[:700], "truncated"),
        (whole[:100], "bdf"),
        (b"", "begins with"),
        (b"0       " + whole[8:], "begins with"),
        (whole[:236] + b"-1      " + whole[244:], "truncated"),
        (whole[:252] + b"many" + whole[256:], "many"),
    ):
        data.write_bytes(content)
        with pytest.raises(BadInput, match=message):
            FacedRaw(data.parents[2]).load("sub004", "windows")


def test_a_dead_channel_is_interpolated_and_told(tmp_path, monkeypatch):
    signal = world.signal
    monkeypatch.setattr(world, "signal", lambda name, sfreq: signal(name, sfreq) * (name != "C4"))
    data = world.write_bdf(tmp_path / "data.bdf", sfreq=250.0, labels=world.COHORT_1)
    steps = dataclasses.replace(PLAIN, interpolate="detected")
    clips, repairs = read_clips(data, some_spans(2), dataclasses.replace(steps, low_hz=0.5))
    assert any("data.bdf" in repair and "C4: flat" in repair for repair in repairs)
    assert clips[2][CH_NAMES.index("C4")].std() > 5


def test_spans_follow_number_start_end(root):
    spans, repairs = subject_spans(root / "Data" / "sub004")
    assert repairs == ()
    for clip, (onset, end) in world.spans().items():
        assert spans[clip].onset_s == pytest.approx(onset, abs=1e-6)
        assert spans[clip].offset_s == pytest.approx(end, abs=1e-6)


def test_strays_repeats_and_double_starts_are_not_used_and_told():
    source = Path("evt.bdf")
    events = [
        *[(0.0, "101"), (1.0, "102"), (2.0, "Stop Impedance"), (3.0, "99"), (4.0, "101")],
        *[(10.0, "3"), (11.0, "101"), (60.0, "102"), (61.0, "102")],
        *[(70.0, "3"), (71.0, "101"), (120.0, "102")],
        *[(130.0, "4"), (131.0, "101"), (135.0, "101"), (190.0, "102")],
        *[(200.0, "5"), (201.0, "101"), (230.0, "6"), (231.0, "101"), (290.0, "102")],
        *[(300.0, "29"), (301.0, "101"), (330.0, "102")],
    ]
    spans, repairs = find_spans(events, source)
    assert [clip + 1 for clip, span in enumerate(spans) if span] == [3, 6]
    assert spans[2] == Span(11.0, 60.0)
    assert spans[5] == Span(231.0, 290.0)
    told = "\n".join(repairs)
    assert "clip 3 was shown again at 71.0 s" in told
    assert "clip 4 starts twice" in told
    assert "3 starts without" in told


def test_a_clip_that_is_missing_short_or_cut_off_is_empty_and_told(subject):
    first, second, *_, last = world.ORDER
    events = [(onset, text) for onset, text in world.triggers() if (onset, text) != (world.spans()[first][0], "101")]
    end = world.spans()[second][1]
    events = [(onset - 3 if (onset, text) == (end, "102") else onset, text) for onset, text in events]
    events = [
        (onset + 60 if (onset, text) == (world.spans()[last][1], "102") else onset, text) for onset, text in events
    ]
    world.write_events(subject / "evt.bdf", events)
    data_set = FacedRaw(subject.parents[1], processing=PLAIN)
    recording = data_set.load("sub004", "windows")
    empty = [clip for clip, x in enumerate(recording.clips) if x.shape == (30, 0)]
    assert sorted(empty) == sorted([first, second, last])
    told = "\n".join(recording.repairs)
    assert f"clip {first + 1} is left out: it has no start" in told
    assert f"clip {second + 1} is left out: it lasts 29.0 s" in told
    assert f"clip {last + 1} is left out: it ends at" in told
    world.write_events(subject / "evt.bdf", [(1.0, "100"), (3.0, "101"), (90.0, "102")])
    with pytest.raises(BadInput, match="no clip"):
        data_set.load("sub004", "windows")


def test_triggers_and_ratings_must_have_one_order(subject):
    order = list(world.ORDER)
    order[4], order[5] = order[5], order[4]
    world.write_remarks(subject / "After_remarks.mat", order)
    with pytest.raises(
        BadInput, match=rf"clip {order[5] + 1} was shown where .* clip {order[4] + 1} \(place 5 of 28\)"
    ):
        subject_spans(subject)


def test_lengths_that_are_not_published_are_told():
    spans = [None] * 28
    spans[21], spans[0], spans[1] = Span(0, 83.9), Span(100, 181.6), Span(300, 360)
    (told,) = unusual_durations(spans, Path("evt.bdf"))
    assert "clip 22 83.9 s (published 76 s), clip 2 60.0 s" not in told  # in the order of clips
    assert "clip 2 60.0 s (published 64 s), clip 22 83.9 s (published 76 s)" in told
    assert "clip 1 " not in told
    assert unusual_durations([Span(0, 81.9)], Path("evt.bdf")) == ()


def test_damaged_triggers_are_refused(subject):
    events = subject / "evt.bdf"
    whole = events.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:50], b"", b"\xff" * 4096):
        events.write_bytes(content)
        with pytest.raises(BadInput, match=r"evt\.bdf"):
            read_triggers(events)


def test_a_folder_that_is_not_complete_is_refused(subject, tmp_path):
    root = subject.parents[1]
    for name in ("evt.bdf", "After_remarks.mat"):
        (subject / name).rename(tmp_path / name)
        with pytest.raises(BadInput, match=f"no {name} beside it"):
            FacedRaw(root)
        (tmp_path / name).rename(subject / name)
    (subject / "data.bdf").rename(tmp_path / "data.bdf")
    with pytest.raises(BadInput, match="no signals"):
        FacedRaw(root)
    for make in (lambda path: path.symlink_to("gone"), Path.mkdir):
        make(subject / "data.bdf")
        with pytest.raises(BadInput, match=r"sub004/data\.bdf: not a file: a (link that leads nowhere|folder)"):
            FacedRaw(root)
        (subject / "data.bdf").rename(tmp_path / f"was {make}".replace("/", ""))
    (root / "Data" / "sub123").mkdir()
    with pytest.raises(BadInput, match="sub123: not the name"):
        FacedRaw(root)


def test_folders_without_a_recording_are_not_passed_over(subject):
    world.write_remarks(subject.with_name("sub005") / "After_remarks.mat")
    with pytest.raises(BadInput, match=r"no recording in 1 of 2 folders of subjects: sub005"):
        FacedRaw(subject.parents[1])
    shutil.rmtree(subject.with_name("sub005"))
    assert FacedRaw(subject.parents[1]).subjects("windows") == ("sub004",)
    shutil.copytree(subject, subject.with_name("sub-004"))
    with pytest.raises(BadInput, match="sub004 is there twice"):
        FacedRaw(subject.parents[1])
    shutil.rmtree(subject.with_name("sub-004"))
    subject.with_name("sub006").symlink_to("gone")
    with pytest.raises(BadInput, match="sub006: not a folder"):
        FacedRaw(subject.parents[1])


def test_the_table_of_recordings_is_a_source_and_its_cohorts_are_compared(subject):
    root = subject.parents[1]
    assert FacedRaw(root).shared_files() == ()
    info = root / "Recording_info.csv"
    info.write_text("sub,Gender,Age,Cohort ,Sample_rate,Unit\r\nsub004,F,22,1,250,uV\r\n", encoding="utf-8")
    assert FacedRaw(root).shared_files() == (info,)
    info.write_text("sub,Gender,Age,Cohort ,Sample_rate,Unit\r\nsub004,F,22,2,250,uV\r\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"Recording_info\.csv: sub004 is of cohort 2"):
        FacedRaw(root)


def test_real_folder_without_recordings_is_refused(shared_data):
    with pytest.raises(BadInput, match=r"no signals: no SUBJECT/data\.bdf"):
        FacedRaw(shared_data / "faced")


def test_claims_of_the_table_are_compared_with_the_header(root, tmp_path):
    data, info = root / "Data" / "sub004" / "data.bdf", tmp_path / "Recording_info.csv"
    assert check_claims(info, "sub004", data) == ()

    def claim(rate: str, unit: str) -> tuple[str, ...]:
        info.write_text(f"sub,Gender,Age,Cohort ,Sample_rate,Unit\r\nsub004,F,22,1,{rate},{unit}\r\n", encoding="utf-8")
        return check_claims(info, "sub004", data)

    # the header has ?V, of which mne makes numbers in µV
    assert claim("250", "uV") == ()
    assert "claims V, the header has ?V" in claim("250", "V")[0]
    with pytest.raises(BadInput, match=r"250 Hz, and Recording_info\.csv has 1000 Hz"):
        claim("1000", "uV")
    with pytest.raises(BadInput, match="unit 'furlong'"):
        claim("250", "furlong")
    assert claim("", "") == ()
    with pytest.raises(BadInput, match=r"Recording_info\.csv: ValueError .*'abc'"):
        claim("abc", "uV")
    info.write_bytes("sub,Cohort \r\nsub004,1\r\n".encode("utf-16"))
    with pytest.raises(BadInput, match=r"Recording_info\.csv: UnicodeDecodeError"):
        check_claims(info, "sub004", data)


def test_published_table_claims_what_mne_makes_of_the_33_files_without_unit(shared_data, root):
    """The subjects whose header lost its unit are those that the table has in µV: the claim is about mne's numbers."""
    data = root / "Data" / "sub004" / "data.bdf"
    assert read_header(data).units[0] == "?V"
    info = shared_data / "faced" / "Recording_info.csv"
    without_unit = {f"sub{number:03d}" for number in (4, 5, *range(8, 36), 58, 59, 60)}
    rows = [line.split(",") for line in info.read_text(encoding="utf-8-sig").splitlines()[1:]]
    assert {row[0] for row in rows if row[5] == "uV"} == without_unit
    assert check_claims(info, "sub004", data) == ()
