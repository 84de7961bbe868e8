"""The option that writes the page instead of comparing it."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--write-matrix", action="store_true", help="write docs/conformance.md anew")


@pytest.fixture
def write_matrix(request):
    return request.config.getoption("--write-matrix", default=False)
