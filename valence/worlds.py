"""Recordings with a known truth: what can be planted, and the worlds that have a name.

In: nothing. Out: rows. Signals are made of them in valence/simulation.py.
"""

from dataclasses import dataclass

from valence.cell import Recipe
from valence.registry import unknown_name


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """What differs between recording campaigns."""

    amplitude: float
    """factor of all signals but noise"""
    noise_uv: float
    """root mean square of each electrode's own white noise within the pass band"""
    response: float
    """factor of response_sd"""
    rating_gain: float
    """mean over subjects of how far reported valence moves when a clip's value does"""
    rating_gain_sd: float
    """standard deviation of the same between subjects"""
    rating_sd: float
    """standard deviation of a single report around that, on FACED's scale of 0 to 7"""


COHORTS = {
    1: Cohort(amplitude=1.0, noise_uv=2.5, response=1.0, rating_gain=1.15, rating_gain_sd=0.2, rating_sd=1.05),
    2: Cohort(amplitude=0.97, noise_uv=0.5, response=1.15, rating_gain=0.78, rating_gain_sd=0.6, rating_sd=1.4),
}
"""The second campaign of FACED against the first, delta to gamma, medians of the DE features of 61 and 39 subjects:
level .00 .00 -.05 -.03 -.13 nats, scatter over clips times 1.19 1.15 1.15 1.17 .93. Of these two: -.03 -.04 -.04 -.07
-.11 nats and times 1.06 1.09 1.12 1.20 1.29. A subject's valence against the mean of all others: r .83 and .49"""


@dataclass(frozen=True, kw_only=True)
class World:
    """What is planted. Strengths are changes of the natural logarithm of source power."""

    seed: int = 0
    axis_strength: float = 0.6
    """per standard deviation of the class values, at the strongest source"""
    residual_strength: float = 0.3
    """standard deviation of a clip's value within its class, in standard deviations of the class values"""
    content_strength: float = 0.2
    """standard deviation of what a clip does beside the axis"""
    evoked_uv: float = 1.75
    """root mean square of the waveform that a clip evokes at the same moment in every subject, µV"""
    response_sd: float = 0.3
    """standard deviation of a subject's own response to a clip"""
    subject_sd: float = 0.4
    """standard deviation between subjects at rest"""
    drift_sd: float = 0.1
    """standard deviation between subjects of the change from begin to end of a recording"""
    rating_noise: float = 0.15
    """standard deviation of a clip's mean rating around its value"""
    label_noise: float = 0.0
    """share of responses that are those to a clip of another class: that person felt something else"""


@dataclass(frozen=True, kw_only=True)
class NamedWorld:
    """A world with everything that a comparison in it needs."""

    name: str
    description: str
    why: str
    """what it is a control of"""
    world: World
    parts: tuple[int, int, int]
    """subjects that train, validate and test: the cohort's standard split"""
    recipe: Recipe
    """for DE features"""
    lambdas: dict[str, float]
    """strength by strategy; its own where it is not here"""

    @property
    def n_subjects(self) -> int:
        """Of the cohort."""
        return sum(self.parts)


_FEW_LABELS = Recipe(
    name="few-labels-de",
    epochs=100,
    batch_size=256,
    learning_rate=3e-3,
    weight_decay=60.0,
    de_normalisation="subject",
)
"""AdamW takes learning rate times weight decay, 18 % at the peak, off every weight in each step: what no loss holds on
to is forgotten. With the weight decay of the presets a small classifier keeps what it memorised of a few clips,
whatever else it is told"""
_MANY_LABELS = Recipe(
    name="many-labels-de",
    epochs=30,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.1,
    de_normalisation="subject",
)
_STRONG = {"aux_mse": 2.0, "kd_prototypes": 4.0, "rsa": 4.0, "supcon_clip": 4.0}

WORLDS = {
    row.name: row
    for row in (
        NamedWorld(
            name="unsaturated",
            description="2 training subjects, 6 labelled clips a class; the axis is all that tells classes apart",
            why="Positive control. Class means lie on one line, and 56 clips are too few to learn that: whoever is "
            "told the line (ridge regression on the true values, nearest value) reaches .27 where logistic regression "
            "stays at .19 (means over 20 pairs of training subjects, best of four penalties). A sweep that finds no "
            "effect of the true axis here could not find one anywhere.",
            world=World(axis_strength=2.0, residual_strength=0.1, content_strength=0.0, evoked_uv=0.0, response_sd=0.8),
            parts=(2, 4, 40),
            recipe=_FEW_LABELS,
            lambdas=_STRONG,
        ),
        NamedWorld(
            name="saturated",
            description="16 training subjects, clips that differ in much beside the axis",
            why="Negative control with an axis. The labels of 448 clips carry the axis and all else that tells classes "
            "apart, so that aligning adds nothing. A sweep that finds a gain here finds too much.",
            world=World(),
            parts=(16, 4, 12),
            recipe=_MANY_LABELS,
            lambdas=_STRONG,
        ),
        NamedWorld(
            name="no_axis",
            description="as unsaturated in subjects, with clips that differ in content alone: there is no axis",
            why="Negative control without an axis: whatever favours the true values over permuted ones here is false.",
            world=World(axis_strength=0.0, residual_strength=0.1, content_strength=0.4, evoked_uv=0.0, response_sd=0.8),
            parts=(2, 4, 40),
            recipe=_FEW_LABELS,
            lambdas=_STRONG,
        ),
    )
}


def find_world(name: str) -> NamedWorld:
    """A world by name. Raises BadInput for an unknown one."""
    if name not in WORLDS:
        raise unknown_name("world", name, WORLDS)
    return WORLDS[name]
