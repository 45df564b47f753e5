"""FACED's BIDS copy: planted signals of cohort 2 at 1,000 Hz, the traps of its tables, real tables, and fetching it."""

import csv
import http.server
import importlib.util
import json
import sys
import threading
import urllib.parse

import numpy as np
import pytest

from tests.valence import faced_recordings as world
from valence.datasets.faced_bids import FacedBids
from valence.errors import BadInput
from valence.faced_bdf import CH_NAMES
from valence.faced_bids import bad_channels, clip_rows, fetch_bids, read_spans, sidecar
from valence.faced_clips import OFFICIAL, Span, unusual_durations
from valence.processing import Processing

# no band-pass: resampling and what mixes channels are enough to see every sample in its place
SPATIAL = Processing(name="spatial", sfreq_hz=250.0, interpolate="marked", reference="average")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faced_bids")
    world.write_bids_subject(folder, "061")
    return folder


def test_cohort_2_at_1000_hz_comes_back_at_250_hz(root):
    data_set = FacedBids(root, processing=SPATIAL)
    assert data_set.subjects("windows") == ("sub061",)
    recording = data_set.load("sub061", "windows")
    times = np.arange(7500) / 250
    sines = np.array([np.sin(2 * np.pi * world.frequency(name) * times) for name in CH_NAMES])
    inside = slice(25, -25)  # without a low-pass the sudden ends of a sine ring
    for clip, x in enumerate(recording.clips):
        wanted = world.amplitude(clip) * (sines - sines.mean(axis=0))
        found = x - x.mean(axis=1, keepdims=True)
        assert x.shape == (30, 7500)
        np.testing.assert_allclose(found[:, inside], wanted[:, inside], atol=0.05 * world.amplitude(clip))
        # a shift by one sample of either rate would show
        assert np.sqrt(np.mean((found - wanted)[:, inside] ** 2)) < 0.01 * world.amplitude(clip)
    np.testing.assert_array_equal(np.argsort(data_set.presentation("sub061")), world.ORDER)
    assert data_set.recording_sfreq("sub061") == 1000
    assert data_set.cohort("sub061") == 2
    assert FacedBids(root).processing == OFFICIAL
    with pytest.raises(BadInput, match="psd"):
        data_set.files("psd")


def test_channels_marked_bad_are_interpolated_under_their_new_name(tmp_path):
    world.write_bids_subject(tmp_path, "004", sfreq=250.0, labels=world.COHORT_1, bads=["T3"])
    recording = FacedBids(tmp_path, processing=SPATIAL).load("sub004", "windows")
    assert any("interpolated T7: marked bad" in repair and "sub-004" in repair for repair in recording.repairs)
    times = np.arange(7500) / 250
    own = np.exp(2j * np.pi * world.frequency("T7") * times)
    found = 2 * np.abs(recording.clips[0] @ own) / times.size
    assert found[CH_NAMES.index("T7")] < 0.1 * world.amplitude(0)


def edit(root, tmp_path, change):
    """events.tsv with rows changed by a function."""
    return world.write_tsv(tmp_path / "sub-061_events.tsv", change(world.event_lines()))


def test_the_clip_is_video_index_and_its_first_row_counts(root, tmp_path):
    def repeat(lines):
        again = [line.copy() for line in lines[2:6]]
        for line in again:
            line[0] = str(float(line[0]) + 900)
        return [*lines, *again]

    spans = read_spans(edit(root, tmp_path, repeat))
    assert spans == [Span(*world.spans()[clip]) for clip in range(28)]
    assert list(clip_rows(edit(root, tmp_path, repeat))) == list(world.ORDER)
    assert list(clip_rows(edit(root, tmp_path, lambda lines: [lines[0], *lines[:0:-1]]))) == list(world.ORDER)


def test_a_clip_without_a_row_has_no_span(root, tmp_path):
    spans = read_spans(edit(root, tmp_path, lambda lines: lines[:-1]))
    assert [clip for clip, span in enumerate(spans) if span is None] == [world.ORDER[-1]]


def set_cell(column, text):
    def change(lines):
        lines[2][lines[0].index(column)] = text
        return lines

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_cell("video_index", "29"), "video_index 29"),
        (set_cell("video_index", "1.5"), r"video_index 1\.5"),
        (set_cell("video_index", "first"), "'first' is no number"),
        (set_cell("onset", "n/a"), "'n/a' is no number"),
        (set_cell("duration", "inf"), "'inf' is no number"),
        (set_cell("emotion_label", "Boredom"), "has the emotion boredom"),
        (lambda lines: [line[:7] + line[8:] for line in lines], "no column video_index"),
        (lambda lines: lines[:2], "no row with a video_index"),
    ],
)
def test_tables_that_do_not_fit_are_refused(root, tmp_path, change, message):
    with pytest.raises(BadInput, match=message):
        read_spans(edit(root, tmp_path, change))


def test_a_table_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "sub-061_events.tsv"
    path.write_bytes("onset\tduration\tvideo_index\n1\t60\t1\n".encode("utf-16"))
    with pytest.raises(BadInput, match="UnicodeDecodeError"):
        read_spans(path)
    with pytest.raises(BadInput, match="FileNotFoundError"):
        read_spans(tmp_path / "none.tsv")


def test_a_recording_without_its_tables_is_refused(tmp_path):
    recording = tmp_path / "sub-061" / "eeg" / "sub-061_task-watchingVideoClips_eeg.bdf"
    recording.parent.mkdir(parents=True)
    recording.write_bytes(b"")
    with pytest.raises(BadInput, match=r"no .*events\.tsv and no .*channels\.tsv beside it"):
        FacedBids(tmp_path)
    recording.unlink()
    with pytest.raises(BadInput, match="no signals"):
        FacedBids(tmp_path)
    recording.symlink_to("../.git/annex/gone")  # as a clone leaves it before the content is fetched
    with pytest.raises(BadInput, match=r"sub-061_.*eeg\.bdf: not a file: a link that leads nowhere"):
        FacedBids(tmp_path)


def test_folders_without_a_recording_and_cohorts_that_differ_are_refused(tmp_path):
    world.write_bids_subject(tmp_path, "061", sfreq=250.0)
    data_set = FacedBids(tmp_path)
    assert data_set.shared_files() == ()
    (tmp_path / "sub-062/eeg").mkdir(parents=True)
    with pytest.raises(BadInput, match="no recording in 1 of 2 folders of subjects: sub-062"):
        FacedBids(tmp_path)
    (tmp_path / "sub-062/eeg").rmdir()
    (tmp_path / "sub-062").rmdir()
    (tmp_path / "Recording_info.csv").write_text("sub,Cohort \r\nsub061,1\r\n")
    with pytest.raises(BadInput, match=r"Recording_info\.csv: sub061 is of cohort 1"):
        FacedBids(tmp_path)


def test_where_a_clip_has_no_row_no_place_in_the_order_is_known(tmp_path):
    """The ranks of the clips after it would all be one too low."""
    path = world.write_bids_subject(tmp_path, "061", sfreq=250.0)
    lines = world.event_lines()
    world.write_tsv(sidecar(path, "events.tsv"), lines[:5] + lines[6:])
    np.testing.assert_array_equal(FacedBids(tmp_path).presentation("sub061"), [-1] * 28)


def test_real_tables_give_all_spans(shared_data):
    folder = shared_data / "faced"
    with (folder / "ratings_nemar_events.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    for number in ("000", "004", "029", "061"):
        stem = folder / "bids" / f"sub-{number}" / "eeg" / f"sub-{number}_task-watchingVideoClips_"
        events = sidecar(stem.with_name(stem.name + "eeg.bdf"), "events.tsv")
        spans = read_spans(events)
        wanted = {
            int(row["video_index"]) - 1: Span(float(row["onset"]), float(row["onset"]) + float(row["duration"]))
            for row in table
            if row["sub"] == f"sub-{number}"
        }
        assert dict(enumerate(spans)) == wanted
        assert unusual_durations(spans, events) == ()
        assert bad_channels(sidecar(stem.with_name(stem.name + "eeg.bdf"), "channels.tsv")) == ()
    with pytest.raises(BadInput, match="no signals"):
        FacedBids(folder / "bids")


def test_fetching_without_the_extra_says_which_one(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "eegdash", None)
    with pytest.raises(BadInput, match=r"valence\[faced\]"):
        fetch_bids(tmp_path)


@pytest.mark.skipif(not importlib.util.find_spec("eegdash"), reason="the extra faced is not installed")
def test_a_catalogue_that_does_not_answer_is_bad_input(tmp_path, monkeypatch):
    asked = []

    class Catalogue(http.server.BaseHTTPRequestHandler):
        status = 404

        def do_GET(self):
            asked.append(urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query))
            self.send_response(self.status)
            self.end_headers()
            self.wfile.write(b'{"data": []}')

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Catalogue)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("EEGDASH_API_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(BadInput, match="404"):
            fetch_bids(tmp_path)
        Catalogue.status = 200
        with pytest.raises(BadInput, match="No datasets found"):
            fetch_bids(tmp_path, subjects=("sub000", "sub061"))
    finally:
        server.shutdown()
        server.server_close()
    assert json.loads(asked[0]["filter"][0]) == {"dataset": "nm000112"}
    assert json.loads(asked[-1]["filter"][0]) == {"dataset": "nm000112", "subject": {"$in": ["000", "061"]}}
