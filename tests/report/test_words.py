"""Decades, shares and numbers are said in words that people understand."""

from __future__ import annotations

import math

import pytest

from gradfuga._types import Evidence, Kind
from gradfuga.report import _words as words


@pytest.mark.parametrize(
    ("decades", "said"),
    [
        (0.0, "same size"),
        (-0.301, "2 times smaller"),
        (-1.3, "20 times smaller"),
        (2.0, "100 times larger"),
        (-3.3, "2000 times smaller"),
        (-4.28, "19 thousand times smaller"),
        (-7.2, "16 million times smaller"),
        (9.0, "1 billion times larger"),
        (-14.1, "130 trillion times smaller"),
        (-23.2, "1e23 times smaller"),
        (-math.inf, "nothing arrives"),
        (math.inf, "not finite"),
        (math.nan, "not read"),
    ],
)
def test_a_factor_is_said_in_words(decades, said):
    assert words.factor_words(decades) == said


@pytest.mark.parametrize(
    ("decades", "said"),
    [(-7.24, "-7.2"), (0.04, "0.0"), (-0.04, "0.0"), (1.0, "+1.0"), (math.nan, "?")],
)
def test_decades_carry_their_sign(decades, said):
    assert words.decades_text(decades) == said


@pytest.mark.parametrize(
    "shares", [[1 / 3, 1 / 3, 1 / 3], [0.645, 0.3155, 0.0395], [0.005] * 200, [1.0], [0.0, 1.0]]
)
def test_percents_add_up_to_a_hundred(shares):
    rounded = words.percents(shares)
    assert sum(rounded) == 100
    assert all(abs(r - 100 * s) < 1 for r, s in zip(rounded, shares, strict=True))


def test_control_characters_never_reach_a_terminal():
    assert words.clean("a\x1b[31mb\nc\td\u202e") == "a?[31mb?c    d?"


def test_many_names_are_counted():
    assert words.names(["a", "b", "c", "d", "e"], most=2) == "a, b and 3 more"
    assert words.names(["a", ""], most=2) == "a, (root)"


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (math.nan, "nan"), (2.30258, "2.303"), (3e-11, "3e-11"), (200.0, "200")],
)
def test_numbers_have_at_most_four_digits(value, said):
    assert words.number_text(value) == said


def test_evidence_without_an_expectation_only_says_what_was_observed():
    seen = Evidence("fc.weight", Kind.WEIGHT, "norm", 3, math.inf, math.nan)
    assert words.evidence_text(seen) == "norm at fc.weight, step 3: observed inf"
    both = Evidence("fc", Kind.UPDATE, "update_ratio", 3, 1e-5, 1e-3, "1")
    assert words.evidence_text(both) == (
        "update ratio at fc, step 3: observed 1e-05 1, against 0.001 1"
    )
