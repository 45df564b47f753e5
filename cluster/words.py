"""Words of a command to values: numbers, paths, lists of names, seeds; each checked, each with one clear message."""

import math
import re
from pathlib import Path

from cluster import presets
from valence.errors import BadInput

Word = str | None
"""what a user gave, or None where nothing was"""


def positive(value: float, option: str) -> float:
    """A number above 0 from a user. Raises BadInput for any other."""
    if not (math.isfinite(value) and value > 0):
        raise BadInput(f"{option} {value:g}", allowed="a number above 0", do="correct it, or leave the option out")
    return value


def path_of(text: str, option: str, *, base: Path | None = None) -> Path:
    """A path from a user. Raises BadInput for one that no file system takes."""
    if not text.strip() or "\0" in text:
        raise BadInput(f"{option} {text!r}", allowed="a path", do="give one, or leave the option out")
    try:
        path = ((base or Path.cwd()) / Path(text).expanduser()).absolute()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{option} {text[:80]}: {error}", allowed="a path", do="correct it") from error
    return path


def names_of(text: Word, option: str) -> list[str] | None:
    """Names with commas, from a user; None where nothing was given. Raises BadInput where there is no name in it."""
    if text is None:
        return None
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    if not names:
        raise BadInput(f"{option} {text!r} names nothing", allowed="names with commas", do="name one, or leave it out")
    return names


def seeds_of(text: str) -> tuple[int, ...]:
    """ "5" is the first five seeds, "42,7" these two, "42," this one."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"[0-9]{1,18}", part) for part in parts):
        raise BadInput(
            f"--seeds {text}", allowed="a number of seeds (5) or a list with commas (42,123 or 42,)", do="correct it"
        )
    numbers = tuple(dict.fromkeys(int(part) for part in parts))
    if "," in text:
        return numbers
    if not 1 <= numbers[0] <= 1000:
        raise BadInput(f"--seeds {text}", allowed="1 to 1000 seeds", do="to name a seed, add a comma: " + text + ",")
    return presets.seeds(numbers[0])
