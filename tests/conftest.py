"""What tests share: the development data, where it is there, and Ray on this machine alone."""

import os
from pathlib import Path

import pytest

# a cluster that the user is connected to is never a test's business
os.environ.pop("RAY_ADDRESS", None)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # files of tests run beside each other: a core each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: of several workers none is to begin the longest file when all others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real development data, which is not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "faced").is_dir():
        pytest.skip(f"the development data (FACED features, texts) is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture
def one_thread():
    """One torch thread: results are then the same to the last bit, and small products are faster."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
