"""Words of a command to values: numbers, paths, lists of names, seeds; each checked, each with one clear message."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster import presets
from valence.cell import Recipe
from valence.errors import BadInput
from valence.registry import unknown_name

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


def recipes_of(text: Word, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Recipes with fields changed: "epochs=150,windows.augmentation_p=0.6"; a bare field is every input's.

    Raises
    ------
    BadInput : for an unknown input or field, or a value that is not of its kind.
    """
    changed = dict(recipes)
    fields = {field.name: field.type for field in dataclasses.fields(Recipe) if field.name != "name"}
    for part in names_of(text, "--recipe") or []:
        path, equals, value = (word.strip() for word in part.partition("="))
        input, _, name = path.rpartition(".")
        if not equals or input not in ("", *recipes):
            raise BadInput(
                f"--recipe {part!r}",
                allowed=f"FIELD=VALUE, or INPUT.FIELD=VALUE for one of {', '.join(recipes)}",
                do="correct it",
            )
        if name not in fields:
            raise unknown_name("field of a recipe", name, fields)
        for chosen in [input] if input else recipes:
            changed[chosen] = dataclasses.replace(changed[chosen], **{name: _value(part, value, fields[name])})
    return changed


def _value(part: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise BadInput(f"--recipe {part}", allowed="true or false", do="correct it")
        return text.lower() == "true"
    try:
        value = kind(text)
    except ValueError as error:
        raise BadInput(f"--recipe {part}", allowed=f"a value of type {kind.__name__}", do="correct it") from error
    if kind is float and not math.isfinite(value):
        raise BadInput(f"--recipe {part}", allowed="a finite number", do="correct it")
    return value
