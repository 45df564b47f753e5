"""Bad channels, ocular components and reference against planted truth; bad channels are found by a rule of numbers."""

import numpy as np
import pytest

from tests.valence.scalp_field import CH_NAMES, SFREQ, blinks_uv, brain_uv, eye_topography
from valence.bad_channels import find_bad_channels
from valence.errors import BadInput
from valence.head import forward_model
from valence.processing import Processing, process, to_raw

DURATION_S = 60


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    return brain_uv(5, DURATION_S)


def processed(x_uv, *, bads=(), ch_names=CH_NAMES, **steps):
    """Signal in µV, repairs and bad channels of the result."""
    raw = to_raw(x_uv, sfreq=SFREQ, ch_names=ch_names)
    raw.info["bads"] = list(bads)
    done, repairs = process(raw, Processing(**steps))
    return done.get_data() * 1e6, repairs, done.info["bads"]


def damages(seed: int, clean: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "flat": np.full(len(clean), 3.0),
        "loud": 40 * clean + rng.normal(scale=400, size=len(clean)),
        "quiet": rng.normal(scale=0.15, size=len(clean)),
        "unlike": rng.normal(scale=clean.std(), size=len(clean)),
    }


@pytest.mark.parametrize("kind", ["flat", "loud", "quiet", "unlike"])
@pytest.mark.parametrize("name", ["F7", "Cz", "P3"])
def test_a_bad_channel_is_found_and_filled_from_its_neighbours(brain, kind, name):
    channel, x = CH_NAMES.index(name), brain.copy()
    x[channel] = damages(1, x[channel])[kind]
    y, repairs, bads = processed(x, interpolate="detected")
    assert [repair.split(" (")[0] for repair in repairs] == [
        f"interpolated {name}: {'unlike its neighbours' if kind == 'unlike' else kind}"
    ]
    assert bads == []
    assert np.corrcoef(y[channel], brain[channel])[0, 1] > 0.9
    others = np.delete(np.arange(32), channel)
    np.testing.assert_array_equal(y[others], processed(x)[0][others])


@pytest.mark.parametrize("seed", range(4))
def test_a_good_recording_has_no_bad_channels_even_with_blinks(seed):
    x = brain_uv(seed, DURATION_S) + eye_topography()[:, None] * blinks_uv(seed, DURATION_S)
    y, repairs, _ = processed(x, interpolate="detected")
    assert repairs == ()
    np.testing.assert_array_equal(y, processed(x)[0])


def test_marked_channels_alone_are_interpolated_unless_others_are_looked_for(brain):
    x = brain.copy()
    x[3] = 0
    y, repairs, bads = processed(x, bads=["Pz"], interpolate="marked")
    assert (repairs, bads) == (("interpolated Pz: marked bad",), [])
    assert not y[3].any()
    assert np.corrcoef(y[20], brain[20])[0, 1] > 0.9
    _, repairs, _ = processed(x, bads=["Pz"], interpolate="detected")
    assert repairs == ("interpolated F3: flat (standard deviation 0 µV)", "interpolated Pz: marked bad")
    assert processed(x, bads=["Pz"])[2] == ["Pz"]


def test_interpolation_is_that_of_spherical_splines(brain):
    """Perrin and others 1989, doi 10.1016/0013-4694(89)90180-6, equations 1 to 3 with m = 4."""
    channel, electrodes = 12, forward_model(CH_NAMES)[1]
    y, _, _ = processed(brain, bads=[CH_NAMES[channel]], interpolate="marked")
    good = np.delete(np.arange(32), channel)
    n = np.arange(1, 60)
    coefficients = np.concatenate([[0], (2 * n + 1) / (n * (n + 1.0)) ** 4 / (4 * np.pi)])
    g = np.polynomial.legendre.legval(np.clip(electrodes @ electrodes.T, -1, 1), coefficients)
    system = np.block([[g[np.ix_(good, good)] + 1e-5 * np.eye(31), np.ones((31, 1))], [np.ones((1, 31)), 0]])
    weights = np.append(g[channel, good], 1) @ np.linalg.pinv(system)
    expected = weights[:31] @ brain[good]
    # mne fits the middle of the sphere to the electrodes, this takes that of the forward model
    assert np.corrcoef(y[channel], expected)[0, 1] > 0.99


def test_a_bad_channel_without_a_place_stays_and_says_so(brain):
    names = ["CB1" if name == "Oz" else name for name in CH_NAMES]
    x = brain.copy()
    x[names.index("CB1")] = 0
    x[5] = 0
    y, repairs, bads = processed(x, ch_names=names, interpolate="detected")
    assert repairs[0].startswith("interpolated F7: flat")
    assert repairs[1].startswith("left CB1 bad, its place is not known: flat")
    assert bads == ["CB1"]
    assert not y[names.index("CB1")].any()
    assert np.corrcoef(y[5], brain[5])[0, 1] > 0.9


def test_names_in_capitals_have_their_place(brain):
    x = brain.copy()
    x[0] = 0
    lower, _, _ = processed(x, interpolate="detected")
    upper, repairs, _ = processed(x, ch_names=[name.upper() for name in CH_NAMES], interpolate="detected")
    assert repairs[0].startswith("interpolated FP1")
    np.testing.assert_array_equal(lower, upper)


def test_mastoids_are_not_compared_with_neighbours_they_do_not_have(brain):
    x = brain.copy()
    rng = np.random.default_rng(0)
    x[30:] = rng.normal(scale=x[30:].std(), size=(2, x.shape[1]))
    assert processed(x, interpolate="detected")[1] == ()
    x[30] = 0
    assert processed(x, interpolate="detected")[1] == ("interpolated A1: flat (standard deviation 0 µV)",)


def test_a_recording_that_is_mostly_bad_is_refused(brain):
    x = brain.copy()
    x[:17] = 0
    with pytest.raises(BadInput, match=r"17 of 32 channels are bad \(Fp1: flat"):
        processed(x, interpolate="detected")


def test_the_rule_takes_channels_that_are_bad_half_of_the_time():
    rng = np.random.default_rng(0)
    common = rng.normal(size=6000)
    x = 10 * common + rng.normal(scale=3, size=(6, 6000))
    x[2, :3500] = 0
    x[4, :1800] = rng.normal(scale=300, size=1800)
    positions = rng.normal(size=(6, 3))
    assert list(find_bad_channels(x, sfreq=100, positions=positions)) == [2]


def test_blinks_are_removed_and_what_is_behind_them_stays(brain):
    blinks, seen = blinks_uv(6, DURATION_S), eye_topography()
    y, repairs, _ = processed(brain + seen[:, None] * blinks, ica_components=20)
    ocular = [repair for repair in repairs if repair.startswith("removed independent component")]
    assert len(ocular) == 1
    assert "of 20: ocular (correlation" in ocular[0]
    frontal = CH_NAMES.index("Fp1")
    assert np.corrcoef(brain[frontal] + seen[frontal] * blinks, blinks)[0, 1] > 0.9
    assert abs(np.corrcoef(y[frontal], blinks)[0, 1]) < 0.1
    assert (y - brain)[frontal].std() < 0.2 * (seen[frontal] * blinks).std()
    back = [CH_NAMES.index(name) for name in ("Pz", "Oz", "O1", "P8")]
    assert ((y - brain)[back].std(axis=1) < 0.05 * brain[back].std(axis=1)).all()


def test_without_eye_movements_nothing_is_removed(brain):
    y, repairs, _ = processed(brain, ica_components=20)
    assert not any("removed" in repair for repair in repairs)
    np.testing.assert_array_equal(y, processed(brain)[0])


def test_posterior_activity_that_reaches_the_forehead_is_no_eye_movement(brain):
    seen = 0.75 + 0.25 * forward_model(CH_NAMES)[1] @ [0, -0.9, 0.4]  # half as strong at the forehead as at the back
    slow_waves = 1.5 * blinks_uv(7, DURATION_S)
    x = brain + seen[:, None] * slow_waves
    assert np.corrcoef(x[0], slow_waves)[0, 1] > 0.8
    _, repairs, _ = processed(x, ica_components=20)
    assert not any("removed" in repair for repair in repairs)


def test_an_eog_channel_guides_where_no_frontal_channel_is_there(brain):
    keep = [channel for channel, name in enumerate(CH_NAMES) if not name.startswith("Fp")]
    blinks = blinks_uv(8, DURATION_S)
    noise = np.random.default_rng(0).normal(size=len(blinks))
    x = np.vstack([(brain + eye_topography()[:, None] * blinks)[keep], 3 * blinks + noise])
    names = [*(CH_NAMES[channel] for channel in keep), "VEO"]
    y, repairs, _ = processed(x, ch_names=names, ica_components=20)
    assert any("with VEO" in repair for repair in repairs)
    np.testing.assert_array_equal(y[-1], processed(x, ch_names=names)[0][-1])
    f7 = names.index("F7")
    assert np.corrcoef(x[f7], blinks)[0, 1] > 0.3
    assert abs(np.corrcoef(y[f7], blinks)[0, 1]) < 0.1


def test_components_are_no_more_than_the_dimensions_that_interpolation_leaves(brain):
    x = brain + eye_topography()[:, None] * blinks_uv(9, DURATION_S)
    x[[7, 20]] = 0
    _, repairs, _ = processed(x, interpolate="detected", ica_components=32)
    assert any("of 30: ocular" in repair for repair in repairs)


def test_ica_without_a_channel_near_the_eyes_or_on_seconds_is_refused(brain):
    with pytest.raises(BadInput, match="no frontal and no EOG channel"):
        processed(brain[20:26], ch_names=CH_NAMES[20:26], ica_components=3)
    with pytest.raises(BadInput, match="ICA on 10 s"):
        processed(brain[:, :2500], ica_components=3)


def test_the_average_reference_is_the_mean_of_the_good_eeg_channels(brain):
    x = np.vstack([brain[:5], 1000 * np.ones(brain.shape[1])])
    names = [*CH_NAMES[:5], "HEO"]
    y, _, _ = processed(x, ch_names=names, bads=["F3"], reference="average")
    np.testing.assert_allclose(y[:5], x[:5] - x[[0, 1, 2, 4]].mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(y[5], 1000)
