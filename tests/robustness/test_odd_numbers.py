"""Numbers that are NaN, infinite, zero or huge: no warning of NumPy's may reach the user."""

import math
import warnings
from dataclasses import replace

import pytest

from gradfuga import diagnose
from gradfuga.readings import Readings
from gradfuga.report.document import dumps
from gradfuga.report.html import render_html
from gradfuga.report.text import render_text
from rules.cases import Training

ODD = {"nan": math.nan, "inf": math.inf, "minus inf": -math.inf, "zero": 0.0, "huge": 1e300}
IDLE = Training(activation="ReLU").that_learns_nothing().with_reference(0.3)
WHOLE = IDLE.case.readings
MEASURED = sorted({(row.kind, row.statistic) for row in WHOLE.rows()})


def told(readings, *, page=False):
    """Diagnose and report, with warnings as errors; return the diagnosis."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnosis = diagnose(readings)
        assert not [each for each in diagnosis.skipped if "failed" in each.why]
        render_text(diagnosis, width=80, color=False)
        dumps(diagnosis)
        if page:
            render_html(diagnosis, [readings])
    return diagnosis


def with_values(chosen, value, *, since=0):
    rows = [
        replace(row, value=value) if chosen(row) and row.step >= since else row
        for row in WHOLE.rows()
    ]
    return Readings(rows, graph=WHOLE.graph, record=WHOLE.record)


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("since", [0, 16])
def test_one_odd_statistic_is_judged_without_a_warning(value, since):
    for measured in MEASURED:
        told(
            with_values(lambda row, m=measured: (row.kind, row.statistic) == m, value, since=since)
        )


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_nothing_but_odd_numbers_is_judged_and_drawn_without_a_warning(value):
    told(with_values(lambda row: True, value), page=True)


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_one_odd_layer_is_judged_and_drawn_without_a_warning(value):
    told(with_values(lambda row: row.path.startswith("layer.1"), value), page=True)
