"""The recipe ladder: steps as data, and differences that are those of the statistics of sweeps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from tests.valence.planted_members import planted
from valence import stats
from valence.cell import Recipe
from valence.classifiers import CLASSIFIERS
from valence.ensemble import ensemble
from valence.errors import BadInput
from valence.ladder import FOLDER, deeper, read_ladder, rungs, trained
from valence.ladder_table import OVER_SUBJECTS, PAIRED, ladder_table, seeds_by_subjects
from valence.targets import canonical_target

SIGNALS = {"baseline": 1.0, "augmentation": 1.15, "prototypes": 1.15, "depth": 1.3, "longer": 1.3}


def cells(signals: dict[str, float] = SIGNALS) -> dict[str, list]:
    """Five cells a step that differ in signal; those of one seed share their noise, as common random numbers do."""
    return {
        name: [
            replace(cell, cell_id=f"{name}-{cell.seed}")
            for cell in planted(5, signal=signal, correlation=0.3, n_samples=(180, 1800), n_subjects=(2, 20))
        ]
        for name, signal in signals.items()
    }


def by_name(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("step")


def test_the_studys_ladder_is_read_with_its_numbers():
    ladder = read_ladder("faced")
    found = {rung.name: rung for rung in rungs(ladder)}
    assert ladder.seeds == (42, 123, 456, 789, 2025)
    assert found["baseline"].classifier == "EMOD"
    assert found["depth"].classifier == found["longer"].classifier == "EMOD_depth6"
    assert (found["baseline"].recipe.epochs, found["longer"].recipe.epochs) == (100, 150)
    assert (found["baseline"].recipe.augmentation_p, found["longer"].recipe.augmentation_p) == (0, 0.6)
    assert found["prototypes alone"].recipe.augmentation_p == 0
    assert (found["longer"].strategy, found["longer"].target) == ("kd_prototypes", "vaxis")
    assert found["random prototypes"].target == "random"
    assert found["random prototypes"].after == "augmentation"
    assert found["10 checkpoints"].step.ensemble == ("depth", "longer")
    study = {name: rung.step.study for name, rung in found.items()}
    assert [study[name] for name in ("baseline", "augmentation", "prototypes", "prototypes alone", "depth")] == [
        *(0.6194, 0.6343, 0.6439, 0.6215, 0.6581)
    ]
    assert [study[name] for name in ("random prototypes", "5 checkpoints", "10 checkpoints")] == [
        0.6467,
        0.6798,
        0.6948,
    ]
    assert [rung.name for rung in trained(rungs(ladder))] == [
        *("baseline", "augmentation", "prototypes", "random prototypes", "prototypes alone", "depth", "longer")
    ]


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.toml")))
def test_every_ladder_names_what_is_there(name):
    for rung in rungs(read_ladder(name)):
        assert not rung.reason or "augmentations are of windows" in rung.reason
        assert rung.classifier in CLASSIFIERS
        assert rung.target == "none" or canonical_target(rung.target)


def test_a_step_that_a_classifier_cannot_take_is_told_and_the_next_ones_go_on_without_it():
    recipe = Recipe(name="de", epochs=20)
    found = {rung.name: rung for rung in rungs(read_ladder("faced"), classifier="de_mlp", recipe=recipe)}
    assert "augmentations are of windows" in found["augmentation"].reason
    assert found["prototypes"].after == "baseline"
    assert not found["prototypes"].recipe.augmentation_p
    assert "no deeper form of de_mlp" in found["depth"].reason
    assert found["longer"].after == "prototypes"
    assert found["longer"].recipe.epochs == 150
    assert not found["10 checkpoints"].reason
    with pytest.raises(BadInput, match="did you mean de_mlp"):
        rungs(read_ladder("faced"), classifier="de_mlpp")


def test_deeper_forms_are_found_by_name():
    assert deeper("EMOD") == "EMOD_depth6"
    assert deeper("EMOD_as_coded") == "EMOD_depth6_as_coded"
    assert deeper("EEGNet") is None
    assert deeper("EMOD_depth6") is None


def test_a_user_adds_a_step_by_adding_a_row(tmp_path):
    path = tmp_path / "mine.toml"
    text = (FOLDER / "faced.toml").read_text()
    path.write_text(text + '\n[[step]]\nname = "wider"\nafter = "longer"\nrecipe = { batch_size = 32 }\n')
    [*_, last] = rungs(read_ladder(path))
    assert (last.name, last.after, last.recipe.batch_size, last.classifier) == ("wider", "longer", 32, "EMOD_depth6")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('name = "x"\nafter = "longr"', "did you mean longer"),
        ('name = "x"\nrecipe = { epoch = 3 }', "did you mean epochs"),
        ('name = "x"\nrecipe = { epochs = -3 }', "epochs is -3"),
        ('name = "x"\nrecipe = { epochs = "many" }', "epochs|many"),
        ('name = "x"\nstrateg = "none"', "did you mean strategy"),
        ('name = "x"\nstrategy = "kd"', "unknown strategy"),
        ('name = "x"\nclassifier = "EMODD"', "did you mean EMOD"),
        ('name = "baseline"', "there already"),
        ('name = "x"\nensemble = ["nobody"]', "unknown step"),
        ('name = "x"\nensemble = ["5 checkpoints"]', "ensembles themselves"),
        ('name = "x"\nensemble = ["longer"]\nstrategy = "none"', "trains nothing"),
        ('name = "x"\nensemble = ["longer"]\nrule = "gredy"', "did you mean greedy"),
        ("name = ", "TOMLDecodeError"),
    ],
)
def test_a_step_that_names_what_is_not_there_is_one_message(tmp_path, row, said):
    path = tmp_path / "mine.toml"
    path.write_text(f"{(FOLDER / 'faced.toml').read_text()}\n[[step]]\n{row}\n")
    with pytest.raises(BadInput, match=said):
        rungs(read_ladder(path))


def test_unknown_ladders_and_files_without_steps_are_refused(tmp_path):
    with pytest.raises(BadInput, match="did you mean faced"):
        read_ladder("face")
    (tmp_path / "x.toml").write_text("dataset = 'faced'")
    with pytest.raises(BadInput, match=r"begin with a copy of .*faced\.toml"):
        read_ladder(tmp_path / "x.toml")
    with pytest.raises(BadInput, match=r"none\.toml"):
        read_ladder(tmp_path / "none.toml")


def test_differences_are_those_of_the_statistics_of_sweeps():
    kept = cells()
    table = by_name(ladder_table(rungs(read_ladder("faced")), kept))
    rows = []
    for strategy, step in (("none", "baseline"), ("aux_mse", "augmentation")):
        for cell in kept[step]:
            accuracy = seeds_by_subjects([cell]).iloc[0]
            rows.append(
                {
                    **{"dataset": "faced", "split": "s", "classifier": "EMOD", "recipe": "r", "strategy": strategy},
                    **{"target": "none" if strategy == "none" else "vaxis", "lambda_": 0.0, "seed": cell.seed},
                    **{"status": "done", "test_subjects": list(accuracy.index)},
                    "subject_balanced_accuracy": list(accuracy),
                }
            )
    [expected] = stats.compare(pd.DataFrame(rows)).to_dict("records")
    for name in ("delta", "ci_low", "ci_high", "p", "p_floor", "n_seeds", "n_subjects"):
        assert table.loc["augmentation", name] == pytest.approx(expected[name])
    assert table.loc["augmentation", "against"] == "baseline"
    assert table.loc["augmentation", "null"] == PAIRED
    assert 0 < table.loc["augmentation", "ci_low"] < table.loc["augmentation", "delta"]
    assert table.loc["prototypes", "delta"] == 0


def test_planted_steps_are_monotone_and_ensembles_are_over_subjects():
    kept = cells()
    table = by_name(ladder_table(rungs(read_ladder("faced")), kept))
    ladder = ["baseline", "augmentation", "prototypes", "depth", "longer", "5 checkpoints", "10 checkpoints"]
    climbed = table.loc[ladder, "balanced_accuracy"].to_numpy()
    assert (np.diff(climbed) > -1e-9).all()
    five = table.loc["5 checkpoints"]
    assert (five["n_members"], five["null"], five["against"]) == (5, OVER_SUBJECTS, "longer")
    assert pd.isna(five["n_seeds"])
    # the mean over subjects, whose classes weigh the same in each
    assert five["balanced_accuracy"] == pytest.approx(ensemble(kept["longer"])[1]["balanced_accuracy"], abs=0.003)
    assert five["delta"] == pytest.approx(five["balanced_accuracy"] - table.loc["longer", "balanced_accuracy"])
    assert five["ci_low"] > 0
    assert table.loc["10 checkpoints", "n_members"] == 10
    assert table.loc["best single by validation", "n_members"] == 1
    assert table.loc["5 checkpoints", "study_delta"] == pytest.approx(0.6798 - 0.6581)
    assert pd.isna(table.loc["baseline", "delta"])


def test_p_values_are_adjusted_over_the_steps_that_have_one():
    table = ladder_table(rungs(read_ladder("faced")), cells())
    tested = table.dropna(subset="p")
    assert 5 <= len(tested) < len(table)
    np.testing.assert_allclose(tested["p_holm"], multipletests(tested["p"], method="holm")[1])


def test_missing_cells_and_seeds_are_told():
    kept = cells()
    del kept["depth"]
    kept["prototypes"] = kept["prototypes"][:3]
    table = by_name(ladder_table(rungs(read_ladder("faced")), kept))
    assert table.loc["depth", "reason"] == "no cell of this step is done"
    assert table.loc["random prototypes", "reason"] == "no cell of this step is done"
    assert pd.isna(table.loc["depth", "balanced_accuracy"])
    assert (table.loc["prototypes", "n_seeds"], table.loc["prototypes", "n_missing"]) == (3, 2)
    assert pd.isna(table.loc["longer", "delta"]), "it has no cells to be compared with"
    kept["longer"] *= 2
    with pytest.raises(BadInput, match="two cells of EEGNet"):
        ladder_table(rungs(read_ladder("faced")), kept)
