"""Recordings: the steps of a pickle that somebody else wrote, walked before any is run.

In: the bytes of the file. Out: nothing, or an error where a step asks for more than the file holds.
"""

import pickletools

MOST_STEPS = 1_000
"""opcodes of a file, at most: an array of any size and protocol takes about 50, and each can make an object"""
STEPS_PER_ARRAY = 100
"""opcodes more for each further array"""
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
"""bytes that the length of an argument takes, by kind of argument"""


class RefusedError(Exception):
    """Why a file is refused, in words."""


def scan(data: bytes, *, n_arrays: int = 1) -> None:
    """Walk the opcodes without running them. Raises RefusedError where one asks for more than the file holds.

    Python's unpickler allocates a block before it reads it, a memo as long as the largest index in the file, and for
    one byte an object of a hundred.
    """
    most = MOST_STEPS + STEPS_PER_ARRAY * (n_arrays - 1)
    position, n_opcodes, largest = 0, 0, -1
    name = ""
    while name != "STOP":
        opcode = _OPCODES.get(chr(data[position])) if position < len(data) else None
        if opcode is None:
            raise RefusedError(f"it is truncated or no pickle (byte {position:,} of {len(data):,})")
        name, n_opcodes = opcode.name, n_opcodes + 1
        if n_opcodes > most:
            raise RefusedError(f"it has more than {most:,} steps; an array takes about 50")
        start, end = _argument(opcode, data, position + 1)
        if name in ("BINPUT", "LONG_BINPUT"):
            largest = max(largest, int.from_bytes(data[start:end], "little"))
        elif name == "PUT":
            largest = max(largest, int(data[start:end]))
        position = end
    if largest > n_opcodes:
        raise RefusedError(f"it asks for a memo of {largest:,} entries and has {n_opcodes} steps")


def _argument(opcode: pickletools.OpcodeInfo, data: bytes, start: int) -> tuple[int, int]:
    """First and last-plus-one byte of an opcode's argument that starts at `start`."""
    size = 0 if opcode.arg is None else opcode.arg.n
    if size == pickletools.UP_TO_NEWLINE:
        end = start
        for _ in range(2 if opcode.name in ("GLOBAL", "INST") else 1):
            end = data.find(b"\n", end) + 1 or len(data)
        return start, end
    if size < 0:
        n_bytes = _LENGTH_BYTES[size]
        size = int.from_bytes(data[start : start + n_bytes], "little")
        start += n_bytes
    end = start + size
    last = end + int.from_bytes(data[start:end], "little") if opcode.name == "FRAME" else end
    if last > len(data):
        left = max(len(data) - start, 0)
        raise RefusedError(f"one block asks for {last - start:,} bytes and {left:,} are left: truncated or crafted")
    return start, end
