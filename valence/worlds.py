"""Recordings with a known truth: what can be planted, and the worlds that have a name.

In: nothing. Out: rows. Signals are made of them in valence/simulation.py.
"""

from dataclasses import dataclass


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
