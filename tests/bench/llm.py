"""Tokens a second of generation and texts a second of activations: this project's vLLM engine against transformers.

python -m tests.bench.llm [--llm NAME] [--paraphrases N] [--repeats N] [--cores N]

The peer is transformers as its documentation uses it: `generate` with sampling, and hidden states of all layers, in
batches of 32 sorted by length. Both get the same prompts, stop at the same tokens and hold float32 weights of the same
folder. They take turns on the same machine, one repeat each, and never run at once.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import valence  # noqa: F401  # before transformers
from cluster.remote_engine import engine_environment
from valence.llms import LLM, local_folder, resolve_llm
from valence.paraphrases import Paraphrasing, Request
from valence.stories import load_stories

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured."""

    llm: str = "smollm2-135m-instruct"
    paraphrases: int = 25
    """of each story, asked for at once"""
    repeats: int = 3
    """medians are over these"""
    cores: int = len(os.sched_getaffinity(0))
    """that an engine may use"""


class Peer:
    """transformers in batches of 32."""

    def __init__(self, llm: LLM):
        from valence.generation import TransformersEngine

        self._engine = TransformersEngine(local_folder(llm), llm)

    def generate(self, requests: list[Request], how: Paraphrasing) -> int:
        """Number of tokens written."""
        import torch

        network, encoder, ends = self._engine._network, self._engine.encoder, self._engine._ends()
        ids = sorted((encoder.request_ids(request) for request in requests), key=len)
        n_tokens = 0
        for batch in (ids[start : start + BATCH] for start in range(0, len(ids), BATCH)):
            width = max(map(len, batch))
            padded = torch.tensor([[encoder.pad_id] * (width - len(row)) + row for row in batch])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
            with torch.inference_mode():
                written = network.generate(
                    padded.to(network.device),
                    attention_mask=mask.to(network.device),
                    do_sample=True,
                    temperature=how.temperature,
                    top_k=0,
                    max_new_tokens=how.max_tokens,
                    eos_token_id=ends,
                    pad_token_id=encoder.pad_id,
                )[:, width:]
            for row in written.tolist():
                n_tokens += next((place for place, token in enumerate(row) if token in set(ends)), len(row))
        return n_tokens

    def activations(self, texts: list[str]) -> int:
        """Number of layers read at the last token."""
        import torch

        network, encoder = self._engine._network, self._engine.encoder
        ids = sorted((encoder.text_ids(text) for text in texts), key=len)
        for batch in (ids[start : start + BATCH] for start in range(0, len(ids), BATCH)):
            lengths = torch.tensor([len(row) for row in batch])
            width = int(lengths.max())
            padded = torch.tensor([row + [encoder.pad_id] * (width - len(row)) for row in batch])
            mask = torch.arange(width) < lengths[:, None]
            with torch.inference_mode():
                states = network.base_model(
                    padded.to(network.device), attention_mask=mask.to(network.device), output_hidden_states=True
                ).hidden_states
                torch.stack([state[torch.arange(len(batch)), lengths - 1] for state in states]).float().cpu()
        return len(states)


class Ours:
    """The vLLM engine of this project."""

    def __init__(self, llm: LLM):
        from cluster.vllm_engine import VllmEngine

        self._engine = VllmEngine(local_folder(llm), llm)

    def generate(self, requests: list[Request], how: Paraphrasing) -> int:
        """Number of tokens written."""
        self._engine._engine.reset_prefix_cache()  # a repeat finds nothing of the one before
        answers = self._engine.generate(requests, temperature=how.temperature, max_new_tokens=how.max_tokens)
        return sum(answer.n_tokens for answer in answers)

    def activations(self, texts: list[str]) -> int:
        """Number of layers read at the last token."""
        return self._engine.activations(texts, layers=range(self._engine.n_layers())).shape[1]


def serve(kind: type, llm: LLM, cores: int, connection: Connection) -> None:
    """A process of its own: loads, says how long that took, and does what it is sent."""
    os.environ.update(engine_environment(llm, cores))
    started = time.monotonic()
    engine = kind(llm)
    connection.send(time.monotonic() - started)
    for task, arguments in iter(connection.recv, None):
        started, before = time.monotonic(), time.process_time()
        amount = getattr(engine, task)(*arguments)
        connection.send((time.monotonic() - started, time.process_time() - before, amount))


def measure(settings: Settings) -> dict[str, dict[str, list[float]]]:
    """Rates by engine and task, one a repeat; and seconds of the start."""
    llm, how = resolve_llm(settings.llm), Paraphrasing(n=settings.paraphrases)
    requests = [
        Request(how.prompt.format(text=story.text), "", 1000 * index + number)
        for index, story in enumerate(load_stories())
        for number in range(settings.paraphrases)
    ]
    texts = [f"{story.text} {number}" for story in load_stories() for number in range(settings.paraphrases)]
    context = multiprocessing.get_context("spawn")
    rates: dict[str, dict[str, list[float]]] = {}
    connections = {}
    for name, kind in (("vLLM", Ours), ("transformers", Peer)):
        here, there = context.Pipe()
        context.Process(target=serve, args=(kind, llm, settings.cores, there), daemon=True).start()
        rates[name] = {"start": [here.recv()]}
        connections[name] = here
        for task, arguments in (("generate", (requests[:2], how)), ("activations", (texts[:2],))):
            here.send((task, arguments))  # warm-up
            here.recv()
    for _ in range(settings.repeats):
        for name, connection in connections.items():
            connection.send(("generate", (requests, how)))
            seconds, cpu_seconds, n_tokens = connection.recv()
            note(rates[name], "generation", n_tokens, seconds, cpu_seconds)
            connection.send(("activations", (texts,)))
            seconds, cpu_seconds, _ = connection.recv()
            note(rates[name], "activations", len(texts), seconds, cpu_seconds)
    for connection in connections.values():
        connection.send(None)
    return rates


def note(rates: dict[str, list[float]], task: str, amount: int, seconds: float, cpu_seconds: float) -> None:
    """Rates of one repeat: by the clock, and by the processor's time, which other programs cannot take away."""
    rates.setdefault(task, []).append(amount / seconds)
    rates.setdefault(f"{task} per core", []).append(amount / cpu_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in vars(Settings()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    settings = Settings(**vars(parser.parse_args()))
    rates = measure(settings)
    ours, peer = rates["vLLM"], rates["transformers"]
    n_texts = settings.paraphrases * len(load_stories())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{settings.llm}, {n_texts} texts, {settings.cores} cores, medians of {settings.repeats}, load {load}\n")
    print("| | vLLM | transformers, batch 32 | ratio |\n|---|---|---|---|")
    for task, unit in (
        ("generation", "tokens a second"),
        ("generation per core", "tokens a processor second"),
        ("activations", "texts a second, all layers"),
        ("activations per core", "texts a processor second"),
    ):
        left, right = statistics.median(ours[task]), statistics.median(peer[task])
        print(f"| {task}, {unit} | {left:.1f} | {right:.1f} | {left / right:.2f} |")
    print(f"| start, seconds | {ours['start'][0]:.0f} | {peer['start'][0]:.0f} | |")
    print(f"\nall repeats: {rates}")


if __name__ == "__main__":
    main()
