"""Every training of the zoo gets its verdict, and every label of the zoo is true."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Diagnosis
from zoo import MEMBERS, Member

SICK = tuple(member for member in MEMBERS if member.sick)
HEALTHY = tuple(member for member in MEMBERS if not member.sick)

# A path is sick where its best repair gets at least twice as far in the same budget.
HALF = 0.5


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on small tensors and shared cores can be ten times slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def bare(member: Member) -> float:
    """Train without an observer."""
    return member.train(0)


@cache
def observed(member: Member) -> tuple[float, Diagnosis]:
    """Train under an observer that was told nothing, and diagnose."""
    with observe() as observer:
        progress = member.train(0)
    return progress, diagnose(observer.trainings)


def test_the_zoo_is_large_enough_and_its_names_are_unique() -> None:
    assert len(SICK) >= 16
    assert len(HEALTHY) >= 20
    assert len({member.name for member in MEMBERS}) == len(MEMBERS)


@pytest.mark.parametrize("member", SICK, ids=str)
def test_a_sick_training_fails_where_its_smallest_fix_learns(member: Member) -> None:
    assert member.control is not None
    treated = member.control(0)
    assert treated >= member.reaches
    assert bare(member) < HALF * treated


@pytest.mark.parametrize("member", HEALTHY, ids=str)
def test_a_healthy_training_learns_what_there_is_to_learn(member: Member) -> None:
    assert bare(member) >= member.reaches
    if member.control is not None:
        assert bare(member) >= HALF * member.control(0)


@pytest.mark.parametrize("member", SICK, ids=str)
def test_a_sick_training_is_found_and_its_cause_named(member: Member) -> None:
    _, diagnosis = observed(member)
    assert diagnosis.verdict.value in member.verdicts, diagnosis.summary
    if diagnosis.verdict.value != "inconclusive":
        assert [cause.name for cause in diagnosis.causes][:1] in [[name] for name in member.causes]


@pytest.mark.parametrize("member", HEALTHY, ids=str)
def test_a_healthy_training_is_not_accused(member: Member) -> None:
    _, diagnosis = observed(member)
    assert diagnosis.verdict.value in member.verdicts, diagnosis.summary


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_shares_and_the_unexplained_rest_add_up_to_one(member: Member) -> None:
    _, diagnosis = observed(member)
    if diagnosis.causes:
        total = sum(cause.share for cause in diagnosis.causes) + diagnosis.unexplained
        assert total == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_observing_changes_nothing_that_is_learned(member: Member) -> None:
    progress, _ = observed(member)
    assert progress == bare(member)
