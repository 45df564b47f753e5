"""Stage validity: what a row of the table of benchmarks says."""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

KINDS = ("binary", "rating", "lexicon")


def plain(text: str) -> str:
    """One line, single blanks."""
    return " ".join(text.split())


def web(text: str) -> str:
    """The same for texts from the web: HTML marks and entities, and escapes that were never undone."""
    text = re.sub(r"<br\s*/?>", " ", text)
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match.group(1), 16)), text)
    return plain(html.unescape(text.replace("\\n", " ").replace('\\"', '"').replace('""', '"')))


@dataclass(frozen=True, kw_only=True)
class Part:
    """Files of a benchmark that are read alike."""

    split: str
    """training or evaluation, or empty: published without a split, or with one in a column"""
    files: str
    """regular expression of the path inside the benchmark's folder, case ignored"""
    form: str = "table"
    """table, lines (one text a line) or files (one text a file)"""
    label: float | None = None
    """of every text, where the file says it"""
    encoding: str = "utf-8"
    comment: str = ""
    """lines that begin with it are no texts"""
    anywhere: bool = False
    """the name says whose file it is, so it need not lie in a folder named after the benchmark"""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Texts with a known valence: a row of the table."""

    name: str
    title: str
    kind: str
    """binary (positive or negative), rating (a number) or lexicon (single words)"""
    measure: str = "AUC"
    """AUC where a text has one of two labels, r where it has ratings"""
    folders: tuple[str, ...] = ()
    """names of its folder besides its own, lower case, letters and digits alone"""
    evaluation: tuple[str, ...] = ("test", "dev|validation|val")
    """names of the split that is evaluated: the first that is there"""
    parts: tuple[tuple[Part, ...], ...] = ()
    """forms of publication of its own, tried in turn before tables named by split"""
    text: tuple[str, ...] = ("text", "sentence", "content", "review")
    """columns that may hold the text, lower case"""
    scores: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"valence": ("label", "sentiment", "polarity")}
    )
    """columns that may hold valence, and arousal where it is rated"""
    labels: tuple[Mapping[str, int | None], ...] = ({"0": 0, "1": 1, "negative": 0, "positive": 1, "neg": 0, "pos": 1},)
    """meanings of a label, 1 positive and None dropped; the first mapping that knows all labels and gives both"""
    names: tuple[tuple[str, ...], ...] = ()
    """columns of a file without a header"""
    group: str = ""
    """column and regular expression "column:pattern" of what must not be in training and evaluation at once"""
    clean: Callable[[str], str] = plain
    hub: str = ""
    """id (after a colon, configuration) of the same texts on the Hugging Face hub, with columns and labels as here"""
    source: str = ""
    licence: str = ""
    study: Mapping[str, str] = field(default_factory=dict)
    """what arXiv:2606.00129 prints, by predictor or dimension, for Qwen3-4B"""
