"""What an item of each folder must be able to do: one abstract method a contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from ._types import Finding, Role, Severity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from ._types import Axis, Diagnosis, Edit, Evidence, Safety, SourceLine
    from .analysis.case import Case
    from .readings import Readings


class Coded(Protocol):
    """Anything with a code that no other item of its folder has."""

    @property
    def code(self) -> str: ...


@dataclass(frozen=True, slots=True)
class NodeView:
    """An autograd node as its hook sees it: alive, just after it ran.

    Attributes:
        name: the node's name, such as ``"SigmoidBackward0"``.
        saved: reads a saved tensor by its short name (``"result"``), None where it has none or
            it cannot be read.
        setting: reads a saved number by its short name (``"negative_slope"``).
        grad_output: gradient of the loss with respect to the op's output, any shape.
        grad_inputs: the same for each input, None where it needs none.
        again: works out in float32 what has left a convolution or an attention in half precision,
            for a few examples: pairs of the gradient in float32 and the same as it left.
    """

    name: str
    saved: Callable[[str], Tensor | None]
    setting: Callable[[str], float | None]
    grad_output: Tensor
    grad_inputs: tuple[Tensor | None, ...]
    again: Callable[[], list[tuple[Tensor, Tensor]]] = list


class AbstractStatistic(ABC):
    """Measures ops of some kinds where they act.

    `code` names the statistic, `nodes` the autograd nodes (without ``Backward0``) it applies to,
    `of_the_loss` whether to those between the loss and the model's output too.
    """

    code: ClassVar[str]
    nodes: ClassVar[frozenset[str]]
    of_the_loss: ClassVar[bool] = False

    @abstractmethod
    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return 0-d tensors by the name of the statistic; an empty mapping where it has none.

        Runs inside the backward pass: never synchronises, never keeps a tensor of the user.
        """


class AbstractRule(ABC):
    """One illness, or one cause of it: what to look for and what to say.

    `code` is three letters and three digits, `name` completes "allow ...", `role` says what the
    finding is for the verdict, `needs` names the statistics without which the rule is skipped,
    `cause` is the cause name of the contract for a rule of role CAUSE.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    role: ClassVar[Role]
    needs: ClassVar[frozenset[str]] = frozenset()
    cause: ClassVar[str] = ""

    @abstractmethod
    def check(self, case: Case) -> Iterable[Finding]:
        """Return what the rule finds in `case`: nothing, where there is nothing."""

    def finding(
        self,
        *,
        severity: Severity,
        message: str,
        axis: Axis | None = None,
        paths: tuple[str, ...] = (),
        source: tuple[SourceLine, ...] = (),
        evidence: tuple[Evidence, ...] = (),
        log_gain: float = 0.0,
        accuses: bool = True,
    ) -> Finding:
        """Return a finding of this rule: its code, name, role and cause, and what is given.

        One that does not accuse, since the network learns all the same, is a mild note.
        """
        return Finding(
            code=self.code,
            name=self.name,
            role=self.role if accuses else Role.NOTE,
            severity=severity if accuses else Severity.MILD,
            message=message,
            axis=axis,
            paths=paths,
            source=source,
            evidence=evidence,
            log_gain=log_gain,
            cause=self.cause if accuses else "",
        )


class AbstractRemedy(ABC):
    """One treatment.

    `code` is ``RX`` and three digits, `name` an imperative, `treats` the cause names it treats,
    `title` what a report heads it with, in the user's language.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    treats: ClassVar[frozenset[str]]
    safety: ClassVar[Safety]

    @property
    @abstractmethod
    def title(self) -> str:
        """Say in one line what the remedy does."""

    @abstractmethod
    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edits that treat `diagnosis`: nothing, where the remedy does not fit."""


class AbstractSink(ABC):
    """Takes the readings of one flush somewhere."""

    code: ClassVar[str]

    @abstractmethod
    def write(self, batch: Readings, folder: Path, number: int) -> None:
        """Write the `number`-th batch of the run into `folder`.

        What it raises switches it off with one warning; the run goes on.
        """
