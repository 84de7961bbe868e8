"""Hand a diagnosis to the user: as text, as a document, as a page, as an exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from .._errors import GradfugaError, MissingExtraError, UsageError
from .._messages import _
from .._types import Severity
from ._places import checked_file, write_whole
from ._voice import say, warn

if TYPE_CHECKING:
    from .._types import Diagnosis
    from ..experiment import Trial
    from ..readings import Readings

SEVERE_ENOUGH = 3  # the exit code of --fail-on
_THRESHOLDS = ("mild", "serious", "fatal")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a diagnosis goes, and from which severity on it fails the command."""

    json: Path | None = None
    report: Path | None = None
    fail_on: Severity | None = None

    @classmethod
    def checked(cls, *, json: Path | None, report: Path | None, fail_on: str | None) -> Delivery:
        """Read the options, and refuse before anything runs what would fail after hours.

        Raises:
            UsageError: a place cannot be written, or there is no such severity.
            MissingExtraError: the page needs a package that is not installed.
        """
        if fail_on is not None and fail_on not in _THRESHOLDS:
            raise UsageError(
                _("expected a severity out of {names}").format(names=", ".join(_THRESHOLDS)),
                _("got '{name}'").format(name=fail_on),
                _("Write --fail-on serious."),
            )
        if report is not None and find_spec("bokeh") is None:
            raise MissingExtraError(
                _("expected bokeh, which draws the page of --report"),
                _("got none installed"),
                _("Install it: pip install 'gradfuga[report]'."),
            )
        files = cls(
            json=None if json is None else checked_file("--json", json, suffix=".json"),
            report=None if report is None else checked_file("--report", report, suffix=".html"),
            fail_on=None if fail_on is None else Severity(fail_on),
        )
        if files.json is not None and files.json == files.report:
            raise UsageError(
                _("expected two files after --json and --report"),
                _("got '{place}' twice").format(place=json),
                _("Write --json diagnosis.json --report diagnosis.html."),
            )
        return files

    def deliver(
        self,
        diagnosis: Diagnosis,
        trainings: Sequence[Readings],
        *,
        stream: TextIO,
        trial: Trial | None = None,
    ) -> None:
        """Write the verdict to `stream`, and the files; what fails is warned of, the rest done."""

        def text() -> None:
            from ..report.text import write_text

            write_text(diagnosis, stream)
            if trial is not None:
                from ..report.trial_text import write_trial

                write_trial(trial, stream)
            stream.flush()

        _attempt(_("The verdict could not be printed"), text)
        self.deliver_files(diagnosis, trainings, trial)

    def deliver_files(
        self, diagnosis: Diagnosis, trainings: Sequence[Readings], trial: Trial | None = None
    ) -> None:
        """Write the files that were asked for; what fails is warned of, the rest done."""

        def document() -> str:
            from ..report.document import dumps

            return dumps(diagnosis, trial)

        def page() -> str:
            from ..report.html import render_html

            return render_html(diagnosis, trainings, trial)

        if self.json is not None:
            self._write(self.json, document, _("The JSON document could not be written"))
        if self.report is not None:
            self._write(self.report, page, _("The page could not be written"))

    def _write(self, place: Path, render: Callable[[], str], failure: str) -> None:
        def write() -> None:
            write_whole(place, render())
            say(_("Written: {place}").format(place=place))

        _attempt(failure, write)

    def exit_code(self, diagnosis: Diagnosis) -> int:
        """3 if the verdict is severe enough to fail the command, else 0."""
        if self.fail_on is not None and not diagnosis.severity < self.fail_on:
            return SEVERE_ENOUGH
        return 0


def _attempt(failure: str, action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 (a renderer that fails must not fail the run)
        warn(f"{failure}: {described(error)}")


def described(error: Exception) -> str:
    """One line on what went wrong: our own errors speak for themselves."""
    return str(error) if isinstance(error, GradfugaError) else f"{type(error).__name__}: {error}"
