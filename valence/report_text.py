"""Statistics to words: numbers as people read them, the summary on top of a report, the paragraph for a paper."""

from collections.abc import Sequence

import pandas as pd

from valence.stats import MIN_TEST_SUBJECTS, exact_floor
from valence.stats.arms import BASELINE
from valence.stats.contrasts import CONFIRMATORY
from valence.stats.labels import dose_label, in_order

DOSE = ["strategy", "lambda_", "options", "gradient_match"]
VERDICTS = ("helps", "hurts", "equivalent", "undecided")


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """A number for people: a true minus, a sign where asked for, a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    rounded = round(float(value), digits) + 0.0  # -0.0 becomes 0.0
    text = f"{rounded:+.{digits}f}" if sign and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", "−")


def p_value(p: float | None) -> str:
    """Three decimals; below .001 as such."""
    if p is None or pd.isna(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def interval(low: float, high: float, digits: int = 3, *, sign: bool = False) -> str:
    """[low, high], or a dash."""
    return "–" if pd.isna(low) else f"[{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"


def count(n: int, one: str, many: str = "") -> str:
    """ "1 seed", "3 seeds"."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def facts(fields: dict) -> list[tuple[str, str]]:
    """Fields of JSON as labels and words; a dict inside is spread out by one level."""
    flat: list[tuple[str, str]] = []
    for key, value in fields.items():
        nested = value.items() if isinstance(value, dict) else ()
        flat += [(f"{_label(key)}: {_label(inner)}", _words(part)) for inner, part in nested]
        flat += [] if isinstance(value, dict) else [(_label(key), _words(value))]
    return flat


def _label(key: object) -> str:
    text = str(key)
    return (f"number of {text[2:]}" if text.startswith("n_") else text).replace("_", " ")


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "−")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{_label(key)} {_words(part)}" for key, part in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(_words(part) for part in value) or "none"
    return "–" if value is None else str(value)


def confirmatory(statistics: pd.DataFrame) -> pd.DataFrame:
    """The comparisons declared before the run: the LLM's axis against none, or against the matched baseline."""
    return statistics[statistics["family"].str.startswith(f"{CONFIRMATORY}:")] if len(statistics) else statistics


def verdict_counts(statistics: pd.DataFrame) -> dict[str, int]:
    """How many of the rows have each verdict, in fixed order, zeros included."""
    return {verdict: int((statistics["verdict"] == verdict).sum()) for verdict in VERDICTS}


def question(statistics: pd.DataFrame, *, llm: str | None) -> str:
    """What was asked, in one sentence or two."""
    tested = confirmatory(statistics)
    whose = f" of {llm}" if llm else ""
    controls = sorted({name.split("_")[0] for name in statistics["target"] if name.startswith(("permuted", "random"))})
    forms, n_doses = tested["strategy"].nunique(), len(tested[DOSE].drop_duplicates())
    doses = f" in {n_doses} doses" if n_doses > forms else ""
    text = (
        f"Does an extra loss that aligns an EEG emotion classifier with the valence axis{whose} change its accuracy "
        f"on the test subjects? {count(tested['classifier'].nunique(), 'classifier')} and "
        f"{count(forms, 'form')} of the loss{doses} were tried, each against the same network trained "
        f"without it, from the same initial weights and in the same batch order.{matched(tested)}"
    )
    if controls:
        text += f" The same losses were also run with a target that has no content ({listed(controls)})."
    return text


def matched(tested: pd.DataFrame) -> str:
    """A sentence on the strategies that are compared with another baseline than `none`; empty where there is none."""
    others = tested[tested["against"] != BASELINE]
    pairs = [(against, sorted(set(part["strategy"]))) for against, part in others.groupby("against", sort=True)]
    told = [f"{listed(names)} {'is' if len(names) == 1 else 'are'} compared with {against}" for against, names in pairs]
    return f" Matched baselines: {listed(told)}." if told else ""


def answer(statistics: pd.DataFrame) -> list[str]:
    """The verdict over all classifiers, in a few sentences."""
    tested = confirmatory(statistics)
    if len(tested) == 0:
        return ["No comparison of the axis with the baseline has been made."]
    counts, bound = verdict_counts(tested), number(tested["equivalence"].iloc[0], 2)
    total = count(len(tested), "comparison")
    if counts["helps"] + counts["hurts"]:
        sentences = [f"Of {total} with the axis, {counts['helps']} helped and {counts['hurts']} hurt."]
        sentences += _content(statistics, tested)
    elif counts["equivalent"] == len(tested):
        sentences = [f"In none of {total} did the axis make a difference beyond ±{bound}."]
    else:
        sentences = [f"In none of {total} did the axis help or hurt beyond doubt."]
    if counts["equivalent"] and counts["equivalent"] < len(tested):
        sentences.append(f"{counts['equivalent']} made no difference beyond ±{bound}.")
    return sentences + _undecided(tested)


def _content(statistics: pd.DataFrame, tested: pd.DataFrame) -> list[str]:
    """Whether the effects belong to the axis or to any target of its form."""
    key = ["dataset", "split", "classifier", "recipe", *DOSE, "axis"]
    decided = tested[tested["verdict"].isin(["helps", "hurts"])]
    content = statistics.loc[statistics["comparison"] == "content", [*key, "verdict"]]
    both = decided.merge(content, on=key, suffixes=("", "_content"))
    if both.empty:
        return ["No control was run beside them, so it is open whether a target without content would do the same."]
    own = int((both["verdict"] == both["verdict_content"]).sum())
    if own == len(both):
        return ["A permuted or random target does not do the same: the effect belongs to the axis."]
    if own == 0:
        return ["It is not shown that the axis does more there than a permuted or random target, which has no content."]
    goes = "goes" if own == 1 else "go"
    return [
        f"{own} of these {goes} beyond what a permuted or random target does; for the rest it is not shown that the "
        "axis does more than such a target, which has no content."
    ]


def _undecided(tested: pd.DataFrame) -> list[str]:
    undecided = tested[tested["verdict"] == "undecided"]
    if undecided.empty:
        return []
    n_seeds = int(undecided["n_seeds"].max())
    sentences = [f"{len(undecided)} of {len(tested)} are undecided with {count(n_seeds, 'seed')}."]
    sentences += few_subjects(undecided)
    hopeless = undecided[undecided["n_seeds"].map(exact_floor) * undecided["family_size"] >= undecided["alpha"]]
    if len(hopeless):
        n, size = int(hopeless["n_seeds"].max()), int(hopeless["family_size"].max())
        sentences.append(
            f"With {count(n, 'seed')} the smallest p an exact test can give is {exact_floor(n):.3g}, "
            f"too large for a family of {size}: no effect of any size could have been called."
        )
    needed = undecided["seeds_needed"].dropna()
    if len(needed):
        sentences.append(
            f"{_about(needed)} seeds would probably decide {'it' if len(undecided) == 1 else 'most of them'}."
        )
    enough = undecided["n_subjects"] >= MIN_TEST_SUBJECTS
    stuck = int((undecided["seeds_needed"].isna() & enough).sum())
    if stuck:
        sentences.append(f"For {stuck} of them the test subjects are the limit: more subjects are needed, not seeds.")
    return sentences


def few_subjects(statistics: pd.DataFrame) -> list[str]:
    """How many test subjects there are and how many are needed, where some comparison has too few; else nothing."""
    few = statistics[statistics["n_subjects"].between(1, MIN_TEST_SUBJECTS - 1)]
    if few.empty:
        return []
    sizes = sorted(set(few["n_subjects"]))
    return [
        f"With {listed([str(n) for n in sizes])} test {'subject' if sizes == [1] else 'subjects'} no verdict is "
        "possible, not even equivalence: p values and intervals then speak of these people alone. "
        f"At least {MIN_TEST_SUBJECTS} test subjects are needed."
    ]


def _about(needed: pd.Series) -> str:
    low, high = int(needed.min()), int(needed.max())
    return f"About {low}" if low == high else f"Between {low} and {high}"


def classifier_sentence(tested: pd.DataFrame, *, baseline: float) -> str:
    """The verdict on one classifier, from its confirmatory comparisons."""
    parts = []
    for verdict in ("helps", "hurts"):
        rows = in_order(tested[tested["verdict"] == verdict]).to_dict("records")
        if rows:
            named = [f"{dose_label(row)} ({number(row['delta'], sign=True)})" for row in rows]
            parts.append(f"{listed(named)} {verdict if len(rows) == 1 else verdict[:-1]}")
    counts = verdict_counts(tested)
    if counts["equivalent"]:
        parts.append(f"{counts['equivalent']} without difference")
    if counts["undecided"]:
        needed = tested.loc[tested["verdict"] == "undecided", "seeds_needed"]
        more = f", {_about(needed.dropna()).lower()} seeds needed" if needed.notna().any() else ""
        parts.append(f"{counts['undecided']} undecided{more}")
    return f"balanced accuracy {number(baseline)} without alignment; {'; '.join(parts) or 'nothing compared'}."


def multiplicity(statistics: pd.DataFrame) -> str:
    """How many tests there were and how they were corrected."""
    tested = confirmatory(statistics)
    if len(tested) == 0:
        return "No confirmatory comparison was made."
    sizes = sorted(set(tested["family_size"]))
    size = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return (
        f"{len(statistics)} comparisons were computed, of which {len(tested)} are confirmatory: the axis against none"
        f"{' or a matched baseline' if tested['against'].ne(BASELINE).any() else ''}. "
        f"Verdicts use Holm's correction inside a family, the comparisons of one kind of one classifier; the "
        f"confirmatory families have {size} {'member' if size == '1' else 'members'}. Controls, content and structure "
        "form families of their own. The Benjamini-Hochberg values take one kind over all classifiers and are "
        "exploratory. Equivalence is tested one comparison at a time. Under the null everywhere, "
        f"{number(0.05 * len(statistics), 1)} of the uncorrected p values "
        "would fall below .05 by chance."
    )
