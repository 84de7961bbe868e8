"""Hold the winner of a search against chance and against patience."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

from .._messages import _
from ..experiment import Arm, ArmKind, Treatment
from .bench import UNTREATED, Bench
from .decision import as_good, beats, better, compare, learns


@dataclass(slots=True)
class Held:
    """What came of it.

    Attributes:
        winner: the one that holds: the search's own, or a control that does clearly better.
        controls: the arms that it was held against.
        proven: no control does clearly better than the winner.
        because: why it is proven, or why not, in one sentence.
        notes: what else is to be known, a sentence each.
    """

    winner: Arm
    controls: list[Arm] = field(default_factory=list)
    proven: bool = True
    because: str = ""
    notes: list[str] = field(default_factory=list)


@final
@dataclass(frozen=True, slots=True)
class Controls:
    """What a winner has to stand.

    A treatment drawn blindly from the others gets all seeds. Where it does clearly better, seed by
    seed, than the treatment that was chosen, and its change can be written, it takes that one's
    place and has to stand the next draw.

    Attributes:
        bench: where the arms run.
        untreated: the script as it is, with all seeds.
        candidates: what is drawn from.
        seeds, steps: of the search's own arms.
        longer: whether the script goes on behind the slice, so that more patience may help.
    """

    bench: Bench
    untreated: Arm
    candidates: Sequence[Treatment]
    seeds: Sequence[int]
    steps: int
    longer: bool

    def hold(self, winner: Arm) -> Held:
        """Run the controls that the budget allows."""
        held = Held(winner)
        self._against_chance(held)
        if self.longer:
            [arm] = self.bench.arms(
                [replace(UNTREATED, kind=ArmKind.LONGER)], [0], self.bench.steps
            )
            held.controls.append(arm)
            held.proven = not math.isfinite(arm.score) or as_good(held.winner, arm.score)
        if not held.proven:
            held.because = _("It helps, and a control does even better: {name}.").format(
                name=_("training for longer")
            )
        else:
            held.because = _("With it the script learns, with every seed that was tried.")
        if not any(arm.runs for arm in held.controls):
            held.notes.append(
                _("It was held against no control: there was none, or no time was left for one.")
            )
        return held

    def _against_chance(self, held: Held) -> None:
        drawn = random.Random(0)
        left = [each for each in self.candidates if self._can_run(each)]
        while not self.bench.late:
            left = [each for each in left if each != held.winner.treatment]
            if not left:
                return
            blind = drawn.choice(left)
            left.remove(blind)
            [arm] = self.bench.arms([blind], self.seeds, self.steps)
            if arm.failed:
                continue  # it says nothing: the next one is drawn
            if not beats(compare(held.winner, arm)) or not learns(arm):
                held.controls.append(replace(arm, treatment=replace(blind, kind=ArmKind.RANDOM)))
                return
            if not blind.lasting or not better(compare(self.untreated, arm)):
                held.controls.append(replace(arm, treatment=replace(blind, kind=ArmKind.RANDOM)))
                held.notes.append(
                    _(
                        "{name}, drawn blindly, does better still ({theirs:.2f} against "
                        "{ours:.2f}), but gradfuga cannot write it into the source."
                    ).format(name=blind.title, theirs=arm.score, ours=held.winner.score)
                )
                return
            if held.winner.treatment.size < blind.size:
                held.notes.append(
                    _(
                        "{name} asks for less and gets less far: {theirs:.2f} against {ours:.2f}."
                    ).format(
                        name=held.winner.treatment.title,
                        theirs=held.winner.score,
                        ours=arm.score,
                    )
                )
            held.winner = arm

    def _can_run(self, treatment: Treatment) -> bool:
        return not self.bench.arm(treatment, [0], 1).failed
