"""Activations of a synthetic LLM whose valence direction is known: valence, style and noise, added up."""

import numpy as np

from valence.stories import EMOTIONS

VALENCE = np.array([-1.2, -1.0, -0.9, -1.1, 0.0, 0.9, 0.8, 1.3, 1.2])
D_MODEL = 40


def planted(
    *,
    strength=4.0,
    style=1.0,
    noise=1.0,
    identity=0.3,
    n=20,
    sets=("a", "b"),
    values=VALENCE,
    classes=EMOTIONS,
    seed=0,
    d_model=D_MODEL,
):
    """Texts: activations (n_texts, d_model), emotions, sets, and the unit direction.

    strength : of valence along the direction.
    style : of what a set has in common, and of a trait (length, say) that varies from text to text.
    identity : of what is a class's own in a set, beside valence.
    """
    random = np.random.default_rng(seed)
    direction, trait = np.linalg.qr(random.normal(size=(d_model, 2)))[0].T
    activations, emotions, names = [], [], []
    for name in sets:
        offset = style * random.normal(size=d_model)
        for emotion, value in zip(classes, values, strict=True):
            own = identity * random.normal(size=d_model)
            rows = strength * value * direction + offset + own + noise * random.normal(size=(n, d_model))
            activations.append(rows + style * random.normal(size=(n, 1)) * trait)
            emotions += [emotion] * n
            names += [name] * n
    return np.concatenate(activations), np.array(emotions), np.array(names), direction


def angle_degrees(x, y):
    return float(np.degrees(np.arccos(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1))))
