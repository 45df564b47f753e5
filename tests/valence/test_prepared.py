"""Prepared arrays: right numbers in the right order, reused when nothing has changed, refused when damaged."""

import dataclasses
import hashlib
import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from tests.memory import printed_by
from valence import prepared as module
from valence import subjects_converted as conversion
from valence.cell import Recipe
from valence.datasets import DATASETS
from valence.datasets.base import Part, Recording
from valence.datasets.faced import Faced
from valence.datasets.simulated import Simulated, write_cohort
from valence.errors import BadInput
from valence.faced_writing import write_array
from valence.prepared import prepare, read_manifest, rows_of, signal_spec
from valence.preprocessing import cut_windows
from valence.processing import Processing
from valence.splits import make_split

RECIPE = Recipe(name="short", epochs=1, sfreq_hz=100, window_s=5, stride_s=10)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Simulated:
    return Simulated(write_cohort(tmp_path_factory.mktemp("cohort") / "simulated", n_subjects=3))


def copy_of(cohort: Simulated, root) -> Faced:
    """The DE features again, in a folder that a test may spoil."""
    for subject in cohort.subjects("de"):
        write_array(root / f"EEG_Features/DE/{subject}.pkl", cohort.load(subject, "de").clips)
    return Faced(root)


def test_windows_are_those_of_the_recordings(cohort, tmp_path):
    ready = prepare(cohort, "windows", RECIPE, tmp_path)
    assert ready.x.shape == (3 * 84, 32, 500)
    assert ready.x.dtype == np.float32
    assert ready.subject_names == ("sub000", "sub061", "sub062")
    assert (ready.spec.n_chans, ready.spec.n_times, ready.spec.n_outputs, ready.spec.sfreq) == (32, 500, 9, 100)
    assert ready.spec.ch_names == cohort.ch_names
    assert ready.spec.n_bands == 0
    for sample in (0, 1, 85, 250):
        subject, clip = ready.subject_names[ready.subjects[sample]], ready.clips[sample]
        windows = cut_windows(cohort.load(subject, "windows").clips, sfreq=250, recipe=RECIPE)
        np.testing.assert_array_equal(ready.x[sample], windows[clip, sample % 3])
    assert ready.labels.tolist() == [cohort.class_of_clip[clip] for clip in ready.clips]
    assert np.bincount(ready.subjects).tolist() == [84, 84, 84]
    assert np.bincount(ready.clips).tolist() == [9] * 28
    assert {array.dtype for array in (ready.labels, ready.clips, ready.subjects)} == {np.dtype(np.int64)}


def test_ten_second_windows_are_84_a_subject(cohort, tmp_path):
    ready = prepare(cohort, "windows", Recipe(name="long", epochs=1), tmp_path)
    assert ready.x.shape == (3 * 84, 32, 2000)
    assert 0.05 < ready.x.std() < 0.3  # µV / 100


def test_de_features_are_those_of_the_files(cohort, tmp_path):
    ready = prepare(cohort, "de", RECIPE, tmp_path)
    assert ready.x.shape == (84, 32, 30, 5)
    assert (ready.spec.n_times, ready.spec.n_bands, ready.spec.sfreq, ready.spec.input) == (30, 5, 1.0, "de")
    np.testing.assert_array_equal(ready.x[28:56], cohort.load("sub061", "de").clips)
    assert ready.clips.tolist() == list(range(28)) * 3


def test_arrays_are_read_only(cohort, tmp_path):
    ready = prepare(cohort, "de", RECIPE, tmp_path)
    for name in ("x", "labels", "clips", "subjects"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(ready, name)[0] = 0


def test_a_second_call_converts_nothing_and_is_quick(cohort, tmp_path, monkeypatch):
    first = prepare(cohort, "windows", RECIPE, tmp_path)
    monkeypatch.setattr(module, "convert", None)
    start = time.perf_counter()
    again = prepare(Simulated(cohort.root), "windows", RECIPE, tmp_path)
    assert time.perf_counter() - start < 0.3
    assert again.hash == first.hash
    np.testing.assert_array_equal(again.x, first.x)
    other_training = dataclasses.replace(RECIPE, name="other", epochs=9, batch_size=8, de_normalisation="subject")
    assert prepare(cohort, "windows", other_training, tmp_path).hash == first.hash


@pytest.mark.parametrize("change", [{"sfreq_hz": 50}, {"window_s": 4}, {"stride_s": 5}, {"scale": 1}])
def test_another_input_is_another_conversion(cohort, tmp_path, change):
    hashes = {
        prepare(cohort, "windows", recipe, tmp_path).hash for recipe in (RECIPE, dataclasses.replace(RECIPE, **change))
    }
    assert len(hashes) == 2
    assert (
        prepare(cohort, "de", RECIPE, tmp_path).hash
        == prepare(cohort, "de", dataclasses.replace(RECIPE, **change), tmp_path).hash
    )


def test_the_hash_is_of_the_content_wherever_it_lies(cohort, tmp_path):
    faced = copy_of(cohort, tmp_path / "faced")
    here, there = prepare(faced, "de", RECIPE, tmp_path / "a"), prepare(cohort, "de", RECIPE, tmp_path / "b")
    assert here.hash == there.hash
    assert len(here.hash) == 16
    assert int(here.hash, 16) >= 0


def test_a_changed_file_is_converted_again(cohort, tmp_path):
    faced = copy_of(cohort, tmp_path / "faced")
    first = prepare(faced, "de", RECIPE, tmp_path)
    changed = faced.load("sub061", "de").clips
    changed[27, 31, 29, 4] += 1e-3
    write_array(tmp_path / "faced/EEG_Features/DE/sub061.pkl", changed)
    second = prepare(Faced(tmp_path / "faced"), "de", RECIPE, tmp_path)
    assert second.hash != first.hash
    np.testing.assert_array_equal(second.x[28:56], changed)


READER = """
from valence.datasets import DATASETS
from valence.datasets.base import Recording
from valence.datasets.faced import Faced

@DATASETS.register("mine")
class Mine(Faced):
    name = "mine"

    def load(self, subject, input):
        return Recording(super().load(subject, input).clips + {shift})
"""


def test_an_edited_reader_of_a_user_converts_again(cohort, tmp_path, monkeypatch):
    copy_of(cohort, tmp_path / "faced")
    (tmp_path / "plugins").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    found = []
    try:
        for shift in (0, 1):
            (tmp_path / "plugins/my_reader.py").write_text(READER.format(shift=shift))
            source = importlib.util.spec_from_file_location("my_reader", tmp_path / "plugins/my_reader.py")
            sys.modules["my_reader"] = reader = importlib.util.module_from_spec(source)
            exec(compile(Path(source.origin).read_text(), source.origin, "exec"), reader.__dict__)
            found.append(prepare(reader.Mine(tmp_path / "faced"), "de", RECIPE, tmp_path / "prepared"))
    finally:
        sys.modules.pop("my_reader", None)
        DATASETS._entries.pop("mine", None)
        DATASETS._sources.pop("mine", None)
    np.testing.assert_allclose(found[1].x, found[0].x + 1, rtol=1e-6)
    assert found[0].hash != found[1].hash


def test_a_data_set_that_is_not_registered_is_converted(cohort, tmp_path):
    class Unregistered(Simulated):
        name = "unregistered"

    assert prepare(Unregistered(cohort.root), "de", RECIPE, tmp_path).x.shape == (84, 32, 30, 5)


def test_the_names_of_subjects_and_their_classes_are_content(cohort, tmp_path):
    faced = copy_of(cohort, tmp_path / "faced")
    first = prepare(faced, "de", RECIPE, tmp_path).hash
    path = tmp_path / "faced/EEG_Features/DE/sub062.pkl"
    path.rename(path.with_name("sub063.pkl"))
    assert prepare(Faced(tmp_path / "faced"), "de", RECIPE, tmp_path).hash != first

    class Relabelled(Simulated):
        class_of_clip = tuple(reversed(Simulated.class_of_clip))

    assert prepare(Relabelled(cohort.root), "de", RECIPE, tmp_path).hash != first


def test_a_bad_file_is_named_and_what_was_converted_before_it_is_kept(cohort, tmp_path, monkeypatch):
    faced = copy_of(cohort, tmp_path / "faced")
    spoilt = faced.load("sub061", "de").clips
    spoilt[4, 0] = np.nan
    write_array(tmp_path / "faced/EEG_Features/DE/sub061.pkl", spoilt)
    with pytest.raises(BadInput, match=r"sub061\.pkl: sub061, clip 5, channel Fp1 holds nan"):
        prepare(Faced(tmp_path / "faced"), "de", RECIPE, tmp_path / "prepared")
    write_array(tmp_path / "faced/EEG_Features/DE/sub061.pkl", cohort.load("sub061", "de").clips)
    convert_subject, asked = conversion.convert_subject, []
    monkeypatch.setattr(
        conversion, "convert_subject", lambda *given: (asked.append(given[1]), convert_subject(*given))[1]
    )
    mended = prepare(Faced(tmp_path / "faced"), "de", RECIPE, tmp_path / "prepared")
    assert asked == ["sub061", "sub062"]
    assert mended.hash == prepare(cohort, "de", RECIPE, tmp_path / "fresh").hash
    assert [path for path in (tmp_path / "prepared").glob(".*partial")] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x[: len(x) - 30_000_000 // 60],
        lambda x: x[:-1] + bytes([x[-1] ^ 1]),
        lambda x: x[:200_000] + bytes(4) + x[200_004:],
    ],
)
def test_a_draft_that_is_not_what_its_journal_says_is_not_gone_on_with(cohort, tmp_path, monkeypatch, spoil):
    """After a loss of power a file may be shorter than its journal, or hold zeros."""
    convert_subject = conversion.convert_subject

    def killed(dataset, subject, *arguments):
        if subject == "sub062":
            raise KeyboardInterrupt
        return convert_subject(dataset, subject, *arguments)

    monkeypatch.setattr(conversion, "convert_subject", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, "de", RECIPE, tmp_path)
    monkeypatch.undo()
    (draft,) = tmp_path.glob(".*partial")
    (draft / "x.npy").write_bytes(spoil((draft / "x.npy").read_bytes()))
    again = prepare(cohort, "de", RECIPE, tmp_path)
    assert again.hash == prepare(cohort, "de", RECIPE, tmp_path / "fresh").hash
    for number, subject in enumerate(again.subject_names):
        np.testing.assert_array_equal(again.x[28 * number : 28 * number + 28], cohort.load(subject, "de").clips)


def test_a_file_that_changes_while_it_is_converted_is_refused(cohort, tmp_path, monkeypatch):
    faced = copy_of(cohort, tmp_path / "faced")
    convert_subject = conversion.convert_subject

    def changing(dataset, subject, *arguments):
        if subject == "sub061":
            write_array(tmp_path / "faced/EEG_Features/DE/sub061.pkl", cohort.load("sub062", "de").clips)
        return convert_subject(dataset, subject, *arguments)

    monkeypatch.setattr(conversion, "convert_subject", changing)
    with pytest.raises(BadInput, match=r"sub061\.pkl has changed while"):
        prepare(faced, "de", RECIPE, tmp_path / "prepared")


def test_files_that_change_places_under_their_old_times_are_noticed(cohort, tmp_path):
    faced = copy_of(cohort, tmp_path / "faced")
    first = prepare(faced, "de", RECIPE, tmp_path / "prepared")
    one, other = (tmp_path / f"faced/EEG_Features/DE/{name}.pkl" for name in ("sub061", "sub062"))
    os.utime(other, ns=(one.stat().st_atime_ns, one.stat().st_mtime_ns))
    prepare(faced, "de", RECIPE, tmp_path / "prepared")
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    second = prepare(Faced(tmp_path / "faced"), "de", RECIPE, tmp_path / "prepared")
    assert second.hash != first.hash
    np.testing.assert_array_equal(second.x[28:56], first.x[56:])


def test_clips_that_are_no_whole_number_of_samples_at_the_new_rate_are_cut(cohort, tmp_path):
    class Odd(Simulated):
        name = "odd"
        sfreq = 512.0
        clip_seconds = (20.59,) * 28

        def read(self, subject, input):
            x = cohort.read(subject, input).clips
            return Recording(np.tile(x, 2)[..., : int(20.59 * 512 + 1e-6)])

    for window_s in (0.15, 5.0, 20.55):
        recipe = dataclasses.replace(RECIPE, sfreq_hz=200, window_s=window_s, stride_s=window_s)
        if window_s < 20:
            ready = prepare(Odd(cohort.root), "windows", recipe, tmp_path)
            assert len(ready.x) == len(ready.clips)
            assert (ready.ends <= 1 + 1e-9).all()
        else:
            with pytest.raises(BadInput, match="not one window"):
                prepare(Odd(cohort.root), "windows", recipe, tmp_path)


def test_a_disk_that_cannot_hold_the_rest_is_told_early(cohort, tmp_path, monkeypatch):
    free = SimpleNamespace(free=10_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: free)
    with pytest.raises(BadInput, match="GB are still to be written"):
        prepare(cohort, "windows", RECIPE, tmp_path)
    free.free = 2**40
    assert len(prepare(cohort, "windows", RECIPE, tmp_path).x) == 3 * 84


def test_processes_end_with_the_one_that_started_them(tmp_path):
    program = """
import os, sys, time
from joblib.externals.loky import get_reusable_executor
from valence.subjects_converted import end_with_parent
pool = get_reusable_executor(max_workers=2, initializer=end_with_parent, initargs=(os.getpid(),))
print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
time.sleep(60)
"""
    started = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=pythonpath())
    workers = [int(pid) for pid in started.stdout.readline().split()]
    started.kill()
    started.wait()
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in workers):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.1)


def test_processes_never_hold_more_subjects_than_they_work_on(cohort, tmp_path, monkeypatch):
    """One subject is taken, and the others wait: a slow disk must not fill the memory."""
    started = []
    pool = SimpleNamespace(
        submit=lambda function, *given: (started.append(given[1]), SimpleNamespace(result=lambda: given[1]))[1]
    )
    monkeypatch.setattr(conversion, "get_reusable_executor", lambda **_: pool)
    found = conversion.converted(cohort, [f"sub{number}" for number in range(40)], "windows", RECIPE, 2)
    assert [next(found), len(started), next(found), len(started)] == ["sub0", 3, "sub1", 4]


def test_a_data_set_from_outside_is_checked_too(cohort, tmp_path):
    class Careless(Simulated):
        def load(self, subject, input):
            return Recording(np.zeros((28, 32, 30, 4), dtype=np.float32))

    with pytest.raises(BadInput, match=r"sub000, clip 1, has shape \(32, 30, 4\)"):
        prepare(Careless(cohort.root), "de", RECIPE, tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "x.npy").write_bytes((folder / "x.npy").read_bytes()[:-4]),
        lambda folder: (folder / "x.npy").unlink(),
        lambda folder: np.save(folder / "x.npy", np.zeros((84, 32, 30, 5))),
        lambda folder: (folder / "manifest.json").write_text("{}"),
        lambda folder: (folder / "manifest.json").write_text('{"x_'),
        lambda folder: (folder / "manifest.json").unlink(),
    ],
)
def test_a_damaged_conversion_is_refused(cohort, tmp_path, spoil):
    prepare(cohort, "de", RECIPE, tmp_path)
    (manifest,) = tmp_path.glob("*/manifest.json")
    spoil(manifest.parent)
    with pytest.raises(BadInput, match=f"{manifest.parent.name}[\\s\\S]*remove "):
        prepare(cohort, "de", RECIPE, tmp_path)


def test_the_manifest_says_what_it_holds(cohort, tmp_path):
    ready = prepare(cohort, "de", RECIPE, tmp_path)
    facts = json.loads(next(tmp_path.glob("*/manifest.json")).read_text())
    assert facts["hash"] == ready.hash
    assert facts["subject_names"] == list(ready.subject_names)
    assert facts["spec"] == json.loads(json.dumps(dataclasses.asdict(ready.spec)))
    (source,) = facts["made_from"]["sources"]["sub061"]
    path = cohort.root / source["file"]
    assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source["bytes"] == path.stat().st_size
    assert facts["versions"]["numpy"] == np.__version__


def test_a_killed_conversion_goes_on_after_the_last_subject(cohort, tmp_path, monkeypatch):
    convert_subject, asked = conversion.convert_subject, []

    def killed(dataset, subject, *arguments):
        asked.append(subject)
        if subject == "sub062" and len(asked) == 3:
            raise KeyboardInterrupt
        return convert_subject(dataset, subject, *arguments)

    monkeypatch.setattr(conversion, "convert_subject", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, "de", RECIPE, tmp_path)
    (partial,) = tmp_path.glob(".*partial")
    with (partial / "x.npy").open("ab") as file:
        file.write(b"half a subject")
    with (partial / "journal.jsonl").open("a") as file:
        file.write('{"subject": "sub0')
    told = []
    again = prepare(cohort, "de", RECIPE, tmp_path, on_subject=lambda done, total: told.append((done, total)))
    assert asked == ["sub000", "sub061", "sub062", "sub062"]
    assert told == [(2, 3), (3, 3)]
    assert again.hash == prepare(cohort, "de", RECIPE, tmp_path / "fresh").hash
    for number, subject in enumerate(again.subject_names):
        np.testing.assert_array_equal(again.x[28 * number : 28 * number + 28], cohort.load(subject, "de").clips)
    assert sorted(path.name for path in again.folder.iterdir()) == ["manifest.json", "samples.parquet", "x.npy"]


@pytest.mark.parametrize("written", [b"", b"\x93NUM"])
def test_a_conversion_killed_in_its_first_bytes_begins_anew(cohort, tmp_path, monkeypatch, written):
    def killed(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "convert_subject", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, "de", RECIPE, tmp_path)
    monkeypatch.undo()
    (partial,) = tmp_path.glob(".*partial")
    (partial / "x.npy").write_bytes(written)
    assert prepare(cohort, "de", RECIPE, tmp_path).hash == prepare(cohort, "de", RECIPE, tmp_path / "fresh").hash


def test_processes_side_by_side_write_the_same_bytes(cohort, tmp_path):
    one = prepare(cohort, "windows", RECIPE, tmp_path / "one", workers=1)
    two = prepare(cohort, "windows", RECIPE, tmp_path / "two", workers=2)
    assert two.hash == one.hash
    for name in ("x.npy", "samples.parquet", "manifest.json"):
        assert (two.folder / name).read_bytes() == (one.folder / name).read_bytes()


class Uneven(Simulated):
    """Clips of two lengths, one of them missing."""

    name = "uneven"
    clip_seconds = (30.0,) * 27 + (12.0,)

    def read(self, subject, input):
        clips = list(super().read(subject, input).clips)
        per_second = clips[0].shape[1] // 30
        clips[27] = clips[27][:, : 12 * per_second]
        repairs = ()
        if subject == "sub061":
            clips[3], repairs = clips[3][:, :0], ("sub061.pkl: clip 4 was not recorded",)
        return Recording(clips, repairs)


def test_clips_of_any_length_are_cut_and_a_missing_one_is_told(cohort, tmp_path):
    uneven = Uneven(cohort.root)
    ready = prepare(uneven, "windows", RECIPE, tmp_path)
    counts = np.bincount(ready.clips)
    assert counts[3] == 2 * 3
    assert counts[27] == 3 * 1
    assert len(ready.x) == 3 * (27 * 3 + 1) - 3
    last = np.flatnonzero((ready.subjects == 1) & (ready.clips == 27))
    assert ready.begins[last].tolist() == [0]
    assert ready.ends[last].tolist() == [5 / 12]
    np.testing.assert_allclose(
        ready.x[last[0]], cut_windows(uneven.load("sub061", "windows").clips[27][None], sfreq=250, recipe=RECIPE)[0, 0]
    )
    assert read_manifest(ready)["repairs"] == {"sub061": ["sub061.pkl: clip 4 was not recorded"]}
    long = prepare(uneven, "windows", dataclasses.replace(RECIPE, window_s=15, stride_s=15), tmp_path)
    assert 27 not in long.clips
    assert "shorter than a window and left out: clip 28" in read_manifest(long)["repairs"]["sub000"][0]


def test_band_features_of_uneven_clips_are_cut_into_steps(cohort, tmp_path):
    uneven = Uneven(cohort.root)
    steps = prepare(uneven, "de", RECIPE, tmp_path)
    assert steps.x.shape[1:] == (32, 1, 5)
    assert len(steps.x) == 3 * (27 * 30 + 12) - 30
    tens = prepare(uneven, "de", dataclasses.replace(RECIPE, de_window_s=10), tmp_path)
    assert tens.x.shape == (3 * (27 * 3 + 1) - 3, 32, 10, 5)
    np.testing.assert_array_equal(tens.x[1], uneven.load("sub000", "de").clips[0][:, 10:20])
    with pytest.raises(BadInput, match="a multiple of 1 s"):
        prepare(uneven, "de", dataclasses.replace(RECIPE, de_window_s=2.5), tmp_path)


def test_a_part_of_a_split_gets_the_samples_that_lie_within_it(cohort, tmp_path):
    ready = prepare(cohort, "windows", dataclasses.replace(RECIPE, stride_s=5), tmp_path)
    for turn in range(3):
        split = make_split(cohort, "windows", f"time-blocked:{turn}")
        rows = [rows_of(ready, part) for part in (split.train, split.validation, split.test)]
        assert sorted(np.concatenate(rows)) == list(range(len(ready.x)))
        begins = ready.begins[rows[2]] * 30
        assert set(begins.round(6)) == {10.0 * ((2 + turn) % 3), 10.0 * ((2 + turn) % 3) + 5}
    some = rows_of(ready, Part(("sub061",), (4, 9)))
    assert set(ready.subjects[some]) == {1}
    assert set(ready.clips[some]) == {4, 9}
    whole = prepare(cohort, "de", RECIPE, tmp_path)
    with pytest.raises(BadInput, match=r"no sample[\s\S]*--de-window-s"):
        rows_of(whole, Part((), (), 0, 0.5))


def test_another_processing_is_another_conversion(cohort, tmp_path):
    plain = prepare(cohort, "windows", RECIPE, tmp_path)
    passed = prepare(Simulated(cohort.root, processing=Processing(name="p", high_hz=30)), "windows", RECIPE, tmp_path)
    power = [np.abs(np.fft.rfft(ready.x[:20] * np.hanning(500)))[..., 200:] for ready in (plain, passed)]
    assert power[1].mean() < 0.05 * power[0].mean()
    assert read_manifest(passed)["processing"]["high_hz"] == 30
    assert "30 Hz" in read_manifest(passed)["steps"][0]


def test_two_at_once_convert_once(cohort, tmp_path, monkeypatch):
    converted = []
    convert = module.convert

    def counted(*arguments, **named):
        converted.append(1)
        time.sleep(0.2)
        convert(*arguments, **named)

    monkeypatch.setattr(module, "convert", counted)
    hashes = []
    threads = [
        threading.Thread(target=lambda: hashes.append(prepare(cohort, "de", RECIPE, tmp_path).hash)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(converted) == 1
    assert len(set(hashes)) == 1
    assert len(hashes) == 3


def test_memory_stays_at_one_subject(tmp_path):
    """Twelve subjects of 27 MB against four: that they are let go would show if it did not happen."""
    program = """
import sys
from pathlib import Path
import numpy as np
from tests.memory import peak_mib
from valence.cell import Recipe
from valence.datasets.faced import Faced
from valence.faced_writing import write_array
from valence.prepared import prepare
root = Path(sys.argv[1])
x = np.random.default_rng(0).normal(scale=10, size=(28, 32, 7500)).astype(np.float32)
def peak(n):
    for number in range(n):
        write_array(root / f"Processed_data/sub{number:03d}.pkl", x)
    prepare(Faced(root), "windows", Recipe(name="r", epochs=1), root / "prepared")
    return peak_mib()
few = peak(4)
print(peak(12) - few)
"""
    assert float(printed_by(program, tmp_path)) < 54  # MiB


def test_another_process_maps_the_same_file(cohort, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ready = prepare(cohort, "de", RECIPE, "here")  # a relative folder is found from elsewhere too
    sent = pickle.dumps(ready, protocol=5)
    assert len(sent) < 10_000
    program = """
import hashlib, pickle, sys
import numpy as np
ready = pickle.load(sys.stdin.buffer)
assert isinstance(ready.x, np.memmap) and not ready.x.flags.writeable
for array in (ready.x, ready.labels, ready.clips, ready.subjects):
    print(array.dtype, array.shape, hashlib.sha256(array.tobytes()).hexdigest())
print(ready.spec, ready.subject_names, ready.hash)
"""
    told = subprocess.run(
        [sys.executable, "-c", program], input=sent, check=True, capture_output=True, cwd="/", env=pythonpath()
    )
    lines = [
        f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
        for array in (ready.x, ready.labels, ready.clips, ready.subjects)
    ]
    assert told.stdout.decode().splitlines() == [*lines, f"{ready.spec} {ready.subject_names} {ready.hash}"]


def pythonpath() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[1])}


def test_a_folder_that_another_process_does_not_see_is_named(cohort, tmp_path):
    ready = prepare(cohort, "de", RECIPE, tmp_path)
    sent = pickle.dumps(ready)
    (manifest,) = tmp_path.glob("*/manifest.json")
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(facts | {"hash": "0" * 16}))
    with pytest.raises(BadInput, match=f"{manifest.parent.name} holds the conversion 0000"):
        pickle.loads(sent)
    shutil.rmtree(manifest.parent)
    with pytest.raises(BadInput, match=f"{manifest.parent.name}: the converted data set is not there[\\s\\S]*shared"):
        pickle.loads(sent)


def test_a_changed_copy_travels_with_its_arrays(cohort, tmp_path):
    ready = dataclasses.replace(prepare(cohort, "de", RECIPE, tmp_path), x=np.ones((84, 1), dtype=np.float32))
    again = pickle.loads(pickle.dumps(ready))
    np.testing.assert_array_equal(again.x, ready.x)
    assert again.hash == ready.hash


def test_the_spec_needs_facts_alone():
    spec = signal_spec(Faced, "windows", Recipe(name="full", epochs=1))
    assert (spec.n_times, spec.sfreq, spec.n_bands) == (2000, 200, 0)


def test_the_real_features_are_converted_in_seconds(shared_data, tmp_path):
    faced = Faced(shared_data / "faced")
    start = time.perf_counter()
    ready = prepare(faced, "de", RECIPE, tmp_path)
    assert time.perf_counter() - start < 10
    assert ready.x.shape == (2800, 32, 30, 5)
    assert 1.5 < ready.x.mean() < 3
