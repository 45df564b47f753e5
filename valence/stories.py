"""Stage stories: a table of short texts in, `Story(id, emotion, text, set)` out.

Nine emotions, two sets. Within a set all stories share the scene (a parcel opened, a look out of the window), the
build of their two sentences, grammatical person and number of its pronouns, tense, opening words and, within two
words, length, so that none of these can be mistaken for valence: set a speaks to "you", set b tells of "she". The
published set of one story per class does not hold this, and there the axis follows the person. The emotion is shown
and never named, not by a near-synonym either.
"""

import csv
import importlib.resources
import re
from dataclasses import dataclass
from functools import cache

from valence.cell import canonical_hash

EMOTIONS = ("anger", "disgust", "fear", "sadness", "neutral", "amusement", "inspiration", "joy", "tenderness")
"""the nine classes of FACED; their order is the order of every array over classes"""
NEGATIVE = EMOTIONS[:4]
POSITIVE = EMOTIONS[5:]

OPENINGS = {"a": "Last night you", "b": "On Sunday she"}
"""first words of every story of a set"""

EMOTION_WORDS = {
    "anger": r"anger\w*|angr\w+|furious\w*|fury|(?:en|out)?rag(?:e[ds]?|ing)|outrageous|irate|wrath\w*|mad|madd?en\w*"
    r"|madly|infuriat\w+|annoy\w*|irritat\w+|resent\w*|indigna\w+|hostil\w+|temper|livid",
    "disgust": r"disgust\w*|revolt(?:ed|ing)|revulsion|repuls\w+|repugnan\w+|loath\w+|gross|nause\w+|sicken\w*|yuck\w*",
    "fear": r"fear\w*|afraid|scare[ds]?|scary|scaring|fright\w*|terrif\w+|terror\w*|horr(?:or|if|ib)\w*|panic\w*"
    r"|dread\w*|anxi\w+|nervous\w*|worr(?:y|ie[ds]|ying)|petrified",
    "sadness": r"sad|sad(?:der|dest|den\w*|ly|ness)|sorrow\w*|grief|griev\w+|mourn\w*|miser\w+|unhapp\w+|depress\w+"
    r"|melanchol\w+|heartbr\w+|gloom\w*|despair\w*",
    "neutral": r"neutral\w*|indifferen\w+|calm\w*|bored|boring|boredom|emotionless",
    "amusement": r"amus\w+|fun|funn\w+|hilari\w+|humou?r\w*|comic\w*",
    "inspiration": r"inspir\w+|motivat\w+|uplift\w*|awe|awed|awesome|encourag\w+|aspir(?:e|es|ed|ing|ation)\w*|admir\w+"
    r"|ambitio\w+",
    "joy": r"(?:over|en)?joy\w*|happ(?:y|i)\w*|glad(?:ly|ness|den\w*)?|delight\w*|cheerful\w*|elat\w+|thrill\w*"
    r"|ecsta\w+|bliss\w*|jubila\w+|euphor\w+|excite\w*|excitement|pleas(?:ed|ure)\w*|merr[iy]\w*",
    "tenderness": r"tender\w*|affection\w*|(?:be)?lov(?:e[ds]?|ing|ingly)|fond|fond(?:ly|ness)|caring|compassion\w*"
    r"|gentl\w+|cherish\w*|ador(?:e|es|ed|ing|able)",
    "any": r"emotion\w*",
}
"""regular expressions of words that name an emotion; symptoms and gestures (tears, giggles, a dry mouth) show one"""

_NAMES = re.compile(rf"\b(?:{'|'.join(EMOTION_WORDS.values())})\b", re.IGNORECASE)
_PERSONS = {
    1: re.compile(r"\b(?:i|me|my|mine|myself|we|us|our|ours|ourselves)\b", re.IGNORECASE),
    2: re.compile(r"\b(?:you|your|yours|yourself|yourselves)\b", re.IGNORECASE),
    3: re.compile(r"\b(?:he|him|his|himself|she|her|hers|herself|they|them|their|theirs|themselves)\b", re.IGNORECASE),
}
_QUOTED = re.compile(r"[\"“][^\"”]*[\"”]")


@dataclass(frozen=True)
class Story:
    """One source text of an emotion; `set` is the balanced set it belongs to."""

    id: str
    emotion: str
    text: str
    set: str


@cache
def load_stories() -> tuple[Story, ...]:
    """All stories of both sets, by set and then in the order of `EMOTIONS`."""
    table = importlib.resources.files("valence").joinpath("stories.csv").read_text(encoding="utf-8")
    stories = [Story(**row) for row in csv.DictReader(table.splitlines())]
    return tuple(sorted(stories, key=lambda story: (story.set, EMOTIONS.index(story.emotion))))


def stories_hash(stories: tuple[Story, ...] | None = None) -> str:
    """16 hex digits over ids, emotions, sets and texts."""
    rows = load_stories() if stories is None else stories
    return canonical_hash([[story.id, story.emotion, story.set, story.text] for story in rows])


def named_emotions(text: str) -> list[str]:
    """Words of a text that name an emotion, lower case, in order."""
    return [match.group().lower() for match in _NAMES.finditer(text)]


def grammatical_person(text: str) -> int:
    """Person a text is told in: 1, 2 or 3, or 0 where it has no personal pronoun.

    The lowest person outside quotation marks: a story told to "you" may have a "her" in it, but not the reverse.
    """
    told = _QUOTED.sub(" ", text)
    return next((person for person, pronouns in _PERSONS.items() if pronouns.search(told)), 0)
