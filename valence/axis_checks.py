"""Stage axis: what stands beside an axis, so that style, sampling or one lucky set cannot pass for valence."""

import re

import numpy as np

from valence.axis_pca import SIGN_RULES, first_component, positions, set_means, sign
from valence.stories import grammatical_person

STYLE_LIMIT = 0.666
"""|r| over nine classes with two-sided p = .05"""
AGREEMENT_LIMIT = 0.666
_YOU = re.compile(r"\b(?:you|your|yours|yourself|yourselves)\b", re.IGNORECASE)


def bootstrap_positions(
    activations: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    direction: np.ndarray,
    *,
    classes: tuple[str, ...],
    n_bootstrap: int,
    seed: int,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Standard error (n_classes,) and 95 % interval (n_classes, 2) of the class positions.

    Resamples paraphrases within class and set and fits the direction again each time, its sign that of the fitted
    direction. The stories stay as they are: how far another set of stories would lead, the agreement of the sets
    tells. None, None for n_bootstrap 0.
    """
    if n_bootstrap == 0:
        return None, None
    random = np.random.default_rng(seed)
    groups = [
        [np.flatnonzero((emotions == name) & (sets == set_name)) for name in classes] for set_name in sorted(set(sets))
    ]
    draws = np.empty((n_bootstrap, len(classes)))
    for draw in draws:
        centroids = np.mean(
            [[activations[random.choice(group, len(group))].mean(axis=0) for group in of_set] for of_set in groups],
            axis=0,
        )
        component, _ = first_component(centroids)
        draw[:] = positions(centroids, component * (1.0 if component @ direction >= 0 else -1.0))
    return draws.std(axis=0, ddof=1), np.percentile(draws, [2.5, 97.5], axis=0).T


def notes_of_axis(
    means: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    direction: np.ndarray,
    *,
    classes: tuple[str, ...],
    sign_rule: str,
    texts: list[str] | None,
    n_tokens: np.ndarray | None,
) -> dict[str, object]:
    """Checks as a JSON-able dict: sign, agreement of sets, style, and the sentences under "warnings".

    Parameters
    ----------
    means : (n_sets, n_classes, d_model), see `valence.axis_pca.set_means`.
    """
    projections = means.mean(axis=0) @ direction
    signs = {rule: sign(projections, classes, rule=rule) for rule in SIGN_RULES}
    warnings = []
    if signs["stories"] != signs["joy"]:
        warnings.append(
            f'the sign is that of the rule "{sign_rule}"; positive against negative stories and "joy is positive" '
            "disagree here"
        )
    notes: dict[str, object] = {"sign_rule": sign_rule, "sign_rules_agree": signs["stories"] == signs["joy"]}
    notes["sets"] = agreement = _agreement_of_sets(means, sorted(set(sets)), classes, sign_rule)
    if agreement["correlation"] is not None and agreement["correlation"] < AGREEMENT_LIMIT:
        warnings.append(
            f"the story sets order the classes differently: r = {agreement['correlation']:.2f} between their axes"
        )
    notes["style"] = style = _style(means @ direction, emotions, sets, classes=classes, texts=texts, n_tokens=n_tokens)
    for trait, by_set in style.items():
        warnings += [
            f"in set {set_name} the class positions follow {trait.replace('_', ' ')}: r = {value:.2f}"
            for set_name, value in by_set.items()
            if value is not None and abs(value) > STYLE_LIMIT
        ]
    return notes | {"warnings": warnings}


def _agreement_of_sets(means: np.ndarray, names: list[str], classes: tuple[str, ...], sign_rule: str) -> dict:
    """Axes fitted to each set alone: their positions, and cosine and correlation between the first two."""
    directions, by_set, explained = [], {}, {}
    for name, centroids in zip(names, means, strict=True):
        component, share = first_component(centroids)
        directions.append(component * sign(centroids @ component, classes, rule=sign_rule))
        by_set[name] = [round(float(value), 6) for value in positions(centroids, directions[-1])]
        explained[name] = round(share, 6)
    pair = len(names) > 1
    return {
        "class_positions": by_set,
        "explained_variance": explained,
        "cosine": round(float(directions[0] @ directions[1]), 6) if pair else None,
        "correlation": correlation(np.array(by_set[names[0]]), np.array(by_set[names[1]])) if pair else None,
    }


def _style(
    projections: np.ndarray,
    emotions: np.ndarray,
    sets: np.ndarray,
    *,
    classes: tuple[str, ...],
    texts: list[str] | None,
    n_tokens: np.ndarray | None,
) -> dict[str, dict[str, float | None]]:
    """Correlation, per set, of class positions with what has to be the same in all classes; null where it is.

    projections : (n_sets, n_classes), of the set's class means on the axis.
    """
    traits: dict[str, np.ndarray] = {}
    if n_tokens is not None:
        traits["length_in_tokens"] = np.asarray(n_tokens, dtype=float)
    if texts is not None:
        traits["grammatical_person"] = np.array([grammatical_person(text) for text in texts], dtype=float)
        traits["use_of_you"] = np.array([_share_of_you(text) for text in texts])
    result: dict[str, dict[str, float | None]] = {}
    for trait, values in traits.items():
        by_class = set_means(values[:, None], emotions, sets, classes)[..., 0]
        result[trait] = {
            set_name: correlation(of_set, trait_of_set)
            for set_name, of_set, trait_of_set in zip(sorted(set(sets)), projections, by_class, strict=True)
        }
    return result


def correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's r; None where one of the two is constant."""
    if np.ptp(x) < 1e-12 or np.ptp(y) < 1e-12:
        return None
    return round(float(np.corrcoef(x, y)[0, 1]), 6)


def _share_of_you(text: str) -> float:
    """Words of the second person per word."""
    return len(_YOU.findall(text)) / max(len(text.split()), 1)
