"""Activations and generation with transformers: against one text at a time, and against the distribution asked for."""

import numpy as np
import pytest
import torch

from valence.activations import (
    batches_by_length,
    load_activations,
    read_with_transformers,
    save_activations,
    state_of_layer,
)
from valence.errors import BadInput
from valence.generation import MAX_TEXT_TOKENS, TransformersEngine, _SeededSampling
from valence.llms import LLMS, local_folder
from valence.paraphrases import Request
from valence.stories import load_stories


@pytest.fixture(scope="module")
def tiny():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    configuration = LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(configuration).eval()


@pytest.fixture(scope="module")
def engine():
    llm = LLMS["smollm2-135m-instruct"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other crawl where other tests run on the same cores
    yield TransformersEngine(local_folder(llm), llm)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("layer", "state"), [(-2, 29), (29, 29), (0, 0), (-31, 0), (-1, 30), (30, 30)])
def test_state_of_layer(layer, state):
    assert state_of_layer(layer, 30) == state


@pytest.mark.parametrize("layer", [31, -32])
def test_layers_that_the_llm_does_not_have(layer):
    with pytest.raises(BadInput, match=f"layer {layer} of an LLM with 30 blocks"):
        state_of_layer(layer, 30)


def one_by_one(network, token_ids, layers, pooling="last"):
    """hidden_states[layer] at the last token or in the mean, as transformers documents them."""
    rows = []
    with torch.inference_mode():
        for ids in token_ids:
            states = network(torch.tensor([ids]), output_hidden_states=True).hidden_states
            tokens = [states[layer][0].numpy() for layer in layers]
            rows.append(np.stack([of[-1] if pooling == "last" else of[len(of) > 1 :].mean(axis=0) for of in tokens]))
    return np.stack(rows)


def test_batches_give_what_each_text_gives_alone(tiny):
    random = np.random.default_rng(0)
    token_ids = [random.integers(97, size=length).tolist() for length in (5, 1, 17, 17, 3, 40, 2)]
    layers = [-2, 1, 0, -1]
    read = read_with_transformers(tiny, token_ids, layers=layers, pad_id=0)
    assert read.shape == (7, 4, 32)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, one_by_one(tiny, token_ids, layers), atol=1e-5)
    mean = read_with_transformers(tiny, token_ids, layers=layers, pad_id=0, pooling="mean")
    np.testing.assert_allclose(mean, one_by_one(tiny, token_ids, layers, pooling="mean"), atol=1e-5)
    assert np.abs(mean - read).max() > 0.01
    with pytest.raises(BadInput, match="unknown pooling 'max'"):
        read_with_transformers(tiny, token_ids, layers=layers, pad_id=0, pooling="max")


def test_the_mean_leaves_the_first_token_out(tiny):
    """Layer 0 is the embedding of a token, whatever is before it: another first token must not move the mean."""
    ids = [[3, 5, 8, 13], [90, 5, 8, 13], [21, 34], [55]]
    read = read_with_transformers(tiny, ids, layers=[0], pad_id=0, pooling="mean")[:, 0]
    embedded = tiny.model.embed_tokens.weight.detach().numpy()
    expected = [embedded[[5, 8, 13]].mean(axis=0), embedded[[5, 8, 13]].mean(axis=0), embedded[34], embedded[55]]
    np.testing.assert_allclose(read, expected, atol=1e-7)


def test_layer_0_is_the_embedding_and_the_last_is_normed(tiny):
    """What the two ends mean, by the network's own parts."""
    ids = [[3, 5, 8, 13], [21, 34]]
    read = read_with_transformers(tiny, ids, layers=[0, -1], pad_id=0)
    with torch.inference_mode():
        for row, of_text in zip(read, ids, strict=True):
            np.testing.assert_array_equal(row[0], tiny.model.embed_tokens.weight[of_text[-1]].numpy())
            logits = tiny(torch.tensor([of_text])).logits[0, -1]
            np.testing.assert_allclose(tiny.lm_head(torch.tensor(row[1])), logits, atol=1e-5)


def test_batches_by_length_hold_each_text_once_and_their_size():
    token_ids = [[0] * length for length in (9, 2, 30, 4, 4, 100)]
    batches = batches_by_length(token_ids, 20)
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    assert batches == [[1, 3, 4], [0], [2], [5]]


def test_the_embedded_llm_read_in_batches(engine):
    texts = [story.text for story in load_stories()][::3]
    ids = [engine.encoder.text_ids(text) for text in texts]
    read = engine.activations(texts, layers=[-2, 12])
    expected = one_by_one(engine._network, ids, [-2, 12])
    assert np.linalg.norm(read - expected) < 1e-4 * np.linalg.norm(expected)


def test_long_texts_are_cut_and_empty_ones_refused(engine):
    assert len(engine.encoder.text_ids("word " * 5000)) == MAX_TEXT_TOKENS
    assert engine.encoder.text_ids("word " * 5000) == engine.encoder.text_ids("word " * 6000)
    with pytest.raises(BadInput, match="an empty text"):
        engine.activations([""], layers=[-2])


def requests(n):
    return [
        Request(f"Rewrite this text in other words.\n\n{story.text}", story.text[:15].rsplit(" ", 1)[0], 1000 + index)
        for index, story in enumerate(load_stories()[:n])
    ]


def test_a_seeded_answer_is_the_same_alone_and_in_a_batch(engine):
    together = engine.generate(requests(4), temperature=0.7, max_new_tokens=16)
    alone = engine.generate(requests(4)[2:3], temperature=0.7, max_new_tokens=16)
    assert alone == together[2:3]
    other_seed = [Request(asked.prompt, asked.opening, asked.seed + 7) for asked in requests(4)]
    assert engine.generate(other_seed, temperature=0.7, max_new_tokens=16) != together
    for asked, answer in zip(requests(4), together, strict=True):
        assert answer.text.startswith(asked.opening)
        assert len(answer.text) > len(asked.opening) + 10
        assert 0 < answer.n_tokens <= 16
        assert "\n" not in answer.text


def test_sampling_follows_the_softmax_at_its_temperature():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5])
    n = 20_000
    sampling = _SeededSampling(range(n), 0.7, torch.device("cpu"))
    drawn = sampling(torch.empty(0), logits.repeat(n, 1)).argmax(dim=1)
    shares = torch.bincount(drawn, minlength=5) / n
    np.testing.assert_allclose(shares, torch.softmax(logits / 0.7, dim=0), atol=0.012)


def test_files_hold_texts_and_layers_together(tmp_path):
    path = tmp_path / "activations.safetensors"
    activations = np.random.default_rng(0).normal(size=(3, 1, 4)).astype(np.float32)
    texts = ["one", "two", "three"]
    save_activations(path, activations, texts=texts, layers=[-2])
    np.testing.assert_array_equal(load_activations(path, texts=texts, layers=[-2]), activations)
    for other_texts, layers in ((["one", "three", "two"], [-2]), (texts, [-3]), (texts[:2], [-2])):
        with pytest.raises(BadInput, match=r"activations\.safetensors"):
            load_activations(path, texts=other_texts, layers=layers)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadInput, match=r"activations\.safetensors"):
        load_activations(path, texts=texts, layers=[-2])
