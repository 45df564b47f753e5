"""Simulation, the physics: what dipoles in a spherical head look like at FACED's electrodes."""

import functools

import numpy as np

N_SOURCES = 64
HEAD_RADIUS_M = 0.095
SOURCE_DEPTH_M = 0.03
"""below the scalp: cortex"""
LOWEST = -0.35
"""height of the lowest source on the unit sphere: the cap of sources reaches down to the temporal lobes"""


@functools.cache
def forward_model(ch_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources, electrodes and what one sees of the other: MNE's three-layer sphere and standard montage.

    Parameters
    ----------
    ch_names : electrodes of the 10-20 system.

    Returns
    -------
    sources : float64, (n_sources, 3), unit vectors from the centre of the head (x right, y front, z up).
    electrodes : float64, (n_chans, 3), unit vectors.
    gain : float64, (n_chans, n_sources, 3), V per Am of a dipole along x, y and z.
    """
    import mne  # takes seconds, and reading data sets does not need it

    montage = mne.channels.make_standard_montage("colin27_1020")
    info = mne.create_info(list(ch_names), 1.0, "eeg", verbose="error").set_montage(montage)
    centre = np.array([0.0, 0.0, 0.04])
    sphere = mne.make_sphere_model(centre, HEAD_RADIUS_M, verbose="error")
    height = np.linspace(0.98, LOWEST, N_SOURCES)
    angle = np.arange(N_SOURCES) * np.pi * (3 - np.sqrt(5))  # the golden angle spreads points evenly
    ring = np.sqrt(1 - height**2)
    sources = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
    dipoles = {"rr": centre + sources * (HEAD_RADIUS_M - SOURCE_DEPTH_M), "nn": sources}
    space = mne.setup_volume_source_space(pos=dipoles, sphere=sphere, sphere_units="m", verbose="error")
    forward = mne.make_forward_solution(info, None, space, sphere, meg=False, mindist=0, verbose="error")
    electrodes = np.array([channel["loc"][:3] for channel in info["chs"]]) - centre
    electrodes /= np.linalg.norm(electrodes, axis=1, keepdims=True)
    return sources, electrodes, forward["sol"]["data"].reshape(len(ch_names), N_SOURCES, 3)
