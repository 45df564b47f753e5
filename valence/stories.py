"""Stage stories: a table of short texts in, `Story(id, emotion, text, set)` out.

Nine emotions, two sets. Within a set all stories share the scene (a parcel opened, a look out of the window), the
build of their two sentences, grammatical person and number of its pronouns, tense, opening words and, within two
words, length, so that none of these can be mistaken for valence: set a speaks to "you", set b tells of "she". The
published set of one story per class does not hold this, and there the axis follows the person. The emotion is shown
and never named, not by a near-synonym either. `nonce_stories` keeps all of that and takes the meaning away.
"""

import csv
import importlib.resources
import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from valence.cell import canonical_hash, derive_seed
from valence.function_words import is_function_word

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


_CONTENT = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?")
_ENDINGS = ("ing", "ed", "'s", "’s", "ly", "s")
"""kept, so that a sentence keeps its grammar and tense"""
_LISTED = """
amaze amazed amazon aziz belize benz biz blaze daze dazed dozen eliza gaza gaze gazed gazing gomez kazan laz laze
lazed liz liza lopez luz luzon magazine maze mazed menz minimize munoz nazi nunez ozone paz pizza vez viz zag zagged
zane zap zapped zeal zed zeke zen zev zip zip zone zoned zoning zulu
"""
_REAL_WORDS = frozenset(_LISTED.split())
"""what the generator could make and English has"""


def nonce_text(text: str, seed: int = 0) -> str:
    """The text with every content word replaced by a pronounceable nonce word of the same length.

    Function words, punctuation, capitals and the endings -ed, -ing, -ly, -s and 's stay, and with them person, tense,
    length and build. A word has the same nonce word in every text of one seed, so texts still differ from each other
    as much as before; what they tell of is gone.
    """
    return _CONTENT.sub(lambda match: _nonce_of(match.group(), seed), text)


def nonce_stories(stories: tuple[Story, ...] | None = None, seed: int = 0) -> tuple[Story, ...]:
    """The stories as nonce texts, under ids of their own; emotion and set are those of the source."""
    rows = load_stories() if stories is None else stories
    return tuple(Story(f"{row.id}-nonce{seed}", row.emotion, nonce_text(row.text, seed), row.set) for row in rows)


def _nonce_of(word: str, seed: int) -> str:
    lower = word.lower()
    if len(word) < 3 or is_function_word(word):
        return word
    ending = next((ending for ending in _ENDINGS if lower.endswith(ending) and len(lower) - len(ending) >= 3), "")
    stem = lower[: len(lower) - len(ending)]
    random = np.random.default_rng(derive_seed(f"{seed}/{stem}", "nonce"))
    while True:
        letters = _syllables(len(stem), random)
        if letters not in _REAL_WORDS and letters + ending not in _REAL_WORDS:
            break
    made = letters + ending
    return "".join(new.upper() if old.isupper() else new for old, new in zip(word, made, strict=True))


def _syllables(length: int, random: np.random.Generator) -> str:
    """Consonants and vowels in turn, with a z among them, which few English words have."""
    while True:
        first = int(random.integers(2))
        letters = "".join(random.choice(list(("bdgklmnpvz", "aeiou")[(first + place) % 2])) for place in range(length))
        if "z" in letters:
            return letters
