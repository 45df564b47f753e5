"""What a study's axis in CLIP's text space says of pictures, which lie in the same space."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cluster.axis_reading import OnEvent, read_encoder, safe
from cluster.axis_request import StudyRequest
from valence.activation_files import read_to_files
from valence.axis_null_rows import NULL_COLUMNS
from valence.cell import canonical_hash
from valence.concepts import fit_concept, load_concept
from valence.encoder_networks import ClipEncoder
from valence.encoders import encoder_folder, encoder_hash, encoder_kind, load_encoder
from valence.errors import BadInput
from valence.images import Images
from valence.llms import engine_version
from valence.validity import COLUMNS, Paraphrases, fit_of, zero_shot

AROUSAL, AXIS_OF_AROUSAL, RIDGE = "arousal", "axis of arousal", "ridge"
N_FOLDS = 10
NO_CLIP = "no CLIP is among the encoders: --encoders with a folder or hub id, such as openai/clip-vit-base-patch32"


class ImageEngine:
    """CLIP's pictures read as texts of an LLM with one layer; a picture goes by the hash of its file."""

    def __init__(self, name: str, images: Images):
        self._name = name
        self._files = dict(zip(images.rated.evaluation.texts, images.files, strict=True))
        self._encoder: ClipEncoder | None = None

    def identity(self) -> str:
        return canonical_hash([encoder_hash(self._name), "images", engine_version("transformers")])

    def n_layers(self) -> int:
        return 1

    def activations(self, texts: Sequence[str], *, layers: Sequence[int], pooling: str = "last") -> np.ndarray:
        if self._encoder is None:
            encoder = load_encoder(self._name)
            assert isinstance(encoder, ClipEncoder)
            self._encoder = encoder
        return self._encoder.encode_images([self._files[text] for text in texts])[:, None, :]


def image_validity(request: StudyRequest, paraphrases: Paraphrases, texts: Sequence[str], on_event: OnEvent):
    """Rows of validity of each CLIP among the encoders; one row that says so where there is none.

    Parameters
    ----------
    paraphrases, texts : that the axis is fitted on, emotions and sets; activations of another encoder are not used.
    """
    assert request.images is not None
    clips = [name for name in request.encoders if encoder_kind(encoder_folder(name)) == "clip"]
    if not clips:
        row = request.images.rated.benchmark
        empty = {"llm": "CLIP", "benchmark": row.name, "kind": row.kind, "dimension": "valence", "predictor": "axis"}
        numbers = {"measure": "r", "n": len(request.images.files), "n_training": 0, "study": row.study.get("axis", "")}
        missing = {**empty, **numbers, "value": np.nan, "reason": NO_CLIP}
        return pd.DataFrame([missing], columns=["llm", *COLUMNS, *NULL_COLUMNS])
    frames = [_of_clip(request, request.images, name, paraphrases, texts, on_event) for name in clips]
    return pd.concat(frames, ignore_index=True)


def _of_clip(
    request: StudyRequest,
    images: Images,
    name: str,
    paraphrases: Paraphrases,
    texts: Sequence[str],
    on_event: OnEvent,
) -> pd.DataFrame:
    parts = {"paraphrases": tuple(texts), AROUSAL: tuple(row.text for row in load_concept(AROUSAL))}
    encoded = read_encoder(request, name, parts, on_event)
    files = read_to_files(
        ImageEngine(name, images),
        images.rated.evaluation.texts,
        request.out / "encoders" / safe(name) / "images",
        layers=[0],
        on_event=lambda line: on_event(f"{name}, images: {line.removeprefix('activations: ')}"),
    )
    vectors = files.layer(0).astype(float)
    fit = fit_of(request.method, request.sign_rule)
    direction = fit(encoded["paraphrases"].astype(float), paraphrases.emotions, paraphrases.sets)
    rows = zero_shot(images.rated, vectors @ direction, predictor="axis")
    # what the study prints for arousal is of an axis of its own
    rows = [row | {"study": ""} if row["dimension"] == AROUSAL else row for row in rows]
    if AROUSAL in images.rated.evaluation.scores:
        rows += _arousal_rows(images, vectors, encoded[AROUSAL].astype(float))
    rows += _ridge_rows(images, vectors)
    return pd.DataFrame(rows, columns=[*COLUMNS, *NULL_COLUMNS]).assign(llm=name)


def _arousal_rows(images: Images, vectors: np.ndarray, encoded: np.ndarray) -> list[dict]:
    """Arousal on its own axis, by the same recipe; a reason where CLIP tells its texts not apart."""
    texts = load_concept(AROUSAL)
    levels, sets = (np.array([getattr(row, field) for row in texts]) for field in ("level", "set"))
    reason, scores = "", np.zeros(len(vectors))
    try:
        scores = vectors @ fit_concept(encoded, levels, sets, n_bootstrap=0).direction
    except BadInput as error:
        reason = str(error).splitlines()[0]
    found = zero_shot(images.rated, scores, predictor=AXIS_OF_AROUSAL)
    rows = [row | {"study": images.rated.benchmark.study.get(AROUSAL, "")} for row in found]
    rows = [row | {"value": np.nan, "reason": reason} if reason else row for row in rows]
    return [row for row in rows if row["dimension"] == AROUSAL]


def _ridge_rows(images: Images, vectors: np.ndarray) -> list[dict]:
    """Ridge regression on the pictures themselves, each predicted without any of its theme; none for few themes."""
    groups, rows = images.rated.evaluation.groups, []
    n_folds = min(N_FOLDS, len(set(groups.tolist())))
    if n_folds < 2:
        return []
    for dimension, truth in images.rated.evaluation.scores.items():
        ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(0, 6, 13)))
        scores = cross_val_predict(ridge, vectors, truth, groups=groups, cv=GroupKFold(n_folds))
        found = zero_shot(images.rated, scores, predictor=RIDGE, n_training=len(truth) - len(truth) // n_folds)
        rows += [row for row in found if row["dimension"] == dimension]
    return rows
