"""Stage validity, tables: an axis and what was read in, positions of classes, stories, texts and clips, and of other
concepts, out.
"""

import numpy as np
import pandas as pd

from valence.axis import Axis
from valence.axis_pca import first_component, set_means
from valence.concepts import concept_texts, concepts, fit_concept, held_out_separation
from valence.stories import load_stories
from valence.study_read import Read
from valence.validity import Paraphrases, project_out


def position_table(read: Read, axis: Axis, paraphrases: Paraphrases, *, clips: tuple[str, ...] = ()) -> pd.DataFrame:
    """Positions on the axis, in units of sd over classes, and on the component next to it, for the picture.

    level is class, paraphrase, story or clip; clips are z-scored over clips (another kind of text) and have no second
    coordinate.
    """
    classes = np.array(axis.classes)
    centroids = set_means(paraphrases.activations, paraphrases.emotions, paraphrases.sets, axis.classes).mean(axis=0)
    second = first_component(project_out(centroids, axis.direction))[0]
    centre = centroids.mean(axis=0)
    scales = [(centroids @ axis.direction).std(), (centroids @ second).std()]

    def placed(level: str, activations: np.ndarray, names: np.ndarray, emotions: np.ndarray) -> pd.DataFrame:
        along = [(activations - centre) @ unit / scale for unit, scale in zip((axis.direction, second), scales)]
        columns = {"level": level, "name": names, "emotion": emotions, "position": along[0], "second": along[1]}
        return pd.DataFrame(columns)

    stories = load_stories()
    parts = [
        placed("class", centroids, classes, classes).assign(
            **{} if axis.interval is None else {"ci_low": axis.interval[:, 0], "ci_high": axis.interval[:, 1]}
        ),
        placed("paraphrase", paraphrases.activations, paraphrases.stories, paraphrases.emotions),
        placed(
            "story",
            read.files["stories"].layer(axis.layer),
            np.array([story.id for story in stories]),
            np.array([story.emotion for story in stories]),
        ),
    ]
    if axis.clip_positions is not None:
        parts.append(pd.DataFrame({"level": "clip", "name": list(clips), "position": axis.clip_positions}))
    return pd.concat(parts, ignore_index=True)


def concept_table(read: Read, axis: Axis) -> pd.DataFrame:
    """The same recipe for other concepts: how well an axis sorts texts of the set it has not seen, and its cosine with
    the axis of valence, which is to be small.
    """
    texts = concept_texts()
    activations = read.files["concepts"].layer(axis.layer)
    rows = []
    for name in concepts():
        taken = np.array([row.concept == name for row in texts])
        levels, sets = (np.array([getattr(row, field) for row in texts])[taken] for field in ("level", "set"))
        fitted = fit_concept(activations[taken], levels, sets, n_bootstrap=0)
        separation = held_out_separation(activations[taken], levels, sets)
        cosine = float(fitted.direction @ axis.direction)
        rows.append({"concept": name, "held_out_auc": separation, "cosine_with_valence": cosine, "n": int(taken.sum())})
    return pd.DataFrame(rows)
