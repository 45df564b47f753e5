"""A request to recordings ready for training: conversions, splits and audits by input, and what they cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from cluster.cost import Work
from cluster.listener import Listener
from cluster.request import Request
from valence.cell import Recipe, canonical_hash
from valence.classifiers import CLASSIFIERS
from valence.datasets import DATASETS, Dataset
from valence.leakage import Finding, leakage_audit
from valence.prepared import Prepared, prepare, read_manifest, signal_spec
from valence.preprocessing import n_windows
from valence.samples import steps_per_sample, stored_input
from valence.splits import BOUNDS, Split, make_split


@dataclass(frozen=True, kw_only=True)
class Data:
    """Recordings ready for training, by input."""

    dataset: Dataset
    prepared: Mapping[str, Prepared]
    splits: Mapping[str, Split]
    audits: Mapping[str, tuple[Finding, ...]]
    """what lies on both sides of each split"""


def inputs_used(request: Request) -> list[str]:
    """Inputs that the grid's classifiers take."""
    return sorted({CLASSIFIERS[name].input for name in request.grid.classifiers})


def load_data(request: Request, listener: Listener) -> Data:
    """Read, check and convert the recordings, or find them converted; write the simulated cohort first if needed."""
    inputs = inputs_used(request)
    root = request.data_root
    if root is None and DATASETS[request.dataset].makes:
        root = made_recordings(request, listener)
    dataset = DATASETS[request.dataset](root, processing=request.processing)
    recipes = request.preset.recipes
    prepared, splits, audits = {}, {}, {}
    for input in inputs:
        stored = stored_input(input, recipes[input])
        splits[input] = make_split(dataset, stored, request.split)
        audits[input] = leakage_audit(splits[input], dataset)
        listener.stage(_in_a_line(splits[input], audits[input]))
        listener.stage(f"reading {stored} of {len(dataset.subjects(stored))} subjects")
        prepared[input] = prepare(
            dataset, input, recipes[input], request.prepared or request.out / "prepared", on_subject=listener.subject
        )
        repairs = sum(map(len, read_manifest(prepared[input])["repairs"].values()))
        if repairs:
            listener.stage(f"{repairs} repairs in reading; {prepared[input].folder}/manifest.json tells them")
    return Data(dataset=dataset, prepared=prepared, splits=splits, audits=audits)


def _in_a_line(split: Split, audit: tuple[Finding, ...]) -> str:
    leaks = [f"{finding.group}s" for finding in audit if finding.level == "leak"]
    told = f"the same {', '.join(leaks)} on both sides" if leaks else "nothing to recognise on both sides"
    return f"split {split.name}: {told}"


def planned_audits(request: Request) -> dict[str, tuple[Finding, ...]]:
    """The audit of the split of each input, from the files alone; empty before a simulated cohort is written."""
    if request.data_root is None:
        return {}
    dataset = DATASETS[request.dataset](request.data_root, processing=request.processing)
    return {
        input: leakage_audit(make_split(dataset, stored_input(input, recipe), request.split), dataset)
        for input, recipe in request.preset.recipes.items()
        if input in inputs_used(request)
    }


def made_recordings(request: Request, listener: Listener) -> Path:
    """The recordings that a data set makes by itself, in the sweep's folder, made once."""
    root = request.out / request.dataset
    listener.stage(f"{request.dataset} recordings of {request.preset.n_subjects} subjects: {root}")
    kind = DATASETS[request.dataset]
    return kind.make(root, n_subjects=request.preset.n_subjects, inputs=("windows", "de"), on_subject=listener.subject)


def planned_work(request: Request) -> dict[str, Work]:
    """What a cell costs by input, before anything is read: from the split, the data set's clips and the recipe."""
    work = {}
    kind = DATASETS[request.dataset]
    for input in inputs_used(request):
        recipe = request.preset.recipes[input]
        of_subject = samples_per_subject(kind, input, recipe)
        if request.data_root is None:
            bounds = (0, *BOUNDS, 1)
            n_samples = [
                round((end - begin) * request.preset.n_subjects) * of_subject for begin, end in pairwise(bounds)
            ]
        else:
            split = make_split(
                kind(request.data_root, processing=request.processing), stored_input(input, recipe), request.split
            )
            n_samples = [
                round(len(part.subjects) * (part.stop - part.start) * len(part.clips) / kind.n_clips * of_subject)
                for part in (split.train, split.validation, split.test)
            ]
        spec = signal_spec(kind, input, recipe)
        work[input] = Work(
            n_train=n_samples[0],
            n_validation=n_samples[1],
            n_test=n_samples[2],
            size=spec.n_chans * spec.n_times * (spec.n_bands or 1),
            epochs=recipe.epochs,
            batch=recipe.batch_size,
        )
    return work


def samples_per_subject(kind: type[Dataset], input: str, recipe: Recipe) -> int:
    """Windows, or stretches of band features, that one subject gives."""
    if input == "de":
        return sum(int(seconds / kind.de_step_s) // steps_per_sample(kind, recipe) for seconds in kind.clip_seconds)
    return sum(n_windows(int(seconds * recipe.sfreq_hz + 1e-6), recipe=recipe) for seconds in kind.clip_seconds)


def data_hash(data: Data, input: str) -> str:
    """16 hex digits over all of the data that can change a result: arrays, who and what is in each part, class names.

    A split's name does not say it: a data set decides who is of which cohort, and a user may edit that.
    """
    names = (data.dataset.classes, data.dataset.emotions)
    return canonical_hash([data.prepared[input].hash, asdict(data.splits[input]), names])


def training_ratings(data: Data) -> np.ndarray | None:
    """Mean self-rated valence of each clip by those who train in every input and are tested in none, (n_clips,)."""
    parts = [split.train for split in data.splits.values()]
    train = set.intersection(*(set(part.subjects) for part in parts))
    ratings = data.dataset.ratings(sorted(train))
    if ratings is None:
        return None
    clips = set.intersection(*(set(part.clips) for part in parts))  # those of other parts are unknown in training
    return np.where([clip in clips for clip in range(len(ratings))], ratings, np.nan)


def data_facts(prepared: Prepared) -> dict:
    """What a plan keeps of a conversion: enough to say what was trained on, and from which files."""
    manifest = read_manifest(prepared)
    facts = {name: manifest[name] for name in ("hash", "steps", "processing", "repairs", "versions")}
    return facts | {"sources": canonical_hash(manifest["made_from"]["sources"])}
