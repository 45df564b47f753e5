"""Stage agreement: what several LLMs read of stories and clips in, how far they agree and why, out.

Pairs agree at r over the nine class positions, and over clip positions. Two LLMs that read the same texts agree on
those texts whatever an emotion is, so r alone says little. Beside it stand:

- the interval over paraphrases (bootstrap, the same draw in both where they read the same texts) and the one over
  classes (Fisher's, which is wide with nine points: r = .70 has .07 … .93);
- a p value over class permutations, exact for nine classes, each turned by the stories as the axis is;
- r where the two read different story sets, against r where both read the same one: their difference comes from the
  shared texts. No text and no scene is common to two sets, only the emotions are; that is why this was preferred to
  halves of the paraphrases, which retell the same scenes;
- r of an LLM with itself over two sets, which bounds what two LLMs can reach;
- partial r given the positions that words alone, or a sentence encoder, give the same texts.

A method that is told the polarity of the classes would put them in its order in any noise, and any two LLMs would
agree. With such a method every class position, those by set included, is a held-out one: on the axis of the other sets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

from valence.agreement_positions import Finder
from valence.cell import canonical_hash, derive_seed
from valence.errors import BadInput
from valence.intervals import correlation, fisher_interval, partial_correlation, permutation_p
from valence.stories import EMOTIONS
from valence.validity import Fit, Paraphrases

WORDS, SENTENCES = "words", "sentences"
"""readings that are no LLM: what the partial correlations are given"""
COLUMNS = (
    *("llm_a", "llm_b", "family_a", "family_b", "relation", "level", "texts", "n", "r", "ci_low", "ci_high"),
    *("fisher_low", "fisher_high", "p_permutation", "r_same_set", "r_other_set", "from_shared_texts", "ceiling"),
    *("r_given_words", "r_given_sentences"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What one LLM, or an encoder, read."""

    llm: str
    family: str
    texts: Sequence[str]
    """the paraphrases"""
    paraphrases: Paraphrases
    clips: np.ndarray | None = None
    """(n_clips, d_model), activations of the clips' descriptions, the same clips for all"""


@dataclass(frozen=True, eq=False)
class _Positions:
    """Positions of one reading: of classes and clips, from all texts, from bootstrap draws, and from each set."""

    reading: Reading
    texts_hash: str
    levels: Mapping[str, np.ndarray]
    draws: Mapping[str, np.ndarray]
    sets: Mapping[str, np.ndarray]


def agreement(
    readings: Sequence[Reading],
    fit: Fit,
    *,
    supervised: bool = False,
    given: Mapping[str, Reading] | None = None,
    n_bootstrap: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Agreement of every pair, and of each reading with itself over two story sets.

    Parameters
    ----------
    supervised : whether `fit` is told the polarity of the classes: their positions are then held-out ones, there are no
        rows over classes for readings of one story set, and no permutation p, which would need the axis refitted.
    given : readings of the same texts by WORDS or SENTENCES, for the partial correlations.

    Returns
    -------
    DataFrame with COLUMNS; relation is self, same family or across families, level classes or clips; nan where a
    number does not exist (one story set, other texts, too few points). Clips count as many as there are classes in
    fisher_low and fisher_high: those of a class are no independent points.

    Raises
    ------
    BadInput : for no readings, two of one name, or clips that differ in number.
    """
    names = [reading.llm for reading in readings]
    n_clips = {len(reading.clips) for reading in readings if reading.clips is not None}
    if not names or len(set(names)) < len(names) or len(n_clips) > 1:
        raise BadInput(
            f"agreement of {', '.join(names) or 'nothing'}" + (f" over {n_clips} clips" if len(n_clips) > 1 else ""),
            allowed="readings of different LLMs over the same clips",
            do="name each LLM once, and read the same descriptions",
        )
    find = Finder(fit, supervised)
    found = [_positions(reading, find, n_bootstrap, seed) for reading in readings]
    others = {name: _positions(reading, find, 0, seed) for name, reading in (given or {}).items()}
    rows = [
        row if not supervised else row | {"p_permutation": np.nan}
        for a, b in combinations_with_replacement(found, 2)
        for level in a.levels
        if level in b.levels
        for row in [_row(a, b, level, others)]
        if a is not b or not np.isnan(row["r_other_set"])
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return _with_ceiling(table)


def families(table: pd.DataFrame, *, n_bootstrap: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mean agreement within and across families, beside the study's ".995 ± .003 within Qwen3".

    The interval is over LLMs, resampled whole: pairs that share an LLM are not independent. nan below four LLMs.
    """
    pairs = table[table["relation"] != "self"]
    rows = []
    for (level, relation), members in pairs.groupby(["level", "relation"], sort=True):
        low, high = _over_llms(members, n_bootstrap, seed)
        means = {name: members[name].mean() for name in ("r_same_set", "r_other_set", "from_shared_texts")}
        facts = {"level": level, "relation": relation, "n_pairs": len(members), "r": members["r"].mean()}
        rows.append(facts | {"sd": members["r"].std(ddof=1), "ci_low": low, "ci_high": high} | means)
    columns = ["level", "relation", "n_pairs", "r", "sd", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=[*columns, "r_same_set", "r_other_set", "from_shared_texts"])


def words_reading(texts: Sequence[str], paraphrases: Paraphrases, clips: Sequence[str] = ()) -> Reading:
    """The same texts as counts of words, weighted by TF-IDF: what agreement needs no LLM for."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(texts)
    return Reading(
        llm=WORDS,
        family="encoder",
        texts=texts,
        paraphrases=replace(paraphrases, activations=vectorizer.transform(texts).toarray()),
        clips=vectorizer.transform(clips).toarray() if len(clips) else None,
    )


def _positions(reading: Reading, find: Finder, n_bootstrap: int, seed: int) -> _Positions:
    """Fits of one reading; in as many dimensions as it has texts, which changes no projection and saves time."""
    paraphrases, clips = reading.paraphrases, reading.clips
    activations = np.asarray(paraphrases.activations, dtype=float)
    if activations.shape[1] > len(activations):
        basis = np.linalg.svd(activations, full_matrices=False)[2]
        activations, clips = activations @ basis.T, None if clips is None else clips @ basis.T
    paraphrases = replace(paraphrases, activations=activations)
    texts_hash = canonical_hash(list(reading.texts))
    random = np.random.default_rng(derive_seed(f"{seed}/{texts_hash}", "agreement"))
    draws = [find.levels(drawn, clips) for drawn in _resampled(paraphrases, n_bootstrap, random)]
    levels = find.levels(paraphrases, clips)
    return _Positions(
        reading=reading,
        texts_hash=texts_hash,
        levels=levels,
        draws={level: np.array([draw[level] for draw in draws]) for level in levels} if draws else {},
        sets=find.by_set(paraphrases),
    )


def _resampled(paraphrases: Paraphrases, n: int, random: np.random.Generator) -> Iterator[Paraphrases]:
    """Draws of as many paraphrases with replacement, within each story."""
    of_story = [np.flatnonzero(paraphrases.stories == name) for name in sorted(set(paraphrases.stories))]
    for _ in range(n):
        yield paraphrases[np.concatenate([random.choice(rows, len(rows)) for rows in of_story])]


def _row(a: _Positions, b: _Positions, level: str, others: Mapping[str, _Positions]) -> dict:
    one, two = a.levels[level], b.levels[level]
    r = correlation(one, two)
    shared = a.texts_hash == b.texts_hash
    low, high = fisher_interval(r, min(len(one), len(EMOTIONS)))
    on_classes = level == "classes"
    same, other = _over_sets(a, b) if on_classes else (np.nan, np.nan)
    same_family = "same family" if a.reading.family == b.reading.family else "across families"
    draws = zip(a.draws[level], b.draws[level], strict=True) if a.draws and a is not b else ()
    values = np.array([correlation(*pair) for pair in draws])
    interval = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
    partial = [
        partial_correlation(one, two, others[name].levels[level])
        if a is not b
        and name in others
        and level in others[name].levels
        and shared
        and others[name].texts_hash == a.texts_hash
        else np.nan
        for name in (WORDS, SENTENCES)
    ]
    names = (a.reading.llm, b.reading.llm, a.reading.family, b.reading.family, "self" if a is b else same_family)
    p = permutation_p(one, two) if on_classes and a is not b and np.ptp(one) and np.ptp(two) else np.nan
    values_of_row = (*names, level, "shared" if shared else "own", len(one), r, *interval, low, high, p)
    return dict(zip(COLUMNS, (*values_of_row, same, other, same - other, np.nan, *partial), strict=True))


def _over_sets(a: _Positions, b: _Positions) -> tuple[float, float]:
    """Mean r over pairs of the same story set, and over pairs of different ones; nan for one set."""
    names = [name for name in a.sets if name in b.sets]
    if len(names) < 2:
        return np.nan, np.nan
    same = [correlation(a.sets[name], b.sets[name]) for name in names]
    other = [correlation(a.sets[one], b.sets[two]) for one in names for two in names if one != two]
    return float(np.mean(same)), float(np.mean(other))


def _with_ceiling(table: pd.DataFrame) -> pd.DataFrame:
    """Geometric mean of the two LLMs' agreement with themselves over sets; 0 where one is not above 0."""
    own = table[table["relation"] == "self"].set_index("llm_a")["r_other_set"].clip(lower=0)
    product = table["llm_a"].map(own) * table["llm_b"].map(own)
    return table.assign(ceiling=np.sqrt(product.astype(float)).where(table["level"] == "classes"))


def _over_llms(pairs: pd.DataFrame, n_bootstrap: int, seed: int) -> tuple[float, float]:
    names = sorted({*pairs["llm_a"], *pairs["llm_b"]})
    if len(names) < 4:
        return np.nan, np.nan
    random = np.random.default_rng(derive_seed(f"{seed}/{','.join(names)}", "families"))
    a, b = (pairs[column].map(names.index).to_numpy() for column in ("llm_a", "llm_b"))
    values, means = pairs["r"].to_numpy(), []
    for _ in range(n_bootstrap):
        counts = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        weights = counts[a] * counts[b]
        if weights.sum():
            means.append(np.average(values, weights=weights))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
