"""Stage axis: style that could pass for valence. Texts in, correlations of each trait with the class positions out."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from valence.axis_pca import set_means
from valence.intervals import correlation
from valence.stories import OPENINGS, grammatical_person

STYLE_LIMIT = 0.666
"""|r| over nine classes with two-sided p = .05"""

_YOU = re.compile(r"\b(?:you|your|yours|yourself|yourselves)\b", re.IGNORECASE)
_PRESENT = re.compile(
    r"\b(?:am|is|are|has|have|do|does|will|can|may|shall|(?:it|she|he|you|they|we|i)['’](?:s|re|ve|ll|m))\b",
    re.IGNORECASE,
)
_PAST = re.compile(r"\b(?:was|were|had|did|would|could|might|should|[a-z]{2,}ed)\b", re.IGNORECASE)


def present_share(text: str) -> float:
    """Present among the marks of tense (auxiliaries, and -ed for the past), 0 … 1; 0.5 where there is none."""
    present, past = len(_PRESENT.findall(text)), len(_PAST.findall(text))
    return present / (present + past) if present + past else 0.5


def share_of_you(text: str) -> float:
    """Words of the second person per word."""
    return len(_YOU.findall(text)) / max(len(text.split()), 1)


def _of_text(measure: Callable[[str], float]) -> Callable[[Sequence[str], Sequence[str]], np.ndarray]:
    return lambda texts, sets: np.array([measure(text) for text in texts], dtype=float)


def _opening(texts: Sequence[str], sets: Sequence[str]) -> np.ndarray:
    """1 where a text begins with the words that its set begins with."""
    return np.array([float(text.startswith(OPENINGS.get(name, ""))) for text, name in zip(texts, sets, strict=True)])


TRAITS: Mapping[str, Callable[[Sequence[str], Sequence[str]], np.ndarray]] = {
    "grammatical_person": _of_text(grammatical_person),
    "use_of_you": _of_text(share_of_you),
    "opening": _opening,
    "present_tense": _of_text(present_share),
    "words": _of_text(lambda text: len(text.split())),
    "sentences": _of_text(lambda text: len(re.findall(r"[.!?]+(?:\s|$)", text))),
    "commas": _of_text(lambda text: text.count(",")),
}
"""name to a number for each text; the place of the token that is read is length_in_tokens"""


def style_of_axis(
    projections: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    *,
    classes: tuple[str, ...],
    texts: Sequence[str] | None,
    n_tokens: np.ndarray | None,
) -> dict[str, dict[str, float | None]]:
    """Correlation, per set, of class positions with what has to be the same in all classes; null where it is.

    projections : (n_sets, n_classes), of the set's class means on the axis.
    """
    values: dict[str, np.ndarray] = {}
    if n_tokens is not None:
        values["length_in_tokens"] = np.asarray(n_tokens, dtype=float)
    if texts is not None:
        values |= {trait: measure(texts, sets.tolist()) for trait, measure in TRAITS.items()}
    names = sorted(set(sets))
    return {
        trait: {
            str(name): noted_correlation(of_set, trait_of_set)
            for name, of_set, trait_of_set in zip(
                names, projections, set_means(of_text[:, None], emotions, sets, classes)[..., 0], strict=True
            )
        }
        for trait, of_text in values.items()
    }


def noted_correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """`valence.intervals.correlation` as the notes of an axis have it: six digits, and None where there is none."""
    r = correlation(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    return None if np.isnan(r) else round(r, 6)
