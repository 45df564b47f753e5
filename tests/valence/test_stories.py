"""Stories: balanced within each set, so that style cannot pass for valence."""

import re

import pytest

from valence.function_words import is_function_word, share_of_function_words
from valence.stories import (
    EMOTIONS,
    NEGATIVE,
    OPENINGS,
    POSITIVE,
    Story,
    grammatical_person,
    load_stories,
    named_emotions,
    nonce_stories,
    nonce_text,
    stories_hash,
)

SETS = {name: [story for story in load_stories() if story.set == name] for name in ("a", "b")}
PERSON = {"a": 2, "b": 3}
PRONOUNS = {"a": r"\b(?:you|your)\b", "b": r"\b(?:she|her)\b"}
PRESENT = re.compile(r"\b(?:am|is|are|has|have|do|does|will|can|may|shall)\b")


def test_two_sets_of_all_emotions_in_order():
    assert {story.set for story in load_stories()} == set(SETS)
    for stories in SETS.values():
        assert tuple(story.emotion for story in stories) == EMOTIONS
    assert len({story.id for story in load_stories()}) == 18
    assert (*NEGATIVE, "neutral", *POSITIVE) == EMOTIONS


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_balanced_in_all_but_emotion(name):
    texts = [story.text for story in SETS[name]]
    assert {grammatical_person(text) for text in texts} == {PERSON[name]}
    assert all(text.startswith(OPENINGS[name] + " ") for text in texts)
    # beyond what openings promise: the whole opening phrase is shared
    assert len({" ".join(text.split()[:6]) for text in texts}) == 1
    n_words = [len(text.split()) for text in texts]
    assert max(n_words) - min(n_words) <= 2, n_words
    assert {len(re.findall(r"[.!?]", text)) for text in texts} == {2}
    assert all(text.endswith(".") for text in texts)
    assert {text.count(",") for text in texts} == {2}
    assert {len(re.findall(PRONOUNS[name], text.lower())) for text in texts} == {5}


@pytest.mark.parametrize("story", load_stories(), ids=lambda story: story.id)
def test_a_story_shows_and_never_names_an_emotion(story):
    assert named_emotions(story.text) == []
    assert not PRESENT.search(story.text), "all stories are told in the past"


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_each_emotion_is_caught_by_name(emotion):
    assert named_emotions(f"It was {emotion}, or so.") == [emotion]


@pytest.mark.parametrize(
    "text",
    ["She was furious.", "A frightened dog.", "so SAD", "in grief", "they were overjoyed", "She lovingly held him.",
     "He was indifferent.", "hilarious", "inspired by it", "Nauseated, she left."],
)  # fmt: skip
def test_near_synonyms_are_caught(text):
    assert len(named_emotions(text)) == 1


@pytest.mark.parametrize(
    "text",
    ["tears on her scarf", "the saddle and the glade", "a made bed", "glove box", "the sage", "he drove a madeira"],
)
def test_words_that_only_look_alike_are_not(text):
    assert named_emotions(text) == []


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("I saw her.", 1),
        ("You lifted her, and she slept.", 2),
        ("She lifted it.", 3),
        ("She said: “I saw you.”", 3),
        ('He called "my dog" and left.', 3),
        ("Rain fell.", 0),
    ],
)
def test_grammatical_person(text, person):
    assert grammatical_person(text) == person


def test_hash_follows_every_field():
    stories = load_stories()
    assert stories_hash() == stories_hash(stories)
    first = stories[0]
    for changed in (
        Story(first.id, first.emotion, first.text + " ", first.set),
        Story(first.id, "joy", first.text, first.set),
        Story(first.id, first.emotion, first.text, "b"),
        Story("x", first.emotion, first.text, first.set),
    ):
        assert stories_hash((changed, *stories[1:])) != stories_hash()


NONCE = nonce_stories(seed=1)


@pytest.mark.parametrize(("story", "nonce"), list(zip(load_stories(), NONCE, strict=True)), ids=lambda story: story.id)
def test_a_nonce_story_keeps_build_and_function_words_and_loses_every_content_word(story, nonce):
    assert (nonce.emotion, nonce.set) == (story.emotion, story.set)
    assert re.sub(r"[A-Za-z]", "x", nonce.text) == re.sub(r"[A-Za-z]", "x", story.text), "lengths and punctuation"
    assert grammatical_person(nonce.text) == grammatical_person(story.text)
    before, after = re.findall(r"[\w']+", story.text), re.findall(r"[\w']+", nonce.text)
    for word, new in zip(before, after, strict=True):
        assert (word == new) == (is_function_word(word) or len(word) < 3), (word, new)
        assert word[0].isupper() == new[0].isupper()
        assert not (word.endswith("ed") and len(word) > 4) or new.endswith("ed") or is_function_word(word)


def test_nonce_words_are_one_to_a_word_and_another_for_another_seed():
    texts = [story.text for story in NONCE if story.set == "a"]
    assert len({" ".join(text.split()[:6]) for text in texts}) == 1, "the shared opening is still shared"
    assert len(set(texts)) == 9
    assert nonce_text("The parcel. Parcels.", 1).lower().count(nonce_text("parcel", 1)) == 2
    assert nonce_text("parcel", 1) != nonce_text("parcel", 2)
    assert nonce_stories(seed=1) == NONCE
    assert {story.text for story in nonce_stories(seed=2)}.isdisjoint(story.text for story in NONCE)


def test_nonce_words_are_not_english_words():
    """Against the words of a sentence encoder's vocabulary, which are the frequent ones."""
    from valence.sentence_encoder import find_sentence_encoder

    folder = find_sentence_encoder()
    if folder is None:
        pytest.skip("the sentence encoder, whose vocabulary is the reference, is not installed")
    english = {word for word in (folder / "vocab.txt").read_text().split() if re.fullmatch("[a-z]{3,}", word)}
    made = {nonce_text(word, seed) for word in sorted(english)[::20] if not is_function_word(word) for seed in range(2)}
    assert len(made) > 1500
    assert not made & english
    assert all(re.search("[aeiou]", word) and not re.search("[b-df-hj-np-tv-z]{4}", word) for word in made)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("You should have seen her.", 0.8),
        ("She didn't, he can’t.", 1.0),
        ("Hier soir tu as ouvert le colis de ton frère dans la cuisine.", 0.08),
        ("Zebras graze.", 0.0),
        ("", 0.0),
    ],
)
def test_share_of_function_words(text, share):
    assert share_of_function_words(text) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("story", load_stories(), ids=lambda story: story.id)
def test_stories_are_english_by_their_function_words(story):
    assert 0.45 < share_of_function_words(story.text) < 0.6
