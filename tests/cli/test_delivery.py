"""What is refused before a run, and how files are written after it."""

import pytest

from gradfuga._errors import MissingExtraError
from gradfuga._types import Severity
from gradfuga.cli import _delivery
from gradfuga.cli._delivery import Delivery
from gradfuga.cli._places import write_whole


def test_a_page_without_bokeh_is_refused_with_the_name_of_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(_delivery, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"gradfuga\[report\]"):
        Delivery.checked(json=None, report=tmp_path / "p.html", fail_on=None)
    assert Delivery.checked(json=None, report=None, fail_on="mild").fail_on is Severity.MILD


def test_checking_places_leaves_no_trace(tmp_path):
    Delivery.checked(json=tmp_path / "a/d.json", report=None, fail_on=None)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_whole_or_stays_what_it_was(tmp_path, monkeypatch):
    place = tmp_path / "new" / "d.json"
    write_whole(place, "first é\n")
    assert place.read_bytes() == "first é\n".encode()
    with pytest.raises(UnicodeEncodeError):
        write_whole(place, "second \ud800")
    assert place.read_text("utf-8") == "first é\n"
    assert [each.name for each in place.parent.iterdir()] == ["d.json"]
