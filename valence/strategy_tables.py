"""Strategies and targets as Markdown tables, from the registries: what the README shows."""

from collections.abc import Iterable

from valence.strategies import STRATEGIES
from valence.strategy_options import option_defaults
from valence.targets import TARGETS

FAMILIES = (
    *("baseline", "regression", "multi-model", "distillation", "representational similarity", "contrastive"),
    *("adapters", "curricula", "channels and topography", "own"),
)


def strategy_table() -> str:
    """Every strategy by family: what it reads of a target, its strength and options, formula, source, comparison."""
    header = ("family", "strategy", "reads", "λ", "options", "formula", "source", "compared with")
    names = sorted(STRATEGIES, key=lambda name: (FAMILIES.index(STRATEGIES[name].family), name))
    rows = []
    for name in names:
        kind = STRATEGIES[name]
        strength = f"{kind.lambda_:g}" if kind.weighted and kind.kind != "none" else "–"
        options = ", ".join(f"{option}={_text(value)}" for option, value in option_defaults(name).items())
        against = "" if name == "none" else kind.baseline
        formula = kind.formula.replace("|", "\\|")
        rows.append((kind.family, f"`{name}`", kind.kind, strength, options, formula, kind.source, against))
    return _markdown(header, rows)


def target_table() -> str:
    """Every target: what it means, and which strategies it serves."""
    rows = [
        (
            f"`{name}_1`, `{name}_2`, …" if row.numbered else f"`{name}`",
            row.meaning,
            ", ".join(sorted(row.kinds)),
            "axis" if row.needs_axis else "self-ratings" if row.needs_ratings else "",
        )
        for name, row in TARGETS.items()
    ]
    return _markdown(("target", "meaning", "for losses that read", "made from"), rows)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _markdown(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
