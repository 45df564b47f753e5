"""Fixtures of tests of the science."""

import pytest


@pytest.fixture
def one_thread():
    """One torch thread: results are then the same to the last bit, and small products are faster."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
