"""The LLM stage on Ray: both engines for real on the embedded LLM, what is taken up again, and the folder's parts."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cluster import axis_folder, axis_steps, llm_actors
from cluster.axis_folder import (
    ACTIVATIONS,
    AXIS,
    CONFIGURATION,
    PARAPHRASES,
    UNFINISHED,
    AxisFolder,
    configuration_of,
    configuration_on_texts,
    writing_of,
)
from cluster.axis_inputs import check_layer, check_table
from cluster.llm_actors import choose_engine, find_llm_axis, fit_axis_of_texts, fit_llm_axis, write_paraphrases
from cluster.remote_engine import RemoteEngine, engine_environment, engine_resources
from valence.activations import read_with_transformers
from valence.axis import Axis, fit_axis
from valence.cache import cache_folder
from valence.cell import canonical_hash
from valence.errors import BadInput
from valence.generation import Encoder, TransformersEngine
from valence.llms import LLM, LLMS, local_folder
from valence.paraphrases import Generation, Paraphrasing, Request
from valence.stories import EMOTIONS, load_stories

EMBEDDED = LLMS["smollm2-135m-instruct"]


@pytest.fixture(scope="module", autouse=True)
def own_axes(tmp_path_factory):
    """Axes in a cache of the test's own; converted LLMs stay where the software puts them."""
    llms = cache_folder() / "llms"
    llms.mkdir(parents=True, exist_ok=True)
    cache = tmp_path_factory.mktemp("cache")
    (cache / "llms").symlink_to(llms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VALENCE_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other crawl where other tests run on the same cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cluster():
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def fitted(cluster, tmp_path_factory):
    """One fit with vLLM: its folder, axis and events."""
    pytest.importorskip("vllm")
    folder, events = tmp_path_factory.mktemp("fit"), []
    axis = fit_llm_axis(EMBEDDED, n_paraphrases=3, folder=folder, engine="vllm", on_event=events.append)
    assert cluster.available_resources().get("CPU", 0) == 2 or _freed(cluster), "the actor's cores are free again"
    return folder, axis, events


def _freed(ray):
    for _ in range(50):
        if ray.available_resources().get("CPU", 0) == 2:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_vllm_writes_paraphrases_of_every_story(fitted):
    folder, axis, events = fitted
    table = pd.read_parquet(folder / PARAPHRASES)
    kept = table[table["kept"]]
    assert (kept.groupby("story").size() == 3).all()
    assert set(kept["story"]) == {story.id for story in load_stories()}
    assert (kept["reason"] == "").all()
    assert (table[~table["kept"]]["reason"] != "").all()
    assert axis.notes["paraphrases"]["written"] == len(table)
    assert (axis.engine, axis.layer, axis.n_paraphrases, axis.classes) == ("vllm", -2, 3, EMOTIONS)
    assert any("starting vllm" in event for event in events)


@pytest.mark.slow
def test_vllm_activations_are_those_of_transformers_one_text_at_a_time(fitted):
    folder, axis, _ = fitted
    from safetensors.numpy import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    table = pd.read_parquet(folder / PARAPHRASES)
    texts = table[table["kept"]]["text"].tolist()
    tapped = load_file(folder / ACTIVATIONS)["activations"]
    assert tapped.shape == (len(texts), 1, 576)
    source = local_folder(EMBEDDED)
    network = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(source)
    with torch.inference_mode():
        reference = np.stack(
            [
                network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
                .hidden_states[-2][0, -1]
                .numpy()
                for text in texts
            ]
        )
    rows = tapped[:, 0]
    error = np.linalg.norm(rows - reference, axis=1) / np.linalg.norm(reference, axis=1)
    cosine = (rows * reference).sum(axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(reference, axis=1)
    assert error.max() < 1e-4
    assert cosine.min() > 0.99999
    again = fit_axis(reference, table[table["kept"]]["emotion"], table[table["kept"]]["set"], n_bootstrap=0)
    np.testing.assert_allclose(again.class_positions, axis.class_positions, atol=1e-3)


@pytest.mark.slow
def test_a_finished_axis_is_found_at_once_and_without_any_llm_library(fitted):
    folder, axis, _ = fitted
    code = (
        "import sys, time; started = time.monotonic()\n"
        "from pathlib import Path\n"
        "from cluster.llm_actors import fit_llm_axis, find_llm_axis\n"
        "from valence.llms import LLMS\n"
        "imported = time.monotonic()\n"
        f"how = dict(n_paraphrases=3, folder=Path({str(folder)!r}), engine='vllm')\n"
        "axis = fit_llm_axis(LLMS['smollm2-135m-instruct'], **how)\n"
        "assert find_llm_axis(LLMS['smollm2-135m-instruct'], **how).digest == axis.digest\n"
        "slow = {'torch', 'transformers', 'vllm', 'ray', 'sklearn'} & set(sys.modules)\n"
        "print(axis.digest, sorted(slow), time.monotonic() - imported < 1.0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert ran.stdout.split(" ", 1) == [axis.digest, "[] True\n"]


@pytest.mark.slow
def test_a_killed_fit_goes_on_with_what_it_has(fitted, tmp_path, monkeypatch):
    """Paraphrases and activations are there, the axis is not: no engine is started, and the axis is the same."""
    folder, axis, _ = fitted
    for name in (CONFIGURATION, PARAPHRASES, ACTIVATIONS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    monkeypatch.setenv("VALENCE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(RemoteEngine, "_ensure_started", lambda self: pytest.fail("an engine was started"))
    assert find_llm_axis(EMBEDDED, n_paraphrases=3, folder=tmp_path, engine="vllm") is None
    again = fit_llm_axis(EMBEDDED, n_paraphrases=3, folder=tmp_path, engine="vllm")
    assert again.digest == axis.digest
    assert (tmp_path / AXIS).read_bytes() == (folder / AXIS).read_bytes()


@pytest.mark.slow
def test_another_folder_gets_the_axis_from_the_cache(fitted, tmp_path):
    folder, axis, _ = fitted
    events = []
    again = fit_llm_axis(EMBEDDED, n_paraphrases=3, folder=tmp_path / "x", engine="vllm", on_event=events.append)
    assert again.digest == axis.digest
    assert len(events) == 1
    assert "cache" in events[0]
    for name in (CONFIGURATION, PARAPHRASES, ACTIVATIONS, AXIS):
        assert (tmp_path / "x" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_another_method_takes_the_paraphrases_from_the_cache(fitted, tmp_path, monkeypatch):
    """And the activations are read again: the layer is another one."""
    folder, axis, _ = fitted
    monkeypatch.setattr(RemoteEngine, "generate", lambda *_, **__: pytest.fail("texts were written again"))
    how = {"n_paraphrases": 3, "engine": "vllm", "layer": 20, "pooling": "mean", "method": "mean_difference"}
    other = fit_llm_axis(EMBEDDED, folder=tmp_path / "x", **how)
    assert (tmp_path / "x" / PARAPHRASES).read_bytes() == (folder / PARAPHRASES).read_bytes()
    assert (other.layer, other.pooling, other.method) == (20, "mean", "mean_difference")
    assert other.digest != axis.digest
    assert find_llm_axis(EMBEDDED, folder=tmp_path / "y", **how).digest == other.digest
    texts = pd.read_parquet(folder / PARAPHRASES).query("kept")
    engine = TransformersEngine(local_folder(EMBEDDED), EMBEDDED)
    read = engine.activations(texts["text"].tolist(), layers=[20], pooling="mean")[:, 0]
    again = fit_axis(read, texts["emotion"], texts["set"], method="mean_difference", n_bootstrap=0)
    np.testing.assert_allclose(again.class_positions, other.class_positions, atol=1e-3)


@pytest.mark.slow
def test_texts_written_once_are_read_by_another_llm(fitted, cluster, tmp_path, monkeypatch):
    """The embedded LLM writes; a network of random weights and its own width reads, and writes nothing."""
    folder, _, _ = fitted
    monkeypatch.setattr(RemoteEngine, "generate", lambda *_, **__: pytest.fail("the reader wrote"))
    table = write_paraphrases(EMBEDDED, how=Paraphrasing(n=3), folder=tmp_path / "texts", engine="vllm")
    pd.testing.assert_frame_equal(table, pd.read_parquet(folder / PARAPHRASES))
    assert set(table["writer"]) == {EMBEDDED.name}
    reader = random_llm(tmp_path / "random", seed=0)
    events: list[str] = []
    how = {"engine": "transformers", "on_event": events.append}
    axis = fit_axis_of_texts(reader, table, folder=tmp_path / "fit", **how)
    assert axis.direction.shape == (48,)
    assert (axis.llm, axis.n_paraphrases) == ("random", 3)
    assert axis.notes["paraphrases"]["writer"] == EMBEDDED.name
    kept = table[table["kept"]]
    read = TransformersEngine(local_folder(reader), reader).activations(kept["text"].tolist(), layers=[-2])[:, 0]
    lengths = np.array(Encoder(local_folder(reader), chat=None).count_tokens(kept["text"].tolist()))
    again = fit_axis(read, kept["emotion"], kept["set"], n_tokens=lengths, n_bootstrap=0)
    np.testing.assert_allclose(again.class_positions, axis.class_positions, atol=1e-3)
    style = [one.notes["style"]["length_in_tokens"] for one in (again, axis)]
    assert style[0] == pytest.approx(style[1], abs=1e-3), "lengths in tokens of who reads"
    assert "starting transformers" in " ".join(events)
    events.clear()
    assert fit_axis_of_texts(reader, table, folder=tmp_path / "other", **how).digest == axis.digest
    assert len(events) == 1, "from the cache"
    assert "cache" in events[0]


def random_llm(folder, seed):
    """An LLM of four small blocks with random weights and the embedded LLM's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(local_folder(EMBEDDED))
    shape = {"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=48, **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return LLM(name=folder.name, source=f"folder:{folder}")


@pytest.mark.slow
def test_transformers_does_the_same_through_the_same_actor(cluster, tmp_path, monkeypatch):
    """Half of the stories: the slower engine's own speed is not under test."""
    monkeypatch.setattr(axis_steps, "load_stories", lambda: load_stories()[:9])
    monkeypatch.setattr(llm_actors, "Paraphrasing", lambda n: Paraphrasing(n=n, max_tokens=60))
    axis = fit_llm_axis(EMBEDDED, n_paraphrases=3, folder=tmp_path / "fit", engine="transformers")
    assert (axis.engine, axis.notes["paraphrases"]["kept"]) == ("transformers", 27)
    table = pd.read_parquet(tmp_path / "fit" / PARAPHRASES)
    engine = TransformersEngine(local_folder(EMBEDDED), EMBEDDED)
    ids = [engine.encoder.text_ids(text) for text in table[table["kept"]]["text"]]
    assert table["n_tokens"][table["kept"]].tolist() == [len(row) for row in ids]
    read = read_with_transformers(engine._network, ids, layers=[-2], pad_id=0)
    positions = fit_axis(
        read[:, 0], table[table["kept"]]["emotion"], table[table["kept"]]["set"], n_bootstrap=0
    ).class_positions
    np.testing.assert_allclose(positions, axis.class_positions, atol=1e-3)


def test_bad_input_in_the_actor_comes_back_as_it_is(cluster, tmp_path):
    llm = LLM(name="gone", source=f"folder:{tmp_path / 'gone'}")
    with RemoteEngine(llm, "transformers") as engine, pytest.raises(BadInput, match="no such folder") as caught:
        engine.count_tokens(["x"])
    assert "Traceback" not in str(caught.value)


@pytest.mark.gpu
def test_vllm_on_a_gpu_agrees_with_transformers(monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    pytest.importorskip("vllm")
    for name, value in engine_environment(EMBEDDED, 4).items():
        monkeypatch.setenv(name, value)
    from cluster.vllm_engine import VllmEngine

    texts = [story.text for story in load_stories()]
    folder = local_folder(EMBEDDED)
    tapped = VllmEngine(folder, EMBEDDED).activations(texts, layers=[-2, 5])
    reference = TransformersEngine(folder, EMBEDDED).activations(texts, layers=[-2, 5])
    assert np.linalg.norm(tapped - reference) < 1e-3 * np.linalg.norm(reference)


def test_choice_of_engine(monkeypatch):
    assert choose_engine("transformers") == "transformers"
    with pytest.raises(BadInput, match="unknown engine 'vlm'"):
        choose_engine("vlm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_engine("auto") == "transformers"
    with pytest.raises(BadInput, match="not installed"):
        choose_engine("vllm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert choose_engine("auto") == "vllm"


@pytest.mark.parametrize(("found", "engine"), [(False, "transformers"), (True, "vllm")])
def test_a_line_says_that_vllm_is_not_installed(found, engine, tmp_path, no_cache, monkeypatch):
    """Up to the engine's start: its name, and what the user was told by then."""
    real, lines, started = llm_actors.importlib.util.find_spec, [], []

    class Started(Exception):
        """The engine would start here."""

    def start(llm, engine, on_event):
        started.append(engine)
        raise Started

    vllm = object() if found else None
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, package=None: vllm if name == "vllm" else real(name, package)
    )
    monkeypatch.setattr(llm_actors, "weights_hash", lambda llm: "0" * 16)
    monkeypatch.setattr(llm_actors, "RemoteEngine", start)
    with pytest.raises(Started):
        fit_llm_axis(EMBEDDED, n_paraphrases=3, folder=tmp_path / "axis", on_event=lines.append)
    assert started == [engine]
    assert any("vLLM is not installed: transformers" in line for line in lines) is not found


def test_resources_and_environment_of_an_engine(monkeypatch):
    node = {"Alive": True, "Resources": {"CPU": 8.0}}
    assert engine_resources([node, {"Alive": False, "Resources": {"CPU": 64.0}}]) == (8, 0)
    assert engine_resources([{"Alive": True, "Resources": {"CPU": 64.0}}]) == (16, 0)
    assert engine_resources([node, {"Alive": True, "Resources": {"CPU": 32.0, "GPU": 8.0}}]) == (4, 1)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert engine_environment(EMBEDDED, 3)["HF_HUB_OFFLINE"] == "1"
    assert engine_environment(EMBEDDED, 3)["OMP_NUM_THREADS"] == "3"
    assert "HF_HUB_OFFLINE" not in engine_environment(LLM(name="x", source="hub:a/b"), 3)


def make_axis(seed=0):
    random = np.random.default_rng(seed)
    activations = random.normal(size=(18 * 4, 6))
    names = np.repeat([story.emotion for story in load_stories()], 4)
    return fit_axis(activations, names, np.repeat([story.set for story in load_stories()], 4), n_bootstrap=0)


def make_parts(folder, **changes):
    facts = {"how": Paraphrasing(n=4), "layer": -2, "engine": "vllm", "sign_rule": "stories", "seed": 0} | changes
    return AxisFolder(folder, configuration_of(EMBEDDED, "0" * 16, **facts))


def filled(folder, **changes):
    parts = make_parts(folder, **changes)
    parts.open()
    parts.save_paraphrases(pd.DataFrame({"text": ["a"], "kept": [True]}))
    parts.save_activations(np.ones((1, 1, 6)), ["a"])
    return parts


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VALENCE_CACHE", str(tmp_path / "own-cache"))


@pytest.mark.parametrize(
    "change", [{"layer": -3}, {"seed": 1}, {"engine": "transformers"}, {"how": Paraphrasing(n=4, temperature=0.8)}]
)
def test_another_configuration_takes_over_nothing(tmp_path, no_cache, change):
    folder = tmp_path / "axis"
    parts = filled(folder)
    parts.finish(make_axis())
    assert make_parts(folder).finished().digest == make_axis().digest
    other = make_parts(folder, **change)
    assert other.hash != parts.hash
    assert other.finished() is None
    assert (folder / AXIS).exists(), "asking removes nothing"
    other.open()
    assert [file.name for file in folder.iterdir()] == [CONFIGURATION]
    assert json.loads((folder / CONFIGURATION).read_text())["hash"] == other.hash
    assert make_parts(folder).finished().digest == make_axis().digest, "the first one is still in the cache"


def test_damaged_parts_are_made_again(tmp_path, no_cache):
    folder = tmp_path / "axis"
    parts = filled(folder)
    for name in (PARAPHRASES, ACTIVATIONS):
        (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    assert parts.paraphrases() is None
    assert parts.activations(["a"]) is None
    filled(folder)
    assert parts.paraphrases() is not None
    assert parts.activations(["another text"]) is None
    assert parts.activations(["a"]).shape == (1, 1, 6)
    (folder / AXIS).write_bytes(b"half")
    assert parts.finished() is None
    (folder / CONFIGURATION).write_text("{")
    make_axis().save(folder / AXIS)
    assert parts.finished() is None, "an axis of unknown configuration"


def test_a_damaged_axis_is_replaced_from_the_cache_and_a_damaged_cache_by_a_fit(tmp_path, no_cache):
    folder = tmp_path / "axis"
    parts = filled(folder)
    parts.finish(make_axis())
    (folder / AXIS).write_bytes(b"half")
    assert parts.finished().digest == make_axis().digest
    assert Axis.load(folder / AXIS).digest == make_axis().digest
    cached = next((tmp_path / "own-cache" / "axes").iterdir())
    (cached / AXIS).write_bytes(b"half")
    (folder / AXIS).unlink()
    assert parts.finished() is None
    parts.finish(make_axis())
    assert Axis.load(cached / AXIS).digest == make_axis().digest, "and mends it"
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


def test_a_cache_that_cannot_be_written_loses_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VALENCE_CACHE", str(tmp_path / "file" / "cache"))
    parts = filled(tmp_path / "axis")
    parts.finish(make_axis())
    assert parts.finished().digest == make_axis().digest


def test_blocks_and_hidden_states_of_a_network():
    tap = pytest.importorskip("cluster.vllm_tap")
    blocks = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
    network = torch.nn.ModuleDict(
        {
            "language_model": torch.nn.ModuleDict({"layers": blocks}),
            "vision_tower": torch.nn.ModuleDict({"layers": torch.nn.ModuleList(torch.nn.ReLU() for _ in range(3))}),
        }
    )
    assert tap.transformer_blocks(network, 3) is blocks
    with pytest.raises(ValueError, match="0 lists of 4 blocks"):
        tap.transformer_blocks(network, 4)
    x = torch.ones(2, 3)
    for output, expected in ((x, x), ((x,), x), ((x, None), x), ((x, 2 * x), 3 * x)):
        assert torch.equal(tap.hidden_state(output), expected)
    with pytest.raises(TypeError, match="dict"):
        tap.hidden_state({})


@pytest.mark.parametrize("chunks", [[[6, 1, 4]], [[2, 1, 1], [1, 0, 2], [3, 0, 1]], [[1, 1, 2], [5, 0, 2]]])
def test_a_step_of_vllm_pools_prompts_in_chunks(chunks):
    """Three prompts of 6, 1 and 4 tokens; one that was thrown out half-way begins anew."""
    tap = pytest.importorskip("cluster.vllm_tap")
    tokens = {name: torch.randn(n, 2, 5, dtype=torch.float64) for name, n in (("a", 6), ("b", 1), ("c", 4))}
    sums, last = {"a": (torch.full((2, 5), 9.0), 3)}, {}
    for pooling, into in (("mean", sums), ("last", last)):
        step, done = tap.Step(2, pooling), dict.fromkeys(tokens, 0)
        for chunk in chunks:
            counts = {name: count for name, count in zip(tokens, chunk, strict=True) if count}
            starts = [0, *np.cumsum(list(counts.values())).tolist()]
            step.begin(list(counts), starts, begun=[done[name] == 0 for name in counts])
            rows = torch.cat([tokens[name][done[name] : done[name] + count] for name, count in counts.items()])
            before = rows.clone()
            for position in range(2):  # rows after the last request are padding
                step.add(position, torch.cat([rows[:, position], torch.full((3, 5), 1e6)]))
            assert torch.equal(rows, before)
            step.end(into)
            done = {name: done[name] + counts.get(name, 0) for name in tokens}
    for name, of in tokens.items():
        row, count = sums[name]
        torch.testing.assert_close(row / max(count, 1), of[len(of) > 1 :].mean(dim=0))
        torch.testing.assert_close(last[name][0], of[-1].float())


def test_requests_cross_processes():
    import pickle

    request = Request("a", "b", 2**62)
    assert pickle.loads(pickle.dumps(request)) == request


def test_the_identity_of_the_default_axis_is_of_its_engine_version(monkeypatch):
    """Earlier fits are found again under the same settings, and those of another vLLM are not."""
    how = {"how": Paraphrasing(n=12), "layer": -2, "engine": "vllm", "sign_rule": "stories", "seed": 0}
    monkeypatch.setattr(axis_folder, "engine_version", lambda engine: "0.32.0")
    assert canonical_hash(configuration_of(EMBEDDED, "0" * 16, **how)) == "f733cacc1abc6ca5"
    written = writing_of(EMBEDDED, "0" * 16, how=how["how"], engine="vllm", seed=0)
    monkeypatch.setattr(axis_folder, "engine_version", lambda engine: "0.33.0")
    assert canonical_hash(configuration_of(EMBEDDED, "0" * 16, **how)) != "f733cacc1abc6ca5"
    assert writing_of(EMBEDDED, "0" * 16, how=how["how"], engine="vllm", seed=0) != written
    mean = configuration_of(EMBEDDED, "0" * 16, pooling="mean", **how)
    assert mean["reading"] == 2, "the mean of earlier versions, with the first token, is another"


def test_paraphrases_are_shared_by_what_decides_them_alone():
    how = {"how": Paraphrasing(n=12), "engine": "vllm", "seed": 0}
    writing = writing_of(EMBEDDED, "0" * 16, **how)
    read = configuration_of(EMBEDDED, "0" * 16, layer=3, sign_rule="joy", pooling="mean", method="lda", **how)
    assert {name: value for name, value in read.items() if name in writing} == writing
    for change in ({"seed": 1}, {"engine": "transformers"}, {"how": Paraphrasing(n=12, encoder="minilm")}):
        assert writing_of(EMBEDDED, "0" * 16, **how | change) != writing


def table_of_texts(n=3):
    rows = [
        (story.id, story.emotion, story.set, f"{story.text} {k}", True, 40)
        for story in load_stories()
        for k in range(n)
    ]
    return pd.DataFrame(rows, columns=["story", "emotion", "set", "text", "kept", "n_tokens"])


def test_the_identity_of_an_axis_on_given_texts_is_that_of_the_kept_texts():
    how = {"layer": -2, "engine": "vllm", "sign_rule": "stories", "seed": 0}
    table = table_of_texts()
    first = configuration_on_texts(EMBEDDED, "0" * 16, table, **how)
    dropped = pd.concat([table, table[:1].assign(kept=False, text="another")])
    assert configuration_on_texts(EMBEDDED, "0" * 16, dropped.assign(writer="x"), **how) == first
    for changed in (table.assign(text=table["text"] + "."), table[1:], table.assign(set="a")):
        assert configuration_on_texts(EMBEDDED, "0" * 16, changed, **how) != first
    assert configuration_on_texts(EMBEDDED, "1" * 16, table, **how) != first


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.drop(columns=["set"]), "columns set are missing"),
        (lambda table: table.assign(kept="yes"), "not true or false"),
        (lambda table: table[:0], "no text is kept"),
        (lambda table: table.assign(kept=False), "no text is kept"),
        (lambda table: table[1:], "a-anger has 2 texts"),
    ],
)
def test_tables_that_cannot_be_used(spoil, message, tmp_path):
    check_table(table_of_texts())
    with pytest.raises(BadInput, match=message):
        fit_axis_of_texts(EMBEDDED, spoil(table_of_texts()), folder=tmp_path / "fit", engine="transformers")
    assert not (tmp_path / "fit").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer": 31}, "layer 31 of an LLM with 30 blocks"),
        ({"layer": -32}, "layer -32 of an LLM"),
        ({"pooling": "max"}, "unknown pooling 'max'"),
        ({"method": "ica"}, "unknown axis method 'ica'"),
        ({"engine": "tgi"}, "unknown engine 'tgi'"),
    ],
)
def test_wrong_words_are_found_before_an_engine_starts(wrong, message, tmp_path, monkeypatch):
    monkeypatch.setattr(RemoteEngine, "_ensure_started", lambda self: pytest.fail("an engine was started"))
    how = {"engine": "transformers"} | wrong
    with pytest.raises(BadInput, match=message):
        fit_llm_axis(EMBEDDED, n_paraphrases=3, folder=tmp_path / "fit", **how)
    with pytest.raises(BadInput, match=message):
        fit_axis_of_texts(EMBEDDED, table_of_texts(), folder=tmp_path / "fit", **how)
    assert not (tmp_path / "fit").exists()


def test_layers_of_an_llm_by_its_configuration(tmp_path):
    llm = random_llm(tmp_path / "small", seed=1)
    for layer in (0, 4, -1, -5, -2):
        check_layer(llm, layer)
    for layer in (5, -6):
        with pytest.raises(BadInput, match="4 blocks"):
            check_layer(llm, layer)


class Interrupted(Exception):
    """The run is killed here."""


class Pen:
    """Writes texts of its own, for so many calls."""

    def __init__(self, calls):
        self.calls, self.asked = calls, []

    def generate(self, requests, *, temperature, max_new_tokens):
        if len(self.asked) == self.calls:
            raise Interrupted
        self.asked.append(len(requests))
        ending = "of the house and then it was over in the end."
        return [Generation(f"{request.opening} saw {request.seed} {ending}", 20) for request in requests]

    def count_tokens(self, texts):
        return [20] * len(texts)


def test_a_killed_run_keeps_the_stories_it_has_written(tmp_path, no_cache, monkeypatch):
    monkeypatch.setattr("valence.paraphrases.REQUESTS_AT_ONCE", 20)
    how = Paraphrasing(n=4, min_distance_between=0.0)
    writing = writing_of(EMBEDDED, "0" * 16, how=how, engine="vllm", seed=0)

    def write(pen, folder):
        parts = AxisFolder(folder, writing, writing=writing)
        parts.open()
        return axis_steps.written(EMBEDDED, pen, parts, how=how, seed=0, on_event=lambda line: None)

    with pytest.raises(Interrupted):
        write(Pen(calls=2), tmp_path / "texts")
    assert {path.name for path in (tmp_path / "texts").iterdir()} == {CONFIGURATION, UNFINISHED}
    assert len(pd.read_parquet(tmp_path / "texts" / UNFINISHED)) == 40
    pen = Pen(calls=9)
    table = write(pen, tmp_path / "texts")
    assert pen.asked == [20, 12], "five stories at once, ten were there"
    assert {path.name for path in (tmp_path / "texts").iterdir()} == {CONFIGURATION, PARAPHRASES}
    monkeypatch.setenv("VALENCE_CACHE", str(tmp_path / "another"))
    pd.testing.assert_frame_equal(table, write(Pen(calls=9), tmp_path / "whole"))
    pd.testing.assert_frame_equal(table, write(Pen(calls=0), tmp_path / "shared"))
