"""Stories: balanced within each set, so that style cannot pass for valence."""

import re

import pytest

from valence.stories import (
    EMOTIONS,
    NEGATIVE,
    OPENINGS,
    POSITIVE,
    Story,
    grammatical_person,
    load_stories,
    named_emotions,
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
