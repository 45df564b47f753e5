"""Stage paraphrases: stories and an engine in, a table of n texts per story out, with what was dropped and why.

Every text is an independent call with a seed of its own, derived from (seed, story, index, attempt), so a text does
not depend on which others were asked for. An index whose text is dropped is asked again with the next attempt.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from valence.cell import derive_seed
from valence.distance import StoryDistance
from valence.errors import BadInput
from valence.stories import OPENINGS, Story, grammatical_person, named_emotions

logger = logging.getLogger(__name__)

PROMPT = "Rewrite this text in other words.\n\n{text}"
COLUMNS = ("story", "emotion", "set", "text", "kept", "reason", "round", "seed", "n_tokens", "distance")


@dataclass(frozen=True, kw_only=True)
class Paraphrasing:
    """How paraphrases are made and chosen: part of the identity of an axis."""

    n: int = 50
    """texts to keep per story"""
    temperature: float = 0.7
    """as in the study"""
    min_tokens: int = 5
    max_tokens: int = 80
    """length of a kept text, in tokens of the LLM"""
    min_distance: float = 0.10
    """TF-IDF cosine distance from the story, our stand-in for the study's SBERT distance"""
    min_distance_between: float = 0.05
    """the same, from the paraphrases of the story that were kept before"""
    rounds: int = 10
    """attempts per text"""
    prompt: str = PROMPT
    with_opening: bool = True
    """the answer is begun for the LLM with the set's opening words, which holds person and opening fixed"""


@dataclass(frozen=True)
class Request:
    """One call of the LLM: what the user asks, how the answer is made to begin, and its random seed."""

    prompt: str
    opening: str
    seed: int


@dataclass(frozen=True)
class Generation:
    """One answer: its text with the opening, and how many tokens were generated."""

    text: str
    n_tokens: int


class Writer(Protocol):
    """What paraphrasing needs of an engine."""

    def generate(self, requests: Sequence[Request], *, temperature: float, max_new_tokens: int) -> list[Generation]: ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...


def paraphrase(
    stories: Sequence[Story],
    writer: Writer,
    *,
    how: Paraphrasing,
    seed: int = 0,
    on_event: Callable[[str], None] = logger.info,
) -> pd.DataFrame:
    """Paraphrases of all stories, asked for in one batch a round.

    Returns
    -------
    DataFrame with the columns story, emotion, set, text, kept, reason (empty where kept), round, seed, n_tokens and
    distance (from the story, 0 … 1): every text the LLM gave, the dropped ones too.

    Raises BadInput where fewer than 3 texts of a story pass after all rounds.
    """
    distances = StoryDistance(stories)
    filters = {story.id: _StoryFilter(story, how, distances) for story in stories}
    missing = [(story, index) for story in stories for index in range(how.n)]
    rows: list[dict] = []
    for attempt in range(how.rounds):
        if not missing:
            break
        on_event(f"paraphrases: round {attempt + 1} of at most {how.rounds}, {len(missing)} to write")
        requests = [_request(story, index, attempt, how, seed) for story, index in missing]
        answers = writer.generate(requests, temperature=how.temperature, max_new_tokens=how.max_tokens)
        texts = [first_paragraph(answer.text) for answer in answers]
        still = []
        for slot, request, text, n_tokens in zip(missing, requests, texts, writer.count_tokens(texts), strict=True):
            story = slot[0]
            reason, distance = filters[story.id].judge(text, n_tokens)
            row = (story.id, story.emotion, story.set, text, not reason, reason, attempt, request.seed)
            rows.append(dict(zip(COLUMNS, (*row, n_tokens, distance), strict=True)))
            if reason:
                still.append(slot)
        missing = still
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    _require_enough(table, stories)
    return table


def shortfall(table: pd.DataFrame, n: int) -> dict[str, int]:
    """Stories with fewer than n kept texts, and how many they have."""
    kept = table.groupby("story")["kept"].sum()
    return {str(story): int(count) for story, count in kept.items() if count < n}


MIN_KEPT = 3
"""below this a class centroid is one text's accident"""

_LABEL = re.compile(
    r"^\W*(?:sure|certainly|of course|here(?:'s| is| are)|(?:re)?written|rewrite|paraphrased?|new text|revised|"
    r"in other words)\b[^\n]{0,80}?:\s*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able|glad|happy)|i (?:can(?:no|')t|apologi[sz]e|don't understand)|as an ai|"
    r"language model|happy to help|the (?:original|new|given) text|paraphras\w+|rewrit\w+|the meaning|past tense)\b",
    re.IGNORECASE,
)


def first_paragraph(answer: str) -> str:
    """The first paragraph of an answer, without a label such as "Here is a paraphrase:" or enclosing quotes."""
    text = answer.strip()
    for _ in range(2):
        text = _LABEL.sub("", text, count=1).strip()
    text = " ".join(text.split("\n", 1)[0].split())
    quoted = len(text) > 1 and text[0] in '"“' and text[-1] in '"”' and not set(text[1:-1]) & set('"“”')
    return text[1:-1].strip() if quoted else text


class _StoryFilter:
    """Judges the texts of one story in order; remembers the ones it kept."""

    def __init__(self, story: Story, how: Paraphrasing, distances: StoryDistance):
        self._story = story
        self._how = how
        self._distances = distances
        self._person = grammatical_person(story.text)
        self._kept: list[str] = []

    def judge(self, text: str, n_tokens: int) -> tuple[str, float]:
        """Why the text is dropped (empty: it is kept), and its distance from the story."""
        distance = float(self._distances(text, [self._story.text])[0]) if text else 1.0
        reason = self._reason(text, n_tokens, distance)
        if not reason:
            self._kept.append(text)
        return reason, distance

    def _reason(self, text: str, n_tokens: int, distance: float) -> str:
        how = self._how
        if n_tokens < how.min_tokens:
            return "too short"
        if _REFUSAL.search(text) or _LABEL.match(text):
            return "speaks about the task"
        if n_tokens > how.max_tokens:
            return "too long"
        # The activation is read at the last token: every text has to end alike, and to be finished.
        if not text.endswith("."):
            return "no full stop at the end"
        if share_of_ascii_letters(text) < 0.7:
            return "another language"
        if named_emotions(text):
            return "names an emotion"
        if loops(text):
            return "repeats itself"
        if grammatical_person(text) != self._person:
            return "another person"
        if distance < how.min_distance:
            return "copies the story"
        if self._kept and self._distances(text, self._kept).min() < how.min_distance_between:
            return "copies another paraphrase"
        return ""


def share_of_ascii_letters(text: str) -> float:
    """Share of a text's characters that are a–z, A–Z or a blank; 0 for an empty text."""
    plain = sum(character.isascii() and (character.isalpha() or character.isspace()) for character in text)
    return plain / len(text) if text else 0.0


def loops(text: str) -> bool:
    """True where more than a fifth of the three-word sequences of a text are repetitions."""
    words = re.findall(r"[\w']+", text.lower())
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return len(triples) > 0 and len(set(triples)) < 0.8 * len(triples)


def _request(story: Story, index: int, attempt: int, how: Paraphrasing, seed: int) -> Request:
    opening = OPENINGS.get(story.set, "") if how.with_opening else ""
    identity = f"{seed}/{story.id}/{index}"
    return Request(how.prompt.format(text=story.text), opening, derive_seed(identity, f"paraphrase/{attempt}"))


def _require_enough(table: pd.DataFrame, stories: Sequence[Story]) -> None:
    kept = {story.id: 0 for story in stories} | {
        str(story): int(count) for story, count in table.groupby("story")["kept"].sum().items()
    }
    poor = {story: count for story, count in kept.items() if count < MIN_KEPT}
    if poor:
        reasons = table[table["story"].isin(poor) & ~table["kept"]]["reason"].value_counts()
        raise BadInput(
            f"too few paraphrases passed: {', '.join(f'{story} has {count}' for story, count in poor.items())} "
            f"(dropped: {', '.join(f'{reason} {count}' for reason, count in reasons.items())})",
            allowed=f"at least {MIN_KEPT} texts per story",
            do="take an LLM that follows instructions, ask for more paraphrases, or raise the temperature",
        )
