"""Stage axis: the ways to get one direction out of labelled activations, in one table. Adding one is adding a row.

All take texts (n_texts, d_model) with a class and a story set each, and let every set weigh the same. The three
supervised methods are told which classes are positive and negative: the polarity their stories were written with,
never a label of an evaluation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from valence.axis_pca import check_differ, check_sign_rule, first_component, polarity, set_means
from valence.errors import BadInput


@dataclass(frozen=True)
class Labelled:
    """Texts to fit a direction on."""

    activations: np.ndarray
    """float (n_texts, d_model)"""
    emotions: np.ndarray
    """(n_texts,), class name of each text"""
    sets: np.ndarray
    """(n_texts,), story set of each text; every class in every set"""
    classes: tuple[str, ...]
    codes: np.ndarray
    """(n_classes,), negative, 0 or positive"""

    @cached_property
    def means(self) -> np.ndarray:
        """(n_sets, n_classes, d_model)"""
        return set_means(self.activations, self.emotions, self.sets, self.classes)

    @cached_property
    def centroids(self) -> np.ndarray:
        """(n_classes, d_model), every set of the same weight"""
        return self.means.mean(axis=0)


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the table."""

    name: str
    formula: str
    source: str
    supervised: bool
    """whether it is told the polarity of the classes"""
    of_texts: bool = False
    """whether more than the class means of each set counts"""
    n_bootstrap: int
    """draws of `fit_axis` where none are asked for"""
    find: Callable[[Labelled], np.ndarray]
    """a direction of any length"""

    def fit(
        self,
        activations: np.ndarray,
        emotions: np.ndarray,
        sets: np.ndarray,
        classes: tuple[str, ...],
        *,
        codes: np.ndarray | None = None,
    ) -> tuple[np.ndarray, float]:
        """The direction and the share of the centroids' variance that lies along it.

        Parameters
        ----------
        activations : float array, (n_texts, d_model)
        emotions, sets : (n_texts,), class name and story set of each text; every class in every set.
        codes : (n_classes,), negative, 0 or positive; None: by `valence.axis_pca.polarity`.

        Returns
        -------
        float64 (d_model,) of length 1, of either sign for "pca" and positive for the others; and 0 … 1.

        Raises BadInput where a supervised method has no positive or no negative class, or nothing differs.
        """
        codes = polarity(classes) if codes is None else np.asarray(codes, dtype=np.float64)
        return self.fit_labelled(Labelled(activations, emotions, sets, classes, codes))

    def fit_labelled(self, labelled: Labelled) -> tuple[np.ndarray, float]:
        """As `fit`."""
        if self.supervised:
            check_sign_rule("stories", labelled.classes, labelled.codes)
        check_differ(labelled.centroids)
        found = self.find(labelled)
        length = np.linalg.norm(found)
        if not length > 0:
            raise BadInput(
                f"axis by {self.name}: positive and negative texts have the same activations",
                allowed="activations that differ between them",
                do="read another layer",
            )
        direction = found / length
        centred = _centred(labelled.centroids)
        return direction, float(np.sum((centred @ direction) ** 2) / np.sum(centred**2))


def choose_method(name: str) -> Method:
    """The method of a name. Raises BadInput for an unknown one."""
    if name not in METHODS:
        raise BadInput(f"unknown axis method {name!r}", allowed=", ".join(METHODS), do="take one of these")
    return METHODS[name]


def _pca(labelled: Labelled) -> np.ndarray:
    return first_component(labelled.centroids)[0]


def _mean_difference(labelled: Labelled) -> np.ndarray:
    centroids, codes = labelled.centroids, labelled.codes
    return centroids[codes > 0].mean(axis=0) - centroids[codes < 0].mean(axis=0)


def _contrast_pairs(labelled: Labelled) -> np.ndarray:
    positive, negative = labelled.means[:, labelled.codes > 0], labelled.means[:, labelled.codes < 0]
    pairs = (positive[:, :, None] - negative[:, None, :]).reshape(-1, positive.shape[-1])
    # Not centred: the mean of the differences is what is sought. Pairs of random sign have mean 0 and the same PC1.
    component = np.linalg.svd(pairs, full_matrices=False)[2][0]
    return component if pairs.mean(axis=0) @ component >= 0 else -component


def _lda(labelled: Labelled) -> np.ndarray:
    code_of = dict(zip(labelled.classes, labelled.codes, strict=True))
    side = np.array([code_of[name] for name in labelled.emotions])
    texts = np.array(labelled.activations, dtype=np.float64)
    for name, mean in zip(sorted(set(labelled.sets)), labelled.means.mean(axis=1), strict=True):
        texts[labelled.sets == name] -= mean
    return two_class_discriminant(texts[side > 0], texts[side < 0])


def two_class_discriminant(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Σ⁻¹ (μ₊ − μ₋): float64 (d_model,), Σ the mean of both classes' Ledoit–Wolf covariances.

    Solved in the space of texts (Woodbury's identity), so that d_model may be many thousand. The same as sklearn's
    LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf(), priors=[.5, .5]).
    """
    factors, ridge = [], 0.0
    for rows in (positive, negative):
        centred = _centred(rows)
        shrinkage, scale = _ledoit_wolf(centred)
        factors.append(np.sqrt(0.5 * (1.0 - shrinkage) / len(rows)) * centred)
        ridge += 0.5 * shrinkage * scale
    factor = np.concatenate(factors)
    difference = positive.mean(axis=0) - negative.mean(axis=0)
    spread = np.sum(factor**2)
    if spread + ridge == 0:  # one text, or the same text over and over: no scatter to correct for
        return difference
    ridge = max(ridge, 1e-10 * spread / factor.shape[1])
    inner = factor @ factor.T + ridge * np.eye(len(factor))
    return (difference - factor.T @ np.linalg.solve(inner, factor @ difference)) / ridge


def _ledoit_wolf(centred: np.ndarray) -> tuple[float, float]:
    """Shrinkage 0 … 1 of centred rows (n, d), and the mean variance they are shrunk to.

    Ledoit and Wolf 2004, doi 10.1016/S0047-259X(03)00096-4, from the n × n products alone.
    """
    n, d = centred.shape
    products = centred @ centred.T
    squares = np.sum(products**2) / n**2
    scale = np.trace(products) / n / d
    noise = (np.sum(np.diag(products) ** 2) / n - squares) / (d * n)
    distance = squares / d - scale**2
    noise = min(noise, distance)
    return (float(noise / distance) if noise > 0 else 0.0), float(scale)


def _centred(rows: np.ndarray) -> np.ndarray:
    return rows - rows.mean(axis=0)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        row.name: row
        for row in (
            Method(
                name="pca",
                formula="PC1 of the centred class centroids",
                source="arXiv:2606.00129, the study's",
                supervised=False,
                n_bootstrap=1000,
                find=_pca,
            ),
            Method(
                name="mean_difference",
                formula="mean of the positive minus mean of the negative class centroids",
                source="Marks and Tegmark 2024, arXiv:2310.06824 (difference in means)",
                supervised=True,
                n_bootstrap=1000,
                find=_mean_difference,
            ),
            Method(
                name="lda",
                formula="Σ⁻¹ (μ₊ − μ₋) over texts, each set centred, Σ shrunk by Ledoit and Wolf",
                source="Fisher 1936, doi 10.1111/j.1469-1809.1936.tb02137.x; as scikit-learn's",
                supervised=True,
                of_texts=True,
                n_bootstrap=100,
                find=_lda,
            ),
            Method(
                name="contrast_pairs",
                formula="PC1, not centred, of all differences of a positive and a negative story of the same set",
                source="Zou et al. 2023, arXiv:2310.01405 (representation engineering), as repeng does",
                supervised=True,
                n_bootstrap=1000,
                find=_contrast_pairs,
            ),
        )
    }
)
"""by name"""
