"""Recordings: data sets by name. Adding one is adding one file to this folder."""

from valence.datasets.base import Dataset
from valence.registry import Registry

DATASETS: Registry[type[Dataset]] = Registry("data set", __name__)

__all__ = ["DATASETS", "Dataset"]
