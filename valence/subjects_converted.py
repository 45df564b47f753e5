"""Recordings to arrays, the work: subjects converted one after the other, or several at once in other processes."""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import joblib
from joblib.externals.loky import get_reusable_executor

from valence.cell import Recipe
from valence.datasets.base import Dataset
from valence.samples import Converted, convert_subject


def converted(
    dataset: Dataset, subjects: Sequence[str], input: str, recipe: Recipe, workers: int | None
) -> Iterator[Converted]:
    """The subjects in order, each converted in one of several processes where that pays.

    No more subjects are held than are worked on, and one.
    """
    if workers is None:
        workers = joblib.cpu_count() if input == "windows" and dataset.processing.steps else 1
    if workers <= 1 or len(subjects) < 2:
        for subject in subjects:
            yield convert_subject(dataset, subject, input, recipe)
        return
    pool = get_reusable_executor(max_workers=workers, initializer=end_with_parent, initargs=(os.getpid(),))
    ahead: deque[Future] = deque()
    for subject in subjects:
        ahead.append(pool.submit(convert_subject, dataset, subject, input, recipe))
        if len(ahead) > workers:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def end_with_parent(parent: int) -> None:
    """End this process soon after its parent was killed: nobody else would."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
