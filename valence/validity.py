"""Stage validity: activations of benchmark texts and an axis in, rows of a table out: what it predicts, beside others.

All predictors are measured on the same evaluation texts. The axis has seen no label of any benchmark, its sign
neither; the supervised references learn from training texts alone. Rows are dicts with the keys of COLUMNS.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from valence.axis_methods import choose_method
from valence.axis_pca import set_means, sign
from valence.benchmark_texts import BenchmarkTexts
from valence.cell import derive_seed
from valence.errors import BadInput
from valence.intervals import Measured, measure
from valence.stories import EMOTIONS, NEGATIVE, POSITIVE

COLUMNS = (
    *("benchmark", "kind", "dimension", "predictor", "measure", "value", "ci_low", "ci_high"),
    *("range_low", "range_high", "n", "n_training", "study"),
)
DOSE_COLUMNS = ("benchmark", "measure", "n_paraphrases", "draw", "value")
DOSES = (1, 3, 5, 9, 15, 25, 50)
"""paraphrases a story, as in the study"""
N_RANDOM = 200
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""C of the logistic regression, on standardised activations"""

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""activations (n, d), emotions (n,), sets (n,) to a unit direction (d,) with its sign"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paraphrases:
    """What an axis is fitted on."""

    activations: np.ndarray
    """(n_texts, d_model)"""
    emotions: np.ndarray
    sets: np.ndarray
    stories: np.ndarray
    """(n_texts,), id of the story of each"""

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.activations, self.emotions, self.sets, self.stories)}
        if len(lengths) != 1 or not len(self.activations):
            raise BadInput(
                f"paraphrases: {len(self.activations)} activations, {len(self.emotions)} emotions, "
                f"{len(self.sets)} sets, {len(self.stories)} stories",
                allowed="one of each for every paraphrase, at least one",
                do="write paraphrases first",
            )

    def __getitem__(self, rows: np.ndarray) -> "Paraphrases":
        return Paraphrases(
            activations=self.activations[rows],
            emotions=self.emotions[rows],
            sets=self.sets[rows],
            stories=self.stories[rows],
        )


def fit_of(method: str, sign_rule: str = "stories") -> Fit:
    """Directions by a row of `valence.axis_methods`, with a sign by a rule over the stories. Raises BadInput."""
    chosen = choose_method(method)

    def fit(activations: np.ndarray, emotions: np.ndarray, sets: np.ndarray) -> np.ndarray:
        direction, _ = chosen.fit(activations, emotions, sets, EMOTIONS)
        centroids = set_means(activations, emotions, sets, EMOTIONS).mean(axis=0)
        return direction * sign(centroids @ direction, EMOTIONS, rule=sign_rule)

    return fit


def zero_shot(loaded: BenchmarkTexts, scores: np.ndarray, *, predictor: str, n_training: int = 0) -> list[dict]:
    """Rows of one predictor of valence, (n_evaluation,): against valence and, where it is rated, arousal.

    Intervals hold that texts of one group (a document) are no independent texts.
    """
    kind, groups = loaded.benchmark.measure, loaded.evaluation.groups
    return [
        _row(
            loaded,
            dimension,
            predictor,
            measure(scores, truth, kind=kind if dimension == "valence" else "r", groups=groups),
            n_training,
        )
        for dimension, truth in loaded.evaluation.scores.items()
    ]


def axis_rows(loaded: BenchmarkTexts, evaluation: np.ndarray, direction: np.ndarray) -> list[dict]:
    """What the axis predicts, and the same after it is projected out, which leaves nothing of it by construction.

    evaluation : activations of the evaluation texts, (n_evaluation, d_model).
    """
    rows = zero_shot(loaded, evaluation @ direction, predictor="axis")
    return rows + zero_shot(
        loaded, _along(project_out(evaluation, direction), direction), predictor="axis projected out"
    )


def refitted_rows(
    loaded: BenchmarkTexts, evaluation: np.ndarray, direction: np.ndarray, paraphrases: Paraphrases, fit: Fit
) -> list[dict]:
    """An axis fitted again on paraphrases without the direction, and measured on texts without it."""
    rest = project_out(paraphrases.activations, direction)
    second = fit(rest, paraphrases.emotions, paraphrases.sets)
    scores = project_out(evaluation, direction) @ second
    return zero_shot(loaded, scores, predictor="axis refitted after projecting out")


def random_rows(
    loaded: BenchmarkTexts, evaluation: np.ndarray, paraphrases: Paraphrases, *, seed: int, n: int = N_RANDOM
) -> list[dict]:
    """Random directions, their sign from the stories as that of the axis: mean, and the range of 95 % of them.

    The range is that of directions, in columns of its own; the mean has no interval.
    """
    directions = np.random.default_rng(seed).standard_normal((n, evaluation.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centroids = np.stack([paraphrases.activations[paraphrases.emotions == name].mean(axis=0) for name in EMOTIONS])
    directions *= np.array([[sign(centroids @ one, EMOTIONS, rule="stories")] for one in directions])
    scores = evaluation @ directions.T
    rows = []
    for dimension, truth in loaded.evaluation.scores.items():
        kind = loaded.benchmark.measure if dimension == "valence" else "r"
        values = np.array([measure(of_one, truth, kind=kind).value for of_one in scores.T])
        low, high = np.percentile(values, [2.5, 97.5])
        row = _row(
            loaded, dimension, "random directions", Measured(float(values.mean()), np.nan, np.nan, len(truth)), 0
        )
        rows.append(row | {"range_low": float(low), "range_high": float(high)})
    return rows


def probe_rows(
    loaded: BenchmarkTexts, training: np.ndarray, evaluation: np.ndarray, *, predictor: str = "probe", seed: int = 0
) -> list[dict]:
    """A supervised reference on the same activations; no rows where there are too few training texts.

    training, evaluation : (n_training, d_model), (n_evaluation, d_model).
    """
    scores = supervised(loaded, training, evaluation, seed=seed)
    if scores is None:
        return []
    return zero_shot(loaded, scores, predictor=predictor, n_training=len(training))


def supervised(
    loaded: BenchmarkTexts, training: np.ndarray, evaluation: np.ndarray, *, seed: int = 0
) -> np.ndarray | None:
    """Scores of evaluation texts, (n_evaluation,), by what is learned from training texts; None below 20 of them.

    Logistic regression, its strength chosen on a fifth of the training groups; ridge regression for ratings, its
    strength by leave-one-out. Activations are standardised by the training texts.
    """
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GroupShuffleSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    truth, groups = loaded.training.scores["valence"], loaded.training.groups
    assert not set(groups) & set(loaded.evaluation.groups), "training and evaluation share a group"
    if len(truth) < 20 or np.ptp(truth) == 0:
        return None
    if loaded.benchmark.measure == "r":
        ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(0, 6, 13)))
        return ridge.fit(training, truth).predict(evaluation)

    def learned(rows: np.ndarray, strength: float):
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500)).fit(
            training[rows], truth[rows]
        )

    fitted, held_out = next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(training, truth, groups))
    strength = STRENGTHS[1]
    if np.ptp(truth[fitted]) and np.ptp(truth[held_out]):
        values = [
            measure(learned(fitted, one).decision_function(training[held_out]), truth[held_out], kind="AUC").value
            for one in STRENGTHS
        ]
        strength = STRENGTHS[int(np.argmax(values))]
    return learned(np.arange(len(truth)), strength).decision_function(evaluation)


def prototype_scores(texts: np.ndarray, stories: np.ndarray, emotions: np.ndarray) -> np.ndarray:
    """Cosine to the mean of positive stories minus cosine to the mean of negative ones: (n_texts,).

    texts, stories : sentence vectors, (n_texts, d) and (n_stories, d), rows of length 1.
    """
    positive, negative = (stories[np.isin(emotions, names)].mean(axis=0) for names in (POSITIVE, NEGATIVE))
    return texts @ (positive / np.linalg.norm(positive) - negative / np.linalg.norm(negative))


def project_out(activations: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Activations, (n, d), without their part along a unit direction."""
    return activations - np.outer(activations @ direction, direction)


def dose_curve(
    evaluated: Mapping[str, tuple[BenchmarkTexts, np.ndarray]],
    paraphrases: Paraphrases,
    fit: Fit,
    *,
    doses: Sequence[int] = DOSES,
    n_draws: int = 10,
    seed: int = 0,
) -> Iterator[dict]:
    """Validity of an axis refitted from n paraphrases of each story: rows benchmark, n_paraphrases, draw, value.

    Parameters
    ----------
    evaluated : by benchmark, its texts and the activations of those that are evaluated.
    doses : those above the smallest number of paraphrases of a story are left out; that number is added.
    n_draws : seeded draws of n paraphrases; one where every story gives all it has.
    """
    of_story = [np.flatnonzero(paraphrases.stories == name) for name in sorted(set(paraphrases.stories))]
    most, all_of_them = min(map(len, of_story)), max(map(len, of_story))
    for n in sorted({dose for dose in doses if dose < most} | {most}):
        for draw in range(1 if n == all_of_them else n_draws):
            random = np.random.default_rng(derive_seed(f"{seed}/{n}/{draw}", "dose"))
            drawn = paraphrases[np.concatenate([random.choice(rows, n, replace=False) for rows in of_story])]
            direction = fit(drawn.activations, drawn.emotions, drawn.sets)
            for name, (loaded, activations) in evaluated.items():
                truth, kind = loaded.evaluation.scores["valence"], loaded.benchmark.measure
                value = measure(activations @ direction, truth, kind=kind).value
                yield dict(zip(DOSE_COLUMNS, (name, kind, n, draw, value), strict=True))


def _along(activations: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Projections on a unit direction; exactly 0 where they are rounding errors, which would order the texts."""
    scores = activations @ direction
    scale = np.linalg.norm(activations, axis=1)
    return np.where(np.abs(scores) < 1e-5 * scale, 0.0, scores)


def _row(loaded: BenchmarkTexts, dimension: str, predictor: str, found: Measured, n_training: int) -> dict:
    printed = predictor if dimension == "valence" else dimension if predictor == "axis" else ""
    study = loaded.benchmark.study.get(printed, "")
    values = (
        *(loaded.benchmark.name, loaded.benchmark.kind, dimension, predictor),
        *(loaded.benchmark.measure if dimension == "valence" else "r",),
        *(found.value, found.low, found.high, np.nan, np.nan, found.n, n_training, study),
    )
    return dict(zip(COLUMNS, values, strict=True))
