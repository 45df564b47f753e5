"""Sentence encoder: against transformers one text at a time, and what it is for."""

import json

import numpy as np
import pytest
import torch

from valence.distance import SentenceDistance, choose_encoder, make_distance
from valence.errors import BadInput
from valence.paraphrases import Generation, Paraphrasing, paraphrase
from valence.sentence_encoder import SentenceEncoder, find_sentence_encoder, sentence_encoder_hash
from valence.stories import load_stories

pytestmark = pytest.mark.skipif(find_sentence_encoder() is None, reason="the extra encoders is not installed")
STORIES = load_stories()


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder()


def test_vectors_are_the_mean_over_tokens_of_each_text_alone(encoder):
    from transformers import AutoModel, AutoTokenizer

    folder = find_sentence_encoder()
    network, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = [story.text for story in STORIES[:4]] + ["Yes.", "word " * 400]
    expected = []
    for text in texts:
        with torch.inference_mode():
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
            hidden = network(**ids).last_hidden_state[0].double().mean(dim=0).numpy()
        expected.append(hidden / np.linalg.norm(hidden))
    vectors = encoder.encode(texts)
    assert (vectors.dtype, vectors.shape) == (np.float32, (6, 384))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert len(sentence_encoder_hash()) == 16


def test_meaning_counts_and_words_do_not(encoder):
    a, same, other = encoder.encode(["The child is happy.", "The kid feels joyful.", "The child is in the garage."])
    assert a @ same > a @ other


def test_distance():
    distance = SentenceDistance()
    near, far = distance(STORIES[0].text, [STORIES[0].text.replace("slammed", "banged"), STORIES[10].text])
    assert distance(STORIES[0].text, [STORIES[0].text])[0] == 0.0
    assert 0.0 < near < 0.1 < far <= 1.0
    vectors = SentenceEncoder().encode([STORIES[0].text, STORIES[10].text])
    assert far == pytest.approx(1 - float(vectors[0] @ vectors[1]), abs=2e-6)
    assert isinstance(make_distance("auto", STORIES), SentenceDistance)


class Reworder:
    """A copy with one word changed, or with most words changed."""

    def generate(self, requests, *, temperature, max_new_tokens):
        near = STORIES[0].text.replace("slammed", "banged")
        far = "Last night you took a box your sibling sent and your dead dad's clock was in pieces. You yelled at him."
        return [Generation(near if request.seed % 2 else far, 7) for request in requests]

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]


def test_the_table_says_which_encoder_measured():
    how = Paraphrasing(n=12, rounds=1, encoder="minilm", min_distance_between=0.0)
    table = paraphrase(STORIES[:1], Reworder(), how=how)
    assert set(table["encoder"]) == {"minilm"}
    near = table["text"].str.contains("banged")
    assert 0 < near.sum() < 10
    assert (table["reason"] == np.where(near, "copies the story", "")).all()
    assert (table["distance"][near] < 0.1).all()


@pytest.mark.parametrize(
    ("says", "first"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, True),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, False),
        ({"pooling_mode": "cls"}, True),
    ],
)
def test_a_folder_says_how_it_is_pooled_and_its_positions_bound_a_text(tmp_path, says, first):
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(find_sentence_encoder())
    tokenizer.save_pretrained(tmp_path)
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    network = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=20, **size)).eval()
    network.save_pretrained(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(says))
    texts = ["The child is happy.", "word " * 400]
    for text, vector in zip(texts, SentenceEncoder(tmp_path).encode(texts), strict=True):
        with torch.inference_mode():
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=20)
            hidden = network(**ids).last_hidden_state[0]
        expected = (hidden[0] if first else hidden.mean(dim=0)).numpy()
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("says", ['{"pooling_mode_max_tokens": true}', "[", "[1]"])
def test_another_pooling_is_refused(tmp_path, says):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(says)
    with pytest.raises(BadInput, match="pooling of a sentence encoder"):
        SentenceEncoder(tmp_path)


def test_a_folder_that_is_no_encoder(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="sentence encoder folder"):
        SentenceEncoder(tmp_path)
    monkeypatch.setattr("valence.sentence_encoder.find_sentence_encoder", lambda: None)
    with pytest.raises(BadInput, match=r"valence\[encoders\]"):
        SentenceEncoder()
    monkeypatch.setattr("valence.distance.find_sentence_encoder", lambda: None)
    assert choose_encoder("auto") == "tf-idf"
