"""Words to strategies: "rsa:lambda=.1/.5/1" to doses, and a dose to the strategy of a cell.

A dose is a strategy with its strength and options. Every option has a default, given by the keyword arguments of the
strategy's class; a cell names those that differ.
"""

import inspect
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from valence.errors import BadInput
from valence.registry import unknown_name
from valence.strategies import STRATEGIES, Strategy
from valence.targets import PARTS

LAMBDA, RATIO = "lambda", "ratio"
"""what every weighted strategy can be told beside its own options: its strength, or the gradient ratio to hold"""
Value = float | int | str | bool
_CLASS = "correct the class"


@dataclass(frozen=True, order=True)
class Dose:
    """One strategy at one strength."""

    strategy: str
    lambda_: float
    options: str = ""
    """see Cell.options"""
    gradient_match: float = 0.0
    """see Cell.gradient_match"""

    @property
    def kind(self) -> type[Strategy]:
        """The strategy's class."""
        return STRATEGIES[self.strategy]


def make_strategy(name: str, options: str = "") -> Strategy:
    """The strategy of a cell. Raises BadInput for an unknown name, option or value."""
    given = dict(part.split("=", 1) for part in options.split(",") if part)
    return _made(name, _values(name, given))


def _made(name: str, values: Mapping[str, Value]) -> Strategy:
    try:
        return STRATEGIES[name](**values)
    except (TypeError, ValueError) as error:
        told = ", ".join(f"{field}={value}" for field, value in values.items()) or "no options"
        raise BadInput(
            f"strategy {name!r} with {told}: {error}", allowed="what its class takes", do="correct the option"
        ) from error


def default_dose(name: str) -> Dose:
    """A strategy as it is by default. Raises BadInput for one whose class names no usable strength."""
    kind = STRATEGIES[name]
    if kind.kind not in ("none", *PARTS):
        raise BadInput(f"strategy {name!r}: its kind is {kind.kind!r}", allowed=f"none, {', '.join(PARTS)}", do=_CLASS)
    strength = float(kind.lambda_)
    if kind.kind != "none" and kind.weighted and not (math.isfinite(strength) and strength > 0):
        raise BadInput(f"strategy {name!r}: lambda_ of its class is {strength:g}", allowed="above 0", do=_CLASS)
    return Dose(name, strength)


def doses_of(text: str) -> list[Dose]:
    """Doses of one word: NAME, or NAME:FIELD=VALUE:FIELD=VALUE with several values of a field divided by "/".

    FIELD is lambda, ratio (gradient matching) or an option of the strategy. Several fields are crossed.

    Raises
    ------
    BadInput : for an unknown strategy, field or value, a lambda or ratio that is negative or not finite.
    """
    name, *parts = (part.strip() for part in text.split(":"))
    STRATEGIES[name]
    fields: dict[str, list[str]] = {}
    for part in parts:
        field, equals, values = (word.strip() for word in part.partition("="))
        if not (field and equals and values) or field in fields:
            raise BadInput(
                f"strategy {text!r}",
                allowed="NAME, or NAME:FIELD=VALUE with each field once, such as rsa:lambda=.1/.5/1",
                do="correct it",
            )
        fields[field] = [value.strip() for value in values.split("/")]
    return [_dose(text, name, dict(zip(fields, chosen))) for chosen in itertools.product(*fields.values())]


def _dose(text: str, name: str, given: dict[str, str]) -> Dose:
    kind, default = STRATEGIES[name], default_dose(name)
    strengths = {field: _strength(text, field, given.pop(field)) for field in (LAMBDA, RATIO) if field in given}
    if strengths and not (kind.weighted and kind.kind != "none"):
        raise BadInput(
            f"strategy {text!r}: {name} has no strength that could be changed",
            allowed=f"its own options: {', '.join(option_defaults(name)) or 'it has none'}",
            do="leave lambda and ratio out",
        )
    if len(strengths) == 2:
        raise BadInput(
            f"strategy {text!r}", allowed="lambda or ratio: a matched gradient sets lambda", do="leave one out"
        )
    if strengths.get(RATIO) == 0:
        raise BadInput(f"strategy {text!r}", allowed="a ratio above 0", do="correct it, or take the strategy none")
    values = _values(name, given)
    _made(name, values)  # a class checks its own options
    defaults = option_defaults(name)
    named = {field: value for field, value in sorted(values.items()) if value != defaults[field]}
    return Dose(
        name,
        strengths.get(LAMBDA, 0.0 if RATIO in strengths else default.lambda_),
        ",".join(f"{field}={_text(value)}" for field, value in named.items()),
        strengths.get(RATIO, 0.0),
    )


def option_defaults(name: str) -> dict[str, Value]:
    """Options of a strategy and their defaults."""
    kind = STRATEGIES[name]
    if kind.__init__ is Strategy.__init__:
        return {}
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty:
            raise BadInput(
                f"strategy {name!r}: its argument {parameter.name!r} has no default",
                allowed="keyword arguments with a default: a number, text, True or False",
                do="give it one",
            )
        if not isinstance(parameter.default, float | int | str):
            raise BadInput(
                f"strategy {name!r}: the default of {parameter.name!r} is {parameter.default!r}",
                allowed="a number, text, True or False",
                do=_CLASS,
            )
    return {parameter.name: parameter.default for parameter in parameters}


def _values(name: str, given: Mapping[str, str]) -> dict[str, Value]:
    defaults = option_defaults(name)
    for field in given:
        if field not in defaults:
            raise unknown_name(f"field of strategy {name}", field, [LAMBDA, RATIO, *defaults])
    return {field: _value(name, field, text, defaults[field]) for field, text in given.items()}


def _value(name: str, field: str, text: str, default: Value) -> Value:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise BadInput(f"strategy {name}: {field}={text}", allowed="true or false", do="correct it")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        value = type(default)(text)
        problem = not math.isfinite(value)
    except (ValueError, OverflowError):
        problem = True
    if problem:
        allowed = "a whole number" if isinstance(default, int) else "a finite number"
        raise BadInput(f"strategy {name}: {field}={text}", allowed=allowed, do="correct it")
    return value


def _strength(text: str, field: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise BadInput(f"strategy {text!r}: {field} is {value}", allowed="a number of 0 or more", do="correct it")
    return number + 0.0  # -0 is 0


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
