"""Agreement on planted readings: what classes share and what texts alone share is told apart."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import statsmodels.api as sm

from tests.valence.planted_texts import VALENCE, fit_pca
from valence.agreement import (
    SENTENCES,
    WORDS,
    Reading,
    agreement,
    families,
    words_reading,
)
from valence.axis_methods import METHODS
from valence.errors import BadInput
from valence.intervals import fisher_interval, partial_correlation, permutation_p
from valence.stories import EMOTIONS, NEGATIVE, POSITIVE, load_stories
from valence.validity import Paraphrases, fit_of

N = 12
"""paraphrases a story"""
STORIES = [(f"{of_set}-{name}", name, of_set) for of_set in ("a", "b") for name in EMOTIONS]
ROWS = [story for story in STORIES for _ in range(N)]
TEXTS = [f"{story} told {index}" for index, (story, _, _) in enumerate(ROWS)]
LATENT = 6


def reading(llm, latent, *, family="one", noise=0.3, d_model=40, seed=0, clips=None, texts=TEXTS) -> Reading:
    """An LLM that maps what the texts have in them, (n_texts, LATENT), into its own activations."""
    random = np.random.default_rng([seed, *map(ord, llm)])
    mapping = random.standard_normal((LATENT, d_model)) / np.sqrt(d_model)
    activations = latent @ mapping + noise * random.standard_normal((len(latent), d_model)) / np.sqrt(d_model)
    stories, emotions, sets = (np.array(column) for column in zip(*ROWS, strict=True))
    paraphrases = Paraphrases(activations=activations, emotions=emotions, sets=sets, stories=stories)
    of_clips = None if clips is None else clips @ mapping
    return Reading(llm=llm, family=family, texts=texts, paraphrases=paraphrases, clips=of_clips)


def class_content(seed=0):
    """Every text holds the valence of its emotion, and scatter of its own."""
    random = np.random.default_rng(seed)
    latent = 0.3 * random.standard_normal((len(ROWS), LATENT))
    latent[:, 0] += 2 * np.array([VALENCE[name] + 0.3 * EMOTIONS.index(name) / 9 for _, name, _ in ROWS])
    return latent


def text_content(seed=0):
    """Every story holds something of its own that has nothing to do with its emotion."""
    random = np.random.default_rng(seed)
    scale = np.array([3.0, *[0.7] * (LATENT - 1)])
    of_story = {story: scale * random.standard_normal(LATENT) for story, _, _ in STORIES}
    return np.stack([of_story[story] for story, _, _ in ROWS]) + 0.3 * random.standard_normal((len(ROWS), LATENT))


def pair(table, level="classes"):
    return table[(table["relation"] != "self") & (table["level"] == level)].iloc[0]


def test_what_classes_share_is_found_across_story_sets():
    latent = class_content()
    row = pair(agreement([reading("x", latent), reading("y", latent)], fit_pca, n_bootstrap=60))
    assert row["r"] > 0.98
    assert row["r_other_set"] > 0.95
    assert abs(row["from_shared_texts"]) < 0.05
    assert row["ceiling"] > 0.95
    assert row["p_permutation"] < 0.01
    assert row["ci_low"] <= row["r"] <= row["ci_high"] + 1e-3
    assert row["fisher_high"] - row["fisher_low"] > row["ci_high"] - row["ci_low"]
    assert (row["relation"], row["texts"], row["n"]) == ("same family", "shared", 9)


def test_what_texts_alone_share_is_called_that():
    rows = []
    for seed in range(12):
        latent = text_content(seed)
        readings = [reading("x", latent, seed=seed), reading("y", latent, family="two", seed=seed)]
        rows.append(pair(agreement(readings, fit_pca, n_bootstrap=0)))
    r, same, other, shared = (
        np.array([row[name] for row in rows]) for name in ("r", "r_same_set", "r_other_set", "from_shared_texts")
    )
    assert r.mean() > 0.7, "two LLMs agree on stories that have no emotion in common"
    assert same.mean() > 0.7
    assert other.mean() < 0.45, "what is left is that both are turned by the same rule"
    assert shared.mean() > 0.3
    np.testing.assert_allclose(shared, same - other)
    assert {row["relation"] for row in rows} == {"across families"}


@pytest.mark.parametrize("method", METHODS)
def test_independent_noise_does_not_agree_by_any_method(method):
    """Two LLMs with nothing in common and nothing of an emotion in them, and more dimensions than classes."""
    supervised, rows = METHODS[method].supervised, []
    for seed in range(16):
        noise = [reading(name, np.zeros((len(ROWS), LATENT)), d_model=100, seed=seed) for name in ("x", "y")]
        rows.append(pair(agreement(noise, fit_of(method), supervised=supervised, n_bootstrap=0)))
    # by "pca" both are turned by the same stories, which is worth something, and which the permutation p holds
    limit = 0.25 if supervised else 0.5
    for column in ("r", "r_same_set", "r_other_set"):
        assert abs(np.mean([row[column] for row in rows])) < limit, column
    p = np.array([row["p_permutation"] for row in rows])
    assert np.isnan(p).all() if supervised else (p < 0.05).sum() <= 3


@pytest.mark.parametrize("method", METHODS)
def test_what_classes_share_is_found_by_every_method(method):
    latent, supervised = class_content(), METHODS[method].supervised
    readings = [reading("x", latent), reading("y", latent)]
    row = pair(agreement(readings, fit_of(method), supervised=supervised, n_bootstrap=10))
    assert row[["r", "r_same_set", "r_other_set", "ceiling"]].min() > 0.9
    assert row["ci_low"] <= row["r"] + 1e-3


def test_held_out_positions_of_one_story_set_do_not_exist():
    latent = class_content()
    one = [replace(of, paraphrases=of.paraphrases[of.paraphrases.sets == "a"], texts=TEXTS[: len(TEXTS) // 2],
                   clips=np.eye(12, 40))
           for of in (reading("x", latent), reading("y", latent))]  # fmt: skip
    table = agreement(one, fit_of("mean_difference"), supervised=True, n_bootstrap=5)
    assert set(table["level"]) == {"clips"}


def test_permutation_p_counts_all_orders_and_turns_each():
    random = np.random.default_rng(3)
    classes = ("anger", "fear", "neutral", "joy", "tenderness")

    def turned(values):
        up = np.mean([values[i] for i, name in enumerate(classes) if name in POSITIVE])
        down = np.mean([values[i] for i, name in enumerate(classes) if name in NEGATIVE])
        # the module weighs by all classes of a sign, of which these are two each
        return values if up / 2 - down / 2 >= 0 else -values

    a, b = turned(random.standard_normal(5)), turned(random.standard_normal(5))
    r = np.corrcoef(a, b)[0, 1]
    values = [np.corrcoef(a, turned(np.array(order)))[0, 1] for order in permutations(b)]
    assert permutation_p(a, b, classes) == pytest.approx(np.mean(np.array(values) >= r - 1e-9))


def test_permutation_p_is_no_smaller_than_it_should_be_without_agreement():
    random = np.random.default_rng(4)
    classes = EMOTIONS[:3] + EMOTIONS[5:8]
    weights = np.array([1.0 if name in POSITIVE else -1.0 for name in classes])
    ps = []
    for _ in range(400):
        a, b = random.standard_normal((2, 6))
        ps.append(permutation_p(a * np.sign(a @ weights), b * np.sign(b @ weights), classes))
    assert np.mean(np.array(ps) < 0.05) < 0.09
    assert 0.4 < np.mean(ps) < 0.6


def test_partial_correlation_is_that_of_two_regressions():
    random = np.random.default_rng(5)
    given, x, y = random.standard_normal((3, 28))
    x, y = x + given, y + 2 * given
    rest = [sm.OLS(values, sm.add_constant(given)).fit().resid for values in (x, y)]
    assert partial_correlation(x, y, given) == pytest.approx(np.corrcoef(*rest)[0, 1])
    assert np.isnan(partial_correlation(x[:3], y[:3], given[:3]))
    assert np.isnan(partial_correlation(x, 3 * given - 1, given)), "nothing is left of the second"


def test_clip_positions_and_what_words_explain_of_them():
    random = np.random.default_rng(6)
    latent = class_content()
    clips = random.standard_normal((28, LATENT))
    x, y = reading("x", latent, clips=clips), reading("y", latent, clips=clips)
    encoder = replace(reading("words", latent, noise=0.0, clips=clips), family="encoder")
    row = pair(agreement([x, y], fit_pca, given={WORDS: encoder}, n_bootstrap=20), "clips")
    assert row["n"] == 28
    # clips of a class are no independent points: as wide as over nine classes
    assert (row["fisher_low"], row["fisher_high"]) == fisher_interval(row["r"], 9)
    assert row["r"] > 0.9
    assert abs(row["r_given_words"]) < abs(row["r"])
    assert np.isnan(row["r_given_sentences"])
    assert np.isnan(row["p_permutation"])


def test_bag_of_words_gives_the_same_words_the_same_place():
    stories = load_stories()
    texts = [story.text for story in stories for _ in range(2)]
    stub = Paraphrases(
        activations=np.zeros((len(texts), 1)),
        emotions=np.array([story.emotion for story in stories for _ in range(2)]),
        sets=np.array([story.set for story in stories for _ in range(2)]),
        stories=np.array([story.id for story in stories for _ in range(2)]),
    )
    words = words_reading(texts, stub, clips=texts[:3])
    np.testing.assert_allclose(np.linalg.norm(words.paraphrases.activations, axis=1), 1)
    np.testing.assert_allclose(words.paraphrases.activations[0], words.paraphrases.activations[1])
    np.testing.assert_allclose(words.clips, words.paraphrases.activations[:3])


def test_own_texts_are_said_to_be_own():
    latent = class_content()
    own = reading("y", latent, texts=[f"{text} again" for text in TEXTS])
    encoder = reading("words", latent)
    row = pair(agreement([reading("x", latent), own], fit_pca, given={SENTENCES: encoder}, n_bootstrap=10))
    assert row["texts"] == "own"
    assert np.isnan(row["r_given_sentences"])
    assert row["r_other_set"] > 0.9


def test_more_dimensions_than_texts_change_nothing():
    latent = class_content()
    readings = [reading("x", latent, d_model=400), reading("y", latent, d_model=400)]
    row = pair(agreement(readings, fit_pca, n_bootstrap=0))
    positions = []
    for one in readings:
        part = one.paraphrases
        direction = fit_pca(part.activations, part.emotions, part.sets)
        positions.append([part.activations[part.emotions == name].mean(axis=0) @ direction for name in EMOTIONS])
    assert row["r"] == pytest.approx(np.corrcoef(*positions)[0, 1], abs=1e-9)


def test_families_are_summed_up_with_an_interval_over_llms():
    shared = class_content()
    readings = [reading(f"q{index}", shared, family="q") for index in range(4)]
    readings += [reading(f"o{index}", text_content(20 + index), family=f"o{index}") for index in range(3)]
    table = agreement(readings, fit_pca, n_bootstrap=0)
    assert len(table[table["relation"] != "self"]) == 21
    summed = families(table).set_index("relation")
    assert summed.loc["same family", "n_pairs"] == 6
    assert summed.loc["same family", "r"] > 0.97
    within, across = summed.loc["same family"], summed.loc["across families"]
    assert across["ci_low"] < across["r"] < across["ci_high"]
    assert across["ci_high"] - across["ci_low"] > within["ci_high"] - within["ci_low"]


def test_what_has_no_agreement():
    latent = class_content()
    x = reading("x", latent)
    with pytest.raises(BadInput, match="agreement of nothing"):
        agreement([], fit_pca)
    with pytest.raises(BadInput, match="x, x"):
        agreement([x, x], fit_pca)
    with pytest.raises(BadInput, match="same clips"):
        agreement([replace(x, clips=np.ones((3, 40))), replace(x, llm="y", clips=np.ones((4, 40)))], fit_pca)
    one_set = replace(x, paraphrases=x.paraphrases[x.paraphrases.sets == "a"], texts=TEXTS[: 9 * N])
    assert agreement([one_set], fit_pca, n_bootstrap=0).empty, "with one story set there is nothing to say"
