"""The whole engine against planted truths: it finds the axis where it must help, and nothing where there is none.

The preset positive-control does the same with four strategies and more seeds.
"""

import pytest

from cluster import positive_control
from cluster.listener import Listener
from valence.control_report import render_control
from valence.stats.control import control_findings
from valence.strategies import STRATEGIES
from valence.worlds import WORLDS

SEEDS = {"unsaturated": 10, "saturated": 8, "no_axis": 6}
N_REPETITIONS = 20


def test_strengths_are_those_of_the_worlds(tmp_path):
    trial = next(positive_control.trials(tmp_path))
    assert trial.row.name == "unsaturated"
    assert set(positive_control.STRATEGIES) == set(trial.row.lambdas) <= set(STRATEGIES)
    assert {trial.world.seed for trial in positive_control.trials(tmp_path) if trial.row.name == "no_axis"} == set(
        range(positive_control.N_REPETITIONS)
    ), "every repetition is a world of its own"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_engine_finds_what_is_there_and_only_that(tmp_path):
    comparisons = positive_control.run(
        tmp_path, listener=Listener(), strategies=("supcon_clip",), n_seeds=SEEDS, n_repetitions=N_REPETITIONS
    )
    findings = control_findings(comparisons)
    assert findings["holds"].all(), findings.to_dict("records")
    assert list(findings["n"]) == [1, 1, N_REPETITIONS, N_REPETITIONS]
    baseline = comparisons.groupby("world")["baseline"].mean()
    assert baseline["unsaturated"] > 1 / 9 + 0.03, "something is learned from labels alone"
    assert baseline["saturated"] > 0.5
    page = render_control(findings, comparisons, {name: (row.description, row.why) for name, row in WORLDS.items()})
    assert "Every claim holds." in page
