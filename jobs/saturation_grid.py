"""The main job: classifiers × strategies × targets × seeds, from nothing to a report that says what holds.

python jobs/saturation_grid.py                                  the preset quick, embedded LLM, simulated cohort
python jobs/saturation_grid.py --dataset faced --data-root DIR  the same on FACED's files
ray job submit --working-dir . -- python jobs/saturation_grid.py
The same command again resumes, or finds nothing to do. Exit codes: 0 done, 1 cells failed, 2 bad input,
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
    """Train every classifier with every strategy, target and seed; say what helps, with statistics and a report."""

    preset: Word = None
    """quick (on the simulated cohort) or full (on real recordings) where not given; quick-strategies, strategies25,
    paper25, controls, classifiers, verdict; positive-control: the engine against planted truths"""
    classifiers: Word = None
    """names with commas"""
    strategies: Word = None
    """names with commas, with doses: rsa:lambda=.1/.5/1, distance_ce:tau=.5/5, aux_mse:ratio=.3 (matched gradients);
    strategies25 and paper25 stand for many; none, the baseline, is always run"""
    targets: Word = None
    """names with commas; permuted and random may be numbered: permuted_1,permuted_2; controls: all but vaxis"""
    seeds: Word = None
    """how many (5), or which, with commas (42,123)"""
    dataset: Word = None
    """simulated, faced, faced_raw, faced_bids or seed_v"""
    data_root: Word = None
    """folder of the recordings; for faced the one that holds EEG_Features or Processed_data"""
    split: Word = None
    """standard; cohort-balanced:K, leave-subjects-out:K/N, leave-clip-out:K, leave-film-out:K, time-blocked:K"""
    protocol: Word = None
    """windows as published (faced-cbramod, faced-emod, seed-v-cbramod, …); the preset's where not given"""
    features: Word = None
    """band features: de (where not given) or psd"""
    de_window_s: float | None = None
    """length of a sample of band features, seconds; a whole clip where not given"""
    recipe: Word = None
    """fields of the recipe in place of the preset's: epochs=150,windows.augmentation_p=0.6,optimizer=adam"""
    prepared: Word = None
    """folder of converted recordings, shared by sweeps (see prepare_data.py); OUT/prepared where not given"""
    llm: str = "smollm2-135m-instruct"
    """name, Hugging Face id or local folder"""
    axis: Word = None
    """axis.safetensors of an earlier sweep, in place of fitting one; further ones, of other LLMs, with commas"""
    engine: str = "auto"
    """auto, vllm or transformers"""
    out: Word = None
    """folder of the results; results/PRESET where not given"""
    store: Word = None
    """object storage that cells are committed to: s3://bucket/prefix, gs://bucket/prefix; OUT where not given"""
    keep: bool = False
    """keep weights, features and layers of every cell, for probes, ensembles and export"""
    pretrained: Word = None
    """start from pretrained weights: CBraMod=PATH,Labram=hub (hub: the published ones are fetched)"""
    mode: str = "auto"
    """auto, eager, compiled, graph or batched; auto is eager on a CPU, the fastest of a calibration on a GPU"""
    cells_at_once: int | None = None
    """cells that train together on one GPU; what calibration found best where not given"""
    gpus_per_cell: int | None = None
    """GPUs that each cell trains on, data-parallel; CPU cores where there is none; the classifier's where not given"""
    gpus_per_pack: float | None = None
    """0: train on CPU cores although there are GPUs; .5 or .25: so many packs share a GPU; 1 where not given"""
    exact: bool = False
    """compute every layer as its authors wrote it, without the faster forms of the same functions"""
    tracking_uri: Word = None
    """MLflow server; a sqlite database in the results' folder where not given"""
    plugin: Word = None
    """your own files (my_loss.py) or modules, with commas, that register a loss, classifier, target or data set"""
    verdict: bool = False
    """judge the strategies named: beside them run their twins, a control of the machinery and reference losses"""
    plan: bool = False
    """show grid, exclusions, power, hours, wall time, cost and disk of what is not committed; run nothing"""
    dollars_per_hour: float = 0.0
    """price of a GPU hour, for --plan"""
    dollars_per_core_hour: float = 0.0
    """price of a CPU core's hour, for --plan"""
    gpus: int | None = None
    """GPUs that --plan reckons with; this machine's where neither --gpus nor --cores is given"""
    cores: int | None = None
    """CPU cores that --plan reckons with; one a GPU where not given"""
    status: bool = False
    """how far the sweep is, from its files alone"""
    why: Word = None
    """what is known of one cell: its id, or the beginning of it"""
    retry_failed: bool = False
    """run failed cells again"""
    report: bool = False
    """rebuild table, report and MLflow from committed cells; run nothing"""
    partial: bool = False
    """allow a table of an incomplete grid, and say so in it"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parsed = Annotated[Options, tyro.conf.FlagCreatePairsOff]
    options = tyro.cli(parsed, args=arguments, prog="saturation_grid.py", description=Options.__doc__)
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join([sys.executable, sys.argv[0], *given])
    kept = f"committed cells are kept. Go on with the same command:\n  {command}"
    return exit_code_of(lambda: _work(options, command), interrupted=kept)


def _work(options: Options, command: str) -> int:
    from cluster.presets import POSITIVE_CONTROL
    from jobs import plan
    from jobs import saturation_commands as commands

    plan.check_options(options)
    if options.preset == POSITIVE_CONTROL:
        from jobs import positive_control

        return positive_control.run(options, default=Options())

    if options.status:
        return commands.show_status(options)
    if options.why is not None:
        return commands.show_cell(options)
    if options.report:
        return commands.rebuild(options)
    if options.plan:
        return plan.show_plan(options)
    return commands.run(options, command=command)


if __name__ == "__main__":
    sys.exit(main())
