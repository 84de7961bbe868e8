"""The terminal's verdict fits every width, and is plain where it is piped."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from gradfuga._types import DepthProfile, SourceLine, Verdict
from gradfuga.report.text import render_text, write_text

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("width", [40, 80])
def test_a_sick_training_reads_as_its_golden(make_sick, golden, width):
    golden(f"sick-{width}.txt", render_text(make_sick(), width=width, color=False))


def test_a_healthy_training_reads_as_its_golden(make_healthy, golden):
    golden("healthy-80.txt", render_text(make_healthy(), width=80, color=False))


def test_a_healthy_training_takes_at_most_six_lines(make_healthy):
    assert 4 <= len(render_text(make_healthy(), width=80, color=False).splitlines()) <= 6


@pytest.mark.parametrize("width", [24, 40, 61, 80, 120])
@pytest.mark.parametrize("depth", [1, 12, 13, 300])
@pytest.mark.parametrize("unicode", [False, True])
def test_no_line_is_wider_than_asked(make_sick, width, depth, unicode):
    text = render_text(
        make_sick(depth, "a.very.long.path.to.a.層.", model="M" * 90),
        width=width,
        color=False,
        unicode=unicode,
    )
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert text == "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def test_piped_text_is_ascii_and_has_no_escape_codes(make_sick):
    text = render_text(make_sick(), width=80, color=False)
    assert text.isascii()
    assert "\x1b" not in text


def test_colour_adds_escape_codes_and_nothing_else(make_sick):
    plain = render_text(make_sick(), width=80, color=False)
    colored = render_text(make_sick(), width=80, color=True)
    assert "\x1b[" in colored
    unstyled = [line.rstrip() for line in ESCAPE.sub("", colored).splitlines()]
    assert unstyled[1:] == plain.splitlines()[1:]
    assert unstyled[0].split() == plain.splitlines()[0].replace(" - ", " ").split()


def test_markup_in_the_users_names_is_shown_as_it_is(make_sick):
    text = render_text(make_sick(3, "net[bold][0]."), width=80, color=True)
    assert "net[bold][0].4" in text


def test_control_characters_of_the_user_are_not_sent_to_the_terminal(make_sick):
    sick = make_sick(3, "a\x1b]0;title\x07")
    finding = replace(sick.findings[0], source=(SourceLine("t\x1b[2J.py", 1, "x\x9b31m\r"),))
    text = render_text(replace(sick, findings=(finding,)), width=80, color=False)
    assert not set(text) & {"\x1b", "\x07", "\x9b", "\r"}


def test_a_long_profile_is_elided_in_the_middle(make_sick):
    text = render_text(make_sick(300), width=80, color=False)
    rows = [line for line in text.splitlines() if re.match(r"  net\.\d+ +[-+0-9]", line)]
    assert "... 289 more\n" in text
    assert len(rows) == 11
    assert rows[0].split()[0] == "net.598"
    assert rows[-1].split()[0] == "net.0"


def test_bars_grow_with_the_reach_and_the_limit_is_marked(make_sick):
    depth = DepthProfile(("a", "b", "c", "d"), (0.0, -2.6, math.nan, -math.inf), (0.0,) * 4)
    text = render_text(replace(make_sick(), depth=depth), width=80, color=False)
    row = {line.split()[0]: line for line in text.splitlines() if re.match(r"  [abcd] ", line)}
    assert [row[name].count("#") for name in "abcd"] == [0, 29, 0, 29]
    assert all("|" in line for line in row.values())
    assert "nothing arrives" in row["d"]
    assert "not read" in row["c"]


def test_shares_and_the_unexplained_rest_are_shown(make_sick):
    text = render_text(make_sick(), width=80, color=False)
    percents = [int(each) for each in re.findall(r"(\d+) % [#.]", text)]
    assert len(percents) == 3
    assert sum(percents) == 100
    assert "unexplained" in text


def test_a_cause_finding_without_a_share_is_told_too(make_sick):
    sick = make_sick()
    text = render_text(replace(sick, causes=sick.causes[:1]), width=80, color=False)
    assert "Xavier" in text
    text = render_text(replace(sick, causes=()), width=80, color=False)
    assert "Xavier" in text


def test_other_trainings_get_a_line_each(make_sick, make_healthy):
    text = render_text(make_sick(others=(make_healthy(),)), width=80, color=False)
    other = make_healthy()
    line = f"Sequential (Adam), {other.run.steps} steps, loss "
    assert line in " ".join(text.split())
    assert "healthy" in " ".join(text.split()).partition(line)[2]


def test_an_inconclusive_verdict_says_what_would_settle_it(make_healthy):
    unsure = make_healthy(
        verdict=Verdict.INCONCLUSIVE,
        summary="Too little was seen.",
        inconclusive_because="Train for 80 steps more.",
    )
    assert "Train for 80 steps more." in render_text(unsure, width=80, color=False)


class _Stream(io.TextIOWrapper):
    def __init__(self, encoding: str, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


def test_a_pipe_gets_plain_text_and_a_terminal_gets_colour(make_sick):
    pipe, terminal = _Stream("utf-8", terminal=False), _Stream("utf-8", terminal=True)
    write_text(make_sick(), pipe, width=80)
    write_text(make_sick(), terminal, width=80)
    assert pipe.text() == render_text(make_sick(), width=80, color=False)
    assert "█" in terminal.text()
    assert "\x1b[" in terminal.text()


def test_a_stream_that_lacks_a_character_gets_its_escape(make_sick):
    stream = _Stream("ascii", terminal=True)
    write_text(make_sick(3, "層"), stream, width=80)
    assert "\\u5c64" in stream.text()


def test_a_symptom_that_nothing_explains_says_so(make_sick):
    unknown = replace(make_sick(), causes=(), findings=(), unexplained=1.0)
    assert "unexplained 100 %" in render_text(unknown, width=80, color=False)
    stalled = replace(unknown, verdict=Verdict.STALLED)
    assert "unexplained" not in render_text(stalled, width=80, color=False)
