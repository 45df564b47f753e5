"""The allow-list unpickler: honest pickles of every protocol are read, hostile and damaged ones refused."""

import os
import pickle
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.memory import printed_by
from valence.errors import BadInput
from valence.unpickle import load_array, load_arrays, most_bytes

SHAPE = (2, 3, 4)
RAW = bytes(range(96)) * 2


def write(folder: Path, data: bytes) -> Path:
    path = folder / "sub000.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["float64", "float32", ">f8", "int16", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_honest_pickles_are_read(tmp_path, protocol, dtype, order):
    array = np.asarray(np.random.default_rng(0).normal(size=SHAPE) * 100, dtype=dtype, order=order)
    read = load_array(write(tmp_path, pickle.dumps(array, protocol=protocol)), shape=SHAPE)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert read.flags.c_contiguous


def python_2(shape: tuple[int, int, int], raw: bytes, *, protocol: int) -> bytes:
    """The bytes that Python 2.7 and numpy 1.x write: strings are bytes, numpy's core has its old name."""
    sizes = b"".join(b"I%d\n" % n for n in shape) if protocol == 0 else b"".join(b"K" + bytes([n]) for n in shape)
    if protocol == 0:
        escaped = "".join(f"\\x{byte:02x}" for byte in raw).encode()
        return (
            b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n(I1\n("
            + sizes
            + b"tp7\ncnumpy\ndtype\np8\n(S'f8'\np9\nI0\nI1\ntp10\nRp11\n(I3\nS'<'\np12\nNNNI-1\nI-1\nI0\ntp13\nbI00\nS'"
            + escaped
            + b"'\np14\ntp15\nb."
        )
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01"
        + sizes
        + b"\x87cnumpy\ndtype\nq\x04U\x02f8K\x00K\x01\x87Rq\x05(K\x03U\x01<NNN"
        + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb."
    )


@pytest.mark.parametrize("protocol", [0, 2])
def test_python_2_pickles_are_read(tmp_path, protocol):
    array = np.random.default_rng(1).normal(size=SHAPE)
    data = python_2(SHAPE, array.tobytes(), protocol=protocol)
    np.testing.assert_array_equal(pickle.loads(data, encoding="latin1"), array)  # the test's own bytes are honest
    np.testing.assert_array_equal(load_array(write(tmp_path, data), shape=SHAPE), array)


def test_real_files_are_read_as_pickle_reads_them(shared_data):
    for name in ("original_bytes/sub061.pkl.pkl", "EEG_Features/DE/sub061.pkl.pkl"):
        path = shared_data / "faced" / name
        expected = pickle.loads(path.read_bytes(), encoding="latin1")
        read = load_array(path, shape=(28, 32, 30, 5))
        np.testing.assert_array_equal(read, expected)
        assert read.dtype == expected.dtype


class Call:
    """Pickles into a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_with_code_is_refused_and_never_run(tmp_path, protocol, nested):
    mark = tmp_path / "executed"
    call = Call(os.system, f"touch {mark}")
    data = pickle.dumps([np.zeros(SHAPE), call] if nested else call, protocol=protocol)
    with pytest.raises(BadInput, match=r"sub000\.pkl: it names '(posix|nt)\.system'"):
        load_array(write(tmp_path, data), shape=SHAPE)
    assert not mark.exists()


OTHER_GLOBALS = [
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"cbuiltins\ngetattr\n.",
    b"cnumpy\nload\n(S'x'\ntR.",
    b"cnumpy.core.multiarray\narray\n.",
    b"cnumpy.core\nmultiarray._reconstruct\n.",
    b"\x80\x04\x8c\x05numpy\x8c\x0ccore.records\x93.",
    b"(S'echo hi'\nios\nsystem\n.",
    b"\x80\x02\x82\x01.",
]


@pytest.mark.parametrize("data", OTHER_GLOBALS)
def test_names_outside_the_list_are_refused(tmp_path, data):
    with pytest.raises(BadInput, match=r"sub000\.pkl"):
        load_array(write(tmp_path, data), shape=SHAPE)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full(SHAPE, None), "dtype is 'O8'"),
        (np.zeros(SHAPE, dtype="f8,O"), "dtype is 'V16'"),
        (np.zeros(SHAPE, dtype="f4,f4"), "dtype is 'V8'"),
        (np.zeros(SHAPE, dtype="U3"), "dtype is 'U3'"),
        (np.zeros(SHAPE, dtype="c16"), "dtype is 'c16'"),
        (np.zeros((3, 2, 4)), r"shape \(3, 2, 4\)"),
        ({"data": np.zeros(SHAPE)}, "holds a dict"),
        (np.float64(1), r"shape \(\)"),
    ],
)
def test_other_dtypes_shapes_and_types_are_refused(tmp_path, array, reason):
    with pytest.raises(BadInput, match=reason):
        load_array(write(tmp_path, pickle.dumps(array)), shape=SHAPE)


def test_an_array_with_too_few_numbers_is_refused(tmp_path):
    with pytest.raises(BadInput, match="needs 192 bytes and 184 are there"):
        load_array(write(tmp_path, python_2(SHAPE, RAW[:184], protocol=2)), shape=SHAPE)


def test_persistent_ids_are_refused(tmp_path):
    with pytest.raises(BadInput, match="persistent id 'elsewhere'"):
        load_array(write(tmp_path, b"\x80\x02U\x09elsewhereQ."), shape=SHAPE)


HUGE = 2**36
HEAD = b"\x80\x04\x8c\x16numpy._core.multiarray\x8c\x0c_reconstruct\x93\x8c\x05numpy\x8c\x07ndarray\x93"
BOMBS = {
    "shape of _reconstruct": HEAD + b"\x8a\x05" + HUGE.to_bytes(5, "little") + b"\x85C\x01f\x87R.",
    "shape of the state": python_2(SHAPE, RAW, protocol=2).replace(
        b"K\x02K\x03K\x04\x87", b"\x8a\x05" + HUGE.to_bytes(5, "little") + b"K\x03K\x04\x87"
    ),
    "length of a block": b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b"x.",
    "length of a bytearray": b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b"x.",
    "length of a frame": b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"N.",
    "memo": b"\x80\x02Nr\xf0\xff\xff\xff.",
    "memo, protocol 0": b"Np4294967290\n.",
    "dtype": HEAD + b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x13(99999999,9999999)f8\x85R.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_asks_for_64_gib_is_refused(tmp_path, name):
    path = write(tmp_path, BOMBS[name])
    assert path.stat().st_size < 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInput, match=r"sub000\.pkl"):
        load_array(path, shape=SHAPE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_bomb_is_refused_without_the_memory_it_asks_for(tmp_path):
    for number, data in enumerate(BOMBS.values()):
        (tmp_path / f"bomb{number}.pkl").write_bytes(data)
    program = """
import resource, sys
from pathlib import Path
from valence.errors import BadInput
from valence.unpickle import load_array
limit = 4 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sorted(Path(sys.argv[1]).glob("*.pkl")):
    try:
        load_array(path, shape=(2, 3, 4))
    except BadInput as error:
        assert "MemoryError" not in str(error), error
    else:
        raise SystemExit(f"{path} was read")
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


SHAPE_DE = (28, 32, 30, 5)
TEXT = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000
ENCODED = b"\x80\x04c_codecs\nencode\nq\x00" + TEXT + b"X\x06\x00\x00\x00latin1\x86q\x01"
ARRAYS = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\n\x85q\x01"
ARRAYS += b"(K\x01)cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R\x89" + TEXT + b"tq\x02"
COPIES = {
    "encoded text": (ENCODED + b"h\x00h\x01R" * 300 + b".", "more than 1,140,736 bytes"),
    "encoded text, many": (ENCODED + b"h\x00h\x01R" * 20_000 + b".", "more than 1,000 steps"),
    "arrays of one text": (ARRAYS + b"h\x00h\x01Rh\x02b" * 190 + b".", "its array has shape ()"),
    "empty lists": (b"\x80\x04" + b"]" * 4_000_000 + b".", "more than 1,000 steps"),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_file_cannot_copy_its_bytes_over_and_over(tmp_path, name):
    """In a process of its own: what it takes at most is seen from zero."""
    data, reason = COPIES[name]
    path = write(tmp_path, data)
    program = """
import sys
from pathlib import Path
from tests.memory import peak_mib
from valence.errors import BadInput
from valence.unpickle import load_array
before = peak_mib()
try:
    load_array(Path(sys.argv[1]), shape=(28, 32, 30, 5))
except BadInput as error:
    print(peak_mib() - before, error)
"""
    told = printed_by(program, path)
    mib, message = told.split(" ", 1)
    assert reason in message
    assert float(mib) < 25


@pytest.mark.parametrize("protocol", range(6))
def test_a_whole_subject_is_within_the_budget(tmp_path, protocol):
    array = np.random.default_rng(0).normal(size=SHAPE_DE)
    path = write(tmp_path, pickle.dumps(array, protocol=protocol))
    np.testing.assert_array_equal(load_array(path, shape=SHAPE_DE), array)


@pytest.mark.parametrize("protocol", range(6))
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, protocol):
    data = pickle.dumps(np.random.default_rng(0).normal(size=SHAPE), protocol=protocol)
    for end in range(0, len(data), 7):
        with pytest.raises(BadInput, match=r"sub000\.pkl"):
            load_array(write(tmp_path, data[:end]), shape=SHAPE)


def test_damaged_files_are_refused_or_read_as_an_array(tmp_path):
    data = pickle.dumps(np.random.default_rng(0).normal(size=SHAPE), protocol=4)
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data) - 192, size=2):  # the program, not the numbers
            damaged[position] = rng.integers(256)
        try:
            assert load_array(write(tmp_path, bytes(damaged)), shape=SHAPE).shape == SHAPE
        except BadInput:
            refused += 1
    assert refused > 300


def test_a_file_cannot_change_what_a_name_stands_for(tmp_path):
    states = (b"}S'_call'\nNsb.", b"N}S'_call'\nNs\x86b.", b"(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb.")
    for state in states:
        with pytest.raises(BadInput):
            load_array(write(tmp_path, b"cnumpy\ndtype\n" + state), shape=SHAPE)
    assert np.dtype("f8").byteorder == "="
    array = np.ones(SHAPE)
    np.testing.assert_array_equal(load_array(write(tmp_path, pickle.dumps(array)), shape=SHAPE), array)


def test_a_file_much_larger_than_its_array_is_refused_unread(tmp_path):
    with pytest.raises(BadInput, match="at most"):
        load_array(write(tmp_path, bytes(100_000)), shape=SHAPE)


def test_a_file_that_is_not_there_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="FileNotFoundError"):
        load_array(tmp_path / "sub001.pkl", shape=SHAPE)


SHAPES = {0: (2, 3), 1: (4,), 5: (1, 3)}


def arrays(dtype: str = "float64") -> dict[int, np.ndarray]:
    rng = np.random.default_rng(2)
    return {key: np.asarray(rng.normal(size=shape) * 100, dtype=dtype) for key, shape in SHAPES.items()}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["float64", ">f4", "int16", "bool"])
@pytest.mark.parametrize("key_type", [int, np.int64, np.uint8])
def test_honest_dictionaries_are_read(protocol, dtype, key_type):
    expected = arrays(dtype)
    data = pickle.dumps({key_type(key): array for key, array in reversed(expected.items())}, protocol)
    read = load_arrays(data, shapes=SHAPES, source="here")
    assert list(read) == list(SHAPES)
    for key, array in expected.items():
        np.testing.assert_array_equal(read[key], array)
        assert read[key].dtype == np.dtype(dtype).newbyteorder("=")


def test_arrays_may_share_their_memory_in_a_file():
    one = np.arange(4.0)
    read = load_arrays(pickle.dumps({0: one, 1: one}), shapes={0: (4,), 1: (4,)}, source="here")
    np.testing.assert_array_equal(read[0], one)
    np.testing.assert_array_equal(read[1], one)


@pytest.mark.parametrize("protocol", range(6))
def test_many_arrays_are_within_the_steps_and_bytes(protocol):
    shapes = {key: (70, 310) for key in range(45)}
    array = np.random.default_rng(0).normal(size=(70, 310))
    data = pickle.dumps({key: array + key for key in shapes}, protocol)
    assert len(data) < most_bytes(shapes.values())
    np.testing.assert_array_equal(load_arrays(data, shapes=shapes, source="here")[44], array + 44)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["value", "key", "instead"])
def test_a_dictionary_with_code_is_refused_and_never_run(tmp_path, protocol, place):
    mark = tmp_path / "executed"
    call = Call(os.system, f"touch {mark}")
    found = {"value": arrays() | {1: call}, "key": arrays() | {call: np.zeros(1)}, "instead": call}[place]
    with pytest.raises(BadInput, match=r"there\.npz: it names '(posix|nt)\.system'"):
        load_arrays(pickle.dumps(found, protocol), shapes=SHAPES, source="there.npz")
    assert not mark.exists()


NOT_THESE = {
    "missing": ({0: arrays()[0], 1: arrays()[1]}, r"keys missing: \[5\]; keys unknown: \[\]"),
    "unknown": (arrays() | {6: np.zeros(1), 7: np.zeros(1)}, r"keys missing: \[\]; keys unknown: \[6, 7\]"),
    "text keys": ({str(key): array for key, array in arrays().items()}, "one key is str '0', no whole number"),
    "float keys": ({float(key): array for key, array in arrays().items()}, "one key is float"),
    "truth for keys": ({True: arrays()[1], False: arrays()[0]}, "one key is bool"),
    "numpy float keys": ({np.float64(key): array for key, array in arrays().items()}, "one key is array"),
    "shape": (arrays() | {1: np.zeros(5)}, r"key 1: its array has shape \(5,\); \(4,\) is allowed"),
    "objects": (arrays() | {1: np.full(4, None)}, "dtype is 'O8'"),
    "a list": (arrays() | {1: [1.0]}, "key 1 holds a list, not an array"),
    "nested": (arrays() | {1: {0: np.zeros(4)}}, "key 1 holds a dict, not an array"),
    "huge key": (arrays() | {10**100: np.zeros(4)}, "one key is int"),
}


@pytest.mark.parametrize("name", NOT_THESE)
def test_other_dictionaries_are_refused(name):
    found, reason = NOT_THESE[name]
    with pytest.raises(BadInput, match=reason):
        load_arrays(pickle.dumps(found), shapes=SHAPES, source="here")


def test_a_key_under_two_types_is_refused():
    """To the pickle numpy's 1 and Python's 1 are one key; to the unpickler they are two."""
    numpy_one = pickle.dumps(np.int64(1), 2)[2:-1]
    value = pickle.dumps(np.zeros(4), 2)[2:-1]
    data = b"\x80\x02}(" + numpy_one + value + b"K\x01" + value + b"u."
    with pytest.raises(BadInput, match="the key 1 is there twice"):
        load_arrays(data, shapes={1: (4,)}, source="here")


@pytest.mark.parametrize("name", [name for name in BOMBS if name not in ("shape of the state",)])
def test_a_bomb_is_refused_as_a_dictionary_too(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInput, match="here: "):
        load_arrays(BOMBS[name], shapes=SHAPES, source="here")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_dictionary_much_larger_than_its_arrays_is_refused():
    data = pickle.dumps(arrays() | {1: np.zeros(100_000)})
    with pytest.raises(BadInput, match=r"here: it has 800,.* bytes; arrays of these shapes have at most"):
        load_arrays(data, shapes=SHAPES, source="here")


def test_steps_grow_with_the_number_of_arrays_and_no_further():
    empty = {key: np.zeros(0) for key in range(30)}
    data = pickle.dumps(empty)
    assert len(load_arrays(data, shapes={key: (0,) for key in empty}, source="here")) == 30
    steps = b"\x80\x04}(" + b"K\x00]" * 1_000 + b"u."
    with pytest.raises(BadInput, match=r"it has more than 1,200 steps"):
        load_arrays(steps, shapes=SHAPES, source="here")


@pytest.mark.parametrize("protocol", range(6))
def test_a_truncated_dictionary_is_refused_wherever_it_ends(protocol):
    data = pickle.dumps(arrays(), protocol)
    for end in range(0, len(data), 5):
        with pytest.raises(BadInput, match="here: "):
            load_arrays(data[:end], shapes=SHAPES, source="here")


def test_damaged_dictionaries_are_refused_or_read():
    data = pickle.dumps(arrays(), 4)
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), size=2):
            damaged[position] = rng.integers(256)
        try:
            read = load_arrays(bytes(damaged), shapes=SHAPES, source="here")
            assert {key: array.shape for key, array in read.items()} == SHAPES
        except BadInput:
            refused += 1
    assert refused > 100
