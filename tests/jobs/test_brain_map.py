"""brain_map as a user runs it: files, page, planted truths, refusals."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from jobs.brain_map import main
from tests.jobs.conftest import called, write_de
from tests.valence.test_brain_cohort import axis_of
from valence.brain.rows import COLUMNS
from valence.brain.study import ANALYSES
from valence.faced_writing import write_array


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: called(main, arguments, capsys)


class Page(HTMLParser):
    """What a page asks for, and its cells."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]


def test_a_cohort_is_mapped_and_everything_is_written(de_root, run_here, tmp_path):
    words = ("--dataset", "faced", "--data-root", de_root, "--target", "rank", "--out", tmp_path / "out")
    code, out, _ = run_here(*words)
    assert code == 0
    assert "9 subjects, 28 clips, 30 channels, 5 bands; target rank" in out
    table = pd.read_parquet(tmp_path / "out" / "brain.parquet")
    assert tuple(table.columns) == COLUMNS
    # nothing is missing without a reason, and nothing that has a reason has a value
    assert ((table["value"].isna()) == (table["reason"] != "")).all()
    assert table["p"].dropna().between(0, 1).all()
    no_order = table[table["reason"].str.contains("order")]
    assert len(no_order) > 3  # this folder has no order of presentation: such analyses say so
    assert table.loc[table["analysis"] == "ridge", "reference"].tolist()[0] == 0.89
    for name, _ in ANALYSES:
        assert re.search(rf"\d s  {re.escape(name)} \(", out)
    figures = sorted((tmp_path / "out" / "figures").glob("*.svg"))
    assert {"ridge", "ridge-nulls", "topography", "cells", "time"} <= {path.stem for path in figures}
    text = (tmp_path / "out" / "brain.html").read_text()
    page = Page(text)
    assert len(page.links) == len(figures)
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert "script" not in page.tags
    ridge = table[(table["analysis"] == "ridge") & (table["protocol"] == "leave-class-out")].iloc[0]
    assert f"<td>{ridge['value']:+.3f}</td>" in text
    # the same command gives the same bytes, and figures of another run go
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    (tmp_path / "out" / "figures" / "old.svg").write_text("<svg/>")
    assert run_here(*words)[0] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.is_file()} == before


def test_a_simulated_cohort_needs_no_words_but_fewer_people_here(run_here, tmp_path):
    """The planted axis is found leaving classes out, and in the cells where it is planted."""
    axis = tmp_path / "axis.safetensors"
    axis_of(np.array([-1.2, -1.1, -1.2, -1.0, 0.1, 0.8, 1.3, 1.0, 1.1])).save(axis)
    code, out, _ = run_here("--n-subjects", 6, "--target", f"axis:{axis}", "--untrained-axis", axis)
    assert code == 0
    table = pd.read_parquet(tmp_path / "results" / "brain_map" / "brain.parquet")

    def rows(analysis: str, protocol: str) -> pd.DataFrame:
        return table[(table["analysis"] == analysis) & (table["protocol"] == protocol)]

    unseen = rows("ridge", "leave-class-out").iloc[0]
    assert unseen["value"] > 0.5
    assert unseen["p"] < 0.01
    top = rows("largest cell", "clips").dropna(subset="p").iloc[0]
    assert top["item"].split()[1] == "gamma"
    assert top["p"] < 0.05
    untrained = rows("ridge against", "leave-class-out")
    assert untrained[untrained["item"] == "untrained LLMs"]["p"].iloc[0] == 1  # the same axis is as large
    assert "axis, axis.safetensors" in (tmp_path / "results" / "brain_map" / "brain.html").read_text()
    assert "no value: coupling" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--dataset", "facet"), "did you mean faced"),
        (("--dataset", "faced"), "--data-root"),
        (("--dataset", "faced", "--data-root", "nowhere"), "no such folder"),
        (("--target", "valence"), "axis:FILE, behaviour, rank, arousal"),
        (("--target", "axis"), "axis:FILE"),
        (("--target", "rank:1"), "axis:FILE"),
        (("--target", "axis:nowhere.safetensors"), "axis file"),
        (("--input", "psd"), "de or windows"),
        (("--world", "unsatuated"), "did you mean unsaturated"),
        (("--n-subjects", "2"), "3 to 123"),
        (("--untrained-axis", "empty"), "OUT/llms/NAME"),
        (("--untrained-axis", "nowhere"), "axis file"),
        (("--drop-channels", " , "), "--drop-channels"),
        (("--dataset", "faced", "--data-root", "ROOT", "--drop-channels", "EGC"), "channel 'EGC'"),
        (("--dataset", "faced", "--data-root", "ROOT", "--target", "arousal"), "no self-reports"),
        (("--dataset", "faced", "--data-root", "ROOT", "--n-subjects", "5"), "leave them out"),
        (("--dataset", "faced", "--data-root", "ROOT", "--input", "windows"), "no files for the input 'windows'"),
        (("--dataset", "faced", "--data-root", "ROOT", "--out", "taken"), "is a file"),
        (("--plugin", "no_such_module"), "no_such_module"),
    ],
)
def test_words_that_cannot_be_used_are_refused_with_one_message(de_root, run_here, tmp_path, words, told):
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").write_text("")
    code, _, errors = run_here(*(de_root if word == "ROOT" else word for word in words))
    assert code == 2
    assert told in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "results" / "brain_map" / "brain.parquet").exists()


def test_a_feature_that_is_the_same_for_all_clips_is_refused(run_here, tmp_path):
    root = write_de(tmp_path / "faced", n_subjects=1)
    values = np.random.default_rng(0).normal(2, 0.1, size=(28, 32, 30, 5))
    values[:, 25, :, 4] = values[:1, 25, :, 4]
    (path,) = (root / "EEG_Features" / "DE").glob("*.pkl")
    write_array(path, values)
    code, _, errors = run_here("--dataset", "faced", "--data-root", root, "--target", "rank")
    assert code == 2
    assert "the same for all clips: PO3 gamma" in errors
    code, _, _ = run_here("--dataset", "faced", "--data-root", root, "--target", "rank", "--drop-channels", "PO3")
    assert code == 0  # one subject: what needs several has a reason
