"""Stage validity, nulls: what was read of one LLM in, one row of the table of validity for each null of its axis out.

A null of other activations is of the same number of texts as what it is compared with: the same stories in nonce words,
the same paraphrases as an untrained network reads them. The observed r is of these texts then, and not of all.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from valence.axis import Axis
from valence.axis_evidence import RANDOM, nulls_of_texts, polarity_r
from valence.axis_nulls import Null, null_of_other_activations
from valence.errors import BadInput
from valence.stories import load_stories
from valence.study_read import Read
from valence.validity import Paraphrases

NULL_COLUMNS = ("null", "null_mean", "null_95", "p", "n_null", "reason")
CLASSES = "classes"
"""what stands in the place of a benchmark: the nine classes and their polarity"""
NONCE, UNTRAINED = "nonce words", "untrained networks"
PER_STORY = 2
"""paraphrases that each untrained network reads"""

Found = Null | str
"""a null, or why there is none"""


def first_of_each_story(stories: np.ndarray, n: int = PER_STORY) -> np.ndarray:
    """Rows of the first n texts of each story, in order: int (n_taken,). stories : (n_texts,), ids."""
    return np.sort(np.concatenate([np.flatnonzero(stories == name)[:n] for name in dict.fromkeys(stories.tolist())]))


def nulls_of_axis(read: Read, axis: Axis, paraphrases: Paraphrases, *, seed: int = 0) -> dict[str, Found]:
    """Every null of an axis by its name, or why there is none."""
    texts = (paraphrases.activations, paraphrases.emotions, paraphrases.sets)
    nulls: dict[str, Found] = {**nulls_of_texts(*texts, method=axis.method, classes=axis.classes, seed=seed)}
    nulls.setdefault(RANDOM, f"{axis.method} is told the polarity of the classes, and no random direction is")
    stories, nonce = read.files["stories"].layer(axis.layer), []
    if "nonce" in read.files:
        nonce = np.split(of_all := read.files["nonce"].layer(axis.layer), len(of_all) // len(stories))
    nulls[NONCE] = null_of_nonce(stories, nonce, method=axis.method)
    rows = first_of_each_story(paraphrases.stories)
    few = paraphrases[rows]
    others = [files.layer(axis.layer) for files in read.untrained]
    nulls[UNTRAINED] = null_of_untrained(
        few.activations, others, few.emotions, few.sets, method=axis.method, reason=read.reason
    )
    return nulls


def null_of_nonce(stories: np.ndarray, nonce: Sequence[np.ndarray], *, method: str) -> Found:
    """r of an axis of the stories themselves, against axes of the stories in nonce words.

    Parameters
    ----------
    stories : activations of `load_stories`, (n_stories, d_model).
    nonce : the same of `nonce_stories`, one array for each seed.
    method : of the axis.
    """
    emotions, sets = (np.array([getattr(story, field) for story in load_stories()]) for field in ("emotion", "set"))
    return _null(NONCE, stories, nonce, emotions, sets, method, "not asked for (--nonce 0)")


def null_of_untrained(
    trained: np.ndarray,
    others: Sequence[np.ndarray],
    emotions: np.ndarray,
    sets: np.ndarray,
    *,
    method: str,
    reason: str = "",
) -> Found:
    """r of an axis of some paraphrases, against axes of networks of the LLM's shape with random weights.

    Parameters
    ----------
    trained : activations of the paraphrases, (n_texts, d_model).
    others : the same of each untrained network.
    emotions, sets : (n_texts,)
    reason : why there are no others.
    """
    return _null(UNTRAINED, trained, others, emotions, sets, method, reason)


def _null(
    name: str,
    observed: np.ndarray,
    others: Sequence[np.ndarray],
    emotions: np.ndarray,
    sets: np.ndarray,
    method: str,
    reason: str,
) -> Found:
    if not len(others):
        return reason
    try:
        values = [polarity_r(one, emotions, sets, method=method) for one in (observed, *others)]
    except BadInput as error:  # texts that are all the same, as at layer 0
        return str(error).splitlines()[0]
    if not np.isfinite(values).all():
        return "a class or set cannot be held out of these texts"
    return null_of_other_activations(name, values[0], values[1:])


def null_rows(nulls: Mapping[str, Found], *, n_classes: int) -> list[dict[str, object]]:
    """Rows for the table of validity: value is the observed r, and null_95 what one in twenty of the null exceeds."""
    rows = []
    for name, found in nulls.items():
        row: dict[str, object] = {
            **{"benchmark": CLASSES, "kind": "null", "dimension": "valence", "predictor": "axis", "measure": "r"},
            **{"n": n_classes, "n_training": 0, "study": "", "null": name},
        }
        if isinstance(found, str):
            row |= {"value": np.nan, "n_null": 0, "reason": found}
        else:
            row |= {"value": found.observed, "null_mean": found.mean, "null_95": found.quantile_95}
            row |= {"p": found.p_value, "n_null": found.n, "reason": ""}
        rows.append(row)
    return rows
