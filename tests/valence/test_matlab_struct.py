"""Structures out of MATLAB files: the same numbers as scipy, and no damage ends in anything but a refusal."""

import random

import numpy as np
import pytest
import scipy.io

from tests.valence import faced_recordings as world
from valence.matlab_struct import MOST_UNPACKED, NotReadableError, read_structures

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
