"""A framework that is not there: the error names the extra that brings it."""

import importlib
import sys

import pytest

from gradfuga._errors import MissingExtraError


@pytest.mark.parametrize(
    ("integration", "package"),
    [
        ("lightning", "pytorch_lightning"),
        ("transformers", "transformers"),
        ("keras", "keras"),
        ("accelerate", "accelerate.optimizer"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, integration, package):
    monkeypatch.setitem(sys.modules, package, None)  # importing it raises ImportError
    monkeypatch.delitem(sys.modules, f"gradfuga.integrations.{integration}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"gradfuga\[{integration}\]"):
        importlib.import_module(f"gradfuga.integrations.{integration}")
