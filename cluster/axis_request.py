"""A user's words about a study of axes to a request: every name, file and benchmark checked before anything slow."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.axis_inputs import check_layer, choose_engine
from valence.activations import LAYER, check_pooling
from valence.axis_methods import choose_method
from valence.axis_pca import SIGN_RULES
from valence.benchmark_folder import find_benchmarks
from valence.benchmark_hub import HUB, benchmarks_on_hub, load_from_hub
from valence.benchmark_texts import BenchmarkTexts, load_benchmark
from valence.encoders import MINILM, encoder_folder, encoder_kind
from valence.errors import BadInput
from valence.faced_stimuli import describe
from valence.images import Images, load_images
from valence.llms import LLM, resolve_llm
from valence.paraphrases import MIN_KEPT, Paraphrasing, study_paraphrasing
from valence.registry import unknown_name
from valence.sentence_encoder import find_sentence_encoder

ALL = "all"
FACED = {"faced": True, "faced-films": False}
"""words for --stimuli, and whether the sentences name the emotion that a clip was chosen for"""


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """A study as asked for, valid; benchmarks are loaded."""

    llms: tuple[LLM, ...]
    writer: LLM | None
    """writes the paraphrases that all read; None: each LLM its own"""
    how: Paraphrasing
    benchmarks: Mapping[str, BenchmarkTexts]
    clips: Mapping[str, str]
    """description by clip; empty where there are none"""
    layers: str | int
    """"all", or the one layer that is read"""
    layer: int
    """of the axis"""
    pooling: str
    method: str
    sign_rule: str
    engine: str
    nli: str | None
    encoders: tuple[str, ...]
    out: Path
    images: Images | None = None
    untrained: int = 0
    """networks with random weights, for their null"""
    nonce: int = 0
    """seeds of nonce words, for their null"""
    seed: int = 0


def resolve_study(
    *,
    llm: str,
    benchmarks: str | None,
    out: Path,
    names: str | None = None,
    writer: str | None = None,
    paraphrases: int = 50,
    layers: str = ALL,
    layer: int = -2,
    pooling: str = "last",
    method: str = "pca",
    sign_rule: str = "stories",
    engine: str = "auto",
    texts_per_benchmark: int = 2000,
    training_texts: int = 5000,
    nli: str | None = None,
    encoders: str | None = None,
    stimuli: str | None = None,
    images: str | None = None,
    untrained: int = 20,
    nonce: int = 20,
    seed: int = 0,
) -> StudyRequest:
    """Check every word of a command and load the benchmarks.

    Raises
    ------
    BadInput : for an unknown or doubled LLM, benchmark, method, pooling, engine or encoder, numbers out of range, and
        files that cannot be used.
    """
    _check_number("--paraphrases", paraphrases, at_least=MIN_KEPT)
    _check_number("--texts-per-benchmark", texts_per_benchmark, at_least=10)
    _check_number("--training-texts", training_texts, at_least=0)
    _check_number("--untrained", untrained, at_least=0)
    _check_number("--nonce", nonce, at_least=0)
    _check_number("--seed", seed, at_least=0, at_most=2**32 - 1)
    found = _llms(llm)
    choose_method(method)
    check_pooling(pooling)
    if sign_rule not in SIGN_RULES:
        raise unknown_name("sign rule", sign_rule, list(SIGN_RULES))
    read = _layers(layers)
    if read != ALL and layer not in (LAYER, read):
        raise BadInput(
            f"--layers {read} and --layer {layer}", allowed="one layer, or --layers all", do="leave one of them out"
        )
    wanted = layer if read == ALL else int(read)
    for one in found:
        check_layer(one, wanted)
    chosen = _encoders(encoders)
    if nli is not None and encoder_kind(encoder_folder(nli)) != "nli":
        raise BadInput(
            f"--nli {nli} is no classifier of entailment",
            allowed="a folder or hub id with the labels entailment and contradiction, such as roberta-large-mnli",
            do="give another, or leave --nli out",
        )
    return StudyRequest(
        llms=found,
        writer=None if writer is None else resolve_llm(writer),
        how=study_paraphrasing(paraphrases),
        benchmarks=_benchmarks(benchmarks, names, texts_per_benchmark, training_texts, seed),
        clips={} if stimuli is None else descriptions(stimuli),
        layers=read,
        layer=wanted,
        pooling=pooling,
        method=method,
        sign_rule=sign_rule,
        engine=choose_engine(engine),
        nli=nli,
        encoders=chosen,
        out=out,
        images=None if images is None else load_images(Path(images).expanduser()),
        untrained=untrained,
        nonce=nonce,
        seed=seed,
    )


def descriptions(word: str) -> dict[str, str]:
    """Descriptions of clips by name: of a file, or what FACED's publisher says, with or without the emotion named."""
    if word in FACED:
        return {str(clip): text for clip, text in enumerate(describe(with_emotion=FACED[word]), start=1)}
    return read_descriptions(Path(word).expanduser())


def read_descriptions(path: Path) -> dict[str, str]:
    """Descriptions of clips by name, in the order of the file: CSV with the columns clip and text.

    Raises BadInput for a file that is not there, not UTF-8, without these columns, with an empty or doubled clip, or
    fewer than two clips.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{str(key).strip().lower(): (value or "") for key, value in row.items()} for row in reader]
            columns = [str(name).strip().lower() for name in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad_stimuli(path, str(error)) from error
    if not {"clip", "text"} <= set(columns) or len(set(columns)) < len(columns):
        raise _bad_stimuli(path, f"its columns are {', '.join(columns) or 'none'}")
    found = {row["clip"].strip(): " ".join(row["text"].split()) for row in rows}
    if len(found) < max(2, len(rows)) or not all(found) or not all(found.values()):
        raise _bad_stimuli(path, f"{len(rows)} rows give {len([text for text in found.values() if text])} clips")
    return found


def _bad_stimuli(path: Path, why: str) -> BadInput:
    return BadInput(
        f"--stimuli {path}: {why}",
        allowed="CSV in UTF-8 with the columns clip and text, one row a clip, in the order of the data set's clips",
        do="correct the file",
    )


def _llms(words: str) -> tuple[LLM, ...]:
    names = [name.strip() for name in words.split(",") if name.strip()]
    found = tuple(resolve_llm(name) for name in names)
    if not found or len({llm.name for llm in found}) < len(found):
        raise BadInput(
            f"--llm {words!r} names {'an LLM twice' if found else 'nothing'}",
            allowed="names, hub ids or folders with commas, each once",
            do="correct the list",
        )
    return found


def _layers(word: str) -> str | int:
    if word == ALL:
        return ALL
    try:
        return int(word)
    except ValueError as error:
        raise BadInput(f"--layers {word}", allowed='"all" or one layer, such as -2', do="correct it") from error


def _encoders(words: str | None) -> tuple[str, ...]:
    """Names that can be loaded; MiniLM where nothing is asked for and it is installed."""
    if words is None:
        return (MINILM,) if find_sentence_encoder() is not None else ()
    names = tuple(dict.fromkeys(name.strip() for name in words.split(",") if name.strip() not in ("", "none")))
    for name in names:
        encoder_kind(encoder_folder(name))
    return names


def _benchmarks(
    place: str | None, names: str | None, n_texts: int, n_training: int, seed: int
) -> dict[str, BenchmarkTexts]:
    if place is None:
        return {}
    wanted = [name.strip() for name in (names or "").split(",") if name.strip()]
    folder, how = Path(place).expanduser(), {"n_texts": n_texts, "n_training": n_training, "seed": seed}
    if place == HUB and not folder.is_dir():
        return {name: load_from_hub(row, **how) for name, row in benchmarks_on_hub(wanted).items()}
    return {name: load_benchmark(row, folder, **how) for name, row in find_benchmarks(folder, wanted).items()}


def _check_number(option: str, value: int, *, at_least: int, at_most: int | None = None) -> None:
    if value < at_least or (at_most is not None and value > at_most):
        allowed = f"a whole number of {at_least} or more" + (f", {at_most} at most" if at_most is not None else "")
        raise BadInput(f"{option} {value}", allowed=allowed, do="correct it")
