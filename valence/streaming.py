"""Online use: a recording or a live stream in, probabilities of classes for one window after the other out.

A recording is prepared as in training: processed and resampled as a whole, then cut. A live stream, or a recording
taken for one (`online`), is prepared from the past alone, and what then differs from training is said once. Latency is
measured from a window's last sample being there to its probabilities.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from valence.decoder import Decoder
from valence.errors import BadInput
from valence.online_preparation import OnlinePreparation, band_features, chosen_channels, differences
from valence.preprocessing import cut_windows
from valence.processing import process, to_raw
from valence.stream_sources import Live, Recorded

PIECE_S = 0.1
"""a recording taken for a stream comes in pieces of this length"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """What one window is decoded as."""

    section: int
    """of the recording; of a live stream, stretches without a gap count as such"""
    begin_s: float
    """from the begin of the section"""
    end_s: float
    probabilities: np.ndarray
    """float64, (n_classes,)"""
    label: str
    """name of the likeliest class"""
    latency_ms: float
    """from the last sample to the probabilities; of a recording prepared as a whole, without that preparation"""


def decode(
    decoder: Decoder, source: Recorded | Live, *, online: bool = False, stride_s: float | None = None
) -> Iterator[Decoded]:
    """Decode window by window.

    Parameters
    ----------
    source : a live stream is always decoded online.
    online : prepare a recording from the past alone, in pieces, as if it were a stream.
    stride_s : from one window to the next, seconds; None: as in training.

    Yields
    ------
    Decoded, in the order of time.

    Raises
    ------
    BadInput : where a channel is missing, or rate and window do not fit, before anything is decoded.
    """
    trained_on = decoder.trained_on
    channels = chosen_channels(trained_on.spec.ch_names, source.ch_names, source=source.source)
    online = online or isinstance(source, Live)
    told = differences(trained_on, sfreq=source.sfreq, ch_names=source.ch_names, online=online)
    for difference in told:
        logger.warning("%s: %s", source.source, difference)
    stride = stride_s if stride_s is not None else _stride_s(decoder)
    if online:
        return _online(decoder, source, channels, stride)
    assert isinstance(source, Recorded)
    return _whole(decoder, source, channels, stride)


def _stride_s(decoder: Decoder) -> float:
    trained_on = decoder.trained_on
    return trained_on.spec.n_times / trained_on.spec.sfreq if trained_on.bands else trained_on.recipe.stride_s


def _whole(decoder: Decoder, source: Recorded, channels: np.ndarray, stride_s: float) -> Iterator[Decoded]:
    """A recording, each section prepared at once as in training."""
    for number, section in enumerate(source.sections):
        samples, begins = prepared_windows(decoder, np.asarray(section)[channels], source.sfreq, stride_s)
        for begin, sample in zip(begins, samples):
            yield _decoded(decoder, sample, section=number, begin_s=float(begin), began=time.perf_counter())


def prepared_windows(
    decoder: Decoder, signal: np.ndarray, sfreq: float, stride_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """A section in µV, (n_chans, n_times) in the order of training, to samples as members take them.

    Returns
    -------
    float32 (n_samples, n_chans, n_times) or (n_samples, n_chans, n_steps, n_bands), and their begins in seconds.
    """
    trained_on = decoder.trained_on
    if trained_on.processing.steps:
        raw = to_raw(signal, sfreq=sfreq, ch_names=trained_on.spec.ch_names)
        raw, repairs = process(raw, trained_on.processing)
        for repair in repairs:
            logger.info("%s", repair)
        signal, sfreq = raw.get_data() * 1e6, raw.info["sfreq"]
    if trained_on.bands is None:
        recipe = replace(trained_on.recipe, stride_s=stride_s)
        samples = cut_windows(signal, sfreq=sfreq, recipe=recipe, none_fits=True)
        return samples, np.arange(len(samples)) * stride_s
    n_window, n_stride = (round(seconds * sfreq) for seconds in (_window_s(decoder), stride_s))
    begins = np.arange(0, signal.shape[1] - n_window + 1, max(n_stride, 1))
    found = [band_features(signal[:, begin : begin + n_window], sfreq, trained_on) for begin in begins]
    return np.array(found, dtype=np.float32), begins / sfreq


def _window_s(decoder: Decoder) -> float:
    return decoder.trained_on.spec.n_times / decoder.trained_on.spec.sfreq


def _online(decoder: Decoder, source: Recorded | Live, channels: np.ndarray, stride_s: float) -> Iterator[Decoded]:
    """Pieces as they come; a window is decoded once its last sample is there."""
    section = 0
    preparation = OnlinePreparation(decoder.trained_on, sfreq=source.sfreq, stride_s=stride_s)
    for piece in source.pieces() if isinstance(source, Live) else _pieces(source):
        if piece is None:
            if preparation.n_seen:
                section += 1
                preparation = OnlinePreparation(decoder.trained_on, sfreq=source.sfreq, stride_s=stride_s)
            continue
        began = time.perf_counter()
        for begin_s, sample in preparation.add(np.asarray(piece)[channels]):
            yield _decoded(decoder, sample, section=section, begin_s=begin_s, began=began)
            began = time.perf_counter()


def _pieces(source: Recorded) -> Iterator[np.ndarray | None]:
    length = max(1, round(PIECE_S * source.sfreq))
    for section in source.sections:
        yield None
        for begin in range(0, section.shape[1], length):
            yield np.asarray(section[:, begin : begin + length])


def _decoded(decoder: Decoder, sample: np.ndarray, *, section: int, begin_s: float, began: float) -> Decoded:
    if not np.isfinite(sample).all():
        raise BadInput(
            f"the window at {begin_s:g} s of section {section} is not finite",
            allowed="finite µV; band features of channels that vary",
            do="look at the electrodes and the recording",
        )
    chances = decoder.probabilities(sample[None])[0]
    return Decoded(
        section=section,
        begin_s=begin_s,
        end_s=begin_s + _window_s(decoder),
        probabilities=chances,
        label=decoder.trained_on.classes[int(chances.argmax())],
        latency_ms=1e3 * (time.perf_counter() - began),
    )
