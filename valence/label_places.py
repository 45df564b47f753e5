"""Stage report: where to write the names of points so that none lies on another; plain geometry, no drawing."""

from collections.abc import Sequence

import numpy as np

GAP = 0.022
"""between a point and its name, as a share of the panel"""
SHIFTS = (0.0, 0.045, -0.045, 0.09, -0.09, 0.135, -0.135, 0.18, -0.18)


def place_labels(
    points: np.ndarray, widths: Sequence[float], *, height: float = 0.04
) -> list[tuple[float, float, str]]:
    """For each point, where its name goes: x and y of the near end, and the side that it is aligned by.

    Parameters
    ----------
    points : (n, 2), as shares of the panel, 0 … 1.
    widths : of the names, as shares of the panel's width.
    height : of a line of text, as a share of the panel's height.

    The nearest free place to the right or left is taken, higher or lower where it has to be; names stay inside the
    panel, and off other names and points. Where nothing is free, the place with the least overlap is taken.
    """
    taken = [(x - GAP / 2, y - height / 3, x + GAP / 2, y + height / 3) for x, y in points]
    places: list[tuple[float, float, str]] = [(0.0, 0.0, "left")] * len(points)
    for index in np.argsort(-np.asarray(points)[:, 1], kind="stable"):
        x, y = points[index]
        choices = []
        for shift in SHIFTS:
            for side in ("left", "right"):
                near = x + GAP if side == "left" else x - GAP
                left = near if side == "left" else near - widths[index]
                box = (left, y + shift - height / 2, left + widths[index], y + shift + height / 2)
                outside = max(0.0, -box[0]) + max(0.0, box[2] - 1) + max(0.0, -box[1]) + max(0.0, box[3] - 1)
                others = [other for place, other in enumerate(taken) if place != index]
                cost = sum(_overlap(box, other) for other in others) + outside * height
                choices.append((cost > 1e-9, cost if cost > 1e-9 else 0.0, abs(shift), (near, y + shift, side), box))
        best = min(choices, key=lambda choice: choice[:3])
        places[int(index)] = best[3]
        taken.append(best[4])
    return places


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
