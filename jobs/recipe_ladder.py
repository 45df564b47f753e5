"""The recipe step by step: baseline, augmentation, prototypes, depth, longer training, ensembles; what each step gave.

python jobs/recipe_ladder.py                                                       a simulated cohort, minutes
python jobs/recipe_ladder.py --ladder faced --data-root DIR --axis FILE --out DIR   the study's, with EMOD
python jobs/recipe_ladder.py --ladder my_steps.toml --classifier EEGConformer --data-root DIR --out DIR
The same command again goes on where it was. Exit codes: 0 done, 1 cells failed or are missing, 2 bad input,
3 interrupted and resumable.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tyro

from jobs.command import exit_code_of

Word = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]


@dataclass(frozen=True)
class Options:
    """Train the steps of a recipe, each with the same seeds, and say what each of them gave."""

    ladder: str = "simulated"
    """simulated, faced, faced_de, seed_v, or a file of steps that ends in .toml"""
    classifier: Word = None
    """in place of the ladder's; a step that it cannot take is left out with the reason"""
    seeds: Word = None
    """how many of the ladder's, or which, with commas (42,123)"""
    recipe: Word = None
    """fields of the recipe before the first step: epochs=10,batch_size=32"""
    dataset: Word = None
    """in place of the ladder's"""
    data_root: Word = None
    """folder of the recordings"""
    split: Word = None
    """standard where not given; see saturation_grid.py"""
    protocol: Word = None
    """windows as published (faced-emod, …)"""
    prepared: Word = None
    """folder of converted recordings, shared by sweeps; OUT/prepared where not given"""
    llm: str = "smollm2-135m-instruct"
    """name, Hugging Face id or local folder"""
    axis: Word = None
    """axis.safetensors of an earlier sweep, in place of fitting one"""
    engine: str = "auto"
    """auto, vllm or transformers"""
    out: Word = None
    """folder of the results; results/ladder-LADDER where not given"""
    mode: str = "auto"
    """auto, eager, compiled, graph or batched"""
    tracking_uri: Word = None
    """MLflow server; a sqlite database in the results' folder where not given"""
    plugin: Word = None
    """your own files or modules, with commas, that register a loss, classifier, target or data set"""
    plan: bool = False
    """show the steps; run nothing"""
    retry_failed: bool = False
    """run failed cells again"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parsed = Annotated[Options, tyro.conf.FlagCreatePairsOff]
    options = tyro.cli(parsed, args=arguments, prog="recipe_ladder.py", description=Options.__doc__)
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join([sys.executable, sys.argv[0], *given])
    kept = f"committed cells are kept. Go on with the same command:\n  {command}"
    return exit_code_of(lambda: _work(options), interrupted=kept)


def _work(options: Options) -> int:
    from jobs.recipe_ladder_commands import run

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
