"""A loss or a gradient that became NaN or infinite.

What it finds
    The first step with a loss or a weight gradient that is no finite number, and where it came
    from: the first op of the forward pass whose output was not finite although its inputs were, or
    the first op of the backward pass that was given a finite gradient and passed on another.

Why it matters
    One such gradient makes every weight it touches NaN at the next step, and a NaN weight never
    comes back. Nothing that happens afterwards is training.

Evidence
    The value at that step, against the last finite loss before it; ``broken_low`` and
    ``broken_high``, the finite values that went into the op, where the tape keeps them.

Known limits
    A step that a gradient scaler skips on purpose is not reported: the losses and weights stay
    finite. A loss of NaN that leaves no trace, as the mean over an empty batch, is a note. A loss
    that is no number is searched for its origin at any step, as long as it is on the CPU. Between
    sampled steps only the loss is looked at, so a gradient may have broken a step earlier than is
    said: then the broken weights tell between which layers, where clipping by the norm of all has
    not broken them all. Infinities that masks put in are passed over.

References
    Micikevicius et al. 2018, Mixed Precision Training, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._broken import place_of, what_would_tell

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..analysis.first_nan import Break


@final
@dataclass(frozen=True, slots=True)
class NonFinite(AbstractRule):
    """Finds the first step whose numbers are no numbers."""

    code: ClassVar[str] = "GRD003"
    name: ClassVar[str] = "non-finite"
    role: ClassVar[Role] = Role.SYMPTOM

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the first broken step."""
        from ..analysis.breakage import (  # noqa: PLC0415 (numpy)
            broke_suddenly,
            broken_data,
            nonfinite_step,
        )
        from ..analysis.first_nan import find_break  # noqa: PLC0415

        step = nonfinite_step(case)
        if step is None:
            return self._passing(case)
        paths = _broken_weights(case, step)
        data, found = broken_data(case), find_break(case)
        if data is not None and data.path == "target":
            message = _(
                "The targets hold NaN or infinite values, and so do the loss and the gradients "
                "from step {step} on."
            )
        elif data is not None and data.path != "input":
            message = _("The loss and the gradients are NaN or infinite from step {step} on.")
        elif data is not None:
            message = _(
                "The data that goes into the model holds NaN or infinite values, and so do the "
                "loss and the gradients from step {step} on."
            )
        elif step == case.progress.nonfinite_step:
            message = _("The loss became NaN or infinite at step {step}.")
        else:
            message = _("The gradient of '{layer}' became NaN or infinite at step {step}.")
        if data is None and found is None and broke_suddenly(case):
            message += " " + _(
                "Nothing had grown before, so that the learning rate is not known to be why: look "
                "for NaN in the batch of that step, and for a division, a root or a logarithm of "
                "zero."
            )
        text = message.format(step=step, layer=paths[0] if paths else "?")
        where = "" if found is None else place_of(case, found)
        named = () if found is None else (found.path, *found.suspects)
        return (
            self.finding(
                severity=Severity.FATAL,
                message=" ".join(each for each in (text, where, what_would_tell(found)) if each),
                paths=tuple(dict.fromkeys((*named, *paths)))[:8],
                source=case.source_of(named),
                evidence=(*_evidence(case, step, paths), *_went_in(found)),
            ),
        )

    def _passing(self, case: Case) -> Iterable[Finding]:
        """Note losses that are no numbers and did no harm."""
        steps, losses = case.readings.losses
        broken = [
            step
            for step, loss in zip(steps.tolist(), losses.tolist(), strict=True)
            if not math.isfinite(loss)
        ]
        if not broken:
            return ()
        message = _(
            "The loss is NaN or infinite at {count} of {of} steps, the first one step {step}, and "
            "the weights are not harmed: the mean over an empty batch, or over labels that are all "
            "left out, is such a loss. Nothing is learned from these batches."
        ).format(count=len(broken), of=len(losses), step=broken[0])
        finding = self.finding(
            severity=Severity.MILD,
            message=message,
            evidence=(Evidence("loss", Kind.LOSS, "value", broken[0], math.nan, math.nan),),
        )
        return (replace(finding, role=Role.NOTE),)


def _broken_weights(case: Case, step: int) -> tuple[str, ...]:
    found = []
    for path in case.readings.paths(Kind.WEIGHT_GRAD, "norm"):
        steps, values = case.readings.series(path, Kind.WEIGHT_GRAD, "norm")
        pairs = zip(steps.tolist(), values.tolist(), strict=True)
        if any(when == step and not math.isfinite(value) for when, value in pairs):
            found.append(path)
    return tuple(found)


def _evidence(case: Case, step: int, paths: tuple[str, ...]) -> tuple[Evidence, ...]:
    steps, losses = case.readings.losses
    before = math.nan
    evidence = []
    for when, loss in zip(steps.tolist(), losses.tolist(), strict=True):
        if when < step and math.isfinite(loss):
            before = loss
        if when == step:
            evidence.append(Evidence("loss", Kind.LOSS, "value", step, loss, before))
    broken = [
        Evidence(path, Kind.WEIGHT_GRAD, "norm", step, math.inf, math.nan) for path in paths[:3]
    ]
    return (*evidence, *broken)


def _went_in(found: Break | None) -> tuple[Evidence, ...]:
    if found is None or math.isnan(found.low):
        return ()
    return tuple(
        Evidence(found.path, Kind.ACTIVATION, name, found.step, value, math.nan)
        for name, value in (("broken_low", found.low), ("broken_high", found.high))
    )


RULE = NonFinite()
