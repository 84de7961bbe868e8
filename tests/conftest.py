"""What every test starts from: one thread, hypothesis without a clock, the written pages."""

import os

# Before torch is imported: two threads on two shared cores can be far slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# A deadline measures the machine; a random seed would let CI fail on what nobody changed.
settings.register_profile("gradfuga", deadline=None, derandomize=True, database=None)
settings.load_profile("gradfuga")


def pytest_addoption(parser):
    parser.addoption("--write-matrix", action="store_true", help="write docs/conformance.md anew")


@pytest.fixture
def write_matrix(request):
    return request.config.getoption("--write-matrix", default=False)
