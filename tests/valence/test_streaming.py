"""Recordings and streams are decoded as training would have prepared them, and what differs is said."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from edfio import Bdf, BdfSignal

from tests.valence.exported_ensembles import (
    DE_RECIPE,
    FACED,
    RECIPE,
    by_hand,
    members,
    recording,
    trained_on,
    trained_on_bands,
)
from tests.valence.faced_recordings import set_header
from tests.valence.malformed_pickles import build
from valence.errors import BadInput
from valence.exported import export_ensemble, load_ensemble
from valence.faced_writing import write_array
from valence.features import BANDS, differential_entropy
from valence.online_preparation import OnlinePreparation, chosen_channels, differences
from valence.prepared import prepare
from valence.preprocessing import cut_windows
from valence.processing import Processing
from valence.stream_sources import Live, Recorded, open_lsl, read_bdf, read_npy, read_recording
from valence.streaming import decode

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("EEGNet", "ShallowFBCSPNet")


def decoder_of(about, tmp_path, names=NAMES):
    made = members(names, about, (1.0,) * len(names))
    return load_ensemble(export_ensemble(tmp_path / "ensemble", made, about), precision="float32"), made


def replace_unit(signal: BdfSignal, x_uv: np.ndarray) -> BdfSignal:
    return BdfSignal(x_uv, 250, label=signal.label, physical_dimension="uV", physical_range=(-1e3, 1e3))


def recorded(x: np.ndarray, sfreq: float = 250.0, ch_names=FACED.ch_names) -> Recorded:
    return Recorded(sections=list(x), sfreq=sfreq, ch_names=tuple(ch_names), source="a recording")


def test_a_subject_of_faced_is_decoded_as_the_prepared_data_set_is(tmp_path):
    clips = recording().astype(np.float32)
    path = tmp_path / "Processed_data" / "sub000.pkl"
    path.parent.mkdir()
    write_array(path, clips)
    prepared = prepare(FACED(tmp_path), "windows", RECIPE, tmp_path / "prepared")
    about = trained_on()
    decoder, made = decoder_of(about, tmp_path)
    expected = by_hand(made, about, np.array(prepared.x))
    found = list(decode(decoder, read_recording(path)))
    np.testing.assert_allclose([each.probabilities for each in found], expected, atol=1e-5)
    np.testing.assert_array_equal([each.section for each in found], prepared.clips)
    np.testing.assert_allclose([each.begin_s for each in found], prepared.begins * 30)
    assert [each.label for each in found] == [FACED.classes[at] for at in expected.argmax(1)]
    assert all(each.latency_ms > 0 for each in found)


def test_a_stream_differs_from_training_by_its_windows_ends_alone(tmp_path):
    clips = recording(4)
    about = trained_on()
    decoder, _ = decoder_of(about, tmp_path)
    whole = [each.probabilities for each in decode(decoder, recorded(clips))]
    online = [each.probabilities for each in decode(decoder, recorded(clips), online=True)]
    assert len(whole) == len(online) == 24
    assert np.abs(np.array(whole) - online).max() < 0.02 * np.ptp(whole)
    # windows themselves: equal to 1 % but for the last tenth of a second
    preparation = OnlinePreparation(about, sfreq=250.0, stride_s=5.0)
    got = [sample for piece in np.array_split(clips[0], 77, axis=1) for _, sample in preparation.add(piece)]
    expected = cut_windows(clips[0], sfreq=250.0, recipe=RECIPE)
    off = np.abs(np.array(got) - expected) / expected.std()
    assert off[..., :-10].mean() < 0.005
    assert off[1:, :, :10].mean() < 0.005, "what came before a window is known"
    assert off[..., -10:].mean() > off[..., :-10].mean()


@pytest.mark.parametrize("pieces", [1, 13, 2500, 7500])
def test_pieces_of_any_length_give_the_same_windows(pieces):
    x = recording(1)[0]
    about = trained_on(processing=Processing(name="band", low_hz=1, high_hz=40, notch_hz=50, reference="average"))
    one = OnlinePreparation(about, sfreq=250.0, stride_s=1.0)
    begins, samples = zip(*one.add(x))
    assert begins == pytest.approx(np.arange(26.0))
    many = OnlinePreparation(about, sfreq=250.0, stride_s=1.0)
    found = [each for part in np.array_split(x, pieces, axis=1) for each in many.add(part)]
    assert [begin for begin, _ in found] == pytest.approx(list(begins))
    np.testing.assert_allclose([sample for _, sample in found], samples, atol=1e-6)
    assert many.held.shape[1] <= 6 * 250 + 7500 // pieces + 1, "memory does not grow with the stream"


def test_what_is_still_to_come_changes_nothing():
    x = recording(1)[0]
    about = trained_on(processing=Processing(name="band", low_hz=1, high_hz=40))
    later = x.copy()
    later[:, 2500:] += 1e3
    for first, second in zip(
        OnlinePreparation(about, sfreq=250.0, stride_s=5.0).add(x[:, :2500]),
        OnlinePreparation(about, sfreq=250.0, stride_s=5.0).add(later),
    ):
        np.testing.assert_array_equal(first[1], second[1])


def test_causal_filters_pass_the_band_and_stop_the_rest():
    times = np.arange(7500) / 250
    about = trained_on(processing=Processing(name="band", low_hz=4, high_hz=30, notch_hz=50))

    def passed(frequency: float) -> float:
        x = np.tile(10 * np.sin(2 * np.pi * frequency * times), (32, 1))
        *_, (_, last) = OnlinePreparation(about, sfreq=250.0, stride_s=5.0).add(x)
        return float(last[:, 100:-50].std() / RECIPE.scale / (10 / np.sqrt(2)))

    assert passed(12) == pytest.approx(1, abs=0.02)
    assert passed(1) < 0.02
    # 50 Hz is the end of the new rate's spectrum as well
    assert passed(45) < 0.3
    reference = trained_on(processing=Processing(name="car", reference="average"))
    x = recording(1)[0]
    [(_, first), *_] = OnlinePreparation(reference, sfreq=250.0, stride_s=5.0).add(x)
    np.testing.assert_allclose(first.mean(0), 0, atol=1e-6)


def test_training_filters_are_those_of_training_where_a_recording_is_whole(tmp_path):
    clips = recording().astype(np.float32)
    path = tmp_path / "Processed_data" / "sub000.pkl"
    path.parent.mkdir()
    write_array(path, clips)
    steps = Processing(name="band", low_hz=1, high_hz=40, reference="average")
    prepared = prepare(FACED(tmp_path, processing=steps), "windows", RECIPE, tmp_path / "prepared", workers=1)
    about = trained_on(processing=steps)
    decoder, made = decoder_of(about, tmp_path, ("EEGNet",))
    expected = by_hand(made, about, np.array(prepared.x[:6]))
    found = [each.probabilities for each in decode(decoder, recorded(clips[:1]))]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_channels_go_by_name_and_units_by_the_header(tmp_path, caplog):
    clip = recording(1)[0]
    about = trained_on()
    decoder, _ = decoder_of(about, tmp_path)
    expected = [each.probabilities for each in decode(decoder, recorded([clip]))]
    order = np.random.default_rng(0).permutation(32)
    old = {"T7": "T3", "P8": "T6", "Fz": "FZ"}
    signals = [
        BdfSignal(clip[at] / 1e3, 250, label=old.get(name, name), physical_dimension="mV", physical_range=(-1, 1))
        for at in order
        for name in [FACED.ch_names[at]]
    ]
    extra = BdfSignal(clip[0], 250, label="Status2", physical_dimension="", physical_range=(-1e3, 1e3))
    Bdf([*signals, extra], data_record_duration=1).write(tmp_path / "data.bdf")
    source = read_bdf(tmp_path / "data.bdf")
    np.testing.assert_allclose(source.sections[0], clip[order], atol=1e-3)
    found = [each.probabilities for each in decode(decoder, read_recording(tmp_path / "data.bdf"))]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert "by name" in caplog.text
    in_uv = [replace_unit(each, clip[at]) for each, at in zip(signals, order)]
    Bdf(in_uv, data_record_duration=1).write(tmp_path / "lost.bdf")
    set_header(tmp_path / "lost.bdf", "unit", ["?V"] * 32)  # as FACED's own files have lost their µ
    np.testing.assert_allclose(read_bdf(tmp_path / "lost.bdf").sections[0], clip[order], atol=1e-3)
    np.save(tmp_path / "x.npy", clip[order])
    names = [FACED.ch_names[at] for at in order]
    again = read_recording(tmp_path / "x.npy", sfreq=250, ch_names=names)
    np.testing.assert_allclose(
        [each.probabilities for each in decode(decoder, again)], expected, atol=1e-6, err_msg="npy"
    )
    wrong = [each.probabilities for each in decode(decoder, replace(again, ch_names=FACED.ch_names))]
    assert np.abs(np.array(wrong) - expected).max() > 0.05, "order matters to these members"


def test_missing_and_repeated_channels_are_refused_before_anything_is_decoded(tmp_path):
    decoder, _ = decoder_of(trained_on(), tmp_path)
    clip = recording(1)
    with pytest.raises(BadInput, match="no channel Fz, A2"):
        decode(decoder, recorded(clip[:, :30], ch_names=[name for name in FACED.ch_names if name not in ("Fz", "A2")]))
    names = ("T7", *FACED.ch_names[1:])
    assert names.count("T7") == 2
    with pytest.raises(BadInput, match="no channel Fp1"):
        chosen_channels(FACED.ch_names, names, source="x")
    with pytest.raises(BadInput, match="T7 is there twice"):
        chosen_channels(FACED.ch_names, (*FACED.ch_names, "t3"), source="x")


def test_what_differs_from_training_is_said(caplog, tmp_path):
    about = trained_on(
        processing=Processing(name="all", low_hz=1, high_hz=40, interpolate="detected", ica_components=10)
    )
    told = differences(about, sfreq=500.0, ch_names=FACED.ch_names, online=True)
    text = " ".join(told)
    for word in ("500 Hz", "250 Hz", "causal", "not interpolated", "ocular", "resampled one by one"):
        assert word in text
    assert differences(trained_on(), sfreq=250.0, ch_names=FACED.ch_names, online=False) == ()
    decoder, _ = decoder_of(trained_on(), tmp_path, ("EEGNet",))
    list(decode(decoder, recorded(recording(1, sfreq=500), sfreq=500.0)))
    assert "500 Hz" in caplog.text


def test_another_rate_gives_nearly_the_same_windows(tmp_path):
    about = trained_on()
    decoder, _ = decoder_of(about, tmp_path)
    x = recording(1, sfreq=1000)[0]
    slow = x[:, ::4]  # nothing in it is above 45 Hz
    for online in (False, True):
        fast = [each.probabilities for each in decode(decoder, recorded([x], sfreq=1000.0), online=online)]
        expected = [each.probabilities for each in decode(decoder, recorded([slow]), online=online)]
        np.testing.assert_allclose(fast, expected, atol=2e-3)


def test_band_features_are_those_of_each_window_normalised_as_in_training(tmp_path):
    about = trained_on_bands()
    decoder, made = decoder_of(about, tmp_path, ("de_mlp",))
    clip = recording(1)[0]
    windows = np.stack([clip[:, begin : begin + 1250] for begin in range(0, 7500, 1250)])
    entropy = differential_entropy(windows, sfreq=250.0, bands=BANDS, edges="mne")
    x = (entropy - about.bands.mean[:, None]) / about.bands.sd[:, None]
    expected = by_hand(made, about, x.astype(np.float32))
    for online in (False, True):
        found = list(decode(decoder, recorded([clip]), online=online))
        np.testing.assert_allclose([each.probabilities for each in found], expected, atol=1e-5)
    assert DE_RECIPE.de_window_s == found[0].end_s


def test_a_flat_channel_has_no_band_features_and_is_refused(tmp_path):
    decoder, _ = decoder_of(trained_on_bands(), tmp_path, ("de_mlp",))
    clip = recording(1)[0]
    clip[3] = 0
    with pytest.raises(BadInput, match="not finite"):
        list(decode(decoder, recorded([clip])))


def test_no_window_reaches_over_a_gap(tmp_path):
    decoder, _ = decoder_of(trained_on(), tmp_path, ("EEGNet",))
    x = recording(1)[0]

    def pieces():
        yield from (x[:, :1000], x[:, 1000:1600], None, None, x[:, 2000:3400])

    found = list(decode(decoder, Live(pieces=pieces, sfreq=250.0, ch_names=FACED.ch_names, source="a stream")))
    assert [(each.section, each.begin_s) for each in found] == [(0, 0.0), (1, 0.0)]
    alone = list(decode(decoder, recorded([x[:, 2000:3250]]), online=True))
    np.testing.assert_array_equal(found[1].probabilities, alone[0].probabilities)


def test_rates_and_strides_that_do_not_fit_are_refused(tmp_path):
    for sfreq, stride_s in ((250.0, 0.0013), (250.3, 5.0), (60.0, 5.0)):
        about = trained_on(processing=Processing(name="band", high_hz=40))
        with pytest.raises(BadInput):
            OnlinePreparation(about, sfreq=sfreq, stride_s=stride_s)


def test_files_of_strangers_run_nothing(tmp_path):
    mark = tmp_path / "ran"
    (tmp_path / "sub000.pkl").write_bytes(build(mark))
    with pytest.raises(BadInput, match=r"sub000\.pkl"):
        read_recording(tmp_path / "sub000.pkl")
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput, match="plain numbers"):
        read_npy(tmp_path / "x.npy", sfreq=250, ch_names=FACED.ch_names)
    (tmp_path / "p.npy").write_bytes(build(mark))
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, x=np.zeros(3))
    for name in ("p.npy", "a.npy"):
        with pytest.raises(BadInput, match="plain numbers"):
            read_npy(tmp_path / name, sfreq=250, ch_names=FACED.ch_names)
    assert not mark.exists()
    for name in ("x.npy", "x.mat"):
        with pytest.raises(BadInput, match=name):
            read_recording(tmp_path / name)
    np.save(tmp_path / "y.npy", np.zeros((100, 32)))
    with pytest.raises(BadInput, match="turn the array round"):
        read_npy(tmp_path / "y.npy", sfreq=250, ch_names=FACED.ch_names)
    (tmp_path / "z.bdf").write_bytes(b"not one")
    with pytest.raises(BadInput, match=r"z\.bdf"):
        read_recording(tmp_path / "z.bdf")


def test_a_stream_of_lab_streaming_layer_is_decoded_live(tmp_path):
    pylsl = pytest.importorskip("pylsl", reason="the extra lsl is not installed")
    decoder, _ = decoder_of(trained_on(), tmp_path, ("EEGNet",))
    clip = recording(1)[0][:, :2000]
    name = f"valence-test-{time.time_ns()}"
    info = pylsl.StreamInfo(name, "EEG", 32, 250, "float32", name)
    channels = info.desc().append_child("channels")
    for label in FACED.ch_names:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("unit", "microvolts")
    outlet = pylsl.StreamOutlet(info)
    source = open_lsl(name=name, idle_s=1.0)
    assert source.ch_names == FACED.ch_names
    assert source.sfreq == 250

    def send():
        outlet.wait_for_consumers(10)
        begin = pylsl.local_clock()
        for at in range(0, 2000, 50):
            outlet.push_chunk(clip[:, at : at + 50].T.astype(np.float32).tolist(), begin + (at + 49) / 250)
            time.sleep(0.02)

    sender = threading.Thread(target=send)
    sender.start()
    found = list(decode(decoder, source, stride_s=1.0))
    sender.join()
    expected = list(decode(decoder, recorded([clip]), online=True, stride_s=1.0))
    assert len(found) == len(expected) == 4
    np.testing.assert_allclose(
        [each.probabilities for each in found], [each.probabilities for each in expected], atol=1e-4
    )
    assert all(0 < each.latency_ms < 5000 for each in found)
    with pytest.raises(BadInput, match="0 streams"):
        open_lsl(name="nobody", timeout_s=0.2)


def test_without_the_extra_it_says_which_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pylsl", None)
    with pytest.raises(BadInput, match=r"extra: pip install \.\[lsl\]"):
        open_lsl()
