"""Stage paraphrases: how far one text is from others in words, with nothing to download."""

from collections.abc import Sequence

import numpy as np

from valence.stories import Story


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
