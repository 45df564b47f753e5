"""Pictures on an axis of CLIP's text space: a tiny CLIP that was taught where bright pictures and good words lie."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cluster.axis_images import AXIS_OF_AROUSAL, NO_CLIP, RIDGE, image_validity
from cluster.axis_request import StudyRequest
from tests.valence.test_encoders import save_tokenizer
from valence.concepts import concept_texts
from valence.images import load_images
from valence.intervals import fisher_interval
from valence.paraphrases import study_paraphrasing
from valence.stories import EMOTIONS, NEGATIVE, POSITIVE
from valence.validity import Paraphrases

N_IMAGES = 40
N_POSITIONS = 80
WORD = dict.fromkeys(NEGATIVE, "bad") | dict.fromkeys(POSITIVE, "good") | {"neutral": "is"}
SHADES = {"bad": 40, "is": 128, "good": 216}


def paraphrases():
    """Texts of which one word tells the valence, four for each emotion and set."""
    fillers = ("film", "story", "text", "the film")
    rows = [(f"{WORD[name]} {filler}", name, of_set) for of_set in "ab" for name in EMOTIONS for filler in fillers]
    texts, emotions, sets = (np.array(column) for column in zip(*rows, strict=True))
    stories = np.char.add(np.char.add(sets, "-"), emotions)
    return tuple(texts.tolist()), Paraphrases(
        activations=np.zeros((len(texts), 2)), emotions=emotions, sets=sets, stories=stories
    )


def noisy(shades, random):
    return np.clip(random.normal(np.reshape(shades, (-1, 1, 1, 1)), 20, (len(shades), 16, 16, 3)), 0, 255).astype("u1")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A CLIP of two small towers, trained for seconds by CLIP's own loss on three words and three shades."""
    from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("taught-clip")
    n_words = save_tokenizer(folder)
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = size | {"vocab_size": n_words, "max_position_embeddings": N_POSITIONS, "eos_token_id": n_words - 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CLIPConfig(
            text_config=text, vision_config=size | {"image_size": 16, "patch_size": 8}, projection_dim=12
        )
        network, random = CLIPModel(config), np.random.default_rng(0)
        processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
        tokenizer = AutoTokenizer.from_pretrained(folder)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        ids = tokenizer(list(SHADES), return_tensors="pt")
        for _ in range(150):
            pixels = processor(images=list(noisy(list(SHADES.values()), random)), return_tensors="pt")["pixel_values"]
            loss = network(
                input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], pixel_values=pixels, return_loss=True
            ).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures whose rated valence is their brightness, and arousal something else; four of each theme."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    shades = random.uniform(30, 226, N_IMAGES)
    for index, pixels in enumerate(noisy(shades, random)):
        Image.fromarray(pixels).save(folder / f"theme{index // 4:02d} {index % 4}.png")
    names = [f"theme{index // 4:02d} {index % 4}.png" for index in range(N_IMAGES)]
    table = pd.DataFrame({"file": names, "valence": shades, "arousal": random.uniform(1, 7, N_IMAGES)})
    table.to_csv(folder / "ratings.csv", index=False)
    return folder


def request_of(out, pictures, encoders):
    return StudyRequest(
        **{"llms": (), "writer": None, "how": study_paraphrasing(4), "benchmarks": {}, "clips": {}, "layers": "all"},
        **{"layer": -2, "pooling": "last", "method": "pca", "sign_rule": "stories", "engine": "transformers"},
        **{"nli": None, "encoders": encoders, "out": out, "images": load_images(pictures)},
    )


def by_hand(clip, texts, images):
    """Unit vectors of texts and pictures by plain calls of CLIP, texts one by one."""
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    network, tokenizer = CLIPModel.from_pretrained(clip).eval(), AutoTokenizer.from_pretrained(clip)
    with torch.inference_mode():
        text = [network.get_text_features(**tokenizer(one, return_tensors="pt")) for one in texts]
        pictures = [Image.open(path) for path in images.files]
        seen = network.get_image_features(
            **CLIPImageProcessor.from_pretrained(clip)(images=pictures, return_tensors="pt")
        )
    text = torch.cat([getattr(one, "pooler_output", one) for one in text])
    seen = getattr(seen, "pooler_output", seen)
    return tuple(torch.nn.functional.normalize(one, dim=1).double().numpy() for one in (text, seen))


def arousal_by_hand(clip, pictures):
    """r with arousal of an axis from the mean of low to the mean of high texts of arousal."""
    images, rows = load_images(pictures), [row for row in concept_texts() if row.concept == "arousal"]
    text, seen = by_hand(clip, [row.text for row in rows], images)
    means = pd.DataFrame(text).groupby([row.level for row in rows]).mean()
    direction = (means.loc["high"] - means.loc["low"]).to_numpy()
    return np.corrcoef(seen @ direction, images.rated.evaluation.scores["arousal"])[0, 1]


def test_bright_pictures_lie_on_the_positive_side(clip, pictures, tmp_path):
    texts, of_texts = paraphrases()
    lines = []
    found = image_validity(request_of(tmp_path, pictures, (str(clip),)), of_texts, texts, lines.append)
    rows = found.set_index(["dimension", "predictor"])
    assert set(rows.index) == {
        *(("valence", "axis"), ("arousal", "axis"), ("arousal", AXIS_OF_AROUSAL)),
        *(("valence", RIDGE), ("arousal", RIDGE)),
    }
    assert (rows["n"] == N_IMAGES).all()
    assert rows.loc[("valence", "axis"), "value"] > 0.7, "over ten themes, noise reaches .55 once in twenty times"
    assert rows.loc[("valence", RIDGE), "value"] > 0.7
    assert abs(rows.loc[("arousal", "axis"), "value"]) < 0.4
    assert rows.loc[("arousal", AXIS_OF_AROUSAL), "value"] == pytest.approx(arousal_by_hand(clip, pictures), abs=1e-5)
    assert (rows["ci_low"] < rows["value"]).all()
    assert (rows["value"] < rows["ci_high"]).all()
    # the same by plain calls of CLIP, and an axis through the mean of means
    images = load_images(pictures)
    text, seen = by_hand(clip, texts, images)
    centroids = pd.DataFrame(text).groupby(of_texts.emotions).mean().loc[list(EMOTIONS)].to_numpy()
    first = np.linalg.svd(centroids - centroids.mean(axis=0))[2][0]
    first *= np.sign(centroids[5:].mean(axis=0) @ first - centroids[:4].mean(axis=0) @ first)
    ratings = images.rated.evaluation.scores["valence"]
    r = np.corrcoef(seen @ first, ratings)[0, 1]
    assert rows.loc[("valence", "axis"), "value"] == pytest.approx(r, abs=1e-5)
    # themes of four pictures each are fewer than pictures, so the interval is not Fisher's over all of them
    assert rows.loc[("valence", "axis"), "ci_low"] != pytest.approx(fisher_interval(r, N_IMAGES)[0], abs=1e-6)
    again = []
    image_validity(request_of(tmp_path, pictures, (str(clip),)), of_texts, texts, again.append)
    assert lines
    assert all("are there" in line for line in again), "read once, and found there"


def test_without_clip_there_is_a_reason(pictures, tmp_path):
    texts, of_texts = paraphrases()
    request = request_of(tmp_path, pictures, ())
    for encoders in ((), ("minilm",)):
        found = image_validity(replace(request, encoders=encoders), of_texts, texts, print)
        assert list(found["reason"]) == [NO_CLIP]
        assert found["value"].isna().all()
        assert found["benchmark"].iloc[0] == pictures.name
