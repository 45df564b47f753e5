"""What a study compares its LLMs with, and how far they agree: encoders, an NLI classifier, words, and each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cluster.axis_images import image_validity
from cluster.axis_reading import OnEvent, read_encoder
from cluster.axis_request import StudyRequest
from valence.agreement import SENTENCES, WORDS, Reading, agreement, words_reading
from valence.axis_methods import choose_method
from valence.encoders import MINILM, encoder_folder, encoder_kind
from valence.stories import load_stories
from valence.validity import COLUMNS, Paraphrases, fit_of, prototype_scores, zero_shot

ENCODER = "encoder"
"""family of what is no LLM"""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What encoders reach and read."""

    validity: list[pd.DataFrame]
    readings: list[Reading]


def read_encoders(request: StudyRequest, first: Reading, on_event: OnEvent) -> Encoded:
    """Encoders on the texts that the first LLM reads: zero-shot validity, and readings to compare with."""
    evaluated = {name: loaded.evaluation.texts for name, loaded in request.benchmarks.items()}
    stories = load_stories()
    validity, readings = [], []
    for name in request.encoders:
        texts = {"paraphrases": tuple(first.texts), "stories": tuple(story.text for story in stories)}
        texts |= {"clips": tuple(request.clips.values())} if request.clips else {}
        encoded = read_encoder(
            request, name, texts | {f"evaluation/{key}": of for key, of in evaluated.items()}, on_event
        )
        reading = Reading(
            llm=name,
            family=ENCODER,
            texts=first.texts,
            paraphrases=replace(first.paraphrases, activations=encoded["paraphrases"]),
            clips=encoded.get("clips"),
        )
        readings.append(reading)
        validity.append(_encoder_validity(request, name, encoded, reading.paraphrases))
    if request.nli is not None and evaluated:
        scores = read_encoder(request, request.nli, evaluated, on_event, nli=True)
        rows = [
            row
            for key, loaded in request.benchmarks.items()
            for row in zero_shot(loaded, scores[key][:, 0].astype(float), predictor="NLI")
        ]
        validity.append(pd.DataFrame(rows, columns=list(COLUMNS)).assign(llm=Path(request.nli).name))
    if request.images is not None:
        validity.append(image_validity(request, first.paraphrases, first.texts, on_event))
    return Encoded(validity=validity, readings=readings)


def _encoder_validity(
    request: StudyRequest, name: str, encoded: Mapping[str, np.ndarray], paraphrases: Paraphrases
) -> pd.DataFrame:
    """Prototypes from the stories, and the axis fitted to the encoder's vectors as to an LLM's."""
    emotions = np.array([story.emotion for story in load_stories()])
    direction = fit_of(request.method, request.sign_rule)(
        paraphrases.activations, paraphrases.emotions, paraphrases.sets
    )
    rows = []
    for key, loaded in request.benchmarks.items():
        vectors = encoded[f"evaluation/{key}"].astype(float)
        prototypes = prototype_scores(vectors, encoded["stories"].astype(float), emotions)
        rows += zero_shot(loaded, prototypes, predictor="sentence prototypes")
        # the study prints nothing of the sort
        rows += [row | {"study": ""} for row in zero_shot(loaded, vectors @ direction, predictor="axis")]
    return pd.DataFrame(rows, columns=list(COLUMNS)).assign(llm=name)


def compare(request: StudyRequest, llms: Sequence[Reading], encoders: Sequence[Reading]) -> pd.DataFrame:
    """Pairs of LLMs and encoders; what words and sentences give the same texts is taken out of LLMs that share them."""
    first = llms[0]
    given = {WORDS: words_reading(first.texts, first.paraphrases, tuple(request.clips.values()))}
    sentences = next((reading for reading in encoders if _is_sentences(reading.llm)), None)
    if sentences is not None:
        given[SENTENCES] = sentences
    words = replace(given[WORDS], llm="words (TF-IDF)", family=ENCODER)
    supervised = choose_method(request.method).supervised
    return agreement(
        [*llms, *encoders, words],
        fit_of(request.method, request.sign_rule),
        supervised=supervised,
        given=given,
        seed=request.seed,
    )


def _is_sentences(name: str) -> bool:
    return name == MINILM or encoder_kind(encoder_folder(name)) == "sentences"


def llms_only(table: pd.DataFrame) -> pd.DataFrame:
    """Pairs of LLMs."""
    return table[(table["family_a"] != ENCODER) & (table["family_b"] != ENCODER)]
