"""Memory of the process a test runs in, and programs in a process of their own to measure it from zero."""

import os
import resource
import subprocess
import sys
from pathlib import Path


def peak_mib() -> float:
    """Largest resident memory since this program began.

    getrusage counts what the process was before it became this program, too: a copy of whoever started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10)


def printed_by(program: str, *words: object) -> str:
    """What a program prints that may import tests; raises CalledProcessError where it fails."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    ).stdout
