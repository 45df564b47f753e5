"""The mode that is chosen is the fastest of those that agree with eager training."""

import pytest

from tests.valence import training_world as world
from tests.valence.test_packing import cells_of, targets_of
from tests.valence.traced_run import TracedRun
from valence import calibration, packing
from valence.calibration import calibrate
from valence.classifiers import CLASSIFIERS

pytestmark = pytest.mark.usefixtures("one_thread")


def calibrated(classifier="de_mlp", *, modes=("eager", "batched"), sizes=(1, 2, 4), about=None):
    about = about or world.recipe(epochs=20)
    cells = cells_of(classifier, about)
    data = world.dataset(CLASSIFIERS[classifier].input)
    return calibrate(cells, data, world.split(), about, targets_of(cells), device="cpu", modes=modes, sizes=sizes)


def test_the_fastest_trial_is_chosen():
    choice = calibrated()
    assert {trial.mode for trial in choice.trials} == {"eager", "batched"}
    assert all(trial.windows_per_second > 0 and not trial.problem for trial in choice.trials)
    fastest = max(choice.trials, key=lambda trial: trial.windows_per_second)
    assert (choice.mode, choice.cells_at_once) == (fastest.mode, fastest.cells_at_once)


def test_a_mode_that_computes_something_else_is_not_taken(monkeypatch):
    class Wrong(TracedRun):
        def backward(self, forward, rows, *, measure):
            return 1.1 * super().backward(forward, rows, measure=measure)

    monkeypatch.setitem(packing.MODES, "graph", Wrong)
    monkeypatch.setattr(calibration, "LEAST_GAIN", 0.0)
    choice = calibrated(modes=("graph",), sizes=(1,))
    assert choice.mode == "eager"
    assert "loss" in choice.trials[1].problem


def test_a_mode_that_falls_back_is_not_taken(monkeypatch):
    class Never(TracedRun):
        def capture(self, work):
            raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setitem(packing.MODES, "graph", Never)
    choice = calibrated(modes=("graph",), sizes=(1,))
    assert choice.mode == "eager"
    assert choice.trials[1].problem == "trains in mode eager"


def test_a_group_that_does_not_fit_ends_the_search(monkeypatch):
    real = calibration.BatchedRuns

    def small(runs):
        if len(runs) > 2:
            raise MemoryError
        return real(runs)

    monkeypatch.setattr(calibration, "BatchedRuns", small)
    monkeypatch.setattr(calibration, "LEAST_GAIN", 0.0)
    choice = calibrated(modes=("batched",), sizes=(1, 2, 4, 8))
    assert choice.trials[-1].problem == "too little memory"
    assert choice.trials[-1].cells_at_once == 4
    assert choice.cells_at_once <= 2


def test_a_short_training_is_measured_all_the_same():
    """Fewer steps than calibration asks for: cells that have ended are not counted as fast."""
    choice = calibrated(about=world.recipe(epochs=1))
    assert choice.mode == "eager"
