"""Names to cells: what a preset stands for. Adding one is adding a row."""

import itertools
from dataclasses import dataclass

from valence.cell import Recipe
from valence.registry import unknown_name

SEEDS = (42, 123, 456, 789, 2025)
"""seeds of the study; further ones count up from 1"""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A grid by name. Empty tuples of names mean all that are registered."""

    name: str
    description: str
    classifiers: tuple[str, ...]
    strategies: tuple[str, ...]
    targets: tuple[str, ...]
    n_seeds: int
    split: str
    recipes: dict[str, Recipe]
    """by input: windows, de"""
    n_paraphrases: int
    """per story"""
    n_subjects: int
    """of the simulated cohort, where no recordings are given"""
    variants: tuple[str, ...] = ()
    """classifiers beside all that are registered, which leave the variants out"""


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="quick",
            description="minutes on a laptop: short windows, few epochs, a small simulated cohort",
            classifiers=("EEGNet", "ShallowFBCSPNet", "de_logistic", "de_mlp"),
            strategies=("none", "aux_mse", "rsa", "kd_prototypes", "supcon_clip"),
            targets=("vaxis", "permuted", "random"),
            n_seeds=3,
            split="cohort-balanced",
            recipes={
                "windows": Recipe(
                    name="quick-windows",
                    epochs=8,
                    batch_size=32,
                    learning_rate=1e-2,
                    warmup_epochs=1,
                    sfreq_hz=100,
                    window_s=5,
                    stride_s=15,
                ),
                "de": Recipe(name="quick-de", epochs=40, learning_rate=2e-3, weight_decay=0.1),
            },
            n_paraphrases=12,
            n_subjects=12,
        ),
        Preset(
            name="classifiers",
            description="every classifier once, one epoch on a small simulated cohort: do they all work here?",
            classifiers=(),
            strategies=("none",),
            targets=("vaxis",),
            n_seeds=1,
            split="cohort-balanced",
            recipes={
                "windows": Recipe(
                    name="classifiers-windows",
                    epochs=1,
                    batch_size=32,
                    sfreq_hz=200,
                    window_s=10,
                    stride_s=15,
                ),
                "de": Recipe(name="classifiers-de", epochs=1, learning_rate=2e-3, weight_decay=0.1),
            },
            n_paraphrases=12,
            n_subjects=9,
            variants=("EMOD_depth6",),
        ),
        Preset(
            name="full",
            description="every classifier, strategy and target that is registered, 10-s windows at 200 Hz, 10 seeds",
            classifiers=(),
            strategies=(),
            targets=(),
            n_seeds=10,
            split="cohort-balanced",
            recipes={
                "windows": Recipe(name="full-windows", epochs=100, warmup_epochs=5),
                "de": Recipe(name="full-de", epochs=60, learning_rate=2e-3, weight_decay=0.1),
            },
            n_paraphrases=50,
            n_subjects=123,
        ),
    )
}


def preset(name: str) -> Preset:
    """A preset by name. Raises BadInput for an unknown one."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]


def seeds(n_seeds: int) -> tuple[int, ...]:
    """The first n seeds: the study's five, then 1, 2, 3, …"""
    further = (number for number in itertools.count(1) if number not in SEEDS)
    return tuple(itertools.islice(itertools.chain(SEEDS, further), n_seeds))
