"""A signal that fades, or loses what tells its examples apart, on the way to the output.

What it finds
    In a network that learns nothing or little: a signal that falls by more than 1.30 decades
    from the first hidden layer to the last one, or a last layer whose inputs are all but the
    same for every example of the batch.

Why it matters
    The last layer can only tell apart what arrives different. Where the examples look alike, it
    learns the average answer and nothing else, and its gradient, averaged over the batch,
    cancels. In networks of ReLUs the signal and the gradient fade together.

Evidence
    ``input_rms`` of the last layer against that of the first hidden one, or ``batch_variation``
    of the last layer's input (0: all examples are the same) against the least that is sound,
    as medians of the last samples.

Known limits
    The raw input is left out, because its units are the user's business. Regression onto a
    nearly constant target looks the same, which is why a network that learns is not reported.

References
    Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232 (ordered phase).
    Dong, Cordonnier and Loukas 2021, https://arxiv.org/abs/2103.03404 (rank collapse).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Axis, Evidence, Finding, Kind, Role
from ._progress import learns_well, severity_of_symptom
from ._samples import late_median, late_steps
from ._words import plain, times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class ForwardCollapse(AbstractRule):
    """Finds a forward signal that fades or becomes the same for every example."""

    code: ClassVar[str] = "GRD004"
    name: ClassVar[str] = "forward-collapse"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"input_rms"})

    limit: float = 1.30  # decades: the same limit as for the gradient, which falls with it
    least_variation: float = 0.05  # of the input's size (chosen; a healthy head is far above)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return at most one finding, the fading signal before the uniform one."""
        if learns_well(case) or not case.progress.known:
            return ()
        faded = self._faded(case)
        uniform = self._uniform(case)
        if faded is None and uniform is None:
            return ()
        evidence = tuple(each for each in (faded, uniform) if each is not None)
        paths = tuple(dict.fromkeys(each.path for each in evidence))
        return (
            self.finding(
                severity=severity_of_symptom(case),
                axis=Axis.DEPTH,
                message=_message(faded, uniform),
                paths=paths,
                source=case.source_of(paths),
                evidence=evidence,
            ),
        )

    def _faded(self, case: Case) -> Evidence | None:
        """Compare the last layer's input with the first hidden layer's."""
        sizes = [
            (layer.path, late_median(case, layer.path, Kind.ACTIVATION, "input_rms"))
            for layer in case.layers
            if not layer.gated
        ]
        # the last in the list takes the raw input
        hidden = [(path, size) for path, size in sizes if math.isfinite(size)][:-1]
        if len(hidden) < 2:  # noqa: PLR2004 (a fall needs two ends)
            return None
        (head, last), (_deepest, first) = hidden[0], hidden[-1]
        if first <= 0.0 or last * 10.0**self.limit >= first:
            return None
        return Evidence(head, Kind.ACTIVATION, "input_rms", late_steps(case)[-1], last, first)

    def _uniform(self, case: Case) -> Evidence | None:
        """Look at how much the last layer's input differs from example to example."""
        if len(case.layers) < 2:  # noqa: PLR2004 (a lone layer takes the raw input)
            return None
        head = case.layers[0].path
        variation = late_median(case, head, Kind.ACTIVATION, "batch_variation")
        if not variation < self.least_variation:
            return None
        return Evidence(
            head,
            Kind.ACTIVATION,
            "batch_variation",
            late_steps(case)[-1],
            variation,
            self.least_variation,
        )


def _message(faded: Evidence | None, uniform: Evidence | None) -> str:
    sentences = []
    if faded is not None and faded.observed > 0.0:
        text = _(
            "The signal that reaches '{head}' is {factor} times smaller than the one that leaves "
            "the first layer."
        )
        factor = times(math.log10(faded.expected / faded.observed))
        sentences.append(text.format(head=faded.path, factor=factor))
    elif faded is not None:
        text = _("No signal reaches '{head}': its input is zero.")
        sentences.append(text.format(head=faded.path))
    if uniform is not None:
        text = _(
            "What reaches '{head}' is nearly the same for every example of the batch: it varies "
            "by {variation} of its size."
        )
        sentences.append(text.format(head=uniform.path, variation=plain(uniform.observed)))
    return " ".join(sentences)


RULE = ForwardCollapse()
