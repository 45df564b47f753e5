"""Recordings to classifiers: where the electrodes of a recording are, by name.

In: names of the 10-20 system or its extensions to 10-10 and 10-5, in any case. Out: positions in metres, for
architectures that look at geometry, and a flat grid for those that look at neighbours.
"""

import functools
import math

import numpy as np

from valence.errors import BadInput

MONTAGE = "colin27_1005"
"""positions of the 10-5 system on the Colin27 head, in MNE; before MNE 1.13 it was called standard_1005"""
STAND_INS = {"cb1": "PO9", "cb2": "PO10"}
"""cerebellar sites of the Quik-Cap, outside the 10-5 system, and the sites that they coincide with"""
EQUATOR = ("fpz", "t7", "oz", "t8")
"""sites of the 10-20 system's largest circle: the middle of the head lies between them"""
GRID = 9
"""cells along a side: the spacing of the 10-10 system, from ear to ear and from Fpz to Oz"""


@functools.cache
def _standard() -> dict[str, tuple[str, np.ndarray]]:
    import mne  # takes a second, and most classifiers do without positions

    places = mne.channels.make_standard_montage(MONTAGE).get_positions()["ch_pos"]
    known = {name.lower(): (name, np.asarray(place)) for name, place in places.items()}
    return known | {name: known[place.lower()] for name, place in STAND_INS.items()}


def positions(ch_names: tuple[str, ...]) -> np.ndarray:
    """Where electrodes are: float64, (n_chans, 3), metres from the middle between the ears, x right, y front, z up.

    Raises
    ------
    BadInput : listing the names that are unknown.
    """
    known = _standard()
    unknown = [name for name in ch_names if name.lower() not in known]
    if unknown:
        raise BadInput(
            f"no position is known for channel{'s' * (len(unknown) > 1)} {', '.join(unknown)}",
            allowed="electrodes of the 10-20 system and its extensions to 10-10 and 10-5, CB1 and CB2",
            do="name the channels by their sites, drop those that are no electrodes, or take a classifier that needs "
            "no positions",
        )
    return np.stack([known[name.lower()][1] for name in ch_names])


def chs_info(ch_names: tuple[str, ...]) -> list[dict]:
    """Channels as MNE and braindecode describe them: name as the 10-5 system writes it, kind, and location.

    Raises
    ------
    BadInput : as `positions`.
    """
    places = positions(ch_names)
    names = [_written(name) for name in ch_names]
    return [
        {"ch_name": name, "kind": "eeg", "loc": np.concatenate([place, np.zeros(9)])}
        for name, place in zip(names, places)
    ]


def _written(name: str) -> str:
    """CB1 keeps its name: its stand-in may be a channel itself."""
    return name.upper() if name.lower() in STAND_INS else _standard()[name.lower()][0]


def grid_cells(ch_names: tuple[str, ...]) -> tuple[np.ndarray, int]:
    """A cell of a square grid for each electrode, seen from above, no cell twice.

    The head is laid flat (azimuthal equidistant: distance from the vertex is the angle), and electrodes go to the cells
    that are nearest in the sum of squared distances.

    Returns
    -------
    cells : int64, (n_chans,), row x side + column; rows from front to back, columns from left to right.
    side : cells along a side, 9, or more where there are more electrodes than fit well.

    Raises
    ------
    BadInput : as `positions`.
    """
    from scipy.optimize import linear_sum_assignment

    directions = positions(ch_names) - positions(EQUATOR).mean(0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angle = np.arccos(directions[:, 2]) / (np.pi / 2)
    bearing = np.arctan2(directions[:, 1], directions[:, 0])
    flat = np.stack([-angle * np.sin(bearing), angle * np.cos(bearing)], axis=1)
    side = max(GRID, math.ceil(math.sqrt(1.3 * len(ch_names))))
    steps = np.linspace(-1, 1, side)
    cells = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = ((flat[:, None] - cells[None]) ** 2).sum(-1)
    return linear_sum_assignment(distance)[1].astype(np.int64), side
