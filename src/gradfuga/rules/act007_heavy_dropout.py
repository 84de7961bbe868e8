"""Dropout so heavy that the gradient is noise.

What it finds
    In a network that learns nothing: dropouts along the main line that together make the gradient
    of one example more than twenty times larger than its mean over the masks.

Why it matters
    Dropout by p keeps the mean of the gradient and takes its mean square to 1 / (1 - p) times that.
    Independent masks multiply: three layers with p = 0.95 leave a gradient that is ninety parts
    noise to one part signal. Units that are off for a whole batch are then the masks' doing.

Evidence
    ``dropped_share``, p, at each dropout, and ``noise``, the decades that they add up to, against
    1.30: the limit on reach, past which a layer is in danger.

Known limits
    The noise is averaged over the examples of a batch and over steps: a small learning rate and
    a large batch learn all the same, which is why a network that learns is left alone.

References
    Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting.
    Schoenholz et al. 2017, Deep Information Propagation (dropout shortens the depth to which a
    network can be trained).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._progress import learns_nothing
from ._samples import value_at
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case

_MOST_EVIDENCE = 3


@final
@dataclass(frozen=True, slots=True)
class HeavyDropout(AbstractRule):
    """Finds dropout that drowns the gradient in noise."""

    code: ClassVar[str] = "ACT007"
    name: ClassVar[str] = "heavy-dropout"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"dropped_share"})

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on all dropouts of the main line."""
        from ..analysis.dropped import dropout_noise, dropouts  # noqa: PLC0415 (numpy)

        noise = dropout_noise(case)
        if noise <= self.limit or not learns_nothing(case):
            return ()
        paths, step = dropouts(case), case.steps[0]
        message = _(
            "Dropout at {count} places makes the gradient of an example {factor} times larger than "
            "its mean over the masks: what arrives is noise. Lower its probability, or leave it "
            "out of all layers but the last."
        ).format(count=len(paths), factor=times(noise))
        shares = [
            Evidence(
                path,
                Kind.ACTIVATION,
                "dropped_share",
                step,
                value_at(case, path, Kind.ACTIVATION, "dropped_share", step),
                0.5,
            )
            for path in paths[:_MOST_EVIDENCE]
        ]
        total = Evidence(
            paths[0], Kind.ACTIVATION_GRAD, "noise", step, noise, self.limit, "decades"
        )
        return (
            self.finding(
                severity=Severity.FATAL,
                message=message,
                paths=paths,
                source=case.source_of(paths),
                evidence=(total, *shares),
            ),
        )


RULE = HeavyDropout()
