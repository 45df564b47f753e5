"""A data set of one's own: one .npy file a subject, (n_clips, n_chans, n_times) in µV. Change the facts.

python jobs/saturation_grid.py --plugin my_data.py --dataset mine --data-root DIR --classifiers EEGNet --verdict
"""

import numpy as np

from valence.datasets import DATASETS
from valence.datasets.base import Dataset, Recording
from valence.features import BANDS


@DATASETS.register("mine")
class Mine(Dataset):
    name, url, licence, doi = "mine", "https://example.org", "CC0", "none"
    sfreq, ch_names = 128.0, ("Fz", "Cz", "Pz", "Oz")
    n_clips, clip_seconds = 9, (20.0,) * 9
    classes, class_of_clip = ("sad", "calm", "happy"), (0, 1, 2) * 3
    emotions = ("sadness", "neutral", "joy")  # the classes by the names of the axis
    films = tuple(f"film {number}" for number in range(9))
    bands, inputs = BANDS, ("windows",)

    def files(self, input):
        return {path.stem: (path,) for path in sorted(self.root.glob("*.npy"))}

    def cohort(self, subject):
        return 1

    def read(self, subject, input):
        return Recording(np.load(self.root / f"{subject}.npy", allow_pickle=False))
