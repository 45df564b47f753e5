"""Freed memory is kept for the next step, and given back between cells; measured in a process of its own."""

import json
import sys

import pytest

from tests.memory import printed_by

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux's")
CODE = """
import json, psutil, torch
from valence.cpu_memory import give_back, keep_freed_memory
rss = lambda: psutil.Process().memory_info().rss / 2**20
kept = keep_freed_memory()
begin = rss()
x = torch.ones(100, 2**20)
high = rss()
del x
freed = rss()
give_back()
print(json.dumps([kept, high - begin, freed - begin, rss() - begin]))
"""


def test_memory_is_kept_and_given_back():
    kept, high, freed, given = json.loads(printed_by(CODE))
    assert kept is True
    assert high > 350
    assert freed > 350
    assert given < 50
