"""Stage agreement: paraphrases and clips of one reading in, positions of classes and clips on its axis out.

With a method that is told the polarity of the classes, class positions are held-out ones: a set's classes on the axis
of the other sets. On their own axis they would follow the polarity in any noise.
"""

from dataclasses import dataclass

import numpy as np

from valence.axis_pca import set_means
from valence.stories import EMOTIONS
from valence.validity import Fit, Paraphrases


@dataclass(frozen=True)
class Finder:
    """Positions by one method."""

    fit: Fit
    supervised: bool

    def levels(self, paraphrases: Paraphrases, clips: np.ndarray | None) -> dict[str, np.ndarray]:
        """Of classes, (9,), where there are any, and of clips."""
        direction = self._direction(paraphrases)
        of_clips = {} if clips is None else {"clips": clips @ direction}
        if not self.supervised:
            return {"classes": _centroids(paraphrases) @ direction} | of_clips
        by_set = self.by_set(paraphrases)
        # sets differ in style: each is centred before the mean
        centred = [positions - positions.mean() for positions in by_set.values()]
        return ({"classes": np.mean(centred, axis=0)} if centred else {}) | of_clips

    def by_set(self, paraphrases: Paraphrases) -> dict[str, np.ndarray]:
        """Of classes, (9,), in each set; none where there is one set."""
        names = sorted(set(paraphrases.sets))
        parts = {name: paraphrases[paraphrases.sets == name] for name in names} if len(names) > 1 else {}
        return {
            name: _centroids(part) @ self._direction(paraphrases[paraphrases.sets != name] if self.supervised else part)
            for name, part in parts.items()
        }

    def _direction(self, paraphrases: Paraphrases) -> np.ndarray:
        return self.fit(paraphrases.activations, paraphrases.emotions, paraphrases.sets)


def _centroids(paraphrases: Paraphrases) -> np.ndarray:
    return set_means(paraphrases.activations, paraphrases.emotions, paraphrases.sets, EMOTIONS).mean(axis=0)
