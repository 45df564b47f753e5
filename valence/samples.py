"""Recordings to samples: one subject read, checked and cut into windows or stretches of band features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valence.cell import Recipe
from valence.datasets.base import Dataset, check_clips
from valence.errors import BadInput
from valence.preprocessing import cut_windows, resampled_n_times, window_starts


@dataclass(frozen=True, kw_only=True)
class Converted:
    """One subject."""

    x: np.ndarray
    """float32, (n_samples, n_chans, n_times) or (n_samples, n_chans, n_steps, n_bands)"""
    clips: np.ndarray
    """int64, (n_samples,), from 0"""
    begins: np.ndarray
    """float64, (n_samples,), seconds from the begin of the clip"""
    repairs: tuple[str, ...]


def stored_input(input: str, recipe: Recipe) -> str:
    """What of a data set an input of classifiers is read from: "windows", "de" or "psd"."""
    return "windows" if input == "windows" else recipe.band_features


def steps_per_sample(dataset: Dataset | type[Dataset], recipe: Recipe) -> int:
    """Steps of band features in one sample. Raises BadInput where de_window_s is not a whole number of steps."""
    if recipe.de_window_s:
        steps = recipe.de_window_s / dataset.de_step_s
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise BadInput(
                f"recipe {recipe.name!r}: de_window_s is {recipe.de_window_s:g} s",
                allowed=f"0, or a multiple of {dataset.de_step_s:g} s, the step of {dataset.name}",
                do="correct the recipe",
            )
        return round(steps)
    lengths = {int(seconds / dataset.de_step_s + 1e-6) for seconds in dataset.clip_seconds}
    return lengths.pop() if len(lengths) == 1 else 1


def convert_subject(dataset: Dataset, subject: str, input: str, recipe: Recipe) -> Converted:
    """Read one subject, check it and cut it into samples, in the order of clips and time."""
    stored = stored_input(input, recipe)
    found = dataset.load(subject, stored)
    tail = () if stored == "windows" else (len(dataset.bands),)
    if type(dataset).load is not Dataset.load:  # one of its own, which may check nothing
        check_clips(
            found,
            lengths=dataset.lengths(stored),
            tail=tail,
            ch_names=dataset.ch_names,
            subject=subject,
            file=dataset.files(stored)[subject][0],
        )
    cut = _cut_windows if stored == "windows" else _cut_steps
    blocks, clips, begins, short = [], [], [], []
    for clips_of_one_length in _runs(found.clips):
        samples, starts = cut(_together(found.clips, clips_of_one_length), dataset, recipe)
        blocks.append(samples.reshape(-1, *samples.shape[2:]))
        clips.append(np.repeat(clips_of_one_length, len(starts)))
        begins.append(np.tile(starts, len(clips_of_one_length)))
        if not len(starts) and found.clips[clips_of_one_length[0]].shape[1]:
            short += [str(clip + 1) for clip in clips_of_one_length]
    left_out = (f"{subject}: shorter than a window and left out: clip {', '.join(short)}",) if short else ()
    return Converted(
        x=blocks[0] if len(blocks) == 1 else np.concatenate(blocks),
        clips=np.concatenate(clips).astype(np.int64),
        begins=np.concatenate(begins).astype(np.float64),
        repairs=(*found.repairs, *left_out),
    )


def _runs(clips: Sequence[np.ndarray] | np.ndarray) -> list[list[int]]:
    """Neighbouring clips of one length, which are cut in one go."""
    runs: list[list[int]] = []
    for number, clip in enumerate(clips):
        if not runs or clips[runs[-1][-1]].shape != clip.shape:
            runs.append([])
        runs[-1].append(number)
    return runs


def _together(clips: Sequence[np.ndarray] | np.ndarray, some: list[int]) -> np.ndarray:
    """Clips of one length as one array: the one they are in, where these are all of it."""
    if isinstance(clips, np.ndarray) and len(some) == len(clips):
        return clips
    return np.stack([clips[clip] for clip in some])


def _cut_windows(x: np.ndarray, dataset: Dataset, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """(n_clips, n_chans, n_times) to (n_clips, n_windows, n_chans, n_window), and the begins in seconds."""
    windows = cut_windows(x, sfreq=dataset.loaded_sfreq, recipe=recipe, none_fits=True)
    n_times = resampled_n_times(x.shape[-1], sfreq=dataset.loaded_sfreq, new_sfreq=recipe.sfreq_hz)
    starts = window_starts(n_times, recipe=recipe, none_fits=True)
    return windows, starts / recipe.sfreq_hz


def _cut_steps(x: np.ndarray, dataset: Dataset, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """(n_clips, n_chans, n_steps, n_bands) to (n_clips, n_samples, n_chans, n_times, n_bands), and the begins."""
    n_steps = steps_per_sample(dataset, recipe)
    n_samples = x.shape[2] // n_steps
    cut = x[:, :, : n_samples * n_steps].reshape(*x.shape[:2], n_samples, n_steps, x.shape[-1])
    return cut.swapaxes(1, 2), np.arange(n_samples) * n_steps * dataset.de_step_s
