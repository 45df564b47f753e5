"""Names to cells: what a preset stands for. Adding one is adding a row."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from valence.cell import Recipe
from valence.registry import unknown_name

SEEDS = (42, 123, 456, 789, 2025)
"""seeds of the study; further ones count up from 1"""


STRATEGIES_25 = (
    *("aux_mse", "aux_mse_strong", "anger_weighted", "uncertainty", "multi_llm"),
    *("kd_prototypes", "kd_soft", "distance_ce", "axis_teacher", "relational_kd"),
    *("rsa", "rsa_strong", "cka", "procrustes"),
    *("supcon_clip", "supcon_class", "clip_nce", "rank_n_contrast"),
    *("lora", "ia3", "cosine_curriculum", "pretrain_finetune"),
    *("topo_optimal", "frontal_mask", "frontal_asymmetry"),
)
"""the 25 strategies in seven families"""
PAPER_25 = (
    *("frontal_mask", "frontal_mask:lambda=0.1", "frontal_asymmetry", "frontal_asymmetry:lambda=0.1"),
    *("anger_weighted", "frontal_mask:region=occipital:lambda=0.1", "topo_optimal", "topo_optimal:lambda=0.05"),
    *("procrustes", "rsa_strong", "rsa", "distance_ce", "multi_llm", "aux_mse_strong", "aux_mse"),
    *("supcon_class", "supcon_clip", "full_head_aux", "lora", "ia3"),
    *("pretrain_finetune:frozen=true", "pretrain_finetune", "uncertainty"),
)
"""the rows of the study at its own strengths. Two of the 25 are not here: "full data, 0.5" is the row aux_mse_strong,
which reads all data (its doses are aux_mse:lambda=.5:share=.1/.25/.5), and of "cross-EEG (FACED to SEED-V)" the study
does not say what is trained on what"""
CONTROLS = (
    *("detached", "permuted_1", "permuted_2", "permuted_3", "random_1", "random_2", "random_3"),
    *("arousal", "behaviour", "rank", "identity"),
)
"""targets that are not the axis under study"""
POSITIVE_CONTROL = "positive-control"
"""a preset of many sweeps, see cluster.positive_control"""
GROUPS = {"strategies25": STRATEGIES_25, "paper25": PAPER_25, "controls": CONTROLS}
"""names that stand for several"""


def expanded(names: Iterable[str]) -> list[str]:
    """Names with those of a group in place of the group's name."""
    return [each for name in names for each in GROUPS.get(name, (name,))]


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


_QUICK = Preset(
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
)
_FULL = Preset(
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
)
PRESETS = {
    preset.name: preset
    for preset in (
        _QUICK,
        replace(
            _QUICK,
            name="quick-strategies",
            description="the 25 strategies on two small classifiers, minutes on a laptop",
            classifiers=("ShallowFBCSPNet", "de_mlp"),
            strategies=("strategies25",),
        ),
        replace(
            _QUICK,
            name="verdict",
            description="one loss on one small classifier, with test subjects enough for a verdict",
            classifiers=("de_mlp",),
            strategies=("none",),
            n_seeds=10,
            n_subjects=30,
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
        _FULL,
        replace(
            _FULL,
            name="strategies25",
            description="the 25 strategies with the axis and its twins, on every classifier",
            strategies=("strategies25",),
            targets=("vaxis", "permuted", "random"),
        ),
        replace(
            _FULL,
            name="paper25",
            description="the rows of the study at its own strengths, on its classifier, with its five seeds",
            classifiers=("EMOD_depth6",),
            strategies=("paper25",),
            targets=("vaxis", "permuted", "random"),
            n_seeds=5,
        ),
        replace(
            _FULL,
            name="controls",
            description="the 25 strategies with the axis and every control of it, on every classifier",
            strategies=("strategies25",),
            targets=("vaxis", "controls"),
        ),
    )
}


def preset(name: str) -> Preset:
    """A preset by name. Raises BadInput for an unknown one."""
    if name not in PRESETS:
        raise unknown_name("preset", name, [*PRESETS, POSITIVE_CONTROL])
    return PRESETS[name]


def seeds(n_seeds: int) -> tuple[int, ...]:
    """The first n seeds: the study's five, then 1, 2, 3, …"""
    further = (number for number in itertools.count(1) if number not in SEEDS)
    return tuple(itertools.islice(itertools.chain(SEEDS, further), n_seeds))
