"""Where electrodes are, against another table of the same sites, and the grid that they are laid on."""

import importlib

import mne
import numpy as np
import pytest

from tests.valence.signal_specs import FACED_NAMES, SEED_V_NAMES
from valence import montage
from valence.errors import BadInput


@pytest.mark.parametrize("names", [FACED_NAMES, SEED_V_NAMES])
def test_positions_are_those_of_another_table(names):
    labram = importlib.import_module("braindecode.models.labram")  # after valence, which lets it find torchaudio
    table = {name.upper(): place for name, place in labram._LABRAM_TARGET_CHS_TUPLES}
    expected = np.array([table[name.upper()] for name in names])
    np.testing.assert_allclose(montage.positions(names), expected, atol=1e-6)


def test_channels_as_mne_describes_them():
    found = montage.chs_info(("FPZ", "cb1", "PO9", "a1"))
    assert [channel["ch_name"] for channel in found] == ["Fpz", "CB1", "PO9", "A1"]
    info = mne.create_info(["Fpz"], 100, "eeg").set_montage(montage.MONTAGE)
    np.testing.assert_allclose(
        found[0]["loc"][:3], mne.channels.make_standard_montage(montage.MONTAGE).get_positions()["ch_pos"]["Fpz"]
    )
    assert len(found[0]["loc"]) == len(info["chs"][0]["loc"])


def test_unknown_channels_are_listed_all():
    with pytest.raises(BadInput, match="channels ECG, E7\n"):
        montage.positions(("Cz", "ECG", "Pz", "E7"))
    with pytest.raises(BadInput, match="channel ECG\n"):
        montage.grid_cells(("ECG",))


@pytest.mark.parametrize("names", [FACED_NAMES, SEED_V_NAMES, ("Cz",)])
def test_grid_is_the_head_from_above(names):
    cells, side = montage.grid_cells(names)
    assert side == 9
    assert len(set(cells)) == len(names)
    places = {name.upper(): divmod(int(cell), side) for name, cell in zip(names, cells)}
    assert places["CZ"] == (4, 4)
    if len(names) > 1:
        row = [places[name] for name in ("T7", "C3", "CZ", "C4", "T8")]
        assert row == [(4, 0), (4, 2), (4, 4), (4, 6), (4, 8)]
        column = [places[name] for name in ("FZ", "CZ", "PZ", "OZ")]
        assert [place[1] for place in column] == [4] * 4
        assert [place[0] for place in column] == [2, 4, 6, 8]
        for left, right in (("F3", "F4"), ("P7", "P8"), ("O1", "O2"), ("FC5", "FC6"), ("PO3", "PO4")):
            assert places[left][0] == places[right][0]
            assert places[left][1] + places[right][1] == 8


def test_grid_grows_with_the_cap():
    names = tuple(mne.channels.make_standard_montage(montage.MONTAGE).ch_names[:200])
    cells, side = montage.grid_cells(names)
    assert side**2 > 200
    assert len(set(cells)) == 200
