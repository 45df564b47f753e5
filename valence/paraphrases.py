"""Stage paraphrases: stories and an engine in, a table of n texts per story out, with what was dropped and why.

Every text is an independent call with a seed of its own, derived from (seed, story, index, attempt), so a text does
not depend on which others were asked for. An index whose text is dropped is asked again with the next attempt. The
table grows story by story and can be handed back, to go on where a run was killed.
"""

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pandas as pd

from valence.cell import derive_seed
from valence.distance import choose_encoder, make_distance
from valence.errors import BadInput
from valence.paraphrase_filter import StoryFilter, check_paraphrasing, first_paragraph
from valence.sentence_encoder import sentence_encoder_hash
from valence.stories import OPENINGS, Story

logger = logging.getLogger(__name__)

PROMPT = "Rewrite this text in other words.\n\n{text}"
COLUMNS = (
    "story", "emotion", "set", "text", "kept", "reason", "round", "seed", "n_tokens", "distance", "encoder", "writer",
)  # fmt: skip
REQUESTS_AT_ONCE = 256
"""asked for together, and then saved; whole stories, so a few more"""
MIN_KEPT = 3
"""below this a class centroid is one text's accident"""


@dataclass(frozen=True, kw_only=True)
class Paraphrasing:
    """How paraphrases are made and chosen: part of the identity of an axis."""

    n: int = 50
    """texts to keep per story"""
    temperature: float = 0.7
    """as in the study"""
    min_tokens: int = 5
    max_tokens: int = 80
    """length of a kept text, in tokens of the LLM that writes"""
    min_distance: float = 0.10
    """cosine distance from the story; the study's, by SBERT"""
    min_distance_between: float = 0.05
    """the same, from the paraphrases of the story that were kept before"""
    rounds: int = 10
    """attempts per text"""
    prompt: str = PROMPT
    with_opening: bool = True
    """the answer is begun for the LLM with the set's opening words, which holds person and opening fixed"""
    encoder: str = "tf-idf"
    """what distances are measured with: "tf-idf", our stand-in that needs no package, or "minilm" """
    drop_commentary: bool = False
    """drop texts that speak of themselves ("This is a scene of …"), which very small LLMs write"""

    def __post_init__(self) -> None:
        check_paraphrasing(self)

    def identity(self) -> dict[str, object]:
        """Everything that decides the texts, JSON-able.

        encoder and drop_commentary count only where they are not the default: with it, texts are those of before.
        Of "minilm" its files count too. Raises BadInput where that is not installed.
        """
        fields = dataclasses.asdict(self)
        later = {item.name: item.default for item in dataclasses.fields(self) if item.name in _LATER}
        counted = {name: value for name, value in fields.items() if name not in later or value != later[name]}
        return counted | ({"encoder_hash": sentence_encoder_hash()} if self.encoder == "minilm" else {})


_LATER = ("encoder", "drop_commentary")


def study_paraphrasing(n: int = 50, encoder: str = "auto") -> Paraphrasing:
    """The study's settings: the sentence encoder where it is installed ("auto"), and no commentary.

    Sentence vectors of two honest paraphrases lie closer than their words: what is nearer than .02 is a copy.
    Raises as `valence.distance.choose_encoder`.
    """
    chosen = choose_encoder(encoder)
    between = 0.02 if chosen == "minilm" else 0.05
    return Paraphrasing(n=n, encoder=chosen, min_distance_between=between, drop_commentary=True)


@dataclass(frozen=True)
class Request:
    """One call of the LLM: what the user asks, how the answer is made to begin, and its random seed."""

    prompt: str
    opening: str
    seed: int


@dataclass(frozen=True)
class Generation:
    """One answer: its text with the opening, and how many tokens were generated."""

    text: str
    n_tokens: int


class Writer(Protocol):
    """What paraphrasing needs of an engine."""

    def generate(self, requests: Sequence[Request], *, temperature: float, max_new_tokens: int) -> list[Generation]: ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...


@dataclass(frozen=True)
class Slot:
    """A text that is wanted, and which attempt at it this is."""

    story: Story
    index: int
    attempt: int = 0

    def request(self, how: Paraphrasing, seed: int) -> Request:
        opening = OPENINGS.get(self.story.set, "") if how.with_opening else ""
        own_seed = derive_seed(f"{seed}/{self.story.id}/{self.index}", f"paraphrase/{self.attempt}")
        return Request(how.prompt.format(text=self.story.text), opening, own_seed)


def paraphrase(
    stories: Sequence[Story],
    writer: Writer,
    *,
    how: Paraphrasing,
    seed: int = 0,
    author: str = "",
    done: pd.DataFrame | None = None,
    on_table: Callable[[pd.DataFrame], None] = lambda table: None,
    on_event: Callable[[str], None] = logger.info,
) -> pd.DataFrame:
    """Paraphrases of all stories, asked for some stories at once, round by round.

    Parameters
    ----------
    author : name of the LLM that writes, for the table.
    done : what `on_table` was given last by a run of the same stories, settings and seed; its texts are not asked for.
    on_table : receives the table so far, each time it has grown.

    Returns
    -------
    DataFrame with the columns story, emotion, set, text, kept, reason (empty where kept), round, seed, n_tokens,
    distance (from the story, 0 … 1), encoder (of the distance) and writer: every text, the dropped ones too.

    Raises BadInput for no stories, or where fewer than 3 texts of a story pass after all rounds.
    """
    if not stories:
        raise BadInput("no stories to paraphrase", allowed="at least one", do="give stories, see valence.stories")
    judge = _Judge(stories, how, author)
    known = _by_seed(done)
    missing = [Slot(story, index) for story in stories for index in range(how.n)]
    rows: list[dict] = []
    for attempt in range(how.rounds):
        if not missing:
            break
        on_event(f"paraphrases: round {attempt + 1} of at most {how.rounds}, {len(missing)} to write")
        still: list[Slot] = []
        for slots in _portions(missing):
            requests = [slot.request(how, seed) for slot in slots]
            new = [known[request.seed] for request in requests if request.seed in known]
            if len(new) == len(requests):
                judge.remember(new)
            else:
                answers = writer.generate(requests, temperature=how.temperature, max_new_tokens=how.max_tokens)
                texts = [first_paragraph(answer.text) for answer in answers]
                new = judge.rows(slots, requests, texts, writer.count_tokens(texts))
            rows += new
            on_table(_table(rows))
            still += [replace(slot, attempt=attempt + 1) for slot, row in zip(slots, new) if not row["kept"]]
        missing = still
    table = _table(rows)
    _require_enough(table, stories)
    return table


def shortfall(table: pd.DataFrame, n: int) -> dict[str, int]:
    """Stories with fewer than n kept texts, and how many they have."""
    kept = table.groupby("story")["kept"].sum()
    return {str(story): int(count) for story, count in kept.items() if count < n}


class _Judge:
    """Turns answers into rows of the table, by one filter for each story."""

    def __init__(self, stories: Sequence[Story], how: Paraphrasing, author: str):
        self._distances = make_distance(how.encoder, stories)
        self._filters = {story.id: StoryFilter(story, how, self._distances) for story in stories}
        self._facts = {"encoder": how.encoder, "writer": author}

    def remember(self, rows: Sequence[dict]) -> None:
        """Rows of an earlier run, in order."""
        for row in rows:
            if row["kept"]:
                self._filters[row["story"]].remember(row["text"])

    def rows(
        self, slots: Sequence[Slot], requests: Sequence[Request], texts: Sequence[str], n_tokens: Sequence[int]
    ) -> list[dict]:
        self._distances.prepare(texts)
        rows = []
        for slot, request, text, count in zip(slots, requests, texts, n_tokens, strict=True):
            story = slot.story
            reason, distance = self._filters[story.id].judge(text, count)
            row = {"story": story.id, "emotion": story.emotion, "set": story.set, "text": text, "kept": not reason}
            row |= {"reason": reason, "round": slot.attempt, "seed": request.seed, "n_tokens": count}
            rows.append(row | {"distance": distance} | self._facts)
        return rows


def _portions(missing: Sequence[Slot]) -> Iterator[list[Slot]]:
    """Slots of whole stories, at least REQUESTS_AT_ONCE together but for the last."""
    portion: list[Slot] = []
    for _, of_story in itertools.groupby(missing, key=lambda slot: slot.story.id):
        portion += of_story
        if len(portion) >= REQUESTS_AT_ONCE:
            yield portion
            portion = []
    if portion:
        yield portion


def _by_seed(done: pd.DataFrame | None) -> dict[int, dict]:
    """Rows of an earlier run by the seed of their request, which is of (seed, story, index, attempt) alone."""
    if done is None or not set(COLUMNS) <= set(done.columns):
        return {}
    return {int(row["seed"]): row for row in done[list(COLUMNS)].to_dict("records")}


def _table(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _require_enough(table: pd.DataFrame, stories: Sequence[Story]) -> None:
    kept = {story.id: 0 for story in stories} | {
        str(story): int(count) for story, count in table.groupby("story")["kept"].sum().items()
    }
    poor = {story: count for story, count in kept.items() if count < MIN_KEPT}
    if poor:
        reasons = table[table["story"].isin(poor) & ~table["kept"]]["reason"].value_counts()
        raise BadInput(
            f"too few paraphrases passed: {', '.join(f'{story} has {count}' for story, count in poor.items())} "
            f"(dropped: {', '.join(f'{reason} {count}' for reason, count in reasons.items())})",
            allowed=f"at least {MIN_KEPT} texts per story",
            do="take an LLM that follows instructions, ask for more paraphrases, or raise the temperature",
        )
