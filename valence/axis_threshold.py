"""Stage axis: from which correlation an axis is called there, and why.

Nine classes are nine values, however many clips or texts share them. The sign of an axis is chosen with some of the
same classes, and that choice is worth something: the threshold holds it.
"""

import numpy as np
from scipy import stats

from valence.axis_pca import check_sign_rule, polarity
from valence.errors import BadInput
from valence.stories import EMOTIONS

LEVEL = 0.05
N_DRAWS = 400_000
"""the threshold is then within .001"""


def detection_threshold(n: int = 9, *, level: float = LEVEL, sides: int = 2) -> float:
    """|r| over n independent values from which an axis is called there.

    n = 9 classes, two-sided at .05: .666. Two-sided, because the sign of an axis is chosen with the polarity of the
    same classes; a sign that owes nothing to them would need .582, and 28 clips, were they independent, .374.

    Raises BadInput for n below 3, a level outside 0 … 1, or other sides than 1 and 2.
    """
    if n < 3 or not 0.0 < level < 1.0 or sides not in (1, 2):
        raise BadInput(
            f"a detection threshold for n = {n}, level {level}, {sides} sides",
            allowed="n of at least 3, a level between 0 and 1, 1 or 2 sides",
            do="correct them",
        )
    t = stats.t.ppf(1.0 - level / sides, n - 2)
    return float(t / np.sqrt(t**2 + n - 2))


def threshold_of_sign_rule(
    values: np.ndarray,
    *,
    classes: tuple[str, ...] = EMOTIONS,
    sign_rule: str = "stories",
    level: float = LEVEL,
    seed: int = 0,
) -> float:
    """r with the classes' values that positions without any valence reach with this probability.

    Positions are drawn from a normal distribution and turned round by the rule, so that its choice is inside. With
    mean ratings of FACED's nine classes: .667 for "stories", which is the two-sided threshold, as all classes but one
    decide the sign; .648 for "joy", the study's rule, by which one does. Of the study's 14 LLMs Pythia, TinyLlama and
    BLOOM (r = .28, .13, .03) are below .648, and no other: Phi-2 (.651) is just above it, and below our own rule's.

    Parameters
    ----------
    values : (n_classes,), such as mean self-rated valence.

    Raises BadInput for values of another length or all the same, an unknown rule, or one without its classes.
    """
    values = np.asarray(values, dtype=np.float64)
    codes = polarity(classes)
    check_sign_rule(sign_rule, classes, codes)
    if values.shape != (len(classes),) or not np.isfinite(values).all() or not np.ptp(values):
        raise BadInput(
            f"values of shape {values.shape} for {len(classes)} classes",
            allowed="one finite number for each class, not all the same",
            do="correct them",
        )
    positions = np.random.default_rng(seed).normal(size=(N_DRAWS, len(classes)))
    positions -= positions.mean(axis=1, keepdims=True)
    if sign_rule == "joy":
        margins = positions[:, classes.index("joy")]
    else:
        margins = positions[:, codes > 0].mean(axis=1) - positions[:, codes < 0].mean(axis=1)
    centred = values - values.mean()
    r = positions @ centred / np.linalg.norm(positions, axis=1) / np.linalg.norm(centred)
    return float(np.quantile(np.where(margins >= 0, r, -r), 1.0 - level))
