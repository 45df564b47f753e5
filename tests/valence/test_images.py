"""Rated pictures: OASIS's own table and a plain one, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from valence.errors import BadInput
from valence.images import load_images

N = 12
VALENCES = np.linspace(1.5, 6.5, N)


def picture(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (shade, shade, shade)).save(path)


def oasis(folder):
    """As published: an unnamed first column, themes with a number, pictures in images/."""
    themes = [f"{('Acorns', 'Dog', 'Fire')[index % 3]} {index // 3 + 1}" for index in range(N)]
    table = pd.DataFrame({"Theme": themes, "Category": "Object", "Source": "Pixabay", "Valence_mean": VALENCES})
    table = table.assign(Valence_SD=1.0, Valence_N=100, Arousal_mean=VALENCES[::-1] / 2, Arousal_SD=1.0, Arousal_N=100)
    table.index = [f"I{index + 1}" for index in range(N)]
    for index, theme in enumerate(themes):
        picture(folder / "images" / f"{theme}.jpg", 10 * index)
    table.to_csv(folder / "OASIS.csv")
    return folder


def plain(folder, **columns):
    for index in range(N):
        picture(folder / f"{index}.png", 10 * index)
    table = {"file": [f"{index}.png" for index in range(N)], "valence": VALENCES} | columns
    pd.DataFrame(table).to_csv(folder / "table.csv", index=False)
    return folder


def test_oasis_as_published(tmp_path):
    images = load_images(oasis(tmp_path))
    rated = images.rated
    assert (rated.benchmark.name, rated.benchmark.measure, rated.benchmark.study["axis"]) == ("oasis", "r", ".869")
    assert [file.name for file in images.files[:2]] == ["Acorns 1.jpg", "Dog 1.jpg"]
    np.testing.assert_allclose(rated.evaluation.scores["valence"], VALENCES)
    np.testing.assert_allclose(rated.evaluation.scores["arousal"], VALENCES[::-1] / 2)
    assert set(rated.evaluation.groups) == {"Acorns", "Dog", "Fire"}
    before = rated.hash
    picture(tmp_path / "images" / "Dog 1.jpg", 255)
    assert load_images(tmp_path).rated.hash != before, "another picture is another study"


def test_a_plain_table(tmp_path):
    (tmp_path / "mine").mkdir()
    images = load_images(plain(tmp_path / "mine"))
    assert images.rated.benchmark.name == "mine"
    assert set(images.rated.evaluation.scores) == {"valence"}
    assert [file.name for file in images.files] == [f"{index}.png" for index in range(N)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": [f"{index}.png" for index in range(N - 1)] + ["99.png"]}, "no picture '99.png'"),
        ({"file": ["0.png"] * N}, "named twice"),
        ({"file": ["../outside.png"] + [f"{index}.png" for index in range(1, N)]}, "outside of the folder"),
        ({"valence": [3.0] * N}, "no numbers that vary"),
        ({"valence": ["much"] * N}, "no numbers that vary"),
        ({"valence": [np.nan, *VALENCES[1:]]}, "no numbers that vary"),
        ({"arousal": [np.inf, *VALENCES[1:]]}, "arousal holds no numbers"),
        ({"Valence": VALENCES}, "a column is there twice"),
    ],
)
def test_tables_that_are_refused(tmp_path, columns, message):
    picture(tmp_path / "outside.png", 0)
    (tmp_path / "in").mkdir()
    with pytest.raises(BadInput, match=message):
        load_images(plain(tmp_path / "in", **columns))


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        load_images(tmp_path / "absent")
    with pytest.raises(BadInput, match="0 tables of ratings"):
        load_images(tmp_path)
    plain(oasis(tmp_path))
    with pytest.raises(BadInput, match="2 tables of ratings"):
        load_images(tmp_path)
    (tmp_path / "OASIS.csv").unlink()
    pd.read_csv(tmp_path / "table.csv").head(5).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(BadInput, match="5 pictures"):
        load_images(tmp_path)
    (tmp_path / "table.csv").write_bytes(b"file,valence\n\xff\xfe,1\n")
    with pytest.raises(BadInput, match=r"table\.csv"):
        load_images(tmp_path)
