"""Structures out of MATLAB files: the same numbers as scipy, and no damage ends in anything but a refusal."""

import random
import time

import numpy as np
import pytest
import scipy.io

from tests.valence import faced_recordings as world
from valence.matlab_struct import MOST_ARRAYS, MOST_UNPACKED, NotReadableError, read_numbers, read_structures

FIELDS = ("score", "trial", "vid")


def check_as_scipy(path):
    found = read_structures(path, "After_remark", FIELDS, n=28)
    wanted = scipy.io.loadmat(path)["After_remark"].ravel()
    for entry, reference in zip(found, wanted, strict=True):
        for field in FIELDS:
            np.testing.assert_array_equal(entry[field], reference[field].ravel(order="F").astype(float))
            assert entry[field].dtype == np.float64


def test_the_same_as_scipy_on_the_published_files(shared_data):
    paths = sorted((shared_data / "faced" / "Data").glob("sub*/After_remarks.mat"))
    assert len(paths) == 4
    for path in paths:
        check_as_scipy(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_same_as_scipy_for_every_type_of_number(tmp_path, compressed):
    remark = scipy.io.loadmat(world.write_remarks(tmp_path / "first.mat"))["After_remark"]
    types = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
    for place, entry in enumerate(remark.ravel()):
        entry["score"] = np.arange(12).reshape(3, 4).astype(types[place % len(types)])
        entry["vid"] = np.zeros((1, 0)) if place % 2 else np.array([[place]], dtype=types[place % len(types)])
    path = tmp_path / "second.mat"
    scipy.io.savemat(path, {"before": np.eye(3), "After_remark": remark}, do_compression=compressed)
    check_as_scipy(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_no_damage_ends_in_anything_but_a_refusal(tmp_path, compressed):
    remark = scipy.io.loadmat(world.write_remarks(tmp_path / "first.mat"))["After_remark"]
    path = tmp_path / "second.mat"
    scipy.io.savemat(path, {"After_remark": remark}, do_compression=compressed)
    whole, chance, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 3, 20])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        try:
            read_structures(path, "After_remark", FIELDS, n=28)
        except NotReadableError:
            refused += 1
    assert refused > 150


def test_a_file_that_unpacks_to_very_much_is_refused(tmp_path):
    path = tmp_path / "large.mat"
    scipy.io.savemat(path, {"After_remark": np.zeros(MOST_UNPACKED // 4)}, do_compression=True)
    assert path.stat().st_size < 100_000
    with pytest.raises(NotReadableError, match="unpacks to more than"):
        read_structures(path, "After_remark", FIELDS, n=28)


def test_what_is_not_asked_for_is_named(tmp_path):
    path = world.write_remarks(tmp_path / "first.mat")
    for name, fields, n, message in (
        ("Before_remark", FIELDS, 28, "no array Before_remark"),
        ("After_remark", ("score", "mood"), 28, "no field mood"),
        ("After_remark", FIELDS, 27, "28 entries"),
    ):
        with pytest.raises(NotReadableError, match=message):
            read_structures(path, name, fields, n=n)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u1"])
def test_numbers_are_those_that_scipy_wrote(tmp_path, compressed, dtype):
    x = np.random.default_rng(0).integers(0, 200, size=(4, 3, 5, 2)).astype(dtype)
    scipy.io.savemat(tmp_path / "x.mat", {"psd": x, "other": np.ones((2, 2))}, do_compression=compressed)
    found = read_numbers(tmp_path / "x.mat", shape=x.shape)
    np.testing.assert_array_equal(found, x)
    assert found.dtype == np.float64


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": np.ones((4, 3, 5))}, "none of 4 dimensions"),
        ({"a": np.ones((4, 3, 5, 1)), "b": np.ones((4, 3, 5, 2))}, "b"),
        ({"a": np.ones((4, 3, 5, 3))}, r"a \(4, 3, 5, 3\)"),
        ({"a": np.full((4, 3, 5, 2), 1j)}, "complex"),
        ({"a": np.full((4, 3, 5, 2), "text", dtype=object)}, "no numbers"),
    ],
)
def test_other_arrays_than_asked_for_are_refused(tmp_path, arrays, reason):
    scipy.io.savemat(tmp_path / "x.mat", arrays)
    with pytest.raises(NotReadableError, match=reason):
        read_numbers(tmp_path / "x.mat", shape=(4, 3, 5, 2))


def test_a_file_of_another_version_and_a_bomb_are_refused(tmp_path):
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600))
    with pytest.raises(NotReadableError, match=r"before version 7\.3"):
        read_numbers(tmp_path / "new.mat", shape=(2, 2))
    scipy.io.savemat(tmp_path / "bomb.mat", {"x": np.zeros((4000, 4000))}, do_compression=True)
    assert (tmp_path / "bomb.mat").stat().st_size < 200_000
    with pytest.raises(NotReadableError, match="unpacks to more than"):
        read_numbers(tmp_path / "bomb.mat", shape=(2, 2))


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"x": np.ones((4, 5))})
    with path.open("r+b") as file:
        file.truncate(400 * 2**20)  # sparse: zeros, which are elements of no bytes
    for read in (
        lambda: read_numbers(path, shape=(4, 5)),
        lambda: read_structures(path, "After_remark", FIELDS, n=28),
    ):
        begin = time.perf_counter()
        with pytest.raises(NotReadableError, match="it has 419,430,400 bytes, at most"):
            read()
        assert time.perf_counter() - begin < 1


def test_a_file_of_very_many_elements_is_refused(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"x": np.ones((4, 5))})
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(8 * (MOST_ARRAYS - 1)))
    np.testing.assert_array_equal(read_numbers(path, shape=(4, 5)), np.ones((4, 5)))
    path.write_bytes(whole + bytes(8 * MOST_ARRAYS))
    with pytest.raises(NotReadableError, match="more than 1,000 elements"):
        read_numbers(path, shape=(4, 5))


def repeated(path, array, times):
    """A file with one compressed array many times."""
    scipy.io.savemat(path, {"x": array}, do_compression=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:128] + times * whole[128:])


def test_arrays_that_unpack_to_much_together_are_refused(tmp_path):
    """Each by itself unpacks to less than is allowed; the second one of the shape ends the reading."""
    path = tmp_path / "x.mat"
    repeated(path, np.zeros(MOST_UNPACKED // 32), 20)  # of two dimensions: (1, n)
    assert path.stat().st_size < 200_000
    with pytest.raises(NotReadableError, match="unpacks to more than"):
        read_numbers(path, shape=(2, 3, 4))
    with pytest.raises(NotReadableError, match="unpacks to more than"):
        read_structures(path, "After_remark", FIELDS, n=28)
    with pytest.raises(NotReadableError, match=r"^arrays: x \(1, 312500\), x \(1, 312500\)$"):
        read_numbers(path, shape=(1, 7))


def test_a_structure_of_very_many_fields_is_refused(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"After_remark": {f"f{number}": 1.0 for number in range(101)}})
    with pytest.raises(NotReadableError, match="has 101 fields"):
        read_structures(path, "After_remark", ("f0",), n=1)


def test_damaged_numbers_never_end_the_process(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"x": np.random.default_rng(0).normal(size=(3, 4, 5))})
    whole, path = (tmp_path / "x.mat").read_bytes(), tmp_path / "damaged.mat"
    rng = np.random.default_rng(1)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(120, 220, size=3):
            data[at] = rng.integers(256)
        path.write_bytes(data[: rng.integers(100, len(data) + 1)])
        try:
            assert read_numbers(path, shape=(3, 4, 5)).shape == (3, 4, 5)
        except NotReadableError:
            continue
