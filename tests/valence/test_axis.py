"""Axis: a planted direction, sklearn as reference, signs, files, and the checks beside it."""

import dataclasses

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.decomposition import PCA

from valence.axis import Axis, fit_axis
from valence.axis_clips import clip_positions, with_clip_positions
from valence.axis_style import present_share
from valence.errors import BadInput
from valence.stories import EMOTIONS

VALENCE = np.array([-1.2, -1.0, -0.9, -1.1, 0.0, 0.9, 0.8, 1.3, 1.2])
D_MODEL = 40


def planted(*, n=12, noise=0.3, strength=4.0, values=VALENCE, seed=0, set_noise=0.4):
    """Texts whose class means differ along one direction, in two sets: arrays for fit_axis, and the direction."""
    random = np.random.default_rng(seed)
    direction = random.normal(size=D_MODEL)
    direction /= np.linalg.norm(direction)
    activations, emotions, sets = [], [], []
    for set_name in ("a", "b"):
        for emotion, value in zip(EMOTIONS, values, strict=True):
            mean = strength * value * direction + set_noise * random.normal(size=D_MODEL) / np.sqrt(D_MODEL)
            activations.append(mean + noise * random.normal(size=(n, D_MODEL)))
            emotions += [emotion] * n
            sets += [set_name] * n
    return np.concatenate(activations), np.array(emotions), np.array(sets), direction


@pytest.fixture(scope="module")
def axis():
    activations, emotions, sets, _ = planted()
    return fit_axis(
        activations, emotions, sets, llm="tiny", llm_hash="0" * 16, engine="vllm", n_paraphrases=12, n_bootstrap=50
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_direction_is_recovered_with_its_sign(seed):
    activations, emotions, sets, direction = planted(seed=seed)
    fitted = fit_axis(activations, emotions, sets, n_bootstrap=0)
    assert fitted.direction @ direction > 0.98
    assert np.corrcoef(fitted.class_positions, VALENCE)[0, 1] > 0.98
    mirrored = fit_axis(-activations, emotions, sets, n_bootstrap=0)
    assert mirrored.direction @ direction < -0.98
    np.testing.assert_allclose(mirrored.class_positions, fitted.class_positions, atol=1e-9)


def test_direction_and_variance_are_those_of_sklearn():
    activations, emotions, sets, _ = planted(noise=2.0)
    fitted = fit_axis(activations, emotions, sets, n_bootstrap=0)
    centroids = np.array(
        [
            np.mean([activations[(emotions == name) & (sets == group)].mean(axis=0) for group in "ab"], axis=0)
            for name in EMOTIONS
        ]
    )
    reference = PCA(n_components=1).fit(centroids)
    assert abs(reference.components_[0] @ fitted.direction) == pytest.approx(1.0, abs=1e-9)
    assert fitted.explained_variance == pytest.approx(reference.explained_variance_ratio_[0], abs=1e-9)
    projected = reference.transform(centroids)[:, 0] * np.sign(reference.components_[0] @ fitted.direction)
    np.testing.assert_allclose(fitted.class_positions, projected / projected.std(), atol=1e-9)
    np.testing.assert_allclose(fitted.centroids, centroids - centroids.mean(axis=0), atol=1e-12)
    assert fitted.class_positions.mean() == pytest.approx(0.0, abs=1e-12)
    assert fitted.class_positions.std() == pytest.approx(1.0)


def test_sets_weigh_the_same_whatever_their_number_of_texts():
    activations, emotions, sets, _ = planted()
    again = np.concatenate([np.arange(len(sets)), np.flatnonzero(sets == "a"), np.flatnonzero(sets == "a")])
    once = fit_axis(activations, emotions, sets, n_bootstrap=0)
    tripled = fit_axis(activations[again], emotions[again], sets[again], n_bootstrap=0)
    np.testing.assert_allclose(tripled.centroids, once.centroids, atol=1e-12)


def test_sign_rules_and_the_warning_where_they_disagree():
    values = VALENCE.copy()
    values[EMOTIONS.index("joy")] = -1.5
    activations, emotions, sets, direction = planted(values=values)
    stories = fit_axis(activations, emotions, sets, n_bootstrap=0)
    joy = fit_axis(activations, emotions, sets, sign_rule="joy", n_bootstrap=0)
    assert stories.direction @ direction > 0.95
    assert joy.direction @ direction < -0.95
    for fitted in (stories, joy):
        assert fitted.notes["sign_rules_agree"] is False
        assert any("joy is positive" in warning for warning in fitted.notes["warnings"])
    agreeing = fit_axis(*planted()[:3], n_bootstrap=0)
    assert agreeing.notes["sign_rules_agree"] is True
    assert agreeing.notes["warnings"] == []
    with pytest.raises(BadInput, match="sign rule"):
        fit_axis(activations, emotions, sets, sign_rule="evaluation", n_bootstrap=0)


def test_agreement_of_sets():
    fitted = fit_axis(*planted()[:3], n_bootstrap=0)
    assert fitted.notes["sets"]["cosine"] > 0.9
    assert fitted.notes["sets"]["correlation"] > 0.9
    first, _, _, _ = planted(seed=1)
    activations, emotions, sets, _ = planted(seed=2)
    half = len(sets) // 2
    mixed = np.concatenate([first[:half], activations[half:]])  # another direction in each set
    shuffled = mixed.copy()
    order = np.random.default_rng(0).permutation(9)
    shuffled[half:] = mixed[half:].reshape(9, 12, D_MODEL)[order].reshape(-1, D_MODEL)
    disagreeing = fit_axis(shuffled, emotions, sets, n_bootstrap=0)
    assert disagreeing.notes["sets"]["correlation"] < 0.6
    assert any("sets order the classes differently" in warning for warning in disagreeing.notes["warnings"])


def test_style_that_follows_the_axis_is_reported():
    activations, emotions, sets, _ = planted()
    value = np.array([VALENCE[EMOTIONS.index(emotion)] for emotion in emotions])
    you = np.where(value > 0, "You went out, and you came back, as you do.", "You went out and came back at night.")
    texts = np.where(sets == "a", you, np.where(value > 0, "She was young.", "She was old.")).tolist()
    balanced = fit_axis(activations, emotions, sets, texts=texts, n_tokens=np.full(len(sets), 30), n_bootstrap=0)
    assert balanced.notes["style"]["length_in_tokens"] == {"a": None, "b": None}
    assert balanced.notes["style"]["use_of_you"]["a"] > 0.9
    assert balanced.notes["style"]["use_of_you"]["b"] is None
    assert balanced.notes["style"]["grammatical_person"] == {"a": None, "b": None}
    n_tokens = np.where(sets == "b", 40 - 5 * value, 30)
    longer = fit_axis(activations, emotions, sets, n_tokens=n_tokens, n_bootstrap=0)
    assert longer.notes["style"]["length_in_tokens"]["b"] < -0.9
    assert any("in set b the class positions follow length in tokens" in text for text in longer.notes["warnings"])


@pytest.mark.parametrize(
    ("trait", "positive", "negative"),
    [
        ("opening", "Last night you went home.", "Then you went home."),
        ("present_tense", "You are here and she has it.", "You walked here and she was there."),
        ("sentences", "You sat. You ate.", "You sat and ate."),
        ("commas", "You sat, ate, drank, slept.", "You sat and ate and drank and slept."),
        ("words", "You sat down on the floor of the room.", "You sat."),
        ("grammatical_person", "She sat.", "I sat."),
    ],
)
def test_every_trait_of_style_is_seen(trait, positive, negative):
    activations, emotions, sets, _ = planted()
    value = np.array([VALENCE[EMOTIONS.index(emotion)] for emotion in emotions])
    texts = np.where(value > 0, positive, negative)
    follows = fit_axis(activations, emotions, sets, texts=texts.tolist(), n_bootstrap=0)
    assert follows.notes["style"][trait]["a"] > 0.85
    assert any(f"set a the class positions follow {trait.replace('_', ' ')}" in text
               for text in follows.notes["warnings"])  # fmt: skip
    same = fit_axis(activations, emotions, sets, texts=[positive] * len(sets), n_bootstrap=0)
    assert set(same.notes["style"][trait].values()) == {None}


def test_tense():
    assert present_share("She is here, you've come, it's late.") == 1.0
    assert present_share("She walked in and was there.") == 0.0
    assert present_share("She is here and walked.") == 0.5
    assert present_share("Rain.") == 0.5


def test_clip_positions_are_projections_kept_with_the_axis(axis, tmp_path):
    random = np.random.default_rng(0)
    described = random.normal(size=(28, D_MODEL)) * 3.0 + 10.0
    found = clip_positions(axis, described)
    projected = described @ axis.direction
    np.testing.assert_allclose(found, (projected - projected.mean()) / projected.std())
    kept = with_clip_positions(axis, described)
    assert kept.digest != axis.digest
    np.testing.assert_array_equal(kept.class_positions, axis.class_positions)
    kept.save(tmp_path / "axis.safetensors")
    loaded = Axis.load(tmp_path / "axis.safetensors")
    np.testing.assert_array_equal(loaded.clip_positions, found)
    assert not loaded.clip_positions.flags.writeable
    assert loaded.digest == kept.digest
    for wrong, message in (
        (described[:, :-1], r"shape \(28, 39\)"),
        (described[:1], r"shape \(1, 40\)"),
        (np.full_like(described, np.nan), "not finite"),
        (np.ones_like(described), "same position for every clip"),
    ):
        with pytest.raises(BadInput, match=message):
            clip_positions(axis, wrong)
    with pytest.raises(BadInput, match="clip_positions has shape"):
        dataclasses.replace(axis, clip_positions=np.zeros((28, 2)))


def test_a_file_of_before_clip_positions_is_read(axis, tmp_path):
    """What is written without them is what was written before: no such array, and no word of it."""
    axis.save(tmp_path / "axis.safetensors")
    with safe_open(tmp_path / "axis.safetensors", "np") as file:
        assert sorted(file.keys()) == ["centroids", "class_positions", "direction", "interval", "standard_error"]
        assert "clip_positions" not in file.metadata()["axis"]
    assert Axis.load(tmp_path / "axis.safetensors").clip_positions is None


def test_bootstrap_error_is_the_spread_over_new_samples():
    """Fresh paraphrases of the same stories, many times over, against the bootstrap of one sample."""
    options = {"noise": 2.0, "n": 30, "set_noise": 0.0}
    fitted = fit_axis(*planted(**options)[:3], n_bootstrap=400)
    random = np.random.default_rng(1)
    activations, emotions, sets, _ = planted(**options | {"noise": 0.0})
    draws = [
        fit_axis(
            activations + 2.0 * random.normal(size=activations.shape), emotions, sets, n_bootstrap=0
        ).class_positions
        for _ in range(300)
    ]
    spread = np.std(draws, axis=0).mean()
    assert fitted.standard_error.mean() == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize("anger", [-1.5, 1.5])
def test_intervals_hold_the_positions_whatever_sign_the_decomposition_has(anger):
    """The decomposition's own sign follows the first row."""
    values = VALENCE.copy()
    values[EMOTIONS.index("anger")] = anger
    fitted = fit_axis(*planted(values=values)[:3], n_bootstrap=100)
    low, high = fitted.interval.T
    assert ((low < fitted.class_positions) & (fitted.class_positions < high)).all()


def test_the_bootstrap_is_the_same_every_time(axis):
    activations, emotions, sets, _ = planted()
    again = fit_axis(activations, emotions, sets, n_bootstrap=50)
    other = fit_axis(activations, emotions, sets, n_bootstrap=50, seed=1)
    np.testing.assert_array_equal(again.standard_error, axis.standard_error)
    assert (other.standard_error != axis.standard_error).any()


@pytest.mark.parametrize("problem", ["shape", "nan", "missing", "empty", "stranger"])
def test_arrays_that_do_not_fit_together(problem):
    activations, emotions, sets, _ = planted()
    if problem == "shape":
        emotions = emotions[:-1]
    elif problem == "nan":
        activations[3, 3] = np.nan
    elif problem == "empty":
        activations, emotions, sets = activations[:0], emotions[:0], sets[:0]
    elif problem == "stranger":
        emotions = np.where(emotions == "joy", "envy", emotions)
    else:
        keep = ~((emotions == "fear") & (sets == "b"))
        activations, emotions, sets = activations[keep], emotions[keep], sets[keep]
    expected = {
        "shape": r"\(215,\)",
        "nan": "not finite",
        "missing": "no text of fear in set b",
        "empty": "no texts",
        "stranger": "texts of envy",
    }[problem]
    with pytest.raises(BadInput, match=expected):
        fit_axis(activations, emotions, sets)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ica"}, "unknown axis method 'ica'"),
        ({"classes": ("joy",)}, "two or more different classes"),
        ({"classes": ()}, "two or more different classes"),
        ({"classes": ("joy", "joy")}, "two or more different classes"),
        ({"codes": (1.0, -1.0)}, r"codes of shape \(2,\) for 9 classes"),
        ({"codes": (np.nan,) * 9}, "codes of shape"),
        ({"codes": (1.0,) * 9}, "at least one class coded positive and one negative"),
    ],
)
def test_words_that_do_not_fit(options, message):
    with pytest.raises(BadInput, match=message):
        fit_axis(*planted()[:3], **options)


def test_round_trip(axis, tmp_path):
    path = tmp_path / "deep" / "axis.safetensors"
    axis.save(path)
    loaded = Axis.load(path)
    for field in dataclasses.fields(Axis):
        ours, theirs = getattr(axis, field.name), getattr(loaded, field.name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(theirs, ours)
            assert not theirs.flags.writeable
        else:
            assert theirs == ours
    assert loaded.digest == axis.digest
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first, "saving is deterministic"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_digest_follows_positions_centroids_and_classes_as_float32(axis):
    nudged = dataclasses.replace(axis, centroids=axis.centroids * (1 + 1e-12))
    assert nudged.digest == axis.digest
    assert dataclasses.replace(axis, notes={"x": 1}, engine="transformers").digest == axis.digest
    assert dataclasses.replace(axis, centroids=axis.centroids * 1.01).digest != axis.digest
    assert dataclasses.replace(axis, class_positions=axis.class_positions[::-1]).digest != axis.digest
    assert dataclasses.replace(axis, classes=axis.classes[::-1]).digest != axis.digest


def damage(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        damage,
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not safetensors"),
        lambda path: save_file({"weight": np.ones(3)}, path),
        lambda path: save_file({"direction": np.ones(3)}, path, metadata={"axis": "{}"}),
        lambda path: save_file({"direction": np.ones(3)}, path, metadata={"axis": "[1]"}),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_or_foreign_file_is_named(axis, tmp_path, spoil):
    path = tmp_path / "spoilt.safetensors"
    axis.save(path)
    spoil(path)
    with pytest.raises(BadInput, match=r"axis file .*spoilt\.safetensors"):
        Axis.load(path)


def test_an_axis_is_valid_at_birth(axis):
    with pytest.raises(BadInput, match="length 2"):
        dataclasses.replace(axis, direction=2 * axis.direction)
    with pytest.raises(BadInput, match="class_positions has shape"):
        dataclasses.replace(axis, class_positions=np.zeros(5))
    with pytest.raises(BadInput, match="not finite"):
        dataclasses.replace(axis, centroids=np.full_like(axis.centroids, np.nan))
