"""Ensembles, the choice: predictions of members on validation samples in, a weight for each member out.

Every rule takes a `Sample` of the validation part and nothing else, so what is chosen cannot depend on test labels. The
mixture that all of them weigh is Σ_m w_m softmax(z_m), or softmax(Σ_m w_m z_m) where logits are pooled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from valence.errors import BadInput

GAP = 1e-5
"""nats per sample by which a fitted mixture may be worse than the best one; its certificate is checked, not assumed"""
MOST_STEPS = 20_000
GREEDY_ROUNDS = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Samples of one part, as all members see them."""

    logits: np.ndarray
    """float, (n_members, n, n_classes)"""
    labels: np.ndarray
    """int64, (n,)"""
    subjects: np.ndarray
    """(n,)"""
    features: tuple[np.ndarray, ...] | None = None
    """of each member (n, D), where all of them are kept"""

    def only(self, chosen: np.ndarray) -> "Sample":
        """The same samples as some of the members see them."""
        features = None if self.features is None else tuple(self.features[member] for member in chosen)
        return replace(self, logits=self.logits[chosen], features=features)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last dimension, in the precision of the logits."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def votes(sample: Sample, pool: str) -> np.ndarray:
    """What is averaged over members, float32, (n_members, n, n_classes): "softmax" probabilities, or "logits"."""
    if pool not in ("softmax", "logits"):
        raise BadInput(f"pool {pool!r}", allowed="softmax, logits", do="take one of these")
    return softmax(sample.logits) if pool == "softmax" else sample.logits


def sample_weights(labels: np.ndarray) -> np.ndarray:
    """Weights (n,) with which the mean of right answers is balanced accuracy: 1 / (classes there · samples of its)."""
    counts = np.bincount(labels)
    return 1 / ((counts > 0).sum() * counts[labels])


def right(pooled: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Bool (..., n): whether the largest of pooled (..., n, n_classes), of equal ones the first, is the label's."""
    return pooled.argmax(-1) == labels


def accuracies(sample: Sample) -> np.ndarray:
    """Balanced accuracy of each member by itself, (n_members,)."""
    return right(sample.logits, sample.labels) @ sample_weights(sample.labels)


def entropies(pooled: np.ndarray, labels: np.ndarray, pool: str) -> np.ndarray:
    """Mean negative log-likelihood, nats, of pooled (..., n, n_classes): probabilities, or logits."""
    of_label = np.take_along_axis(pooled, np.broadcast_to(labels, pooled.shape[:-1])[..., None], -1)[..., 0]
    if pool == "softmax":
        return -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean(-1)
    largest = pooled.max(-1)
    return (largest + np.log(np.exp(pooled - largest[..., None]).sum(-1)) - of_label).mean(-1)


def best_prefix(sample: Sample, order: np.ndarray, pool: str) -> int:
    """How many of the members in this order (repeats count) average best: accuracy, then entropy, then fewest."""
    running = np.zeros(sample.logits.shape[1:])
    weigh, found = sample_weights(sample.labels), []
    all_votes = votes(sample, pool)
    for n, member in enumerate(order, start=1):
        running += all_votes[member]
        accuracy = right(running, sample.labels) @ weigh
        found.append((-round(float(accuracy), 12), float(entropies(running / n, sample.labels, pool)), n))
    return min(found)[2]


def uniform(sample: Sample, size: int | None, pool: str) -> np.ndarray:
    """Every member the same; with a size, the members best by validation accuracy."""
    chosen = np.arange(len(sample.logits)) if size is None else _ranked(accuracies(sample))[:size]
    return _shares(chosen, len(sample.logits))


def best_single(sample: Sample, size: int | None, pool: str) -> np.ndarray:
    """The one member with the highest validation accuracy."""
    return _shares(_ranked(accuracies(sample))[:1], len(sample.logits))


def weighted(sample: Sample, size: int | None, pool: str) -> np.ndarray:
    """Weights on the simplex with the highest validation likelihood of Σ w p: a convex problem, solved to `GAP`.

    By expectation–maximisation (Dempster, Laird & Rubin 1977): w_m ← w_m g_m, g_m = mean_i p_m(y_i) / Σ w p(y_i). As
    max_m log g_m bounds what any other weights could gain, the end is certain and not a number of steps. With a size,
    among the members best by validation accuracy. Source: Breiman 1996, Stacked regressions, with Wolpert's simplex.
    """
    if pool != "softmax":
        raise BadInput(f"rule 'weighted' with pool {pool!r}", allowed="softmax", do="take it, or another rule")
    chosen = np.arange(len(sample.logits)) if size is None else _ranked(accuracies(sample))[:size]
    likelihood = np.take_along_axis(
        softmax(sample.logits[chosen].astype(np.float64)), sample.labels[None, :, None], axis=2
    )[..., 0]
    likelihood = np.maximum(likelihood, 1e-12)
    shares = np.full(len(chosen), 1 / len(chosen))
    for _ in range(MOST_STEPS):
        gain = (likelihood / (shares @ likelihood)).mean(1)
        if np.log(gain.max()) < GAP:
            break
        shares = shares * gain
        shares /= shares.sum()
    weights = np.zeros(len(sample.logits))
    weights[chosen] = shares
    return weights


def greedy(sample: Sample, size: int | None, pool: str) -> np.ndarray:
    """Forward selection with replacement by balanced accuracy of the average; ties go to the lower entropy.

    Without a size, the best prefix of `GREEDY_ROUNDS`. Source: Caruana et al. 2004, Ensemble selection from libraries
    of models.
    """
    # classes first and each sample's label as class 0, so that a round is a few passes over (n_members, n)
    labels, (n_members, n, n_classes) = sample.labels, sample.logits.shape
    turned = (labels[:, None] + np.arange(n_classes)) % n_classes
    given = np.take_along_axis(votes(sample, pool).astype(np.float32), turned[None], 2)
    own, others = np.ascontiguousarray(given[..., 0]), np.ascontiguousarray(np.moveaxis(given[..., 1:], 2, 0))
    weigh, total = sample_weights(labels).astype(np.float32), np.zeros((n_classes, n), dtype=np.float32)
    order: list[int] = []
    for _ in range(size or GREEDY_ROUNDS):
        highest = others[0] + total[1]
        for other, so_far in zip(others[1:], total[2:]):
            np.maximum(highest, other + so_far, out=highest)
        accuracy = (own + total[0] > highest) @ weigh
        tied = np.flatnonzero(accuracy >= accuracy.max() - 1e-6)
        summed = np.concatenate([own[None, tied], others[:, tied]]) + total[:, None]
        mean = np.moveaxis(summed, 0, 2) / (len(order) + 1)
        order.append(int(tied[entropies(mean, np.zeros(n, dtype=np.int64), pool).argmin()]))
        total += np.concatenate([own[None, order[-1]], others[:, order[-1]]])
    kept = size or best_prefix(sample, np.array(order), pool)
    return np.bincount(order[:kept], minlength=n_members) / kept


def residual_diversity(sample: Sample, size: int | None, pool: str) -> np.ndarray:
    """Members as good as the best whose within-class residuals correlate least.

    From the best member on, the one joins next whose mean residual correlation (`residual_correlations`, of features
    where `sample` has them, else of logits) with those chosen is lowest. Eligible are members within 2 standard errors
    (binomial, of a difference) of the best validation accuracy, then the others by accuracy. Without a size, the best
    prefix.

    Source: the covariance term of an average's error, 1/M variance + (1 - 1/M) covariance (Ueda & Nakano 1996; Krogh &
    Vedelsby 1995), of which selection leaves the first alone.
    """
    accuracy = accuracies(sample)
    correlation = residual_correlations(sample)
    order = _ranked(accuracy)
    best = accuracy[order[0]]
    margin = 2 * np.sqrt(2 * best * (1 - best) / len(sample.labels))
    chosen, waiting = [int(order[0])], [int(member) for member in order[1:]]
    while waiting and len(chosen) < (size or len(order)):
        able = [member for member in waiting if accuracy[member] >= best - margin] or waiting[:1]
        chosen.append(min(able, key=lambda member: correlation[member, chosen].mean()))
        waiting.remove(chosen[-1])
    kept = size or best_prefix(sample, np.array(chosen), pool)
    return _shares(np.array(chosen[:kept]), len(accuracy))


def snapshots(sample: Sample, size: int | None, pool: str) -> np.ndarray:
    """The last epochs of one training, members being its epochs in order; how many, validation says without a size.

    Source: Huang et al. 2017, Snapshot ensembles.
    """
    order = np.arange(len(sample.logits))[::-1]
    return _shares(order[: size or best_prefix(sample, order, pool)], len(order))


Rule = Callable[[Sample, int | None, str], np.ndarray]
RULES: Mapping[str, Rule] = {
    rule.__name__: rule for rule in (uniform, best_single, weighted, greedy, residual_diversity, snapshots)
}
"""how members are chosen and weighed, by name"""


def residual_correlations(sample: Sample) -> np.ndarray:
    """How alike two members' within-class residuals are, (n_members, n_members), 1 on the diagonal.

    With r_mi = v_mi - mean of v_mj over j of the same label: of logits (v centred over classes, which softmax ignores)
    Σ_i r_mi · r_m'i / (‖r_m‖ ‖r_m'‖); of features, whose dimensions mean nothing across members, linear CKA
    ‖R_mᵀ R_m'‖² / (‖R_mᵀ R_m‖ ‖R_m'ᵀ R_m'‖) (Kornblith et al. 2019).
    """
    if sample.features is None:
        centred = sample.logits - sample.logits.mean(2, keepdims=True)
        rows = _residuals(np.moveaxis(centred, 0, 1), sample.labels)
        flat = np.moveaxis(rows, 1, 0).reshape(len(sample.logits), -1)
        return _normed(flat @ flat.T)
    residuals = [_residuals(member, sample.labels) for member in sample.features]
    squared = np.zeros((len(residuals), len(residuals)))
    for first, of_first in enumerate(residuals):
        for second in range(first, len(residuals)):
            squared[first, second] = squared[second, first] = np.square(of_first.T @ residuals[second]).sum()
    return _normed(squared)


def _residuals(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Values (n, ...) less the mean of their class."""
    left = np.array(values, dtype=np.float32)
    for label in np.unique(labels):
        left[labels == label] -= left[labels == label].mean(0)
    return left


def _normed(products: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.diag(products))
    safe = np.where(norms > 0, norms, 1)
    return products / safe / safe[:, None]


def _ranked(accuracy: np.ndarray) -> np.ndarray:
    """Members from the best to the worst; of equal ones the first comes first."""
    return np.argsort(-accuracy, kind="stable")


def _shares(chosen: np.ndarray, n_members: int) -> np.ndarray:
    return np.bincount(chosen, minlength=n_members) / len(chosen)
