"""Arms of one block to what is compared with what: each with its matched baseline, the axis with its controls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from valence.errors import BadInput
from valence.stats.arms import AXIS_TARGET, BASELINE, NO_TARGET, Arm, ArmKey, control_kind, role

CONFIRMATORY = f"{AXIS_TARGET} against none"
"""the kind of comparison that is declared before the run; a matched baseline stands in for `none` where there is one"""
KINDS = {
    "axis": CONFIRMATORY,
    "control": "controls against none",
    "detached": "detached against none",
    "other": "other targets against none",
    "none": "strategies without a target against none",
}
"""kind of a comparison with the baseline, by the role of the target"""
MATCHED = "matched baselines against none"


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One comparison before it is computed: two tables of seeds x subjects, and what to call it."""

    comparison: str
    """"baseline" (target against its matched baseline), "content" (axis against its controls), "structure" (controls
    against the baseline)"""
    kind: str
    """what comparisons it shares a family with: a value of KINDS, MATCHED, or the comparison"""
    key: ArmKey
    against: str
    """strategy of the baseline, or targets of the controls"""
    arm: pd.DataFrame
    reference: pd.DataFrame
    baseline: pd.DataFrame
    """of the matched baseline"""
    n_failed: int


def contrasts(block_arms: Mapping[ArmKey, Arm], compared_with: Mapping[str, str], *, name: str) -> Iterator[Contrast]:
    """All comparisons of a block.

    Parameters
    ----------
    block_arms : arms of one classifier, data set, split and recipe.
    compared_with : strategy to the one that it is compared with.
    name : of the block, for messages.

    Raises
    ------
    BadInput : where there is not one baseline for a strategy.
    """
    strategies = sorted({key.strategy for key in block_arms})
    matched = {strategy: compared_with[strategy] for strategy in strategies if strategy != BASELINE}
    baselines = {
        strategy: baseline_arm(
            block_arms, strategy, of=[one for one, other in matched.items() if other == strategy], name=name
        )
        for strategy in sorted({BASELINE, *matched.values()})
    }
    tested = {key: arm for key, arm in block_arms.items() if key.strategy != BASELINE}
    for key, arm in tested.items():
        against = matched[key.strategy]
        is_matched = key.target == NO_TARGET and key.strategy in baselines
        yield Contrast(
            comparison="baseline",
            kind=MATCHED if is_matched else KINDS[role(key.target)],
            key=key,
            against=against,
            arm=arm.table,
            reference=baselines[against].table,
            baseline=baselines[against].table,
            n_failed=arm.n_failed + baselines[against].n_failed,
        )
    groups = {key._replace(target="") for key in tested if role(key.target) in ("axis", "control")}
    with_axis = {group._replace(axis="") for group in groups if group.axis}
    for group in sorted(group for group in groups if group.axis or group not in with_axis):
        against = matched[group.strategy]
        yield from _content_and_structure(group, tested, against, baselines[against])


def baseline_arm(block_arms: Mapping[ArmKey, Arm], strategy: str, *, of: list[str], name: str) -> Arm:
    """The arm of a strategy without a target; of several, the one with default options.

    Parameters
    ----------
    of : strategies that are compared with it, for the message.

    Raises BadInput where there is none, or more than one.
    """
    found = {key: arm for key, arm in block_arms.items() if key.strategy == strategy and key.target == NO_TARGET}
    if len(found) > 1:
        found = {key: arm for key, arm in found.items() if not key.options} or found
    if len(found) != 1:
        whose = f"baselines {strategy!r} for {', '.join(of)}" if strategy != BASELINE else "baselines"
        raise BadInput(
            f"{name}, has {len(found)} {whose}",
            allowed=f"cells with one set-up of the strategy {strategy!r} beside every strategy compared with it",
            do=f"run the strategy {strategy!r} for this classifier with the same seeds, or leave the classifier out",
        )
    [arm] = found.values()
    return arm


def _content_and_structure(
    group: ArmKey, tested: Mapping[ArmKey, Arm], against: str, baseline: Arm
) -> Iterator[Contrast]:
    """The two contrasts of one strategy, strength and axis. Controls that need no axis serve every axis."""
    controls = {
        key: arm
        for key, arm in tested.items()
        if role(key.target) == "control"
        and key.axis in (group.axis, "")
        and key._replace(target="", axis=group.axis) == group
    }
    if not controls:
        return
    names = ", ".join(key.target for key in controls)
    mean = _control_mean(controls)
    failed = sum(arm.n_failed for arm in controls.values())
    yield Contrast(
        comparison="structure",
        kind="structure",
        key=group._replace(target=names),
        against=against,
        arm=mean,
        reference=baseline.table,
        baseline=baseline.table,
        n_failed=failed + baseline.n_failed,
    )
    axis = tested.get(group._replace(target=AXIS_TARGET))
    if axis is not None:
        yield Contrast(
            comparison="content",
            kind="content",
            key=group._replace(target=AXIS_TARGET),
            against=names,
            arm=axis.table,
            reference=mean,
            baseline=baseline.table,
            n_failed=failed + axis.n_failed,
        )


def _control_mean(controls: Mapping[ArmKey, Arm]) -> pd.DataFrame:
    """Seeds x subjects, mean over draws, then over kinds; NaN wherever one of them is missing."""
    kinds: dict[str, list[pd.DataFrame]] = {}
    for key, arm in controls.items():
        kinds.setdefault(control_kind(key.target), []).append(arm.table)
    means = [sum(tables[1:], start=tables[0]) / len(tables) for tables in kinds.values()]
    return sum(means[1:], start=means[0]) / len(means)
