"""Layers: an axis for each, and the facts beside them, on planted layers kept in files."""

import numpy as np
import pytest

from tests.valence.planted_axis import VALENCE, planted
from valence.activation_files import read_to_files
from valence.axis import fit_axis
from valence.axis_layers import COLUMNS, fit_layers, layer_profile
from valence.axis_nulls import null_of_permuted_classes
from valence.errors import BadInput
from valence.stories import EMOTIONS

N_LAYERS = 5


class Engine:
    """Five layers: the same everywhere, noise, and valence that grows."""

    def __init__(self):
        self.noise, self.emotions, self.sets, _ = planted(strength=0.0, style=0.2)
        signal, _, _, self.direction = planted(strength=4.0, style=0.2)
        self.layers = [np.ones_like(signal), self.noise, 0.5 * signal + 0.5 * self.noise, signal, 3.0 * signal]
        self.texts = [f"text {index}" for index in range(len(signal))]

    def n_layers(self):
        return N_LAYERS

    def identity(self):
        return "planted"

    def activations(self, texts, *, layers, pooling="last"):
        rows = [self.texts.index(text) for text in texts]
        return np.stack([self.layers[layer % N_LAYERS][rows] for layer in layers], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    engine = Engine()
    files = read_to_files(
        engine, engine.texts, tmp_path_factory.mktemp("read"), layers=range(N_LAYERS), texts_per_shard=100
    )
    return engine, files


def test_an_axis_of_every_layer_that_can_have_one(world):
    engine, files = world
    axes = fit_layers(files, engine.emotions, engine.sets, method="mean_difference")
    assert list(axes) == [1, 2, 3, 4], "in layer 0 all texts are the same"
    alone = fit_axis(
        engine.layers[3].astype(np.float32), engine.emotions, engine.sets, method="mean_difference", n_bootstrap=0
    )
    np.testing.assert_array_equal(axes[3].class_positions, alone.class_positions)
    assert [(axis.layer, axis.method, axis.pooling) for axis in axes.values()] == [
        (layer, "mean_difference", "last") for layer in (1, 2, 3, 4)
    ]


def test_profile(world):
    engine, files = world
    axes = fit_layers(files, engine.emotions, engine.sets)
    profile = layer_profile(axes, n_layers=N_LAYERS, values=VALENCE).set_index("layer")
    assert (*profile.reset_index().columns,) == COLUMNS
    assert profile["depth"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert profile.loc[3, "cosine_to_reference"] == pytest.approx(1.0)
    assert abs(profile.loc[1, "cosine_to_reference"]) < 0.5
    assert profile.loc[4, "cosine_to_reference"] == pytest.approx(1.0)
    for column in ("r_values", "r_codes", "r_held_out_set", "r_held_out_class", "correlation_of_sets"):
        assert profile.loc[3, column] > 0.95 > 0.8 > profile.loc[1, column]
    assert profile.loc[3, "explained_variance"] == pytest.approx(axes[3].explained_variance)
    assert profile.loc[3, "r_values"] == pytest.approx(np.corrcoef(axes[3].class_positions, VALENCE)[0, 1], abs=1e-6)
    assert "story sets order the classes differently" in profile.loc[1, "warning"]
    assert profile.loc[3, "warning"] == ""


def test_ratings_change_nothing_but_their_own_column(world):
    engine, files = world
    axes = fit_layers(files, engine.emotions, engine.sets)
    ours, flipped, none = (layer_profile(axes, n_layers=N_LAYERS, values=v) for v in (VALENCE, -VALENCE, None))
    rest = [column for column in COLUMNS if column != "r_values"]
    assert ours[rest].equals(flipped[rest])
    assert ours[rest].equals(none[rest])
    np.testing.assert_allclose(ours["r_values"], -flipped["r_values"])
    assert none["r_values"].isna().all()
    best = null_of_permuted_classes([axis.class_positions for axis in axes.values()], VALENCE)
    assert best.p_value < 0.001, "the best of four layers, chosen inside the null as well"


def test_some_of_the_texts(world):
    engine, files = world
    rows = np.flatnonzero(engine.sets == "a")
    axes = fit_layers(files, engine.emotions[rows], engine.sets[rows], rows=rows)
    alone = fit_axis(engine.layers[3][rows].astype(np.float32), engine.emotions[rows], engine.sets[rows], n_bootstrap=0)
    np.testing.assert_array_equal(axes[3].class_positions, alone.class_positions)
    profile = layer_profile(axes, n_layers=N_LAYERS)
    assert profile["cosine_of_sets"].isna().all(), "one set"
    assert profile["r_held_out_set"].isna().all()
    with pytest.raises(BadInput, match="360 emotions for 180 texts"):
        fit_layers(files, engine.emotions, engine.sets, rows=rows)


def test_what_is_refused(world):
    engine, files = world
    with pytest.raises(BadInput, match="unknown axis method"):
        fit_layers(files, engine.emotions, engine.sets, method="nothing")
    axes = fit_layers(files, engine.emotions, engine.sets)
    with pytest.raises(BadInput, match=r"reference layer 0 of 5[\s\S]*1, 2, 3, 4"):
        layer_profile(axes, n_layers=N_LAYERS, reference=0)
    with pytest.raises(BadInput, match=r"values of shape \(3,\)"):
        layer_profile(axes, n_layers=N_LAYERS, values=[1, 2, 3])

    class Same:
        layers, pooling, n_texts = (0,), "last", len(engine.emotions)

        def layer(self, layer):
            return engine.layers[0]

    with pytest.raises(BadInput, match="activations of all texts are the same"):
        fit_layers(Same(), engine.emotions, engine.sets)
    assert len(EMOTIONS) == 9
