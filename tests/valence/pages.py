"""What the tests of the report share: an axis, the facts of a sweep, and a reader of pages."""

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np


def an_axis(**changes):
    facts = {
        "llm": "SmolLM2-135M-Instruct", "llm_hash": "9f8e", "layer": -2, "pooling": "last", "method": "centroid_pca",
        "n_paraphrases": 12, "engine": "transformers", "dtype": "float32", "explained_variance": 0.483,
        "classes": ("anger", "neutral", "joy"), "class_positions": np.array([-1.2, 0.1, 1.1]), "interval": None,
        "digest": "a1b2c3d4",
        "notes": {"sign_rule": "all", "agrees": False, "style": {"person": {"a": 0.41}}, "warnings": ["Joy is low"]},
    }  # fmt: skip
    return SimpleNamespace(**facts | changes)


def a_sweep(rows, **changes):
    failed = rows[rows["status"] == "failed"]
    return {
        "command": "python -m jobs.saturation_grid --preset quick",
        "preset": "quick",
        "dataset": "simulated",
        "dataset_facts": {
            "n_subjects": 4, "split": "cohort-balanced:0", "train": ["s1", "s2"], "validation": ["s3"], "test": ["s4"],
        },
        "leakage": [
            {"group": "clip", "level": "leak", "n_train": 28, "n_validation": 28, "n_test": 28, "n_both": 28,
             "both": ["1 (anger)", "2 (anger)"], "only_train": [], "only_test": [], "text": "28 of 28 clips known"},
            {"group": "subject", "level": "clean", "n_train": 2, "n_validation": 1, "n_test": 1, "n_both": 0,
             "both": [], "only_train": [], "only_test": [], "text": "1 people in test, none of them in training"},
        ],
        "data": {"steps": ["signals as stored", "µV times 0.01"], "repairs": {"s1": ["clip 3 was not recorded"]}},
        "n_cells": len(rows),
        "n_done": len(rows) - len(failed),
        "n_failed": len(failed),
        "partial": False,
        "exclusions": [{"classifier": "EEGNet", "strategy": "lora", "target": "vaxis", "reason": "no linear layer"}],
        "failures": failed[["cell_id", "classifier", "strategy", "target", "seed", "error"]].to_dict("records"),
        "family": "vaxis against none, 4 strategies",
        "seconds": 7200.0,
        "peak_memory_bytes": 2**31,
        "versions": {"torch": "2.13.0"},
        "generated_from": "0011223344556677",
    } | changes  # fmt: skip


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.found, self.words, self._open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def figures_of(page):
    """JSON of the figures by name."""
    found = re.findall(r'<script type="application/json" id="([\w-]+)-json">(.*?)</script>', page, re.DOTALL)
    assert not [name for name, text in found if "<" in text]  # whatever is in a name, it cannot end the script
    return {name: json.loads(text) for name, text in found}
