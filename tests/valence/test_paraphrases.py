"""Paraphrases: what is asked for, what is dropped and why, what is kept."""

import math
import re
from collections import Counter

import pandas
import pytest

from valence.distance import StoryDistance
from valence.errors import BadInput
from valence.paraphrase_filter import first_paragraph
from valence.paraphrases import COLUMNS, Generation, Paraphrasing, paraphrase, shortfall, study_paraphrasing
from valence.stories import load_stories

STORIES = load_stories()
STORY = next(story for story in STORIES if story.id == "b-fear")
GOOD = "On Sunday she glanced outside and a masked man stood among the birches. Her pulse raced and she backed away."


class ScriptedWriter:
    """Answers by a function of the request; remembers what it was asked."""

    def __init__(self, answer):
        self._answer = answer
        self.asked = []

    def generate(self, requests, *, temperature, max_new_tokens):
        self.asked.append(list(requests))
        return [Generation(self._answer(request), 7) for request in requests]

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]


def distinct(request):
    """A good answer, another one for every seed."""
    words = [f"w{digit}{place}x" for place, digit in enumerate(str(request.seed)[-8:])]
    return f"{request.opening} saw {' of the '.join(words)} and then went on with it to the end."


def reason_of(answer, *, story=STORY):
    writer = ScriptedWriter(lambda request: answer)
    how = Paraphrasing(n=1, rounds=1)
    try:
        table = paraphrase([story], writer, how=how)
    except BadInput as error:
        return re.search(r"dropped: (.+) \d+\)", str(error)).group(1)
    return table["reason"][0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "too short"),
        ("On Sunday she left.", "too short"),
        ("I'm sorry, but I cannot help her with that on Sunday.", "speaks about the task"),
        ("On Sunday she wrote a paraphrase of the mask and the trees.", "speaks about the task"),
        (f"On Sunday she {'went on and on ' * 30}.", "too long"),
        ("On Sunday she glanced outside and a masked man stood among the", "no full stop at the end"),
        ("On Sunday she glanced outside, and there he was, the masked man!", "no full stop at the end"),
        ("On Sunday she 看到一个戴着面具的陌生人站在树林中间一动不动 and then she left.", "another language"),
        ("On Sunday she est sortie dans le jardin et a vu un homme masque parmi les arbres.", "another language"),
        ("On Sunday she was frightened by a masked man among the trees.", "names an emotion"),
        ("On Sunday she saw the man and saw the man and saw the man and saw the man.", "repeats itself"),
        ("On Sunday I glanced outside and she saw a man among the birches.", "another person"),
        (STORY.text, "copies the story"),
        (STORY.text.replace("mask", "hood"), "copies the story"),
    ],
)
def test_reasons(answer, reason):
    assert reason_of(answer) == reason


@pytest.mark.parametrize(
    "comment",
    [
        "This is a mix of styles.",
        "The narrator saw him.",
        "It was about a man.",
        "She was in a movie.",
        "This text ends.",
    ],
)
def test_commentary_is_dropped_where_asked(comment):
    answer = f"{GOOD} {comment}"
    kept = paraphrase([STORY], ScriptedWriter(distinct), how=Paraphrasing(n=3, drop_commentary=True))
    assert kept["kept"].all()
    writer = ScriptedWriter(lambda request: answer)
    with pytest.raises(BadInput, match=r"dropped: comments on itself 1\)"):
        paraphrase([STORY], writer, how=Paraphrasing(n=1, rounds=1, drop_commentary=True))
    with pytest.raises(BadInput, match="b-fear has 1 "):
        paraphrase([STORY], writer, how=Paraphrasing(n=1, rounds=1))


def test_a_good_text_passes_every_filter():
    table = paraphrase([STORY], ScriptedWriter(distinct), how=Paraphrasing(n=3))
    assert table["kept"].all()
    writer = ScriptedWriter(lambda request: GOOD)
    with pytest.raises(BadInput, match="copies another paraphrase 4"):
        paraphrase([STORY], writer, how=Paraphrasing(n=3, rounds=2))
    assert [len(asked) for asked in writer.asked] == [3, 2]


def test_the_table_holds_kept_and_dropped_and_every_index_is_asked_again_alone():
    lost = {}

    def answer(request):
        lost.setdefault(request.prompt, request.seed)
        return "No." if lost[request.prompt] == request.seed else distinct(request)

    writer = ScriptedWriter(answer)
    table = paraphrase(STORIES, writer, how=Paraphrasing(n=4))
    assert tuple(table.columns) == COLUMNS
    assert [len(asked) for asked in writer.asked] == [18 * 4, 18]
    assert table["kept"].sum() == 18 * 4
    assert Counter(table[~table["kept"]]["reason"]) == {"too short": 18}
    assert table["seed"].is_unique
    assert shortfall(table, 4) == {}
    assert shortfall(table, 5) == {story.id: 4 for story in STORIES}
    for story, row in zip(STORIES, table.drop_duplicates("story").itertuples(), strict=True):
        assert (row.story, row.emotion, row.set) == (story.id, story.emotion, story.set)


def test_a_text_does_not_depend_on_what_else_is_asked_for():
    few = paraphrase(STORIES[:2], ScriptedWriter(distinct), how=Paraphrasing(n=3), seed=5)
    many = paraphrase(STORIES, ScriptedWriter(distinct), how=Paraphrasing(n=6), seed=5)
    other = paraphrase(STORIES[:2], ScriptedWriter(distinct), how=Paraphrasing(n=3), seed=6)
    assert set(few["seed"]) < set(many["seed"])
    assert not set(few["seed"]) & set(other["seed"])


def test_after_all_rounds_what_passed_is_used_down_to_three():
    keep = {}

    def answer(request):
        seeds = keep.setdefault(request.prompt, [])
        if len(seeds) < 3:
            seeds.append(request.seed)
        return distinct(request) if request.seed in seeds else "No."

    table = paraphrase(STORIES[:2], ScriptedWriter(answer), how=Paraphrasing(n=5, rounds=2))
    assert shortfall(table, 5) == {STORIES[0].id: 3, STORIES[1].id: 3}


def test_too_few_is_an_error_that_says_what_was_dropped():
    with pytest.raises(BadInput, match=r"b-fear has 0 \(dropped: too short 6\)"):
        paraphrase([STORY], ScriptedWriter(lambda request: "No."), how=Paraphrasing(n=3, rounds=2))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (" She left.\n\nIn this version, the person left.", "She left."),
        ("Here is a paraphrase:\n\nShe left.", "She left."),
        ("Sure! Here's the rewritten text: She left.", "She left."),
        ("Rewritten: “She left.”", "She left."),
        ('"She left."', "She left."),
        ('"Go," she said. "Now."', '"Go," she said. "Now."'),
        ("She  left\tat one.", "She left at one."),
        ("", ""),
    ],
)
def test_first_paragraph(answer, text):
    assert first_paragraph(answer) == text


def test_distance_is_the_cosine_of_tf_idf_vectors():
    """Against the formula by hand: idf = ln((1 + n) / (1 + df)) + 1, unseen words with df = 0."""

    def vector(text):
        counts = Counter(re.findall(r"\b\w\w+\b", text.lower()))
        documents = [set(re.findall(r"\b\w\w+\b", story.text.lower())) for story in STORIES]
        return {
            word: count * (math.log((1 + 18) / (1 + sum(word in document for document in documents))) + 1)
            for word, count in counts.items()
        }

    def cosine_distance(x, y):
        dot = sum(value * y.get(word, 0.0) for word, value in x.items())
        return 1 - dot / math.sqrt(sum(v * v for v in x.values()) * sum(v * v for v in y.values()))

    distance = StoryDistance(STORIES)
    expected = [cosine_distance(vector(GOOD), vector(story.text)) for story in STORIES]
    assert distance(GOOD, [story.text for story in STORIES]) == pytest.approx(expected, abs=1e-9)
    assert distance(STORY.text, [STORY.text])[0] == pytest.approx(0.0, abs=1e-12)
    assert distance("Zebras.", [STORY.text])[0] == 1.0


class Killed(Exception):
    """The run ends here."""


@pytest.mark.parametrize("calls", range(1, 6))
def test_a_killed_run_goes_on_with_the_stories_it_has(calls, monkeypatch):
    """Two stories at once; every other first answer is dropped, so that there are two rounds."""
    monkeypatch.setattr("valence.paraphrases.REQUESTS_AT_ONCE", 8)
    how, stories = Paraphrasing(n=4), STORIES[:5]
    first = set()

    def answer(request):
        key = (request.prompt, request.seed % 2)
        dropped = key not in first and request.seed % 2
        first.add(key)
        return "No." if dropped else distinct(request)

    whole = paraphrase(stories, ScriptedWriter(answer), how=how, author="x")
    assert set(whole["round"]) == {0, 1}
    saved, asked = [], []

    class Dying(ScriptedWriter):
        def generate(self, requests, **options):
            if len(asked) == calls:
                raise Killed
            asked.extend([1])
            return super().generate(requests, **options)

    first.clear()
    try:
        paraphrase(stories, Dying(answer), how=how, author="x", on_table=saved.append)
        assert calls >= 4
    except Killed:
        pass
    rest = ScriptedWriter(answer)
    again = paraphrase(stories, rest, how=how, author="x", done=saved[-1], on_table=saved.append)
    pandas.testing.assert_frame_equal(again, whole)
    known = set(saved[calls - 1]["seed"]) if calls <= len(saved) else set()
    assert not known & {request.seed for requests in rest.asked for request in requests}
    assert len(asked) + len(rest.asked) == 4, "no portion is asked for twice"
    pandas.testing.assert_frame_equal(saved[-1], whole)


def test_texts_of_an_earlier_run_are_compared_with_new_ones():
    """A copy of a text that was kept before the kill is dropped after it."""
    half = paraphrase([STORY], ScriptedWriter(distinct), how=Paraphrasing(n=3), seed=1)
    repeated = half["text"][0]
    answers = iter([repeated] + ["No."] * 3)
    how = Paraphrasing(n=3, rounds=2)
    lost = half.assign(kept=[True, True, False], reason=["", "", "too short"])
    with pytest.raises(BadInput, match=r"b-fear has 2 .*copies another paraphrase 1"):
        paraphrase([STORY], ScriptedWriter(lambda request: next(answers)), how=how, seed=1, done=lost)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"rounds": 0}, "rounds is 0"),
        ({"temperature": 0.0}, "temperature is"),
        ({"min_tokens": 80}, "min_tokens, max_tokens"),
        ({"min_distance": 1.0}, "min_distance is"),
        ({"min_distance_between": -0.1}, "min_distance_between is"),
        ({"prompt": "Rewrite."}, "prompt is"),
        ({"encoder": "bert"}, "encoder is 'bert'"),
    ],
)
def test_settings_that_cannot_be_meant(wrong, message):
    with pytest.raises(BadInput, match=message):
        Paraphrasing(**wrong)


def test_no_stories():
    with pytest.raises(BadInput, match="no stories"):
        paraphrase([], ScriptedWriter(distinct), how=Paraphrasing())


def test_what_came_later_is_part_of_the_identity_only_where_it_differs(monkeypatch):
    assert set(Paraphrasing().identity()) == {
        "n", "temperature", "min_tokens", "max_tokens", "min_distance", "min_distance_between", "rounds", "prompt",
        "with_opening",
    }  # fmt: skip
    monkeypatch.setattr("valence.paraphrases.sentence_encoder_hash", lambda: "a" * 16)
    minilm = Paraphrasing(encoder="minilm").identity()
    assert (minilm["encoder"], minilm["encoder_hash"]) == ("minilm", "a" * 16), "other weights keep other texts"
    assert Paraphrasing(drop_commentary=True).identity()["drop_commentary"] is True


def test_the_study_takes_the_sentence_encoder_where_it_is_installed(monkeypatch):
    monkeypatch.setattr("valence.distance.find_sentence_encoder", lambda: None)
    assert study_paraphrasing().encoder == "tf-idf"
    with pytest.raises(BadInput, match="not installed"):
        study_paraphrasing(encoder="minilm")
    with pytest.raises(BadInput, match="unknown encoder 'bert'"):
        study_paraphrasing(encoder="bert")
    monkeypatch.setattr("valence.distance.find_sentence_encoder", lambda: "somewhere")
    assert study_paraphrasing().encoder == "minilm"
    assert study_paraphrasing(encoder="tf-idf").encoder == "tf-idf"
    assert Paraphrasing().encoder == "tf-idf", "the grid's axis is the same on every machine"
