"""The page is one safe, small file that opens offline."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from bokeh.models import Scatter

from gradfuga._edits import Advise
from gradfuga._errors import MissingExtraError
from gradfuga._types import Finding, Role, Severity, Skipped, SourceLine, Verdict
from gradfuga.analysis.account import UNEXPLAINED, Account, Claim
from gradfuga.readings import Readings, RunRecord
from gradfuga.report import _words as words
from gradfuga.report import charts
from gradfuga.report._depth_charts import heat_map, layer_source, reach_chart
from gradfuga.report._frame import plain, ramp
from gradfuga.report._reach import sum_up
from gradfuga.report.html import page, pair, render_html

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</style>"


class _Outline(HTMLParser):
    """Tags outside of scripts and styles, and every attribute that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._raw = tag in ("script", "style")
        self.loads += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag):
        self._raw = False

    def handle_data(self, data):
        if not self._raw:
            self.words.append(data)


def test_the_page_says_the_verdict_and_what_it_rests_on(make_sick, make_case):
    text = " ".join(_Outline(page([(make_sick(), make_case())])).words)
    for said in (
        "vanishing gradient", "40 million times", "contracting activation", "unexplained", "4 %",
        "Swap Sigmoid for ReLU", "16 of 20", "train.py:14", "nn.Sigmoid()", "GRD001",
        "2 rules skipped", "0.9 %", "2.303",
    ):  # fmt: skip
        assert said in text


def test_the_page_loads_nothing(make_sick, make_case):
    outline = _Outline(page([(make_sick(), make_case())]))
    assert outline.loads == []
    assert not {"link", "iframe", "object", "base"} & set(outline.tags)


def test_the_policy_forbids_the_network(make_sick, make_case):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page([(make_sick(), None)]))
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]


def test_every_string_of_the_user_is_escaped(make_sick, make_case):
    line = SourceLine(f"{HOSTILE}.py", 3, HOSTILE)
    finding = Finding(
        "ACT001", HOSTILE, Role.CAUSE, Severity.FATAL, HOSTILE, paths=(HOSTILE,), source=(line,)
    )
    sick = make_sick(
        6, HOSTILE, summary=HOSTILE, inconclusive_because=HOSTILE, model=HOSTILE,
        findings=(finding,), skipped=(Skipped("ABC123", HOSTILE),),
    )  # fmt: skip
    sick = dataclasses.replace(
        sick,
        run=dataclasses.replace(sick.run, script=HOSTILE, optimizer=HOSTILE),
        prescriptions=tuple(
            dataclasses.replace(each, title=HOSTILE, edits=(Advise(HOSTILE, (HOSTILE,)),))
            for each in sick.prescriptions
        ),
        others=(sick,),
    )
    case = make_case(6, name=(HOSTILE + "{}").format, script=HOSTILE, source=line)
    text = page([(sick, case), (sick, None)])
    clean = page([(make_sick(6), make_case(6)), (make_sick(6), None)])
    # the user's strings may make no tag of their own: the page has the tags of a harmless one
    assert set(_Outline(text).tags) == set(_Outline(clean).tags)
    assert text.count("<script") == clean.count("<script")
    assert text.count("</script") == clean.count("</script")
    assert "<img src=x" not in text


def test_a_users_name_is_never_taken_for_mathematics():
    for name in ("$$x$$", r"\[x\]", r"\(x\)"):
        assert not re.search(r"\$\$|\\\[|\\\(", plain(name))
    assert plain("net[0].fc$") == "net[0].fc$"


def test_a_page_of_300_layers_and_100_000_steps_is_small_and_quick(make_sick, make_case):
    case = make_case(300, 1000, 100_000, name="transformer.h.{}.mlp".format, slope=-0.05)
    page([(make_sick(), None)])  # the first import of bokeh is not the page's
    started = time.process_time()
    text = page([(make_sick(300), case)])
    assert time.process_time() - started < 3.0
    assert len(text.encode()) < 3_000_000


def test_charts_stay_within_their_bounds(make_case):
    case = make_case(300, 1000, 100_000, slope=-0.05)
    drawn = charts.draw(case, 0, account=True)
    assert set(drawn) == {"loss-0", "reach-0", "heat-0", "account-0"}
    points = [
        len(column)
        for renderer in drawn["loss-0"].renderers
        for column in renderer.data_source.data.values()
    ]
    assert max(points) <= 2000
    image = next(r for r in drawn["heat-0"].renderers if "image" in r.data_source.data)
    assert image.data_source.data["image"][0].shape == (300, 400)


def test_the_depth_charts_share_their_selection_and_their_rows(make_case):
    case = make_case()
    source = layer_source(case, 0)
    reach = reach_chart(case, source, 0)
    heat = heat_map(case, source, 0, beside=reach)
    assert reach.y_range is heat.y_range
    for plot in (reach, heat):
        assert any(renderer.data_source is source for renderer in plot.renderers)


def test_the_heat_map_shows_the_recorded_reach(make_case):
    case = make_case(5, 6)
    heat = heat_map(case, layer_source(case, 0), 0)
    image = next(r for r in heat.renderers if "image" in r.data_source.data)
    np.testing.assert_allclose(image.data_source.data["image"][0], case.reach.T, rtol=1e-6)


def test_a_gradient_of_exactly_zero_is_drawn_and_an_unread_one_left_grey(make_case):
    case = make_case(5, 6)
    reach = case.reach.copy()
    reach[:, 4] = -np.inf
    reach[:, 2] = np.nan
    case = dataclasses.replace(case, reach=reach)
    source = layer_source(case, 0)
    lowest = reach[np.isfinite(reach)].min()
    assert source.data["last"][4] == min(lowest - 1.0, -2 * words.LIMIT)
    marks = reach_chart(case, source, 0).select({"type": Scatter})
    drawn = {glyph.marker: glyph for glyph in marks}
    assert set(drawn) == {"circle", "triangle"}
    assert source.data["factor"][4] == "nothing arrives"
    assert math.isnan(source.data["last"][2])
    heat = heat_map(case, source, 0)
    image = next(r for r in heat.renderers if "image" in r.data_source.data)
    assert np.isnan(image.data_source.data["image"][0][2]).all()
    assert np.isfinite(image.data_source.data["image"][0][4]).all()


def test_the_waterfall_adds_up_to_the_reach(make_case):
    account = make_case().blamed
    steps = charts.waterfall_steps(account)
    assert math.isclose(sum(decades for _, decades in steps), account.total, rel_tol=1e-12)
    assert steps[-1][0] == UNEXPLAINED
    sizes = [abs(decades) for _, decades in steps[:-1]]
    assert sizes == sorted(sizes, reverse=True)
    bars = charts.waterfall(account, 0).select_one({"name": "bars"}).data_source.data
    assert bars["left"][0] == 0.0
    # each starts where the last one ended
    np.testing.assert_allclose(bars["left"][1:-1], bars["right"][:-2], rtol=1e-12)
    assert math.isclose(bars["right"][-2], bars["right"][-1], rel_tol=1e-12)


def test_an_account_that_is_not_finite_has_no_waterfall():
    claims = (Claim("dead_relu", 0, "a", -math.inf),)
    assert charts.waterfall(Account(0, -math.inf, claims), 0) is None
    assert charts.waterfall(Account(0, 0.0, ()), 0) is None


@pytest.mark.parametrize(("low", "kind"), [(1.0, "LinearAxis"), (1e-4, "LogAxis")])
def test_the_loss_axis_is_logarithmic_where_the_loss_spans_decades(make_case, low, kind):
    case = make_case()
    steps, losses = case.readings.losses
    case.readings.__dict__["losses"] = (steps, np.geomspace(2.0, low, len(losses)))
    assert type(charts.loss_chart(case, 0).yaxis[0]).__name__ == kind


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.12, 2.4, [0.1, 0.2, 0.5, 1.0, 2.0]),
        (3e-4, 2.0, [1e-3, 1e-2, 1e-1, 1.0]),
        (2e-12, 3.0, [1e-12, 1e-9, 1e-6, 1e-3, 1.0]),
    ],
)
def test_a_log_axis_has_a_few_round_ticks(low, high, ticks):
    assert charts.log_ticks(low, high) == ticks


def test_readings_without_any_gradient_still_give_a_page(make_sick, make_case):
    text = render_html(make_sick(), [make_case().readings])
    assert "<h2>Loss</h2>" in text
    assert "<h2>Reach by layer</h2>" not in text


def test_the_summary_of_reach_keeps_zero_and_unread_apart(make_case):
    case = make_case(4, 40)
    reach = case.reach.copy()
    reach[-3:, 3] = -np.inf
    reach[:, 2] = np.nan
    reach[-2:, 1] = np.nan
    said = sum_up(dataclasses.replace(case, reach=reach))
    assert said.late[3] == said.low[3] == -np.inf
    assert np.isfinite(said.high[3])
    assert np.isnan([said.first[2], said.late[2], said.low[2], said.high[2]]).all()
    assert said.late[1] in reach[-4:-2, 1]
    assert said.late[0] == np.sort(reach[-4:, 0])[1]
    assert (said.low[0], said.high[0]) == (reach[:, 0].min(), reach[:, 0].max())


def test_after_an_overflow_the_last_reading_is_shown(make_case):
    case = make_case(4, 40)
    reach = case.reach.copy()
    reach[3:, 1] = np.nan
    assert sum_up(dataclasses.replace(case, reach=reach)).late[1] == reach[2, 1]


def test_a_loss_that_overflows_at_once_is_said_without_a_curve(make_sick, make_case):
    case = make_case(3)
    losses = np.full(200, np.nan)
    losses[0] = 1e19
    case.readings.__dict__["losses"] = (np.arange(200), losses)
    progress = dataclasses.replace(case.progress, nonfinite_step=1)
    sick = make_sick()
    sick = dataclasses.replace(sick, run=dataclasses.replace(sick.run, loss_last=None))
    text = page([(sick, dataclasses.replace(case, progress=progress))])
    assert "The loss is not finite from step 1 on." in text
    assert "2.303 \u2192 not finite" in text
    assert charts.loss_chart(case, 0) is None


def test_one_sample_has_no_map_over_the_training(make_sick, make_case):
    case = make_case(3)
    case = dataclasses.replace(
        case, steps=(0,), reach=case.reach[:1], line_reach=case.line_reach[:1]
    )
    text = page([(make_sick(3), case)])
    assert "Reach by layer" in text
    assert "Reach over the training" not in text


def test_an_account_within_the_limits_accuses_nobody(make_sick, make_healthy, make_case):
    small, large = make_case(3, slope=-0.2), make_case(3, slope=-2.0)
    heading = "How the causes add up"
    assert heading not in page([(make_healthy(), small)])
    assert heading in page([(make_healthy(), large)])
    assert heading in page([(make_sick(3), small)])
    stalled = dataclasses.replace(make_sick(3), verdict=Verdict.STALLED, axis=None)
    assert heading not in page([(stalled, large)])  # the gradient flow is not why


def test_a_training_without_a_case_keeps_its_verdict(make_sick):
    text = page([(make_sick(), None)])
    assert "40 million times" in text
    assert "Bokeh" not in text


def test_every_training_has_its_section(make_sick, make_healthy, make_case):
    text = page([(make_sick(), make_case()), (make_healthy(), make_case(3, slope=-0.1))])
    assert "id='training-0'" in text
    assert "id='training-1'" in text
    assert "href='#training-1'" in text


def test_charts_are_drawn_for_the_worst_trainings_only(make_sick, make_case):
    text = page([(make_sick(), make_case(2, 3))] * 7)
    assert "id='training-6'" in text
    assert text.count("<h2>Reach by layer</h2>") == 6


def test_diagnoses_find_their_readings(make_sick, make_healthy):
    def readings(model: str, optimizer: str, steps: int) -> Readings:
        return Readings(record=RunRecord(model=model, optimizer=optimizer, steps=steps))

    adam, sgd = readings("Sequential", "Adam", 200), readings("DeepNet", "SGD", 200)
    told = (make_sick(), make_healthy(), make_healthy(model="Gone"))
    assert list(pair(told, [adam, sgd])) == [sgd, adam, None]
    other = readings("DeepNet", "SGD", 7)
    assert list(pair(told[:1], [other])) == [None]


def test_without_bokeh_the_missing_extra_is_named(make_sick, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "bokeh"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(MissingExtraError, match=r"expected bokeh.*got.*gradfuga\[report\]"):
        render_html(make_sick(), [])


def test_both_ramps_are_diverging_around_the_background():
    for dark in (False, True):
        colors = ramp(dark=dark)
        assert len(set(colors)) == len(colors) == 63
        assert all(re.fullmatch(r"#[0-9a-f]{6}", color) for color in colors)
        light = [int(color[1:3], 16) + int(color[3:5], 16) + int(color[5:], 16) for color in colors]
        middle = light[31]
        assert middle == (min(light) if dark else max(light))
