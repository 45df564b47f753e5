"""Ensembles, the control: baseline cells in, the accuracy of ensembles of as many of them out.

What an ensemble gains by its members being several, any cells give. So its accuracy is read beside ensembles of
baseline cells that were as many to choose from, chosen by the same rule, no two of one seed.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from valence.ensemble import Members, by_subject, mixed
from valence.ensemble_selection import RULES, right, sample_weights, votes
from valence.errors import BadInput
from valence.registry import unknown_name

AT_ONCE = 2**26
"""numbers that are held at once"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Controls:
    """Ensembles of baseline cells."""

    accuracy: np.ndarray
    """test balanced accuracy of each draw, (n_draws,)"""
    subject_accuracy: np.ndarray
    """mean over draws by test subject, (n_subjects,), in the order of their names"""
    size: int
    """cells that each draw chose from"""
    n_seeds: int
    """different seeds there were to draw from"""

    @property
    def n_apart(self) -> int:
        """Draws that could share no seed with each other: what the spread between draws rests on."""
        return self.n_seeds // self.size

    def share_at_least(self, accuracy: float) -> float:
        """Share of draws at least as accurate, the ensemble itself counted among them."""
        return float((1 + (self.accuracy >= accuracy - 1e-12).sum()) / (1 + len(self.accuracy)))


def equal_size_controls(
    pool: Members,
    size: int,
    *,
    rule: str = "uniform",
    keep: int | None = None,
    pooling: str = "softmax",
    exclude_seeds: Collection[int] = (),
    n_draws: int = 1000,
    seed: int = 0,
) -> Controls:
    """Ensembles of so many baseline cells each, drawn without replacement, no two cells of one seed.

    Parameters
    ----------
    pool : baseline cells, tested on the samples of the ensemble they are held against.
    size : cells of a draw: as many as the ensemble had to choose from.
    rule, keep : the ensemble's own rule and size, applied to each draw on validation.
    exclude_seeds : seeds of the ensemble under test, so that it shares no initial weights with its controls.

    Raises
    ------
    BadInput : where there are fewer seeds than members.
    """
    if rule not in RULES:
        raise unknown_name("rule of ensembles", rule, list(RULES))
    by_seed = {
        number: np.flatnonzero(np.array(pool.seeds) == number) for number in sorted({*pool.seeds} - {*exclude_seeds})
    }
    if not 1 <= size <= len(by_seed) or n_draws < 1:
        raise BadInput(
            f"{n_draws} controls of {size} cells from {len(by_seed)} seeds ({len({*pool.seeds})} in all, "
            f"{len({*pool.seeds} & {*exclude_seeds})} left out)",
            allowed=f"1 draw or more, of 1 to {len(by_seed)} cells of different seeds",
            do="train more baseline seeds, or take fewer members",
        )
    random = np.random.default_rng(seed)
    seeds = list(by_seed)
    weights = np.zeros((n_draws, len(pool)))
    for draw in weights:
        drawn = [random.choice(by_seed[seeds[at]]) for at in random.choice(len(seeds), size, replace=False)]
        draw[drawn] = RULES[rule](pool.validation.only(np.array(drawn)), keep, pooling)
    accuracy, by_name = _tested(pool, weights, pooling)
    return Controls(accuracy=accuracy, subject_accuracy=by_name, size=size, n_seeds=len(seeds))


def _tested(pool: Members, weights: np.ndarray, pooling: str) -> tuple[np.ndarray, np.ndarray]:
    test, given = pool.test, votes(pool.test, pooling)
    weigh = sample_weights(test.labels)
    accuracy, total = [], np.zeros(len(np.unique(test.subjects)))
    for some in np.array_split(weights, -(-weights.shape[0] * given[0].size // AT_ONCE)):
        correct = right(mixed(given, some, pooling), test.labels)
        accuracy.append(correct @ weigh)
        total += by_subject(correct, test)[0].sum(0)
    return np.concatenate(accuracy), total / len(weights)
