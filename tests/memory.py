"""Memory of the process a test runs in."""

import resource
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
