"""SEED-V's published features: read as the field reads them, and nothing in such a file runs or takes memory."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from tests.memory import printed_by
from tests.valence.seed_v_recordings import published_labels, simulated_features, write_features
from valence.datasets.seed_v import SeedV
from valence.errors import BadInput
from valence.seed_v_features import CLASS_OF_CLIP, N_STEPS, read_features


def test_facts():
    assert SeedV.class_of_clip == CLASS_OF_CLIP
    # 681, 541 and 601 steps of 4 s in the three sessions, as papers on the data set count them
    assert [sum(N_STEPS[first : first + 15]) for first in (0, 15, 30)] == [681, 541, 601]


@pytest.mark.parametrize("protocol", range(6))
def test_features_are_read_as_pickle_reads_them(tmp_path, protocol):
    path = write_features(tmp_path, 5, protocol=protocol)
    dataset = SeedV(tmp_path)
    recording = dataset.load("sub05", "de")
    with np.load(path, allow_pickle=False) as stored:  # as the field's own readers do
        expected = pickle.loads(stored["data"])
    assert [clip.shape for clip in recording.clips] == [(62, n_steps, 5) for n_steps in dataset.lengths("de")]
    assert recording.repairs == ()
    for clip, features in enumerate(recording.clips):
        for band in range(5):
            in_band = expected[clip][:, band::5]  # (n_steps, 62)
            np.testing.assert_array_equal(features[:, :, band], in_band.T.astype(np.float32))


@pytest.mark.parametrize("settings", ["compressed", "float labels", "numpy keys", "float32", "any order"])
def test_what_else_an_honest_file_may_look_like(tmp_path, settings):
    data, labels = simulated_features(), published_labels()
    if settings == "float labels":
        labels = {clip: values.astype(float) for clip, values in labels.items()}
    elif settings == "numpy keys":
        data = {np.int64(clip): values for clip, values in data.items()}
    elif settings == "float32":
        data = {clip: values.astype(np.float32) for clip, values in data.items()}
    elif settings == "any order":
        data = dict(reversed(data.items()))
    path = write_features(tmp_path, 1, data, labels)
    if settings == "compressed":
        np.savez_compressed(path, data=pickle.dumps(data), label=pickle.dumps(labels))
    clips = read_features(path)
    for clip, features in enumerate(clips):
        np.testing.assert_array_equal(features.transpose(1, 0, 2).reshape(-1, 310), data[clip])


class Call:
    """Pickles into a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("entry", ["data", "label"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_file_is_refused_and_never_run(tmp_path, entry, nested, protocol):
    mark = tmp_path / "executed"
    hostile = Call(os.system, f"touch {mark}")
    hostile = {0: np.zeros(18), 1: hostile} if nested else hostile
    path = write_features(tmp_path, 1, **{"data" if entry == "data" else "labels": hostile}, protocol=protocol)
    with pytest.raises(BadInput, match=rf"1_123\.npz, entry '{entry}': it names '(posix|nt)\.system'"):
        SeedV(tmp_path).load("sub01", "de")
    assert not mark.exists()
    with np.load(path) as stored:  # the test's own file is hostile
        pickle.loads(stored[entry])
    assert mark.exists()


def test_an_array_of_objects_is_refused_and_never_run(tmp_path):
    mark = tmp_path / "executed"
    path = write_features(tmp_path, 1)
    hostile = np.array([Call(os.system, f"touch {mark}")], dtype=object)
    np.savez(path, data=hostile, label=hostile)
    with pytest.raises(BadInput, match=r"entry 'data' cannot be read: an array of shape \(1,\) of object"):
        read_features(path)
    assert not mark.exists()


def changed(**changes):
    """The published features with some clips replaced; None removes one."""
    data = simulated_features() | {int(key.removeprefix("clip")): value for key, value in changes.items()}
    return {key: value for key, value in data.items() if value is not None}


WRONG = {
    "a clip is missing": (changed(clip44=None), r"keys missing: \[44\]; keys unknown: \[\]"),
    "a clip too many": (changed(clip45=np.zeros((18, 310))), r"keys missing: \[\]; keys unknown: \[45\]"),
    "clips from 1": ({clip + 1: values for clip, values in simulated_features().items()}, r"keys missing: \[0\]"),
    "names for keys": ({str(clip): values for clip, values in simulated_features().items()}, "no whole number"),
    "too many entries": ({clip: np.zeros(1) for clip in range(100_000)}, "at most|steps"),
    "a width of 300": (changed(clip7=np.zeros((17, 300))), r"key 7: its array has shape \(17, 300\); \(17, 310\) is"),
    "three dimensions": (changed(clip7=np.zeros((17, 62, 5))), r"key 7: its array has shape \(17, 62, 5\)"),
    "a step too few": (changed(clip7=np.zeros((16, 310))), r"key 7: its array has shape \(16, 310\)"),
    "objects": (changed(clip7=np.full((17, 2), None)), "its dtype is 'O8'"),
    "no array": (changed(clip7=[0.0]), "key 7 holds a list, not an array"),
    "a list": (list(simulated_features().values()), "it holds no dictionary but one list"),
    "an array": (np.zeros((1823, 310)), "it holds no dictionary but one array"),
    "too large": (changed(clip7=np.zeros((60_000, 310))), "entry 'data' cannot be read: .*at most"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_content_is_refused(tmp_path, name):
    data, reason = WRONG[name]
    path = write_features(tmp_path, 1, data)
    with pytest.raises(BadInput, match=reason) as error:
        read_features(path)
    assert str(path) in str(error.value)


def test_labels_that_contradict_the_facts_are_refused(tmp_path):
    labels = published_labels()
    labels[17][3] = 2
    path = write_features(tmp_path, 1, labels=labels)
    with pytest.raises(BadInput, match=r"(?s)session 2 film 3 is labelled 2, 3.*allowed: 3 \(neutral\)"):
        read_features(path)


def test_labels_of_another_order_are_refused(tmp_path):
    """As where films were sorted by name: the shapes alone would not tell."""
    labels = {clip: np.full(N_STEPS[clip], (CLASS_OF_CLIP[clip] + 1) % 5) for clip in range(45)}
    with pytest.raises(BadInput, match="session 1 film 1 is labelled 0"):
        read_features(write_features(tmp_path, 1, labels=labels))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path, value):
    data = simulated_features()
    data[20][7, 5 * 61 + 2] = value  # alpha of the last channel
    write_features(tmp_path, 1, data)
    with pytest.raises(BadInput, match=rf"1_123\.npz: sub01, clip 21, channel CB2 holds {value}"):
        SeedV(tmp_path).load("sub01", "de")


def test_damaged_archives_are_refused(tmp_path):
    path = write_features(tmp_path, 1)
    data = path.read_bytes()
    for end in (0, 10, 1000, len(data) // 2, len(data) - 10):
        path.write_bytes(data[:end])
        with pytest.raises(BadInput, match=r"1_123\.npz: the entry 'data' cannot be read"):
            read_features(path)
    damaged = bytearray(data)
    damaged[len(data) // 3] ^= 0xFF  # the archive's checksum tells
    path.write_bytes(damaged)
    with pytest.raises(BadInput, match="Bad CRC-32"):
        read_features(path)


def test_a_file_without_an_entry_is_refused(tmp_path):
    path = write_features(tmp_path, 1)
    np.savez(path, data=pickle.dumps(simulated_features()))
    with pytest.raises(BadInput, match="entry 'label' cannot be read: KeyError"):
        read_features(path)
    np.savez(path, data=np.zeros((1823, 310)), label=np.zeros(1823))
    with pytest.raises(BadInput, match=r"entry 'data' cannot be read: an array of shape \(1823, 310\) of float64"):
        read_features(path)


def npy(dtype: str, shape: tuple, body: bytes = b"") -> bytes:
    """An array file whose header may claim anything."""
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


BOMBS = {
    "unpacks to 512 MiB": lambda archive: _zeros(archive, 2**29),
    "header asks for 64 GiB": lambda archive: archive.writestr("data.npy", npy("|S68719476736", (), b"x")),
    "header asks for many": lambda archive: archive.writestr("data.npy", npy("|S8", (2**33,), b"x")),
    "pickle asks for 64 GiB": lambda archive: archive.writestr(
        "data.npy", npy("|S11", (), b"\x80\x04\x8e" + (2**36).to_bytes(8, "little"))
    ),
}


def _zeros(archive: zipfile.ZipFile, n_bytes: int) -> None:
    with archive.open("data.npy", "w", force_zip64=True) as member:
        for _ in range(n_bytes // 2**24):
            member.write(bytes(2**24))


@pytest.mark.parametrize("understated", [False, True])
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_cannot_take_memory(tmp_path, name, understated):
    """In a process of its own: what it takes at most is seen from zero."""
    path = tmp_path / "1_123.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        BOMBS[name](archive)
    if understated:  # the archive's directory says that the entry is small
        data = bytearray(path.read_bytes())
        at = data.rindex(b"PK\x01\x02")
        data[at + 24 : at + 28] = (1_000_000).to_bytes(4, "little")
        path.write_bytes(data)
    program = """
import sys
from pathlib import Path
from tests.memory import peak_mib
from valence.errors import BadInput
from valence.seed_v_features import read_features
before = peak_mib()
try:
    read_features(Path(sys.argv[1]))
except BadInput:
    print(peak_mib() - before)
"""
    told = printed_by(program, path)
    assert float(told) < 100  # MiB; an honest file takes about 5 MB, its protocol 0 four times that
