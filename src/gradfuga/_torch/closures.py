"""Hand an optimizer's step a closure that tells us when it first ends."""

from __future__ import annotations

import functools
from collections.abc import Callable

StepArguments = tuple[tuple[object, ...], dict[str, object]]


def with_closure_seen(
    args: tuple[object, ...], kwargs: dict[str, object], ended: Callable[[], None]
) -> StepArguments | None:
    """Return the step's arguments with a closure that calls `ended` once, after its first run.

    Args:
        args: of the step, the optimizer itself first.
        kwargs: likewise.
        ended: raises nothing.

    Returns:
        None where the step has no closure.
    """
    place = 1 if len(args) > 1 else None
    given = args[1] if place else kwargs.get("closure")
    if not callable(given):
        return None
    closure, told = given, False

    @functools.wraps(closure)
    def seen() -> object:
        nonlocal told
        result = closure()
        if not told:
            told = True
            ended()
        return result

    if place:
        return (args[0], seen, *args[2:]), kwargs
    return args, {**kwargs, "closure": seen}
