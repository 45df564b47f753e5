"""Facts of a data set, and what it reads: each contradiction is refused, naming class and fact, or file and place."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.valence import seed_v_recordings as seed_v_world
from valence.dataset_checks import PLAUSIBLE_DE
from valence.datasets.base import Part, Recording
from valence.datasets.faced import Faced
from valence.datasets.seed_v import SeedV
from valence.errors import BadInput
from valence.faced_files import FOLDERS
from valence.faced_writing import write_array
from valence.features import Band

LABELS = Faced.class_of_clip
WRONG = {
    "no name": ({"name": ""}, "name: ''"),
    "a url of blanks": ({"url": "  "}, "url: '  '"),
    "no licence": ({"licence": None}, "licence: None"),
    "a doi that is no text": ({"doi": 10.1}, "doi: 10.1"),
    "a list of channels": ({"ch_names": ["Fp1"]}, "ch_names"),
    "a channel twice": ({"ch_names": ("Fz", "Cz", "Fz")}, "ch_names: repeats Fz"),
    "no channel": ({"ch_names": ()}, "0 and 9"),
    "one class": ({"classes": ("all",), "class_of_clip": (0,) * 28}, "32 and 1"),
    "a class twice": ({"classes": ("joy", *Faced.classes[:-2], "joy")}, "classes: repeats joy"),
    "emotions of other number": ({"emotions": ("joy", "fear")}, "emotions: 2 for 9 classes"),
    "an emotion twice": ({"emotions": ("joy",) * 9}, "emotions: repeats joy"),
    "a rate of 0": ({"sfreq": 0}, "sfreq: 0"),
    "a rate that is text": ({"sfreq": "250"}, "sfreq: '250'"),
    "a step of nothing": ({"de_step_s": -1.0}, "de_step_s: -1.0"),
    "clips that are no number": ({"n_clips": 28.0}, "n_clips: 28.0"),
    "labels of fewer clips": ({"class_of_clip": LABELS[:27]}, "class_of_clip: 27 values"),
    "lengths of fewer clips": ({"clip_seconds": (30.0,) * 27}, "clip_seconds: 27 values"),
    "films of more clips": ({"films": (*Faced.films, "one more")}, "films: 29 values"),
    "a clip of no length": ({"clip_seconds": (30.0,) * 27 + (0.0,)}, "clip_seconds: "),
    "a clip of endless length": ({"clip_seconds": (30.0,) * 27 + (float("inf"),)}, "clip_seconds: "),
    "a label beyond the classes": ({"class_of_clip": (*LABELS[:27], 9)}, "class_of_clip: "),
    "labels of numpy": ({"class_of_clip": tuple(np.array(LABELS))}, "class_of_clip: "),
    "labels from 1": ({"class_of_clip": tuple(label + 1 for label in LABELS)}, "class_of_clip: "),
    "a class without a clip": (
        {"class_of_clip": tuple(max(label, 1) for label in LABELS)},
        "no clip of the class anger",
    ),
    "blocks of nothing": ({"block_clips": 0}, "block_clips: 0"),
    "bands by name alone": ({"bands": ("alpha",)}, "bands: "),
    "a band turned about": ({"bands": (Band("alpha", 14, 8),)}, "bands: "),
    "a band twice": ({"bands": (Band("alpha", 8, 13), Band("alpha", 8, 14))}, "bands: "),
    "a split in two": ({"standard_split": (Part(), Part())}, "standard_split: 2 parts"),
    "a split of clips that are not there": ({"standard_split": (Part(), Part(), Part(clips=(28,)))}, r"clips \[28\]"),
}


@pytest.fixture
def root(tmp_path) -> Path:
    write_array(tmp_path / FOLDERS["de"] / "sub000.pkl.pkl", features())
    return tmp_path


def features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2.0, 0.3, size=(28, 32, 30, 5))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_fact_is_named_with_its_class(root, name):
    facts, told = WRONG[name]
    kind = type("Wrong", (Faced,), {"__module__": __name__} | facts)
    with pytest.raises(BadInput, match=rf"test_dataset_checks\.Wrong: .*{told}"):
        kind(root)


def test_facts_that_agree_pass(root):
    kind = type("Right", (Faced,), {"emotions": tuple("abcdefghi"), "block_clips": None, "sfreq": 250, "bands": ()})
    assert kind(root).subjects("de") == ("sub000",)


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        (None, "a NoneType"),
        (np.zeros((28, 32, 30, 5)), "a ndarray"),
        (Recording(None), "clips are a NoneType"),
        (Recording([[1.0, 2.0]] * 28), "a list among its clips"),
        (Recording(features(), "mended"), "repairs are 'mended'"),
    ],
)
def test_what_is_no_recording_is_refused(root, gives, told):
    kind = type("Wrong", (Faced,), {"read": lambda self, subject, input: gives})
    with pytest.raises(BadInput, match=rf"sub000\.pkl\.pkl: reading sub000 gave .*{told}") as caught:
        kind(root).load("sub000", "de")
    assert "method read" in str(caught.value)


@pytest.mark.parametrize(
    "gives", [None, ["sub000"], {"sub000": Path("x")}, {"sub000": ("x",)}, {"sub000": ()}, {0: ()}]
)
def test_what_is_no_table_of_files_is_refused(root, gives):
    kind = type("Wrong", (Faced,), {"files": lambda self, input: gives})
    for ask in (lambda made: made.subjects("de"), lambda made: made.load("sub000", "de")):
        with pytest.raises(BadInput, match=r"files\(\) gave .*\n  allowed: .*tuple of one pathlib\.Path"):
            ask(kind(root))


def load(root: Path, array: np.ndarray, input: str = "de") -> Recording:
    write_array(root / FOLDERS[input] / "sub000.pkl.pkl", array)
    return Faced(root).load("sub000", input)


@pytest.mark.parametrize("input", ["de", "psd"])
def test_a_band_of_a_channel_that_never_varies_is_named(root, input):
    array = features()
    array[:27, 25, :, 3] = 1.5
    assert len(load(root, array, input).clips) == 28
    array[:, 25, :, 3] = 1.5
    array[:, 25, :, 4] = 1.5
    told = r"sub000\.pkl\.pkl: sub000, channel PO3, band beta holds 1\.5 in all clips .*2 of 160"
    with pytest.raises(BadInput, match=told):
        load(root, array, input)


def test_power_below_0_is_named_and_entropy_below_0_is_none_of_it(root):
    array = np.abs(features())
    array[3, 8, 7, 1] = -1e-9
    with pytest.raises(BadInput, match=r"sub000, channel FC2, band theta holds a power of -1e-09"):
        load(root, array, "psd")
    assert len(load(root, array, "de").clips) == 28


def test_entropy_of_volts_is_refused(root):
    with pytest.raises(BadInput, match=r"sub000 has a median differential entropy of -11\.8"):
        load(root, features() - np.log(1e6))
    # 0.05 to 5,000 µV, with room below for what a band holds of it and above for other offsets
    assert PLAUSIBLE_DE[0] == pytest.approx(1.4189 + np.log(0.05) - np.log(100), abs=1e-4)
    assert PLAUSIBLE_DE[1] == pytest.approx(1.4189 + np.log(5000) + np.log(1e9), abs=1e-4)


def test_published_subjects_pass_and_do_not_in_volts(shared_data, tmp_path):
    faced = Faced(shared_data / "faced")
    medians = [np.median(faced.load(subject, "de").clips) for subject in faced.subjects("de")]
    assert len(medians) == 100
    assert (min(medians), max(medians)) == (pytest.approx(1.65, abs=0.01), pytest.approx(3.36, abs=0.01))
    shutil.copytree(shared_data / "faced/EEG_Features", tmp_path / "EEG_Features")
    noisiest = faced.subjects("de")[int(np.argmax(medians))]
    (path,) = (tmp_path / FOLDERS["de"]).glob(f"{noisiest}.*")
    path.unlink()
    write_array(path, faced.load(noisiest, "de").clips - np.float32(np.log(1e6)))
    with pytest.raises(BadInput, match=f"{noisiest} has a median differential entropy of -10"):
        Faced(tmp_path).load(noisiest, "de")


def test_seed_v_passes_with_its_own_offset_and_not_in_volts(tmp_path):
    for subject, offset in ((1, 0.0), (2, 20.0), (3, -np.log(1e6))):
        data = {clip: x + offset for clip, x in seed_v_world.simulated_features(subject).items()}
        seed_v_world.write_features(tmp_path, subject, data)
    dataset = SeedV(tmp_path)
    assert len(dataset.load("sub01", "de").clips) == len(dataset.load("sub02", "de").clips) == 45
    with pytest.raises(BadInput, match="sub03 has a median differential entropy"):
        dataset.load("sub03", "de")
