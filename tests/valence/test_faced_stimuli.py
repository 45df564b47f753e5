"""FACED's film clips: the table held here is the publisher's file; workbooks that do not fit are refused."""

import shutil
import zipfile

import openpyxl
import pytest

from valence.errors import BadInput
from valence.faced_files import FacedFiles
from valence.faced_stimuli import FILMS, STIMULI, STIMULI_INFO, describe, read_stimuli


@pytest.fixture
def workbook(shared_data, tmp_path):
    """A copy of the published file, to be damaged."""
    return shutil.copy(shared_data / "faced" / STIMULI_INFO, tmp_path / STIMULI_INFO)


def test_the_table_held_here_is_the_published_one(shared_data):
    assert read_stimuli(shared_data / "faced" / STIMULI_INFO) == STIMULI


def test_24_films_of_which_two_give_several_clips():
    assert len(FILMS) == 28
    assert len(set(FILMS)) == 24
    assert [clip for clip, film in enumerate(FILMS, start=1) if FILMS.count(film) > 1] == [7, 8, 13, 14, 15, 16]


def test_emotions_and_signs_are_those_of_the_classes():
    assert [stimulus.emotion for stimulus in STIMULI] == [
        FacedFiles.classes[index] for index in FacedFiles.class_of_clip
    ]
    signs = dict.fromkeys(FacedFiles.classes[:4], "negative") | {"neutral": "neutral"}
    assert all(stimulus.valence == signs.get(stimulus.emotion, "positive") for stimulus in STIMULI)


def test_a_sentence_a_clip_tells_what_the_file_holds():
    sentences = describe()
    assert len(set(sentences)) == 28
    for sentence, stimulus in zip(sentences, STIMULI, strict=True):
        assert sentence.startswith(f"A clip of {stimulus.duration_s:g} seconds from the film {stimulus.film}, ")
        assert stimulus.emotion in sentence
        assert stimulus.valence in sentence or stimulus.valence == "neutral"
    for sentence, stimulus in zip(describe(with_emotion=False), STIMULI, strict=True):
        assert stimulus.emotion not in sentence
        assert stimulus.valence not in sentence


def change(path, **cells):
    book = openpyxl.load_workbook(path)
    for cell, value in cells.items():
        book.worksheets[0][cell] = value
    book.save(path)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"A3": 1}, "clip 1 appears twice"),
        ({"A3": None}, "the clips are 1, 3"),
        ({"A3": 29}, "the clips are"),
        ({"A3": 2.5}, "the clips are"),
        ({"B3": "a minute"}, "clip 2 lasts 'a minute'"),
        ({"B3": -1}, "clip 2 lasts -1"),
        ({"C3": None}, "clip 2 has film None"),
        ({"E3": "Mixed"}, "valence 'Mixed'"),
        ({"F3": ""}, "clip 2 has"),
        ({"C1": "Film"}, "the first row is"),
    ],
)
def test_rows_that_do_not_fit_are_refused(workbook, cells, message):
    change(workbook, **cells)
    with pytest.raises(BadInput, match=message):
        read_stimuli(workbook)


def test_what_is_no_workbook_is_refused(workbook, tmp_path):
    whole = workbook.read_bytes()
    for content in (b"Video index,Duration\n", whole[:2000], b""):
        workbook.write_bytes(content)
        with pytest.raises(BadInput, match="cannot be read: BadZipFile"):
            read_stimuli(workbook)
    with zipfile.ZipFile(workbook, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(30_000_000))
    with pytest.raises(BadInput, match="unpacks to 30,000,000 bytes"):
        read_stimuli(workbook)
    with pytest.raises(BadInput, match="FileNotFoundError"):
        read_stimuli(tmp_path / "none.xlsx")
