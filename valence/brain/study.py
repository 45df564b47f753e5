"""Stage brain: every analysis of a cohort and a target, in one table. Adding one is adding a line to `ANALYSES`."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from valence.brain import (
    asymmetry,
    axis_on_classes,
    campaigns,
    ceiling,
    cells,
    confounds,
    coupling,
    individuals,
    influence,
    information,
    leave_out,
    network,
    nulls,
    oracles,
    order_null,
    partial_r,
    regions,
    simpson,
    split_half,
    study_numbers,
    subsets,
    time_course,
)
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.rows import NotPossible, Row, table
from valence.errors import BadInput

if TYPE_CHECKING:
    from valence.axis import Axis
    from valence.datasets.base import Dataset

Analysis = Callable[[Cohort, BrainTarget], list[Row]]
ANALYSES: tuple[tuple[str, Analysis], ...] = (
    ("ridge", leave_out.rows),
    ("ridge, class level", leave_out.class_level_rows),
    ("ridge, new subjects", leave_out.new_subject_rows),
    ("other targets", nulls.rows),
    ("noise ceiling", ceiling.rows),
    ("ridge partial", partial_r.rows),
    ("cells", cells.rows),
    ("influence of subjects", influence.rows),
    ("regions", regions.rows),
    ("asymmetry", asymmetry.rows),
    ("subsets of clips", subsets.rows),
    ("network", network.rows),
    ("course in time", time_course.rows),
    ("individuals", individuals.rows),
    ("best cell of each subject", oracles.rows),
    ("Simpson", simpson.rows),
    ("split-half", split_half.rows),
    ("campaigns", campaigns.rows),
    ("order and block", confounds.rows),
    ("order of others", order_null.rows),
    ("mutual information", information.rows),
)
"""name of an analysis, which stands in the table where it has no answer, and what finds its rows"""


def run_analyses(
    cohort: Cohort,
    target: BrainTarget,
    *,
    axis: "Axis | None" = None,
    untrained: "Sequence[Axis]" = (),
    signals: "Dataset | None" = None,
    on_analysis: Callable[[str, float], object] = lambda name, seconds: None,
) -> pd.DataFrame:
    """The table of findings: `valence.brain.rows.COLUMNS`, with the study's numbers beside them.

    Parameters
    ----------
    axis : of the target, where it is one.
    untrained : axes of untrained LLMs, a null of the target.
    signals : the data set, for what is read from signals and takes minutes.
    on_analysis : called after each with its name and how many seconds it took.
    """
    found: list[Row] = []
    for name, analysis in (*ANALYSES, *_of_more(axis, untrained, signals)):
        started = time.monotonic()
        try:
            found += analysis(cohort, target)
        except (NotPossible, BadInput) as error:
            # cohort and target are checked before: here it is one analysis that has no use for them
            found.append(Row(analysis=name, reason=str(error).splitlines()[0]))
        on_analysis(name, time.monotonic() - started)
    about = {"dataset": cohort.name, "target": target.name}
    beside = study_numbers.beside(found, **about)
    return table([*beside, *study_numbers.missing(found, **about)])


def _of_more(
    axis: "Axis | None", untrained: "Sequence[Axis]", signals: "Dataset | None"
) -> tuple[tuple[str, Analysis], ...]:
    """Analyses of more than a cohort and a target."""

    def coupled(cohort: Cohort, target: BrainTarget) -> list[Row]:
        if signals is None:
            raise NotPossible("it reads all signals, and was not asked for (--coupling)")
        return coupling.rows(cohort, target, signals)

    return (
        ("untrained LLMs", lambda cohort, target: nulls.untrained_rows(cohort, target, untrained)),
        ("axis on classes", lambda cohort, target: axis_on_classes.rows(cohort, axis)),
        ("coupling", coupled),
    )
