"""FACED's files: the published bytes are read, and everything that is not right is refused by name."""

import csv
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from valence.dataset_facts import check_facts
from valence.datasets import DATASETS
from valence.datasets.faced import Faced
from valence.errors import BadInput
from valence.faced_files import RecordingInfo, read_recordings
from valence.faced_writing import write_array

DE = (28, 32, 30, 5)
WINDOWS = (28, 32, 7500)


def de_features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2.0, 0.3, size=DE)


def add_de(root: Path, name: str = "sub000.pkl.pkl", array: np.ndarray | None = None) -> Path:
    path = root / "EEG_Features" / "DE" / name
    write_array(path, de_features() if array is None else array)
    return path


@pytest.mark.parametrize("name", list(DATASETS))
def test_facts_of_every_data_set_agree_with_each_other(name):
    kind = DATASETS[name]
    check_facts(kind)
    assert kind.name == name
    assert all(band.high_hz <= kind.sfreq / 2 for band in kind.bands)
    # a property where only the folder tells
    parts = kind.standard_split or ()
    for part in parts:
        assert list(part.subjects) == sorted(set(part.subjects))
        assert list(part.clips) == sorted(set(part.clips))


def test_facts_of_faced():
    assert Faced.ch_names[25] == "PO3"
    assert Faced.ch_names[5] == "F7"
    assert Faced.class_of_clip[12:16] == (4, 4, 4, 4)
    assert [len(part.subjects) for part in Faced.standard_split] == [80, 20, 23]
    assert Faced.standard_split[2].subjects[0] == "sub100"


def test_ratings_are_those_of_the_events(shared_data):
    folder = shared_data / "faced"
    with (folder / "ratings_nemar_events.csv").open() as file:
        rows = [(int(row["video_index"]), float(row["Valence"])) for row in csv.DictReader(file)]
    means = [np.mean([valence for clip, valence in rows if clip == number]) for number in range(1, 29)]
    np.testing.assert_allclose(Faced(folder).ratings(), means, atol=0.006)


def test_the_published_folder_is_read(shared_data):
    faced = Faced(shared_data / "faced")
    assert faced.inputs == ("de",)
    assert faced.subjects("de") == tuple(f"sub{number:03d}" for number in range(100))
    assert [faced.cohort(subject) for subject in ("sub000", "sub060", "sub061", "sub099")] == [1, 1, 2, 2]
    published = pickle.loads((shared_data / "faced/original_bytes/sub061.pkl.pkl").read_bytes(), encoding="latin1")
    loaded = faced.load("sub061", "de").clips
    np.testing.assert_allclose(loaded, published, rtol=1e-6)
    assert loaded.dtype == np.float32


def test_files_as_published_in_float64_are_read(shared_data, tmp_path):
    for name in ("sub000.pkl.pkl", "sub061.pkl.pkl"):
        (tmp_path / "EEG_Features/DE").mkdir(parents=True, exist_ok=True)
        shutil.copy(shared_data / "faced/original_bytes" / name, tmp_path / "EEG_Features/DE" / name)
    shutil.copy(shared_data / "faced/Recording_info.csv", tmp_path)
    faced, stored = Faced(tmp_path), Faced(shared_data / "faced")
    for subject in ("sub000", "sub061"):
        np.testing.assert_array_equal(faced.load(subject, "de").clips, stored.load(subject, "de").clips)


@pytest.mark.parametrize("name", ["sub005.pkl", "sub005.pkl.pkl", "sub005.mat"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_published_name_and_type_is_read(tmp_path, name, dtype):
    array = de_features().astype(dtype)
    path = add_de(tmp_path, name, array)
    if name.endswith(".mat"):
        scipy.io.savemat(path, {"de": array, "subject": np.arange(3), "note": "published"})
    loaded = Faced(tmp_path).load("sub005", "de").clips
    np.testing.assert_array_equal(loaded, array.astype(np.float32))


def test_processed_recordings_are_read(tmp_path):
    array = np.random.default_rng(0).normal(scale=12, size=WINDOWS).astype(np.float32)
    write_array(tmp_path / "Processed_data/sub122.pkl", array)
    faced = Faced(tmp_path)
    assert faced.inputs == ("windows",)
    np.testing.assert_array_equal(faced.load("sub122", "windows").clips, array)
    with pytest.raises(BadInput, match="no files for the input 'de'"):
        faced.subjects("de")


def test_recordings_in_volts_are_refused(tmp_path):
    array = np.random.default_rng(0).normal(scale=12e-6, size=WINDOWS).astype(np.float32)
    write_array(tmp_path / "Processed_data/sub000.pkl", array)
    with pytest.raises(BadInput, match=r"sub000 has a median root mean square of 1\.2e-05"):
        Faced(tmp_path).load("sub000", "windows")


def test_no_folder_a_missing_folder_and_a_file_are_refused(tmp_path):
    with pytest.raises(BadInput, match="--data-root"):
        Faced(None)
    with pytest.raises(BadInput, match="no such folder"):
        Faced(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="not a folder"):
        Faced(tmp_path / "file")


def test_an_empty_folder_is_refused_with_what_it_holds(tmp_path):
    with pytest.raises(BadInput, match="the folder holds nothing"):
        Faced(tmp_path)
    (tmp_path / "EEG_Features/DE").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadInput, match=r"the folder holds EEG_Features/, notes\.txt"):
        Faced(tmp_path)


def test_a_folder_further_down_is_refused_with_the_right_one(tmp_path):
    add_de(tmp_path)
    for inside in ("EEG_Features", "EEG_Features/DE"):
        with pytest.raises(BadInput, match=f"give {tmp_path}, the folder above"):
            Faced(tmp_path / inside)


@pytest.mark.parametrize("second", ["sub003.pkl", "sub003.mat"])
def test_a_subject_that_appears_twice_is_refused(tmp_path, second):
    add_de(tmp_path, "sub003.pkl.pkl")
    add_de(tmp_path, second)
    with pytest.raises(BadInput, match=r"sub003 appears twice, as .* and "):
        Faced(tmp_path)


@pytest.mark.parametrize("name", ["sub3.pkl", "sub000_v2.pkl", "sub000.npy", "sub123.pkl", "Sub000.pkl"])
def test_a_file_that_is_not_named_like_a_subject_is_refused(tmp_path, name):
    add_de(tmp_path, "sub001.pkl")
    add_de(tmp_path, name)
    with pytest.raises(BadInput, match=f"{name}: not the name of a subject's file"):
        Faced(tmp_path)


def test_files_that_are_no_subjects_are_left_alone(tmp_path):
    add_de(tmp_path, "sub001.pkl")
    for name in (".DS_Store", "README.txt"):
        (tmp_path / "EEG_Features/DE" / name).touch()
    assert Faced(tmp_path).subjects("de") == ("sub001",)


def test_wrong_shape_and_integers_are_refused(tmp_path):
    add_de(tmp_path, "sub000.pkl", de_features()[:27])
    add_de(tmp_path, "sub001.pkl", np.ones(DE, dtype=np.int64))
    with pytest.raises(BadInput, match=r"sub000\.pkl: its array has shape \(27, 32, 30, 5\)"):
        Faced(tmp_path).load("sub000", "de")
    with pytest.raises(BadInput, match=r"sub001\.pkl: sub001, clip 1, has shape .* of int64"):
        Faced(tmp_path).load("sub001", "de")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_is_named_by_subject_clip_and_channel(tmp_path, value):
    array = de_features()
    array[6, 25, 11, 4] = value
    add_de(tmp_path, "sub000.pkl", array)
    with pytest.raises(BadInput, match=r"sub000, clip 7, channel PO3 holds .* \(as do 1 of 896 "):
        Faced(tmp_path).load("sub000", "de")


def test_a_channel_of_nan_is_named(tmp_path):
    array = np.random.default_rng(0).normal(scale=10, size=WINDOWS).astype(np.float32)
    array[:, 31] = np.nan
    write_array(tmp_path / "Processed_data/sub007.pkl", array)
    with pytest.raises(BadInput, match=r"sub007, clip 1, channel A2 holds nan \(as do 28 of 896 "):
        Faced(tmp_path).load("sub007", "windows")


def test_truncated_files_and_code_are_refused(tmp_path):
    for name in ("sub000.pkl", "sub001.mat"):
        path = add_de(tmp_path, name)
        if name.endswith(".mat"):
            scipy.io.savemat(path, {"de": de_features()})
        path.write_bytes(path.read_bytes()[:-1000])
    (tmp_path / "EEG_Features/DE/sub002.pkl").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    faced = Faced(tmp_path)
    for subject, reason in (("sub000", "truncated"), ("sub001", "cannot be read"), ("sub002", r"'os\.system'")):
        with pytest.raises(BadInput, match=rf"{subject}\.(pkl|mat): .*{reason}"):
            faced.load(subject, "de")


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"a": np.zeros((2, 3))}, "none of 4 dimensions"),
        ({"a": np.zeros((2, 3, 4, 5))}, r"a \(2, 3, 4, 5\)"),
        ({"a": np.zeros(DE), "b": np.zeros(DE)}, r"a \(28, 32, 30, 5\), b \(28, 32, 30, 5\)"),
    ],
)
def test_a_matlab_file_without_just_one_such_array_is_refused(tmp_path, arrays, told):
    scipy.io.savemat(add_de(tmp_path, "sub000.mat"), arrays)
    with pytest.raises(BadInput, match=f"arrays: {told}"):
        Faced(tmp_path).load("sub000", "de")


HEADER = "sub,Gender,Age,Cohort ,Sample_rate,Unit\r\n"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (HEADER + "sub000,F,21,2,1000,V\r\n", "sub000 is of cohort 2"),
        (HEADER + "sub000,F,21,1,1000,V\r\nsub000,F,21,1,1000,V\r\n", "a subject appears twice"),
        (HEADER + "sub000,F,21,first,1000,V\r\n", "invalid literal"),
        ("subject,cohort\r\nsub000,1\r\n", "KeyError"),
    ],
)
def test_a_table_of_recordings_that_disagrees_is_refused(tmp_path, table, told):
    add_de(tmp_path)
    (tmp_path / "Recording_info.csv").write_text(table)
    with pytest.raises(BadInput, match=rf"Recording_info\.csv: .*{told}"):
        Faced(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "latin1"])
def test_a_table_of_recordings_in_another_encoding_is_refused(tmp_path, encoding):
    add_de(tmp_path)
    (tmp_path / "Recording_info.csv").write_bytes((HEADER + "sub000,é,21,1,1000,V\r\n").encode(encoding))
    with pytest.raises(BadInput, match=r"Recording_info\.csv: UnicodeDecodeError"):
        Faced(tmp_path)


def test_a_table_of_recordings_that_agrees_is_accepted(tmp_path):
    add_de(tmp_path)
    without = Faced(tmp_path)
    assert without.shared_files() == ()
    assert without.recording_sfreq("sub000") is None
    (tmp_path / "Recording_info.csv").write_text("\ufeff" + HEADER + "sub000,F,21,1,1000,V\r\n", encoding="utf-8")
    faced = Faced(tmp_path)
    assert faced.subjects("de") == ("sub000",)
    assert faced.shared_files() == (tmp_path / "Recording_info.csv",)
    assert faced.recording_sfreq("sub000") == 1000


@pytest.mark.parametrize("rate", ["abc", "-250", "0", "nan", "inf"])
def test_a_rate_that_is_none_is_refused(tmp_path, rate):
    add_de(tmp_path)
    (tmp_path / "Recording_info.csv").write_text(HEADER + f"sub000,F,21,1,{rate},V\r\n")
    with pytest.raises(BadInput, match=rf"Recording_info\.csv: ValueError .*{rate}"):
        Faced(tmp_path)


def test_a_short_row_has_neither_rate_nor_unit(tmp_path):
    path = tmp_path / "Recording_info.csv"
    path.write_text(HEADER + "sub000,F,21,1\r\n")
    assert read_recordings(path) == {"sub000": RecordingInfo(1, None, "")}


def link_to_nothing(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("gone")


@pytest.mark.parametrize("make", [link_to_nothing, lambda path: path.mkdir(parents=True)])
@pytest.mark.parametrize("name", ["EEG_Features/DE/sub064.pkl.pkl", "Recording_info.csv"])
def test_what_stands_in_the_place_of_a_file_is_named(tmp_path, make, name):
    add_de(tmp_path)
    make(tmp_path / name)
    with pytest.raises(BadInput, match=rf"{name}: not a file: a (link that leads nowhere|folder)"):
        Faced(tmp_path)


@pytest.mark.parametrize("make", [link_to_nothing, Path.touch])
def test_what_stands_in_the_place_of_a_folder_is_named(tmp_path, make):
    add_de(tmp_path)
    make(tmp_path / "Processed_data")
    with pytest.raises(BadInput, match="Processed_data: not a folder"):
        Faced(tmp_path)


def test_ratings_that_are_a_link_to_nothing_are_named(tmp_path):
    add_de(tmp_path)
    link_to_nothing(tmp_path / "Data/sub000/After_remarks.mat")
    with pytest.raises(BadInput, match=r"After_remarks\.mat: not a file"):
        Faced(tmp_path).presentation("sub000")


def test_unknown_subject_and_input_are_refused_with_close_names(tmp_path):
    add_de(tmp_path)
    with pytest.raises(BadInput, match="did you mean sub000"):
        Faced(tmp_path).load("sub00", "de")
    with pytest.raises(BadInput, match="did you mean windows"):
        Faced(tmp_path).load("sub000", "window")
