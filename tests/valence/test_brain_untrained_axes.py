"""Untrained LLMs as a study of axes leaves them on disk: an axis of each, by the recipe of the trained one."""

import numpy as np
import pandas as pd
import pytest

from valence.activation_files import read_to_files
from valence.axis import Axis, fit_axis
from valence.brain.untrained_axes import untrained_axes
from valence.errors import BadInput
from valence.stories import load_stories

LAYER = 1


class Written:
    """Activations that are there already, by text: what reading needs of an engine."""

    def __init__(self, seed: int, texts: list[str]):
        rng = np.random.default_rng(seed)
        self.by_text = dict(zip(texts, rng.normal(size=(len(texts), 3, 40)).astype(np.float32), strict=True))
        self.seed = seed

    def activations(self, texts, *, layers, pooling="last"):
        return np.stack([self.by_text[text][list(layers)] for text in texts])

    def n_layers(self):
        return 3

    def identity(self):
        return f"seed {self.seed}"


@pytest.fixture
def study(tmp_path):
    """OUT/llms/small with an axis and three untrained networks, of texts of the second of two writers."""
    rows = []
    for story in load_stories():
        for number in range(3):
            text = f"{story.id} {number}"
            rows.append(
                {"story": story.id, "emotion": story.emotion, "set": story.set, "text": text, "kept": number != 1}
            )
    table = pd.DataFrame(rows)
    for writer, of_writer in (("another", table.assign(text="x " + table["text"])), ("small", table)):
        path = tmp_path / "writers" / writer / "paraphrases.parquet"
        path.parent.mkdir(parents=True)
        of_writer.to_parquet(path)
    few = table[table["kept"]]  # two of each story
    folder = tmp_path / "llms" / "small"
    engines = {}
    for seed in (0, 2, 10):
        engines[seed] = Written(seed, list(few["text"]))
        place = folder / "untrained" / str(seed)
        read_to_files(engines[seed], tuple(few["text"]), place, layers=[LAYER], on_event=lambda line: None)
    options = {"llm": "small", "layer": LAYER, "method": "pca", "n_bootstrap": 0}
    x = np.random.default_rng(99).normal(size=(len(few), 40))
    fit_axis(x, few["emotion"].to_numpy(), few["set"].to_numpy(), **options).save(folder / "axis.safetensors")
    return folder, few, engines, options


def test_each_network_has_the_axis_that_a_fit_by_hand_gives(study):
    folder, few, engines, options = study
    found = untrained_axes(folder)
    assert [axis.llm for axis in found] == ["small, untrained 0", "small, untrained 2", "small, untrained 10"]
    for axis, engine in zip(found, engines.values(), strict=True):
        x = np.stack([engine.by_text[text][LAYER] for text in few["text"]])
        expected = fit_axis(x, few["emotion"].to_numpy(), few["set"].to_numpy(), **options)
        np.testing.assert_allclose(axis.class_positions, expected.class_positions, atol=1e-6)


def test_a_file_is_the_axis_in_it(study):
    folder = study[0]
    (axis,) = untrained_axes(folder / "axis.safetensors")
    np.testing.assert_array_equal(axis.direction, Axis.load(folder / "axis.safetensors").direction)


def test_folders_without_untrained_networks_or_without_their_texts_are_refused(study, tmp_path):
    folder = study[0]
    with pytest.raises(BadInput, match="no untrained networks"):
        untrained_axes(tmp_path / "writers")
    (tmp_path / "writers" / "small" / "paraphrases.parquet").unlink()
    with pytest.raises(BadInput, match="texts that its untrained networks have read are not there"):
        untrained_axes(folder)
