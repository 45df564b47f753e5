"""Encoders: MiniLM for real, CLIP and an NLI classifier with random weights, each against plain calls one at a time."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from valence.encoders import encoder_hash, encoder_kind, load_encoder, load_nli
from valence.errors import BadInput

WORDS = tuple("a the and film is good bad this text positive negative very much . , of story".split())  # noqa: SIM905
TEXTS = ["the film is good .", "a very very bad story , this film", "good"]


def save_tokenizer(folder, *, pair=False, types=False):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["<s>", "<pad>", "<unk>", *WORDS, "</s>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair=("<s> $A </s> $B:1 </s>:1" if types else "<s> $A </s> $B </s>") if pair else None,
        special_tokens=[("<s>", 0), ("</s>", vocabulary["</s>"])],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_input_names=["input_ids", *(["token_type_ids"] if types else []), "attention_mask"],
    )
    fast.save_pretrained(folder)
    return len(vocabulary)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("tiny-clip")
    n_words = save_tokenizer(folder)
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = size | {"vocab_size": n_words, "max_position_embeddings": 8, "eos_token_id": n_words - 1}
    vision = size | {"image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def nli_folder(tmp_path_factory):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny-nli")
    n_words = save_tokenizer(folder, pair=True)
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=n_words,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=300,
        type_vocab_size=1,
        pad_token_id=1,
        id2label={0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"},
        label2id={"CONTRADICTION": 0, "NEUTRAL": 1, "ENTAILMENT": 2},
        initializer_range=0.8,
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    """A BERT of few positions, whose tokenizer tells a hypothesis from a premise by token_type_ids."""
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny-bert")
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    labels = {0: "entailment", 1: "neutral", 2: "contradiction"}
    n_words = save_tokenizer(folder, pair=True, types=True)
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=n_words, max_position_embeddings=24, pad_token_id=1, id2label=labels, initializer_range=0.8, **size
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_bert_is_told_which_text_is_the_hypothesis(bert_folder):
    from transformers import AutoTokenizer, BertForSequenceClassification

    nli = load_nli(str(bert_folder))
    tokenizer = AutoTokenizer.from_pretrained(bert_folder)
    network = BertForSequenceClassification.from_pretrained(bert_folder).eval()
    expected, untyped = [], []
    texts = [*TEXTS, "good film " * 40]
    with torch.inference_mode():
        for text in texts:
            pairs = [
                tokenizer(text, hypothesis, return_tensors="pt", truncation="only_first", max_length=24)
                for hypothesis in ("This text is positive.", "This text is negative.")
            ]
            assert [pair["token_type_ids"].max() for pair in pairs] == [1, 1]
            odds = [network(**pair).logits[0] @ torch.tensor([1.0, 0.0, -1.0]) for pair in pairs]
            expected.append(float(odds[0] - odds[1]))
            plain = [network(input_ids=pair["input_ids"]).logits[0] @ torch.tensor([1.0, 0.0, -1.0]) for pair in pairs]
            untyped.append(float(plain[0] - plain[1]))
    np.testing.assert_allclose(nli.score(texts), expected, atol=1e-4)
    assert np.abs(np.subtract(expected, untyped)).max() > 1e-2
    assert nli.encode(texts).shape == (4, 16), "and no text has more tokens than it has positions"


def cosine(a, b):
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_minilm_knows_what_is_alike():
    encoder = load_encoder("minilm")
    vectors = encoder.encode(["a wonderful film", "a great movie", "the tax form is late"])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.6 > 0.3 > alike[0, 2]
    assert len(encoder_hash("minilm")) == 16


def test_clip_texts_are_those_of_single_calls(clip_folder):
    from transformers import AutoTokenizer, CLIPModel

    encoder = load_encoder(str(clip_folder))
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (3, 12)
    tokenizer, network = AutoTokenizer.from_pretrained(clip_folder), CLIPModel.from_pretrained(clip_folder).eval()
    with torch.inference_mode():
        for text, vector in zip(TEXTS, vectors, strict=True):
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=8)
            hidden = network.text_model(**ids)
            reference = network.text_projection(hidden.pooler_output)[0].numpy()
            np.testing.assert_allclose(vector, reference / np.linalg.norm(reference), atol=1e-5)


def test_clip_images_are_resized_cropped_and_normalised(clip_folder, tmp_path):
    from transformers import CLIPModel

    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    encoder = load_encoder(str(clip_folder))
    vectors = encoder.encode_images(paths)
    mean, sd = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    scaled = ((pixels / 255 - mean) / sd).transpose(0, 3, 1, 2).astype(np.float32)
    network = CLIPModel.from_pretrained(clip_folder).eval()
    with torch.inference_mode():
        pooled = network.vision_model(pixel_values=torch.from_numpy(scaled)).pooler_output
        reference = network.visual_projection(pooled).numpy()
    np.testing.assert_allclose(cosine(vectors, reference), 1, atol=1e-4)
    wide = tmp_path / "wide.png"
    Image.fromarray(np.concatenate([pixels[0][:, :8], pixels[0], pixels[0][:, 8:]], axis=1)).save(wide)
    np.testing.assert_allclose(encoder.encode_images([wide])[0], vectors[0], atol=1e-4)
    assert encoder.encode_images([]).shape == (0, 12)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"broken\.png"):
        encoder.encode_images([broken])


def test_nli_scores_are_those_of_single_calls(nli_folder):
    from transformers import AutoTokenizer, RobertaForSequenceClassification

    nli = load_nli(str(nli_folder))
    scores = nli.score(TEXTS)
    tokenizer = AutoTokenizer.from_pretrained(nli_folder)
    network = RobertaForSequenceClassification.from_pretrained(nli_folder).eval()
    expected = []
    with torch.inference_mode():
        for text in TEXTS:
            odds = []
            for hypothesis in ("This text is positive.", "This text is negative."):
                p = torch.softmax(network(**tokenizer(text, hypothesis, return_tensors="pt")).logits[0], dim=0)
                odds.append(float(torch.log(p[2] / p[0])))
            expected.append(odds[0] - odds[1])
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert np.ptp(scores) > 1e-3
    vectors = nli.encode(TEXTS)
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(vectors[2], nli.encode(TEXTS[2:])[0], atol=1e-5)


def test_kinds_are_told_by_the_configuration(clip_folder, nli_folder):
    assert encoder_kind(clip_folder) == "clip"
    assert encoder_kind(nli_folder) == "nli"
    assert load_encoder(str(nli_folder)).name == nli_folder.name
    with pytest.raises(BadInput, match="a classifier of entailment is needed"):
        load_nli(str(clip_folder))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "LlamaForCausalLM"),
        (
            {"architectures": ["BertForSequenceClassification"], "model_type": "bert", "id2label": {"0": "spam"}},
            "a classifier of spam",
        ),
        ("no json", "cannot be read"),
        ([1], "cannot be read"),
    ],
)
def test_folders_of_another_architecture(tmp_path, config, message):
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=message):
        load_encoder(str(tmp_path))


def test_weights_that_do_not_fit_their_configuration(clip_folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (tmp_path / name).write_bytes((clip_folder / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(BadInput, match=str(tmp_path)):
        load_encoder(str(tmp_path))


def test_places_that_hold_nothing(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        load_encoder(str(tmp_path / "absent"))
    with pytest.raises(BadInput, match="could not be downloaded"):
        load_encoder("nobody/no-such-encoder", download=False)
