"""How long does an ensemble take for one window, on one core? Against the same modules called as they are.

python -m tests.bench.online [--classifier EMOD] [--members 10] [--windows 12] [--sfreq 200]

A recording of 32 channels comes in pieces of .1 s, as a stream does; each window of 10 s is decoded when its last
sample is there (`valence.streaming.decode`, online). "eager": the members' modules, called one after the other on the
same window, and their probabilities averaged; nothing is prepared for them. Ways take turns, window by window. Wall
time on a busy machine says little, so processor time stands beside it.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import valence  # noqa: F401  # before braindecode
from valence.cell import Recipe
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.datasets import DATASETS
from valence.decoder import TrainedOn
from valence.exported import Member, export_ensemble, load_ensemble
from valence.online_preparation import OnlinePreparation
from valence.prepared import signal_spec
from valence.processing import Processing
from valence.stream_sources import Recorded
from valence.streaming import decode

STREAM_HZ = 250.0
LIMIT_MS = 250


def ensemble_of(options: argparse.Namespace, folder: Path) -> TrainedOn:
    """Members with weights as drawn, exported."""
    faced = DATASETS["faced"]
    recipe = Recipe(name="online", epochs=1, sfreq_hz=options.sfreq, window_s=10, stride_s=10)
    about = TrainedOn(
        spec=signal_spec(faced, "windows", recipe),
        recipe=recipe,
        processing=Processing(),
        sfreq_hz=STREAM_HZ,
        classes=faced.classes,
    )
    members = []
    for seed in range(options.members):
        torch.manual_seed(seed)
        state = build_classifier(CLASSIFIERS[options.classifier], about.spec).state_dict()
        members.append(Member(classifier=options.classifier, weights=state, share=1 / options.members))
    export_ensemble(folder, members, about)
    return about


def measured(options: argparse.Namespace, folder: Path, about: TrainedOn) -> dict[str, dict]:
    """By way of decoding: wall and processor milliseconds of each window, and probabilities."""
    ways = {
        f"decoder, {precision}": load_ensemble(folder, precision=precision) for precision in ("bfloat16", "float32")
    }
    modules = []
    for seed in range(options.members):
        torch.manual_seed(seed)
        modules.append(build_classifier(CLASSIFIERS[options.classifier], about.spec).eval())
    signal = 20 * np.random.default_rng(0).standard_normal((32, round(10 * STREAM_HZ * options.windows)))
    source = Recorded(sections=[signal], sfreq=STREAM_HZ, ch_names=about.spec.ch_names, source="noise")
    [*windows] = (sample for _, sample in OnlinePreparation(about, sfreq=STREAM_HZ, stride_s=10.0).add(signal))
    found: dict[str, dict] = {way: {"wall": [], "cpu": [], "chances": []} for way in ("eager", *ways)}
    streams = {way: decode(decoder, source, online=True) for way, decoder in ways.items()}
    for number, window in enumerate(windows):
        x = torch.from_numpy(window[None])
        began, cpu = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            chances = torch.stack([module(x).softmax(1) for module in modules]).mean(0)[0].numpy()
        _note(found["eager"], number, 1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - cpu), chances)
        for way, stream in streams.items():
            cpu = time.process_time()
            decoded = next(stream)
            # pieces that came before the last one are filed away in this time, too: a few ms
            _note(found[way], number, decoded.latency_ms, 1e3 * (time.process_time() - cpu), decoded.probabilities)
    return found


def _note(way: dict, number: int, wall: float, cpu: float, chances: np.ndarray) -> None:
    if number:  # the first one warms up
        way["wall"].append(wall)
        way["cpu"].append(cpu)
        way["chances"].append(chances)


def main() -> int:
    """Print the table; 1 where the decoder's processor time exceeds the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", default="EMOD")
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--sfreq", type=float, default=200.0, help="rate that members take, Hz")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # that windows are resampled one by one is known here
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="valence-online-") as folder:
        about = ensemble_of(options, Path(folder) / "ensemble")
        found = measured(options, Path(folder) / "ensemble", about)
    print(
        f"{options.members} x {options.classifier}, 10-s windows of 32 x {about.spec.n_times}, one core, "
        f"{options.windows - 1} windows; load of the machine {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    )
    print(
        f"{'':20} {'wall ms: median':>16} {'most':>7} {'CPU ms: median':>16} {'least':>7} {'eager / it':>11} "
        f"{'off by':>9}"
    )
    eager = found["eager"]
    for way, told in found.items():
        off = np.abs(np.array(told["chances"]) - eager["chances"]).max()
        ratio = np.median(np.array(eager["cpu"]) / told["cpu"])
        print(
            f"{way:20} {np.median(told['wall']):16.0f} {max(told['wall']):7.0f} {np.median(told['cpu']):16.0f} "
            f"{min(told['cpu']):7.0f} {ratio:11.2f} {off:9.1e}"
        )
    least = min(found["decoder, bfloat16"]["cpu"])
    print(f"limit {LIMIT_MS} ms: {'kept' if least <= LIMIT_MS else 'NOT kept'} (least processor time of a window)")
    return int(least > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
