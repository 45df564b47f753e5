"""Ensembles of classifiers from what they predicted: cells in, weights fitted on validation and test scores out.

Needs saved predictions alone: `ensemble(read_kept(folder), "greedy")`. Rules choose on validation samples
(`valence.ensemble_selection`); test labels are read by `Ensemble.scores` and by tables (`valence.ensemble_report`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from valence import metrics
from valence.ensemble_selection import RULES, Sample, accuracies, right, sample_weights, votes
from valence.errors import BadInput
from valence.kept import TEST, VALIDATION, Kept, check_samples
from valence.registry import unknown_name
from valence.reliability import fit_temperature


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Cells that answered the same samples."""

    names: tuple[str, ...]
    """of each member, its cell id"""
    seeds: tuple[int, ...]
    validation: Sample
    test: Sample

    def __len__(self) -> int:
        return len(self.names)

    def only(self, chosen: Sequence[int] | np.ndarray) -> "Members":
        """Some of the members."""
        chosen = np.asarray(chosen, dtype=int)
        return Members(
            names=tuple(self.names[member] for member in chosen),
            seeds=tuple(self.seeds[member] for member in chosen),
            validation=self.validation.only(chosen),
            test=self.test.only(chosen),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """Weights of members, and the temperature of their mixture."""

    rule: str
    members: tuple[str, ...]
    weights: np.ndarray
    """(n_members,), sum 1; 0 for a member that was left out"""
    pool: str = "softmax"
    """what is averaged: "softmax" (probabilities) or "logits" """
    temperature: float = 1.0
    """the mixture's log-probabilities are divided by it; fitted on validation"""

    @property
    def n_members(self) -> int:
        """Members with a weight."""
        return int((self.weights > 0).sum())

    def mixture(self, sample: Sample) -> np.ndarray:
        """Log-probabilities of the mixture, float64, (n, n_classes), before the temperature."""
        return mixed(votes(sample, self.pool), self.weights, self.pool)

    def log_probabilities(self, sample: Sample) -> np.ndarray:
        """Log-probabilities at the ensemble's temperature, up to a constant a sample: logits for valence.metrics."""
        return self.mixture(sample) / self.temperature

    def scores(self, sample: Sample) -> dict[str, float | None]:
        """All scores of valence.metrics on some samples."""
        return metrics.scores(self.log_probabilities(sample), sample.labels)


def mixed(given: np.ndarray, weights: np.ndarray, pool: str) -> np.ndarray:
    """Votes (n_members, n, n_classes) and weights (..., n_members) to log-probabilities (..., n, n_classes), float64.

    Of logits they are as averaged, so up to a constant a sample.
    """
    mean = np.tensordot(np.asarray(weights, dtype=np.float64), given, axes=1)
    return np.log(np.maximum(mean, np.finfo(np.float32).tiny)) if pool == "softmax" else mean


def members(kept: Sequence[Kept]) -> Members:
    """Stack cells that answered the same samples.

    Raises
    ------
    BadInput : where samples differ, a cell is there twice, or there is no validation part to choose on.
    """
    check_samples(kept)
    names = tuple(cell.cell_id for cell in kept)
    if not kept or len(set(names)) != len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise BadInput(
            f"{len(names)} members{f', repeated: {repeated}' if repeated else ''}",
            allowed="one cell or more, each once (repeats come from weights)",
            do="name each cell once",
        )
    for part in (VALIDATION, TEST):
        if not len(kept[0].rows(part)):
            raise BadInput(
                f"cell {names[0]} has no {part} samples",
                allowed="predictions of both parts: members are chosen on validation alone",
                do="run the sweep again with this version, which keeps validation predictions",
            )
    return Members(
        names=names,
        seeds=tuple(cell.seed for cell in kept),
        **{part: _sample(kept, kept[0].rows(part)) for part in (VALIDATION, TEST)},
    )


def fit(
    validation: Sample,
    names: Sequence[str],
    rule: str = "uniform",
    *,
    size: int | None = None,
    pool: str = "softmax",
    temperature: bool = False,
) -> Ensemble:
    """Choose and weigh members on validation samples.

    Parameters
    ----------
    validation : as `Members.validation`; test samples have no business here.
    names : of the members, in the order of `validation.logits`.
    rule : one of `valence.ensemble_selection.RULES`.
    size : members taken (greedy: rounds); None: the rule says how many.
    pool : "softmax" averages probabilities, "logits" logits.
    temperature : fit one for the mixture, too.

    Raises
    ------
    BadInput : for an unknown rule or pool, or a size that cannot be.
    """
    if rule not in RULES:
        raise unknown_name("rule of ensembles", rule, list(RULES))
    if size is not None and (size < 1 or (rule != "greedy" and size > len(names))):
        raise BadInput(
            f"an ensemble of {size} from {len(names)} members by rule {rule!r}",
            allowed=f"1 to {len(names)} (greedy takes members again, so any number of rounds)",
            do="ask for fewer, or give more cells",
        )
    found = Ensemble(rule=rule, members=tuple(names), weights=RULES[rule](validation, size, pool), pool=pool)
    if not temperature:
        return found
    return replace(found, temperature=fit_temperature(found.mixture(validation), validation.labels))


def ensemble(kept: Sequence[Kept], rule: str = "uniform", **options) -> tuple[Ensemble, dict[str, float | None]]:
    """Fit on the validation part of cells and score on their test part; options are those of `fit`."""
    given = members(kept)
    found = fit(given.validation, given.names, rule, **options)
    return found, found.scores(given.test)


def by_strength(strength: np.ndarray, size: int, *, lowest: bool = False) -> np.ndarray:
    """Weights (n_members,) of the `size` members with the highest (lowest) strength, the same for each.

    For the study's "top 7 of 10 by residual encoding". The strength has to come from validation samples.
    """
    strength = np.asarray(strength, dtype=float)
    if not 1 <= size <= len(strength) or not np.isfinite(strength).all():
        raise BadInput(
            f"{size} of {len(strength)} members by a strength with {int((~np.isfinite(strength)).sum())} gaps",
            allowed="1 to all members, a finite strength each",
            do="leave out the members without a strength",
        )
    chosen = np.argsort(strength if lowest else -strength, kind="stable")[:size]
    return np.bincount(chosen, minlength=len(strength)) / size


def leave_one_out(given: Members, *, pool: str = "softmax") -> np.ndarray:
    """What each member gives to the uniform ensemble of all: its test accuracy less that without the member, (m,).

    Raises BadInput below two members.
    """
    n = len(given)
    if n < 2:
        raise BadInput("leaving one of one member out", allowed="2 members or more", do="give more cells")
    all_votes = votes(given.test, pool).astype(np.float64)
    total, weigh = all_votes.sum(0), sample_weights(given.test.labels)
    without = right(total - all_votes, given.test.labels) @ weigh
    return float(right(total, given.test.labels) @ weigh) - without


def by_subject(ensembles_right: np.ndarray, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Right answers (..., n) to balanced accuracy of each subject (..., n_subjects), and the subjects' names."""
    names, of = np.unique(sample.subjects, return_inverse=True)
    weigh = np.zeros((len(sample.labels), len(names)))
    for subject in range(len(names)):
        weigh[of == subject, subject] = sample_weights(sample.labels[of == subject])
    return ensembles_right @ weigh, names


def single_accuracies(given: Members) -> np.ndarray:
    """Test balanced accuracy of each member by itself, (n_members,)."""
    return accuracies(given.test)


def _sample(kept: Sequence[Kept], rows: np.ndarray) -> Sample:
    features = [cell.features for cell in kept]
    return Sample(
        logits=np.stack([cell.logits[rows] for cell in kept]),
        labels=kept[0].labels[rows],
        subjects=kept[0].subjects[rows],
        features=tuple(each[rows] for each in features if each is not None)
        if all(each is not None for each in features)
        else None,
    )
