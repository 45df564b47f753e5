"""Data sets on workers: every actor maps one file; the memory of its own does not grow by the data."""

import ctypes
import logging
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray

from cluster.context import Context
from valence.cell import Recipe
from valence.datasets.base import Recording
from valence.datasets.faced import Faced
from valence.prepared import prepare
from valence.splits import make_split

N_ACTORS = 3
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is counted as Linux does")
MOST = 0.15
"""of the data: what an actor's own memory may grow by"""
RECIPE = Recipe(name="one copy", epochs=1)


class Made(Faced):
    """Subjects whose numbers are drawn when they are read: 21.5 MB of windows each, 0.5 MB of band features."""

    def read(self, subject, input):
        rng = np.random.default_rng(int(subject.removeprefix("sub")))
        tail = () if input == "windows" else (len(self.bands),)
        scale = 10.0 if input == "windows" else 1.0
        shape = (self.n_clips, len(self.ch_names), self.lengths(input)[0], *tail)
        return Recording(scale * rng.standard_normal(shape, dtype=np.float32))


class MadeLong(Made):
    """Clips of 20 minutes: 21.5 MB of band features a subject."""

    clip_seconds = (1200.0,) * 28


@ray.remote(num_cpus=1)
class Actor:
    """Stands where a pack's actor stands: it is given the context of a sweep and asks for its data."""

    def __init__(self):
        import torch

        torch.set_num_threads(1)

    def load(self, context):
        """Sum over all data, read in small pieces."""
        from valence.resident import resident

        self._copied = None
        (input,) = context.prepared
        how = {"de_normalisation": RECIPE.de_normalisation, "device": "cpu"}
        self._held = resident(context.prepared[input], context.splits[input], **how)
        return sum(float(part.double().sum()) for part in self._held.x.split(4))

    def copy(self):
        """What must not happen in `load`."""
        self._copied = np.array(self._held.x)

    def memory(self):
        """Bytes of this process alone, and of all that it has mapped."""
        # what was freed is given back first: who normalises band features has needed memory for a moment
        ctypes.CDLL(None).malloc_trim(0)
        facts = psutil.Process().memory_full_info()
        return facts.uss, facts.rss


@pytest.fixture(scope="module")
def actors():
    ray.init(
        address="local",
        num_cpus=N_ACTORS,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    yield [Actor.remote() for _ in range(N_ACTORS)]
    ray.shutdown()


def context_of(kind: type[Faced], input: str, folder: Path, *, n_subjects: int) -> Context:
    """What a sweep sends to its actors."""
    files = folder / "faced" / ("Processed_data" if input == "windows" else "EEG_Features/DE")
    files.mkdir(parents=True)
    for number in range(n_subjects):
        (files / f"sub{number:03d}.pkl").write_bytes(bytes([number]))
    data_set = kind(folder / "faced")
    return Context(
        folder=str(folder),
        prepared={input: prepare(data_set, input, RECIPE, folder / "prepared", workers=1)},
        splits={input: make_split(data_set, input, "cohort-balanced")},
        recipes={},
        inputs={},
        targets={},
    )


@pytest.mark.parametrize(("kind", "input"), [(Made, "windows"), (MadeLong, "de")])
def test_actors_share_one_copy_of_the_data(actors, tmp_path, kind, input):
    context = context_of(kind, input, tmp_path / "large", n_subjects=6)
    x = context.prepared[input].x
    assert x.nbytes > 100e6
    # code and libraries take memory as well: they are loaded with a data set that takes little
    little = ray.put(context_of(Made, "de", tmp_path / "little", n_subjects=3))
    ray.get([actor.load.remote(little) for actor in actors])
    before = ray.get([actor.memory.remote() for actor in actors])
    shared = ray.put(context)
    sums = ray.get([actor.load.remote(shared) for actor in actors])
    # only now: a page that one process alone has mapped so far counts as its own
    after = ray.get([actor.memory.remote() for actor in actors])
    assert len(set(sums)) == 1
    if input == "windows":
        assert sums[0] == pytest.approx(sum(float(np.sum(part, dtype=np.float64)) for part in x), rel=1e-6)
    for (own_before, all_before), (own, everything) in zip(before, after, strict=True):
        assert everything - all_before > 0.9 * x.nbytes, "all data were read"
        assert own - own_before < MOST * x.nbytes
    ray.get(actors[0].copy.remote())
    assert ray.get(actors[0].memory.remote())[0] - after[0][0] > 0.9 * x.nbytes, "a copy would be seen"
