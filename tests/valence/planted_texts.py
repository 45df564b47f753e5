"""Activations with a planted valence direction, and benchmarks whose truth is known."""

import numpy as np

from valence.axis_pca import first_component, set_means, sign
from valence.benchmark_texts import BenchmarkTexts, Texts
from valence.benchmarks import benchmark
from valence.stories import EMOTIONS, NEGATIVE, POSITIVE
from valence.validity import Paraphrases

D_MODEL = 24
VALENCE = {name: -1.0 for name in NEGATIVE} | {name: 1.0 for name in POSITIVE} | {"neutral": 0.0}


def unit(random, d_model=D_MODEL):
    direction = random.standard_normal(d_model)
    return direction / np.linalg.norm(direction)


def fit_pca(activations, emotions, sets):
    """The study's axis, by plain calls."""
    centroids = set_means(activations, emotions, sets, EMOTIONS).mean(axis=0)
    direction, _ = first_component(centroids)
    return direction * sign(centroids @ direction, EMOTIONS, rule="stories")


def planted_paraphrases(direction, *, n=20, strength=3.0, noise=1.0, seed=0, sets=("a", "b")) -> Paraphrases:
    random = np.random.default_rng(seed)
    rows = [(name, of_set, f"{of_set}-{name}") for of_set in sets for name in EMOTIONS for _ in range(n)]
    emotions, in_sets, stories = (np.array(column) for column in zip(*rows, strict=True))
    values = np.array([VALENCE[name] for name in emotions])
    activations = strength * np.outer(values, direction) + noise * random.standard_normal((len(rows), len(direction)))
    return Paraphrases(activations=activations, emotions=emotions, sets=in_sets, stories=stories)


def planted_benchmark(direction, *, n=400, n_training=300, strength=1.0, seed=1, name="sst2"):
    """A benchmark, and activations of its evaluation and training texts, in which the truth moves along a direction.

    Returns
    -------
    BenchmarkTexts, (n, d) evaluation, (n_training, d) training
    """
    random = np.random.default_rng(seed)
    row = benchmark(name)
    parts, activations = [], []
    for split, size in (("evaluation", n), ("training", n_training)):
        truth = np.arange(size) % 2 * 1.0 if row.measure == "AUC" else random.standard_normal(size)
        scores = {"valence": truth}
        if "arousal" in row.scores:
            scores["arousal"] = random.standard_normal(size)
        names = np.array([f"{split} {index}" for index in range(size)])
        parts.append(Texts(texts=tuple(names), scores=scores, groups=names))
        centred = truth - truth.mean()
        activations.append(strength * np.outer(centred, direction) + random.standard_normal((size, len(direction))))
    loaded = BenchmarkTexts(benchmark=row, evaluation=parts[0], training=parts[1], facts={})
    return loaded, activations[0], activations[1]
