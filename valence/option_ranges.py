"""Options of a strategy to checked numbers: a value outside its range is refused before anything is trained."""

import math

from valence.errors import BadInput


def above_zero(value: float, option: str) -> float:
    """The value, a finite number above 0. Raises BadInput for any other."""
    if not (math.isfinite(value) and value > 0):
        raise BadInput(f"{option}={value:g}", allowed="a finite number above 0", do=f"correct {option}")
    return value


def fraction(value: float, option: str, *, whole: bool) -> float:
    """The value, above 0 and below 1, or 1 as well where `whole`. Raises BadInput for any other."""
    if not (0 < value < 1 or (whole and value == 1)):
        allowed = f"a number above 0 and {'of at most' if whole else 'below'} 1"
        raise BadInput(f"{option}={value:g}", allowed=allowed, do=f"correct {option}")
    return value
