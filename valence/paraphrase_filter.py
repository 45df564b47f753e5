"""Stage paraphrases: an answer of the LLM in, its text out, and why the text is dropped, if it is."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valence.distance import ENCODERS, Distance
from valence.errors import BadInput
from valence.function_words import share_of_function_words
from valence.stories import Story, grammatical_person, named_emotions

if TYPE_CHECKING:
    from valence.paraphrases import Paraphrasing

LEAST_ASCII_LETTERS = 0.7
LEAST_FUNCTION_WORDS = 0.25
"""English stories have .48 to .56, their paraphrases .35 to .70, German and French below .15"""

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
_COMMENTARY = re.compile(
    r"(?:^|[.!?]\s+)(?:this|that|it) (?:is|was) (?:an?|about|not|the) |"
    r"\b(?:the|this|actual) (?:sentence|text|story|passage|narrator|reader|author|language|phrase|illustration)\b|"
    r"\bin (?:a|the) (?:movie|film|novel|scene)\b",
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


@dataclass
class StoryFilter:
    """Judges the texts of one story in order; remembers the ones it kept."""

    story: Story
    how: "Paraphrasing"
    distances: Distance

    def __post_init__(self) -> None:
        self._person = grammatical_person(self.story.text)
        self._kept: list[str] = []

    def remember(self, text: str) -> None:
        """A text of this story that was kept before."""
        self._kept.append(text)

    def judge(self, text: str, n_tokens: int) -> tuple[str, float]:
        """Why the text is dropped (empty: it is kept), and its distance from the story."""
        distance = float(self.distances(text, [self.story.text])[0]) if text else 1.0
        reason = self._reason(text, n_tokens, distance)
        if not reason:
            self._kept.append(text)
        return reason, distance

    def _reason(self, text: str, n_tokens: int, distance: float) -> str:
        how = self.how
        if n_tokens < how.min_tokens:
            return "too short"
        if _REFUSAL.search(text) or _LABEL.match(text):
            return "speaks about the task"
        if how.drop_commentary and _COMMENTARY.search(text):
            return "comments on itself"
        if n_tokens > how.max_tokens:
            return "too long"
        # The activation is read at the last token: every text has to end alike, and to be finished.
        if not text.endswith("."):
            return "no full stop at the end"
        if not is_english(text):
            return "another language"
        if named_emotions(text):
            return "names an emotion"
        if loops(text):
            return "repeats itself"
        if grammatical_person(text) != self._person:
            return "another person"
        if distance < how.min_distance:
            return "copies the story"
        if self._kept and self.distances(text, self._kept).min() < how.min_distance_between:
            return "copies another paraphrase"
        return ""


def is_english(text: str) -> bool:
    """By its letters and by the share of English function words, which no other language has."""
    return share_of_ascii_letters(text) >= LEAST_ASCII_LETTERS and share_of_function_words(text) >= LEAST_FUNCTION_WORDS


def share_of_ascii_letters(text: str) -> float:
    """Share of a text's characters that are a–z, A–Z or a blank; 0 for an empty text."""
    plain = sum(character.isascii() and (character.isalpha() or character.isspace()) for character in text)
    return plain / len(text) if text else 0.0


def loops(text: str) -> bool:
    """True where more than a fifth of the three-word sequences of a text are repetitions."""
    words = re.findall(r"[\w']+", text.lower())
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return len(triples) > 0 and len(set(triples)) < 0.8 * len(triples)


def check_paraphrasing(how: "Paraphrasing") -> None:
    """Raise BadInput for settings that cannot be meant."""
    allowed = {
        "n is": (how.n, how.n >= 1, "at least 1"),
        "rounds is": (how.rounds, how.rounds >= 1, "at least 1"),
        "temperature is": (how.temperature, 0.0 < how.temperature <= 10.0, "above 0, up to 10: at 0 all texts are one"),
        "min_tokens, max_tokens are": (
            (how.min_tokens, how.max_tokens),
            0 <= how.min_tokens < how.max_tokens,
            "0 or more, and the second larger",
        ),
        "min_distance is": (how.min_distance, 0.0 <= how.min_distance < 1.0, "0 up to 1"),
        "min_distance_between is": (how.min_distance_between, 0.0 <= how.min_distance_between < 1.0, "0 up to 1"),
        "prompt is": (how.prompt, "{text}" in how.prompt, "a text with {text} in it, where the story goes"),
        "encoder is": (how.encoder, how.encoder in ENCODERS, ", ".join(ENCODERS)),
    }
    for name, (value, valid, what) in allowed.items():
        if not valid:
            raise BadInput(f"paraphrasing: {name} {value!r}", allowed=what, do="correct it")
