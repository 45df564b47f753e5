"""The job valence_axis end to end on tiny LLMs, with real Ray, engine, encoder and MLflow; and what it refuses."""

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load

from cluster.axis_folder import PARAPHRASES, AxisFolder
from cluster.axis_images import NO_CLIP
from cluster.axis_reading import writing_identity
from cluster.axis_request import read_descriptions, resolve_study
from jobs.valence_axis import main
from tests.valence.tiny_llms import N_BLOCKS, tiny_llm
from valence.agreement import COLUMNS as AGREEMENT_COLUMNS
from valence.axis import Axis
from valence.axis_null_rows import CLASSES, NONCE, UNTRAINED
from valence.errors import BadInput
from valence.paraphrases import COLUMNS
from valence.stories import EMOTIONS, load_stories, nonce_stories

N = 4
"""paraphrases a story"""
N_UNTRAINED, N_NONCE = 3, 4
LLMS = (("tiny-a", "llama", 0), ("tiny-b", "qwen3", 1))


@pytest.fixture(autouse=True)
def own_signals():
    """The job takes SIGTERM for itself."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def paraphrases_by_hand():
    """A table as a writer gives it: the LLMs here have random weights and write nothing that passes."""
    rows = [
        {
            **{"story": story.id, "emotion": story.emotion, "set": story.set, "kept": True, "reason": "", "round": 0},
            **{"text": f"{story.text} That was {index + 1} of {N}.", "seed": index, "n_tokens": 40, "distance": 0.2},
            **{"encoder": "minilm", "writer": "hand"},
        }
        for story in load_stories()
        for index in range(N)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two LLMs, benchmarks and descriptions of clips."""
    root = tmp_path_factory.mktemp("world")
    llms = [str(tiny_llm(root / name, architecture, seed=seed)) for name, architecture, seed in LLMS]
    random = np.random.default_rng(0)
    words = ["good", "bad", "film", "slow", "fine", "plot", "actor", "scene", "quick", "long"]
    (root / "texts" / "sst2").mkdir(parents=True)
    for split, n in (("dev", 40), ("train", 60)):
        texts = [f"{' '.join(random.choice(words, 6))} {split} {index}" for index in range(n)]
        rows = "".join(f"{index % 2}\t{text}\n" for index, text in enumerate(texts))
        (root / "texts" / "sst2" / f"{split}.tsv").write_text("label\tsentence\n" + rows)
    rated = [
        f"{index}_{index}_1,{random.uniform(1, 5):.2f},{random.uniform(1, 5):.2f},text {index}" for index in range(60)
    ]
    (root / "texts" / "emobank.csv").write_text("id,V,A,text\n" + "\n".join(rated) + "\n")
    (root / "pictures").mkdir()
    for index in range(12):
        Image.new("RGB", (8, 8), (20 * index,) * 3).save(root / "pictures" / f"{index}.png")
    ratings = "".join(f"{index}.png,{index}\n" for index in range(12))
    (root / "pictures" / "ratings.csv").write_text("file,valence\n" + ratings)
    clips = "".join(f"{clip},A film about thing number {clip}.\n" for clip in range(1, 29))
    (root / "clips.csv").write_text("clip,text\n" + clips)
    return root, llms


def arguments(world, out, *more):
    root, llms = world
    words = ["--llm", ",".join(llms), "--writer", llms[0], "--benchmarks", root / "texts", "--out", out]
    words += ["--paraphrases", N, "--stimuli", root / "clips.csv", "--engine", "transformers"]
    words += ["--untrained", N_UNTRAINED, "--nonce", N_NONCE, "--images", root / "pictures", *more]
    return [str(word) for word in words]


def place_paraphrases(world, out):
    _, llms = world
    request = resolve_study(
        llm=",".join(llms), benchmarks=None, out=out, writer=llms[0], paraphrases=N, engine="transformers"
    )
    writing = writing_identity(request, request.writer)
    parts = AxisFolder(out / "writers" / request.writer.name, writing, writing=writing)
    parts.open()
    parts.save_paraphrases(paraphrases_by_hand())
    assert (out / "writers" / "tiny-a" / PARAPHRASES).is_file()


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """One run in this process; its folder and what it printed."""
    out = tmp_path_factory.mktemp("study")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VALENCE_CACHE", str(cache))
        patch.setenv("OMP_NUM_THREADS", "1")
        place_paraphrases(world, out)
        printed = run(arguments(world, out))
        yield out, printed, cache


def run(words, **options):
    here = os.environ | {"COLUMNS": "250"}
    root = __file__.rsplit("/tests/", 1)[0]
    return subprocess.run(
        [sys.executable, f"{root}/jobs/valence_axis.py", *words],
        env=here,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,
    )


def table(out, name):
    return pd.read_parquet(out / f"{name}.parquet")


def test_every_table_has_every_llm(finished):
    out, printed, _ = finished
    assert printed.returncode == 0, printed.stdout + printed.stderr
    names = {"tiny-a", "tiny-b"}
    for name in ("axes", "positions", "concepts", "layers", "dose"):
        assert set(table(out, name)["llm"]) == names, name
    axes = table(out, "axes").set_index("llm")
    assert (axes["writer"] == "tiny-a").all()
    assert (axes["n_texts"] == 18 * N).all()
    assert (axes["layer"] == N_BLOCKS - 1).all()
    assert axes["warnings"].notna().all()
    np.testing.assert_allclose(axes["r_signed"].abs(), axes["r_codes"], atol=1e-6)
    assert (axes["engine_version"] == importlib.metadata.version("transformers")).all()
    # layer 0 at the last token is the same full stop everywhere
    assert set(table(out, "layers").query("llm == 'tiny-a'")["layer"]) == set(range(1, N_BLOCKS + 1))
    assert set(table(out, "dose")["n_paraphrases"]) == {1, 3, 4}


def test_validity_has_all_predictors_of_all_benchmarks(finished):
    out, _, _ = finished
    valid = table(out, "validity")
    assert set(valid["benchmark"]) == {"sst2", "emobank", CLASSES, "pictures"}
    assert valid[valid["benchmark"] == "pictures"]["reason"].tolist() == [NO_CLIP]
    of_axis = valid[(valid["llm"] == "tiny-a") & (valid["layer"] == N_BLOCKS - 1)]
    expected = {
        *("axis", "axis projected out", "axis refitted after projecting out", "random directions", "probe"),
        *("probe after projecting out", "axis by mean_difference", "axis by lda", "axis by contrast_pairs"),
    }
    assert set(of_axis[of_axis["benchmark"] == "sst2"]["predictor"]) == expected
    assert set(valid[valid["llm"] == "minilm"]["predictor"]) == {"sentence prototypes", "axis"}
    assert set(of_axis[of_axis["benchmark"] == "emobank"]["dimension"]) == {"valence", "arousal"}
    out_of = valid[(valid["predictor"] == "axis projected out") & (valid["measure"] == "AUC")]
    assert (out_of["value"] == 0.5).all()
    other_layers = valid[(valid["llm"] == "tiny-a") & (valid["layer"] != N_BLOCKS - 1) & valid["layer"].notna()]
    assert set(other_layers["layer"]) == {1, 2, N_BLOCKS}


def test_numbers_are_those_of_the_saved_axis_and_plain_activations(finished, world):
    out, _, _ = finished
    import torch
    from sklearn.metrics import roc_auc_score
    from transformers import AutoModelForCausalLM, AutoTokenizer

    axis = Axis.load(out / "llms" / "tiny-b" / "axis.safetensors")
    folder = world[1][1]
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    lines = [line.split("\t") for line in (world[0] / "texts" / "sst2" / "dev.tsv").read_text().splitlines()[1:]]
    with torch.inference_mode():
        scores = [
            network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[-2][0, -1].numpy()
            @ axis.direction
            for _, text in lines
        ]
    valid = table(out, "validity").query("llm == 'tiny-b' and predictor == 'axis' and benchmark == 'sst2'")
    value = valid.set_index("layer").loc[N_BLOCKS - 1, "value"]
    assert value == pytest.approx(roc_auc_score([int(label) for label, _ in lines], scores), abs=1e-6)
    positions = table(out, "positions").query("llm == 'tiny-b' and level == 'class'").set_index("name")["position"]
    np.testing.assert_allclose(positions[list(EMOTIONS)], axis.class_positions, atol=1e-6)


def test_every_llm_has_every_null(finished):
    out, printed, _ = finished
    valid = table(out, "validity")
    nulls = valid[valid["null"].notna()].set_index(["llm", "null"])
    assert len(nulls) == 8
    assert (nulls["benchmark"] == CLASSES).all()
    for name, n in ((UNTRAINED, N_UNTRAINED), (NONCE, N_NONCE)):
        rows = nulls.xs(name, level="null")
        assert (rows["n_null"] == n).all()
        assert rows["p"].between(1 / (1 + n), 1).all()
        np.testing.assert_allclose(rows["p"] * (1 + n), np.round(rows["p"] * (1 + n)))
    axes = table(out, "axes").set_index("llm")
    assert axes.loc["tiny-b", "p_untrained"] == nulls.loc[("tiny-b", UNTRAINED), "p"]
    assert axes.loc["tiny-a", "p_nonce"] == nulls.loc[("tiny-a", NONCE), "p"]
    assert "untrained networks" in printed.stdout
    # the writer reads with the engine that wrote, and another one is for its untrained networks
    assert printed.stdout.count("tiny-a: starting transformers") == 1
    assert printed.stdout.count("tiny-b: starting transformers") == 1


def polarity_by_hand(network, tokenizer, texts, emotions, sets):
    """|r| of nine codes with the class positions on the first component, from plain forward passes."""
    import torch

    with torch.inference_mode():
        read = [
            network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[-2][0, -1].numpy()
            for text in texts
        ]
    means = pd.DataFrame(read).groupby([np.array(sets), np.array(emotions)]).mean()
    centroids = means.groupby(level=1).mean().loc[list(EMOTIONS)].to_numpy()
    first = np.linalg.svd(centroids - centroids.mean(axis=0))[2][0]
    return abs(np.corrcoef(centroids @ first, np.sign(np.arange(9) - 4))[0, 1])


def test_nulls_of_other_activations_are_those_of_plain_passes(finished, world):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    out, _, _ = finished
    valid = table(out, "validity")
    nulls = valid[valid["null"].notna() & (valid["llm"] == "tiny-b")].set_index("null")
    folder = world[1][1]
    trained, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    few = paraphrases_by_hand().groupby("story", sort=False).head(2)
    texts = [few[name].tolist() for name in ("text", "emotion", "set")]
    assert nulls.loc[UNTRAINED, "value"] == pytest.approx(polarity_by_hand(trained, tokenizer, *texts), abs=1e-4)
    found = []
    for seed in range(N_UNTRAINED):
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32).eval()
        found.append(polarity_by_hand(network, tokenizer, *texts))
    assert np.ptp(found) > 0.01, "every seed is another network"
    assert nulls.loc[UNTRAINED, "null_mean"] == pytest.approx(np.mean(found), abs=1e-4)
    at_least = sum(r >= nulls.loc[UNTRAINED, "value"] - 1e-6 for r in found)
    assert nulls.loc[UNTRAINED, "p"] == pytest.approx((1 + at_least) / (1 + N_UNTRAINED))
    of_nonce = []
    for seed in range(N_NONCE):
        rows = [(story.text, story.emotion, story.set) for story in nonce_stories(seed=seed)]
        of_nonce.append(polarity_by_hand(trained, tokenizer, *zip(*rows, strict=True)))
    assert nulls.loc[NONCE, "null_mean"] == pytest.approx(np.mean(of_nonce), abs=1e-4)


def test_length_is_counted_in_tokens_of_who_reads(finished, world):
    from transformers import AutoTokenizer

    out, _, _ = finished
    style = {name: Axis.load(out / "llms" / name / "axis.safetensors").notes["style"] for name in ("tiny-a", "tiny-b")}
    # the table of who wrote says 40 of every text
    assert set(style["tiny-a"]["length_in_tokens"].values()) == {None}
    tokenizer, texts = AutoTokenizer.from_pretrained(world[1][1]), paraphrases_by_hand()
    counts = [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts["text"]]
    assert (out / "llms" / "tiny-b" / "lengths.json").read_text().rstrip().endswith(f"{json.dumps(counts)}}}")
    assert all(0 < abs(r) <= 1 for r in style["tiny-b"]["length_in_tokens"].values())


def test_clips_are_placed_and_in_the_axis_file(finished):
    out, _, _ = finished
    axis = Axis.load(out / "llms" / "tiny-a" / "axis.safetensors")
    assert axis.clip_positions.shape == (28,)
    clips = table(out, "positions").query("llm == 'tiny-a' and level == 'clip'")
    assert list(clips["name"]) == [str(number) for number in range(1, 29)]
    np.testing.assert_allclose(clips["position"], axis.clip_positions)


def test_agreement_of_llms_encoders_and_words(finished):
    out, _, _ = finished
    agreement = table(out, "agreement")
    assert list(agreement.columns) == list(AGREEMENT_COLUMNS)
    assert {*agreement["llm_a"], *agreement["llm_b"]} == {"tiny-a", "tiny-b", "minilm", "words (TF-IDF)"}
    pair = agreement[(agreement["llm_a"] == "tiny-a") & (agreement["llm_b"] == "tiny-b")].set_index("level")
    assert set(pair.index) == {"classes", "clips"}
    assert (
        pair.loc["classes", ["r", "r_other_set", "r_given_words", "r_given_sentences", "p_permutation"]].notna().all()
    )
    assert pair.loc["classes", "texts"] == "shared"
    assert list(table(out, "families")["n_pairs"]) == [1, 1]


def test_figures_and_mlflow(finished):
    out, _, _ = finished
    from mlflow import MlflowClient

    from cluster.axis_tracking import EXPERIMENT
    from cluster.tracking import default_tracking_uri

    names = {"positions", "layers", "agreement", "validity", "dose"}
    figures = sorted((out / "figures").glob("*.*"))
    assert {path.stem for path in figures} == names
    assert len(figures) == 2 * len(names)
    assert "tenderness" in (out / "figures" / "positions.svg").read_text()
    client = MlflowClient(tracking_uri=default_tracking_uri(out))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    of_llm = next(run for run in runs if run.data.params.get("llm") == "tiny-a")
    valid = table(out, "validity").query("llm == 'tiny-a' and predictor == 'axis' and benchmark == 'sst2'")
    value = valid.set_index("layer").loc[N_BLOCKS - 1, "value"]
    assert of_llm.data.metrics["sst2/valence/axis"] == pytest.approx(value)
    assert any(item.path == "axis.safetensors" for item in client.list_artifacts(of_llm.info.run_id))


def test_a_second_run_finds_everything_and_an_edited_table_is_made_again(finished, world):
    out, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*.parquet"))}
    again = run(arguments(world, out))
    assert again.returncode == 0, again.stderr
    assert "nothing new to do" in again.stdout
    assert "starting transformers" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*.parquet"))} == before
    validity, digest = table(out, "validity"), Axis.load(out / "llms/tiny-a/axis.safetensors").digest
    # what another study, killed half-way, would leave: its axis, and some of its figures
    shutil.copy(out / "llms/tiny-b/axis.safetensors", out / "llms/tiny-a/axis.safetensors")
    for figure in (out / "figures").glob("l*"):
        figure.write_text("stale")
    (out / "figures/study").write_text("another")
    rebuilt = run(arguments(world, out))
    assert "starting transformers" not in rebuilt.stdout
    assert Axis.load(out / "llms/tiny-a/axis.safetensors").digest == digest
    assert b"stale" not in (out / "figures/layers.svg").read_bytes()[:5]
    pd.testing.assert_frame_equal(table(out, "validity"), validity)
    # a run that was killed between two untrained networks
    (out / "study.json").write_text(json.dumps({"hash": "another", "tables": []}))
    shutil.rmtree(out / "llms/tiny-a/tables")
    networks = [out / f"llms/tiny-a/untrained/{seed}/00000.safetensors" for seed in range(N_UNTRAINED)]
    content, times = [path.read_bytes() for path in networks], [path.stat().st_mtime_ns for path in networks]
    shutil.rmtree(networks[1].parent)
    resumed = run(arguments(world, out))
    assert "tiny-a: starting" not in resumed.stdout
    assert resumed.stdout.count("starting transformers") == 1
    assert [path.read_bytes() for path in networks][::2] == content[::2]
    # drawn again: the same weights; several threads may add in another order
    drawn, expected = (load(file)["activations"] for file in (networks[1].read_bytes(), content[1]))
    np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-4)
    assert [path.stat().st_mtime_ns == time for path, time in zip(networks, times)] == [True, False, True]
    pd.testing.assert_frame_equal(table(out, "validity"), validity)


def test_an_llm_that_cannot_be_loaded_leaves_the_others(finished, world, tmp_path_factory):
    out, _, _ = finished
    root, llms = world
    broken = tmp_path_factory.mktemp("tiny-c")
    for path in (root / "tiny-a").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "model.safetensors").write_bytes(b"no weights")
    words = arguments(world, out)
    words[1] = f"{llms[0]},{broken},{llms[1]}"
    ran = run(words)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"failed: {broken.name}" in ran.stdout
    assert set(table(out, "axes")["llm"]) == {"tiny-a", "tiny-b"}
    words[1] = str(broken)
    alone = run(words)
    assert alone.returncode == 2
    assert broken.name in alone.stderr


def test_axis_file_serves_the_main_job(finished, tmp_path):
    out, _, _ = finished
    root = __file__.rsplit("/tests/", 1)[0]
    plan = subprocess.run(
        [
            *(sys.executable, f"{root}/jobs/saturation_grid.py", "--plan", "--out", str(tmp_path)),
            *("--axis", str(out / "llms" / "tiny-a" / "axis.safetensors")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert plan.returncode == 0, plan.stderr


REFUSED = [
    (("--llm", "smollm3"), "unknown LLM 'smollm3'"),
    (("--llm", "smollm2-135m-instruct,smollm2-135m-instruct"), "an LLM twice"),
    (("--llm", ","), "names nothing"),
    (("--method", "ica"), "ica"),
    (("--pooling", "max"), "max"),
    (("--engine", "jax"), "jax"),
    (("--layers", "some"), "--layers some"),
    (("--paraphrases", "2"), "3 or more"),
    (("--texts-per-benchmark", "5"), "10 or more"),
    (("--seed", "-1"), "--seed -1"),
    (("--sign-rule", "stores"), "did you mean stories"),
    (("--layer", "99"), "layer 99"),
    (("--layers", "5", "--layer", "-3"), "one layer, or --layers all"),
    (("--benchmarks", "absent"), "no such folder"),
    (("--encoders", "no/such/encoder"), "no such folder"),
    (("--nli", "minilm"), "classifier of entailment"),
    (("--stimuli", "absent.csv"), "absent.csv"),
    (("--images", "absent"), "--images absent: no such folder"),
    (("--untrained", "-1"), "--untrained -1"),
    (("--nonce", "-1"), "--nonce -1"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_words_that_are_refused_at_once(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "to do:" in error


def test_benchmarks_by_name(world, tmp_path, capsys):
    root = world[0] / "texts"
    assert main(["--out", str(tmp_path), "--benchmarks", str(root), "--only", "sst-2"]) == 2
    assert "did you mean sst2" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--benchmarks", str(root), "--only", "imdb"]) == 2
    assert "no files of imdb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "its columns are none"),
        (b"clip,words\n1,a\n", "its columns are clip, words"),
        (b"clip,text\n1,a\n1,b\n", "2 rows give 1 clips"),
        (b"clip,text\n1,a\n2,\n", "2 rows give 1 clips"),
        (b"clip,text\n1,a\n", "1 rows give 1 clips"),
        ("clip,text\n1,é\n".encode("latin1"), "codec"),
    ],
)
def test_descriptions_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "clips.csv"
    path.write_bytes(text)
    with pytest.raises(BadInput, match=message):
        read_descriptions(path)
