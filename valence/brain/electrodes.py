"""Stage brain: names of electrodes in, what mne needs to draw them and to know their neighbours out."""

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse

from valence.montage import MONTAGE, chs_info, positions

if TYPE_CHECKING:
    import mne


def electrode_info(ch_names: tuple[str, ...]) -> "mne.Info":
    """Electrodes in mne's head coordinates, by the fiducials of the standard montage.

    Raises BadInput for channels that the montage does not know.
    """
    import mne

    names = [channel["ch_name"] for channel in chs_info(ch_names)]
    standard = mne.channels.make_standard_montage(MONTAGE).get_positions()
    montage = mne.channels.make_dig_montage(
        dict(zip(names, positions(ch_names))),
        **{place: standard[place] for place in ("nasion", "lpa", "rpa")},
        coord_frame=standard["coord_frame"],
    )
    return mne.create_info(names, 1.0, "eeg", verbose="error").set_montage(montage, verbose="error")


def neighbours(ch_names: tuple[str, ...]) -> scipy.sparse.csr_array:
    """Which electrodes are neighbours, by mne's Delaunay triangulation of the flat head: bool, (n_chans, n_chans).

    Of fewer than four, which make no net of triangles, all are neighbours.
    """
    import mne

    positions(ch_names)
    if len(ch_names) < 4:
        return scipy.sparse.csr_array(np.ones((len(ch_names), len(ch_names)), dtype=bool))
    with mne.utils.use_log_level("error"):  # it says at each call that it has no table of this cap
        found = mne.channels.find_ch_adjacency(electrode_info(ch_names), "eeg")[0]
    return scipy.sparse.csr_array(found.astype(bool))
