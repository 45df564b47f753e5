"""Set-up: a folder that is there whole or not at all, however often it is asked for and whoever is killed meanwhile."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

from valence.errors import BadInput


def build_once(
    folder: Path,
    *,
    is_complete: Callable[[Path], bool],
    build: Callable[[Path], None],
    tag: str = "",
    draft: str | None = None,
) -> Path:
    """Return `folder`, built first where it is not complete.

    Parameters
    ----------
    folder : where the result belongs; its parent is made.
    is_complete : whether a folder holds the whole result; cheap.
    build : writes the result into the folder it is given. That folder is another one beside `folder`, renamed at the
        end. A killed build leaves it, and the next build gets it as it is; a build that raises leaves nothing.
    tag : part of the other folder's name; results of different tags never continue each other.
    draft : name of the other folder, where results of several folders may continue each other and `build` itself finds
        out what still holds. It then stays where a build raises, too.

    Only one process builds a folder at a time; others wait for it and find its result.

    Raises
    ------
    BadInput : where `folder` holds something that is not complete.
    """
    if is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{draft or folder.name}.{tag}partial")
    with folder.with_name(f".{draft or folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_complete(folder):
            return folder
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput(
                f"{folder} is there and is not complete",
                allowed="nothing, an empty folder, or the whole result",
                do="remove it; it is made again",
            )
        partial.mkdir(exist_ok=True)
        try:
            build(partial)
        except Exception:
            if draft is None:
                shutil.rmtree(partial)
            raise
        partial.replace(folder)
    return folder
