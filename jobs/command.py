"""What every job does around its work: SIGTERM as Ctrl-C, bad input and interruption as a message and an exit code."""

import signal
import sys
from collections.abc import Callable

from valence.errors import BadInput


def exit_code_of(work: Callable[[], int], *, interrupted: str) -> int:
    """Run the work of a command and return its exit code: 2 for bad input, 3 where it was interrupted.

    Parameters
    ----------
    interrupted : what is said then: what is kept, and how to go on.
    """
    signal.signal(signal.SIGTERM, _interrupt)  # `ray job stop` asks with SIGTERM
    try:
        return work()
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted: {interrupted}", file=sys.stderr)
        return 3


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
