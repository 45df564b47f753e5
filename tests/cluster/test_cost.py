"""Cost: the table says what was measured, and committed cells correct it for all cells, measured or not."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cluster import speeds
from cluster.cost import (
    EVALUATION_COST,
    PROCESS_MB,
    START_SECONDS,
    Cost,
    Work,
    cells_together,
    n_learned,
    predict,
    table_cost,
)
from tests.valence import training_world as world
from valence.cell import Cell
from valence.classifiers import CLASSIFIERS, Classifier

WORK = {
    "windows": Work(n_train=6720, n_validation=1680, n_test=1932, size=32 * 2000, epochs=50, batch=64),
    "de": Work(n_train=2240, n_validation=560, n_test=644, size=32 * 150, epochs=60, batch=64),
}
TRAINED_ON = {"windows": 6720 * 50, "de": 2240 * 60}
STRATEGIES = ("none", "rsa", "supcon_clip")
RECIPE = world.recipe()
TABLE_HEADER = ",".join(speeds.COLUMNS)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Puts a table in the place of the measured one."""

    def clear() -> None:
        for cached in (speeds.rows_by_classifier, speeds._guess, speeds._ratio):
            cached.cache_clear()

    def put(*rows: str) -> None:
        monkeypatch.setattr(speeds, "TABLE", tmp_path / "speeds.csv")
        speeds.TABLE.write_text("\n".join([TABLE_HEADER, *rows]) + "\n")
        clear()

    yield put
    monkeypatch.undo()
    clear()


@pytest.fixture
def plug_in():
    """A classifier that nobody has measured."""
    CLASSIFIERS.add(
        "Unheard", Classifier(name="Unheard", family="", input="windows", build=lambda spec: None), source=""
    )
    yield "Unheard"
    del CLASSIFIERS._entries["Unheard"]


def cells(names=None, strategies=STRATEGIES, seeds=(1,)) -> list[Cell]:
    return [
        world.cell(name, strategy, about=RECIPE, seed=seed)
        for seed in seeds
        for name in names or CLASSIFIERS
        for strategy in strategies
    ]


class Truth:
    """What cells really take: the table's guess times a device, a classifier and a strategy factor, and noise."""

    def __init__(self, seed: int = 0, *, device: float = 3.0):
        rng = np.random.default_rng(seed)
        # noise of its own, whatever number of classifiers there is
        self.noise, self.device = np.random.default_rng([seed, 1]), device
        self.classifier = {name: np.exp(0.5 * rng.standard_normal()) for name in CLASSIFIERS}
        self.strategy = {"none": 1.0, "rsa": 1.2, "supcon_clip": 1.6}

    def factor(self, cell: Cell) -> float:
        return self.device * self.classifier[cell.classifier] * self.strategy[cell.strategy]

    def seconds(self, cell: Cell) -> float:
        return table_cost(cell.classifier, WORK).seconds * self.factor(cell)

    def rows(self, measured: list[Cell], **fields) -> pd.DataFrame:
        noise = np.exp(0.1 * self.noise.standard_normal(len(measured)))
        return pd.DataFrame(
            [
                dataclasses.asdict(cell)
                | {"cell_id": cell.cell_id, "status": "done", "seconds": self.seconds(cell) * noise[index]}
                | {"device": "cpu", "device_name": "a CPU", "mode": "eager", "rewrites": ["spatial filter first"]}
                | {"windows": TRAINED_ON[CLASSIFIERS[cell.classifier].input], "peak_memory_mb": 500.0}
                | fields
                for index, cell in enumerate(measured)
            ]
        )

    def error(self, wanted: list[Cell], rows: pd.DataFrame) -> float:
        """Median factor by which predictions are wrong, 1 at best."""
        costs = predict(wanted, work=WORK, rows=rows)
        return float(np.exp(np.median([abs(np.log(costs[c.cell_id].seconds / self.seconds(c))) for c in wanted])))


def test_cells_that_come_in_make_the_prediction_better():
    truth, everything = Truth(), cells(seeds=(1, 2, 3, 4))
    mixed = [everything[index] for index in np.random.default_rng(0).permutation(len(everything))]
    rows = truth.rows(mixed)
    errors = [truth.error(everything, rows[:n_cells]) for n_cells in (0, 2, len(rows) // 3, len(rows))]
    assert errors[0] > 2.5, "the guess knows nothing of this device"
    assert errors[1] < 2.0, "two cells tell of the device"
    assert errors[2] < 1.15
    assert errors[3] < 1.07, "the noise of a cell is 10 %, of four less"


def test_an_unmeasured_classifier_is_predicted_from_the_others():
    """Leave one classifier out: device and strategy are known from the others, its own factor is not."""
    before, after = [], []
    for seed in range(5):
        truth = Truth(seed)
        for left_out in CLASSIFIERS:
            rows = truth.rows(cells([name for name in CLASSIFIERS if name != left_out]))
            before.append(truth.error(cells([left_out]), rows[:0]))
            after.append(truth.error(cells([left_out]), rows))
    assert np.median(before) > 2.8
    assert np.median(after) < 1.7, "its own factor, of a spread of .5, remains"


def test_a_strategy_that_costs_more_is_known_for_every_classifier():
    truth = Truth()
    names = list(CLASSIFIERS)
    rows = truth.rows(cells(names) + cells(names, seeds=(2,)))
    rows = rows[(rows["classifier"] != names[0]) | (rows["strategy"] == "none")]
    costs = predict(cells([names[0]]), work=WORK, rows=rows)
    plain, costly = (costs[cell.cell_id].seconds for cell in cells([names[0]], ("none", "supcon_clip")))
    assert costly / plain == pytest.approx(1.6, rel=0.15)


def test_own_cells_dominate():
    """One classifier is 20 times as slow as the table says: four of its own cells outweigh the prior and the others."""
    truth = Truth(device=1.0)
    truth.classifier = dict.fromkeys(CLASSIFIERS, 1.0) | {"EEGNet": 20.0}
    own = cells(["EEGNet"], ("none",), seeds=(1, 2, 3, 4))
    rows = truth.rows(own + cells([name for name in CLASSIFIERS if name != "EEGNet"]))
    costs = predict(own, work=WORK, rows=rows)
    # the median of four cells with noise of 10 % is 6 % off, the prior takes another 6 % of a factor of 20
    assert costs[own[0].cell_id].seconds == pytest.approx(truth.seconds(own[0]), rel=0.2)
    assert truth.error(cells(["de_mlp"]), rows) < 1.3, "the others are left where they are"


def test_memory_is_learned():
    truth = Truth()
    measured = cells(["EEGNet"], seeds=(1, 2, 3))
    guess = table_cost("EEGNet", WORK).memory_mb
    rows = truth.rows(measured, peak_memory_mb=2.5 * guess)
    costs = predict(cells(), work=WORK, rows=rows)
    assert costs[measured[0].cell_id].memory_mb == pytest.approx(2.5 * guess, rel=0.05)
    for name in set(CLASSIFIERS) - {"EEGNet"}:
        factor = costs[cells([name])[0].cell_id].memory_mb / table_cost(name, WORK).memory_mb
        assert 1.5 < factor < 2.5, "the device's share of it"


def test_rows_that_say_nothing_are_ignored():
    """Failed cells, and cells of another recipe or other data, whose windows nobody knows."""
    truth, wanted = Truth(), cells()
    nothing = predict(wanted, work=WORK, rows=truth.rows(wanted)[:0])
    others = ({"status": "failed"}, {"recipe_hash": "other"}, {"dataset_hash": "f" * 16}, {"classifier": "removed"})
    for fields in (*others, {"seconds": np.nan, "peak_memory_mb": np.nan}):
        assert predict(wanted, work=WORK, rows=truth.rows(wanted, **fields)) == nothing
    assert predict(wanted, work=WORK, rows=truth.rows(wanted)) != nothing


def test_rows_that_were_learned_from_are_counted():
    truth, wanted = Truth(), cells(["EEGNet"])
    rows = pd.concat([truth.rows(wanted), truth.rows(wanted, status="failed"), truth.rows(wanted, recipe_hash="other")])
    assert n_learned(wanted, rows) == len(wanted)
    assert n_learned(wanted, pd.DataFrame()) == 0


def test_cells_that_train_together_are_the_fastest_rows_or_the_committed_ones(table):
    row = "EEGNet,{},x,{},{},no,32,2000,64,{},{},,2.13,,t"
    table(
        row.format("cuda", "eager", "tf32", 1, 100), row.format("cuda", "graph", "tf32", 4, 900),
        row.format("cuda", "batched", "bf16", 32, 5000), row.format("cpu", "eager", "fp32", 1, 9000),
    )  # fmt: skip
    nothing = pd.DataFrame()
    assert cells_together("EEGNet", nothing) == 4, "not the row of a precision that nobody trains in"
    assert cells_together("EEGNet", nothing, mode="eager") == 1
    assert cells_together("de_mlp", nothing) == 1, "never measured"
    rows = Truth().rows(cells(["EEGNet"]), device="cuda:0", mode="graph", cells_at_once=6)
    assert cells_together("EEGNet", rows) == 6
    assert cells_together("EEGNet", rows.assign(cells_at_once=None)) == 4
    assert cells_together("EEGNet", rows.assign(device="cpu")) == 4


def test_without_rows_the_table_speaks():
    wanted = cells()
    costs = predict(wanted, work=WORK, rows=pd.DataFrame())
    assert list(costs) == [cell.cell_id for cell in wanted]
    assert costs[wanted[0].cell_id] == table_cost(wanted[0].classifier, WORK)
    assert predict([], work=WORK, rows=pd.DataFrame()) == {}


def test_columns_of_older_rows_may_be_missing_or_null():
    truth, wanted = Truth(), cells(["EEGNet"])
    full = truth.rows(wanted)
    new = ["windows", "mode", "rewrites", "device_name", "peak_memory_mb"]
    old = full.drop(columns=new)
    null = full.assign(**dict.fromkeys(new))
    expected = predict(wanted, work=WORK, rows=old)
    assert predict(wanted, work=WORK, rows=null) == expected
    assert expected[wanted[0].cell_id].seconds == pytest.approx(truth.seconds(wanted[0]), rel=0.2)


def test_a_cell_that_stopped_early_was_not_fast():
    truth, wanted = Truth(device=1.0), cells(["EEGNet"], ("none",))
    full = truth.rows(wanted, seconds=1000.0)
    half = truth.rows(wanted, seconds=500.0, windows=TRAINED_ON["windows"] // 2)
    seconds = [predict(wanted, work=WORK, rows=rows)[wanted[0].cell_id].seconds for rows in (full, half)]
    assert seconds[1] == pytest.approx(seconds[0], rel=0.01)


def test_rows_without_rewrites_are_compared_with_the_table_without_rewrites():
    """EEGNet is 26 times as fast rewritten: cells that ran --exact as the table says are no news of the device."""
    measured = cells(["EEGNet"], ("none",), seeds=(1, 2, 3))
    for rewrites in ([], ["spatial filter first"]):
        as_known = table_cost("EEGNet", WORK, device="cuda", rewrites=bool(rewrites)).seconds
        rows = Truth().rows(measured, device="cuda", mode="graph", seconds=as_known)
        rows["rewrites"] = pd.Series([np.array(rewrites, object)] * len(rows))
        costs = predict(measured, work=WORK, rows=rows, device="cuda")
        expected = table_cost("EEGNet", WORK, device="cuda").seconds
        assert costs[measured[0].cell_id].seconds == pytest.approx(expected, rel=0.01)


def test_a_device_does_not_speak_for_the_other_kind():
    truth, wanted = Truth(device=5.0), cells(strategies=("none",))
    rows = truth.rows(wanted)
    on_gpu = predict(wanted, work=WORK, rows=rows, device="cuda")
    for cell in wanted:
        assert 0.5 < on_gpu[cell.cell_id].seconds / table_cost(cell.classifier, WORK, device="cuda").seconds < 2


def test_table_of_the_h200_is_the_measured_one():
    """218 GPU hours of the grid eager, as the study says of these measurements, evaluation a quarter of training."""
    table = speeds.read_speeds()
    eager = table[(table["device"] == "cuda") & (table["mode"] == "eager") & (table["precision"] == "tf32")]
    assert len(eager) == 32
    hours = (336_000 * 26 * 5 / eager["windows_per_second"]).sum() / 3600
    assert 1.25 * hours == pytest.approx(218, abs=0.5)
    assert set(eager["classifier"]) >= {"BDTCN", "EEGSym"}
    key = table[speeds.KEY].astype(object).fillna("")
    assert not key.duplicated().any()
    assert (table["windows_per_second"] > 0).all()


def test_mode_rewrites_and_shape_choose_the_row():
    seconds = {
        (mode, rewrites): speeds.window_seconds(
            "EEGNet", speeds.Shape(device="cuda", size=64_000, batch=64, mode=mode, rewrites=rewrites)
        )
        for mode in ("eager", "graph", None)
        for rewrites in (True, False)
    }
    assert 1 / seconds[("eager", False)] == pytest.approx(5081)
    assert 1 / seconds[("graph", False)] == pytest.approx(12_493)
    assert 1 / seconds[(None, True)] == pytest.approx(126_474), "16 cells in captured graphs, rewritten, TF32"
    half = speeds.window_seconds("EEGNet", speeds.Shape(device="cuda", size=32_000, batch=64))
    assert half == pytest.approx(seconds[(None, True)] / 2)


def test_precisions_that_nobody_trains_in_are_not_promised():
    """TIDNet's bf16 rows are twice as fast as its TF32 rows."""
    shape = speeds.Shape(device="cuda", size=64_000, batch=64)
    assert 1 / speeds.window_seconds("TIDNet", shape) == pytest.approx(1259)


def test_the_row_of_the_nearest_shape_is_taken(table):
    row = "EEGNet,cpu,c,eager,fp32,no,32,{},{},1,{},{},2.13,,t"
    table(row.format(500, 16, 1000, 32), row.format(2000, 16, 400, 80), row.format(2000, 64, 300, 256))
    shapes = {"short": (16_000, 16), "long": (64_000, 16), "large batch": (64_000, 64), "in between": (20_000, 16)}
    found = {name: speeds.Shape(device="cpu", size=size, batch=batch) for name, (size, batch) in shapes.items()}
    rates = {name: 1 / speeds.window_seconds("EEGNet", shape) for name, shape in found.items()}
    expected = {"short": 1000, "long": 400, "large batch": 300, "in between": 1000 * 16 / 20}
    assert rates == pytest.approx(expected)
    memory = {name: speeds.cell_megabytes("EEGNet", shape) for name, shape in found.items()}
    assert memory == pytest.approx({"short": 32, "long": 80, "large batch": 256, "in between": 40})


def test_a_gpu_takes_its_time_for_a_step_however_small(table):
    """Shallow's windows of an eighth do not train eight times as fast where a step only launches kernels."""
    table("ShallowFBCSPNet,cuda,g,graph,tf32,no,32,2000,64,1,200000,,2.13,,t")
    sizes = (64_000, 8_000)
    steps = [
        64 * speeds.window_seconds("ShallowFBCSPNet", speeds.Shape(device="cuda", size=s, batch=64)) for s in sizes
    ]
    assert steps == pytest.approx([64 / 200_000, speeds.LEAST_STEP_S["cuda"]])


def test_what_was_not_measured_is_guessed_from_what_was(table, plug_in):
    """From the other device times the ratio of those measured on both; else the median of the same input."""
    cpu, gpu = "{},cpu,c,eager,fp32,no,32,2000,64,1,{},,2.13,,t", "{},cuda,g,graph,tf32,no,32,2000,64,1,{},,2.13,,t"
    table(cpu.format("EEGNet", 100), gpu.format("EEGNet", 5000), cpu.format("ShallowFBCSPNet", 300))
    on = {device: speeds.Shape(device=device, size=64_000, batch=64) for device in ("cpu", "cuda")}
    assert 1 / speeds.window_seconds("ShallowFBCSPNet", on["cuda"]) == pytest.approx(300 * 50)
    assert 1 / speeds.window_seconds(plug_in, on["cpu"]) == pytest.approx(1 / np.mean([1 / 100, 1 / 300]))
    assert 1 / speeds.window_seconds(plug_in, on["cuda"]) == pytest.approx(1 / np.mean([1 / 5000, 1 / 15_000]))
    table()
    assert speeds.window_seconds(plug_in, on["cpu"]) == pytest.approx(64_000 * speeds.DEFAULT_SECONDS["windows"])


def test_an_unknown_classifier_is_learned_like_any_other(plug_in):
    truth = Truth()
    own = cells([plug_in], ("none",), seeds=range(1, 10))
    guess = predict(own, work=WORK, rows=pd.DataFrame())[own[0].cell_id]
    assert min(guess.seconds, guess.memory_mb) > 0
    assert truth.error(own, truth.rows(own)) < 1.1


def test_seconds_follow_the_work(table):
    table("EEGNet,cpu,c,eager,fp32,no,32,2000,64,1,100,64,2.13,,t")
    work = {"windows": Work(n_train=1000, n_validation=300, n_test=600, size=64_000, epochs=4, batch=32)}
    passes = 1000 * 4 + EVALUATION_COST * (300 * 4 + 600)
    assert table_cost("EEGNet", work) == Cost(seconds=START_SECONDS + passes / 100, memory_mb=PROCESS_MB["cpu"] + 32)


def test_measured_rows_take_the_place_of_those_of_the_same_key(table):
    row = "EEGNet,cpu,c,eager,fp32,no,32,2000,64,1,{},64,2.13,{},t"
    table(row.format(100, "2025-01-01"))
    later = speeds.read_speeds().assign(windows_per_second=200.0, date="2025-02-01")
    speeds.write_speeds(pd.concat([speeds.read_speeds(), later]))
    written = speeds.read_speeds()
    assert written["windows_per_second"].tolist() == [200.0]
    assert written["date"].tolist() == ["2025-02-01"]
