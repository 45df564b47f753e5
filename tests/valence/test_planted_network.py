"""A network whose axis is known, read from its folder as any LLM is: its direction and the classes are found."""

import numpy as np
import pytest
import torch

from tests.valence.tiny_llms import D_MODEL, tiny_llm
from valence.axis import fit_axis
from valence.axis_methods import METHODS
from valence.axis_nulls import null_of_permuted_classes
from valence.generation import TransformersEngine
from valence.llms import resolve_llm
from valence.stories import EMOTIONS

VALUES = dict(zip(EMOTIONS, (-1.0, -0.8, -0.9, -0.6, 0.0, 0.7, 0.8, 1.0, 0.6), strict=True))
N_WORDS, N_TEXTS = 10, 8
"""words of each valence; texts of each emotion and set"""


def planted_folder(folder, *, strength):
    """A Llama that hands on along one direction how positive the words before a token are, and its unit direction."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny_llm(folder, "llama", seed=0)
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    whole = [token for token in sorted(tokenizer.get_vocab()) if token[0] == "Ġ" and token[1:].isalpha()]
    words = [" " + token[1:] for token in whole]
    assert len(words) > 4 * N_WORDS
    random = np.random.default_rng(1)
    basis = torch.from_numpy(np.linalg.qr(random.normal(size=(D_MODEL, D_MODEL)))[0].T).float()
    direction = basis[0]
    with torch.no_grad():
        embeddings = network.get_input_embeddings().weight
        embeddings -= torch.outer(embeddings @ direction, direction)
        for side, side_words in ((1.0, words[:N_WORDS]), (-1.0, words[N_WORDS : 2 * N_WORDS])):
            for word in side_words:
                (token,) = tokenizer.encode(word, add_special_tokens=False)
                embeddings[token] += side * strength * direction
        for block in network.model.layers:
            # without queries attention is the mean over all tokens so far; values are half of the coordinates,
            # the planted one among them, which the output puts back where they were
            block.self_attn.q_proj.weight.zero_()
            block.self_attn.v_proj.weight.copy_(basis[:64])
            first, second = basis[:32].T / 2, basis[32:64].T / 2
            block.self_attn.o_proj.weight.copy_(torch.cat([first, first, second, second], dim=1))
            block.mlp.down_proj.weight.zero_()
            block.input_layernorm.weight.fill_(1.0)
    network.save_pretrained(folder)
    return words, direction.numpy()


def texts_of(words):
    """Texts of six words of valence, as many positive as the emotion says, among twelve others."""
    random = np.random.default_rng(2)
    positive, negative, others = words[:N_WORDS], words[N_WORDS : 2 * N_WORDS], words[2 * N_WORDS :]
    rows = []
    for of_set in "ab":
        for emotion, value in VALUES.items():
            for _ in range(N_TEXTS):
                n_positive = random.binomial(6, (1 + value) / 2)
                chosen = [*random.choice(positive, n_positive), *random.choice(negative, 6 - n_positive)]
                chosen += [*random.choice(others, 12)]
                rows.append(("".join(random.permutation(chosen)) + ".", emotion, of_set))
    return (np.array(column) for column in zip(*rows, strict=True))


def read(folder, texts, layer):
    engine = TransformersEngine(folder, resolve_llm(str(folder)))
    return engine.activations(texts.tolist(), layers=[layer])[:, 0]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "lda"])
def test_the_axis_of_a_network_that_has_one_is_found(tmp_path, method):
    words, direction = planted_folder(tmp_path / "planted", strength=1.5)
    texts, emotions, sets = texts_of(words)
    axis = fit_axis(read(tmp_path / "planted", texts, -2), emotions, sets, method=method, n_bootstrap=0)
    assert axis.direction @ direction > 0.95, "and its sign is right"
    values = np.array(list(VALUES.values()))
    assert np.corrcoef(axis.class_positions, values)[0, 1] > 0.95
    if method == "pca":
        assert null_of_permuted_classes(axis.class_positions, np.sign(values)).p_value < 0.01


def test_without_the_plant_another_direction_is_found(tmp_path):
    """That of the words themselves, which differ between emotions here in any network."""
    words, direction = planted_folder(tmp_path / "empty", strength=0.0)
    texts, emotions, sets = texts_of(words)
    axis = fit_axis(read(tmp_path / "empty", texts, -2), emotions, sets, n_bootstrap=0)
    assert abs(axis.direction @ direction) < 0.2


def test_the_axis_is_not_there_before_the_network_has_read(tmp_path):
    """At layer 0 the last token is the same full stop everywhere, whatever comes before it."""
    words, _ = planted_folder(tmp_path / "planted", strength=1.5)
    texts, _, _ = texts_of(words)
    assert np.ptp(read(tmp_path / "planted", texts, 0), axis=0).max() < 1e-6
