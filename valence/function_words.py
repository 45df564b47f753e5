"""Stage stories: the closed class of English words, which carry grammar and next to no meaning of their own."""

import re

_LISTED = """
a about above across after again against all almost along already also although always am among an and another any
anybody anyone anything anywhere are around as at away back be became because been before behind being below
beneath beside besides between beyond both but by can cannot could did do does doing done down during each either
else enough even ever every everybody everyone everything everywhere except few for from further had has have
having he her here hers herself him himself his how however i if in indeed inside instead into is it its itself
just least less like many may me might mine more most much must my myself near neither never next no nobody none
nor not nothing now nowhere of off often on once one only onto or other others ought our ours ourselves out
outside over own past perhaps quite rather same several shall she should since so some somebody someone something
somewhere soon still such than that the their theirs them themselves then there therefore these they this those
though through throughout thus till to together too toward towards under until up upon us very was we well were
what whatever when whenever where wherever whether which while who whoever whom whose why will with within without
would yet you your yours yourself yourselves
"""
FUNCTION_WORDS = frozenset(_LISTED.split())
_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)?")


def is_function_word(word: str) -> bool:
    """True for a word of the closed class, contracted ("didn't", "she'd") or not, in any case."""
    whole = word.lower().replace("’", "'")
    stem, _, ending = whole.partition("'")
    negated = stem.removesuffix("n") if ending == "t" else stem
    return bool({whole, stem, negated} & FUNCTION_WORDS) or whole in ("can't", "won't", "shan't")


def share_of_function_words(text: str) -> float:
    """Function words per word, 0 … 1: near .45 in English prose, near 0 in another language; 0 without words."""
    words = _WORD.findall(text.lower())
    return sum(map(is_function_word, words)) / len(words) if words else 0.0
