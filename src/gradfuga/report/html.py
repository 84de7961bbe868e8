"""Show a diagnosis as one self-contained page that opens offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from .._errors import MissingExtraError
from .._messages import _
from .._types import Diagnosis
from . import _sections as sections
from . import _words as words
from ._trial_section import trial_section

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..experiment import Trial
    from ..readings import Readings

MOST_DRAWN = 6  # chosen: trainings with charts; a search over settings may have hundreds

# What a page may load: nothing. Bokeh needs inline code and its own function builder.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)


def render_html(
    diagnosis: Diagnosis, trainings: Sequence[Readings], trial: Trial | None = None
) -> str:
    """Return one HTML page on `diagnosis` and the script's other trainings.

    Args:
        diagnosis: the verdict; `diagnosis.others` get a section each.
        trainings: the readings that were diagnosed, in any order.
        trial: what was tried on the script.

    Raises:
        MissingExtraError: bokeh is not installed.
    """
    from ..analysis.build import build_case  # noqa: PLC0415 (only this way needs the readings)

    told = (diagnosis, *diagnosis.others)
    cases = [
        build_case(readings, lag=each.lag) if readings is not None and readings.sampled else None
        for each, readings in zip(told, pair(told, trainings), strict=True)
    ]
    return page(list(zip(told, cases, strict=True)), trial)


def page(told: Sequence[tuple[Diagnosis, Case | None]], trial: Trial | None = None) -> str:
    """Return the page on diagnoses and their cases, worst first, and on a trial.

    Raises:
        MissingExtraError: bokeh is not installed.
    """
    try:
        from bokeh.document import Document  # noqa: PLC0415
        from bokeh.embed import components  # noqa: PLC0415 (an optional extra)
        from bokeh.resources import Resources  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            _("expected bokeh for the HTML report"),
            _("got an environment without it"),
            _("Install it: pip install gradfuga[report]"),
        ) from error
    from . import _frame, _trial_charts, charts  # noqa: PLC0415 (imports bokeh)

    models = {}
    for number, (diagnosis, case) in enumerate(told[:MOST_DRAWN]):
        if case is not None:
            account = sections.accounted(diagnosis, case)
            models.update(charts.draw(case, number, account=account))
    if trial is not None:
        models.update(_trial_charts.draw_trial(trial))
    script, divs = "", {}
    if models:
        document = Document()
        with document.models.freeze():  # else every root walks all the others again
            for plot in models.values():
                document.add_root(plot)
        script, divs = components(models)
    theme = {"light": _frame.ramp(dark=False), "dark": _frame.ramp(dark=True)}
    body = "".join(
        sections.training(diagnosis, case, number, divs)
        for number, (diagnosis, case) in enumerate(told)
    )
    head = told[0][0]
    title = f"{words.verdict_word(head.verdict)} \u00b7 {words.short_file(head.run.script)}"
    return "".join(
        [
            "<!DOCTYPE html>\n<html lang='",
            _("en"),  # the translation is its own language code
            "'>\n<head>\n<meta charset='utf-8'>\n",
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            "<meta name='viewport' content='width=device-width, initial-scale=1'>\n",
            "<meta name='color-scheme' content='light dark'>\n",
            f"<title>{escape(words.clean(title))} \u00b7 gradfuga</title>\n",
            f"<style>{_asset('page.css')}</style>\n",
            Resources(mode="inline", components=["bokeh"]).render_js() if models else "",
            "\n</head>\n<body>\n",
            sections.top(head),
            sections.contents([diagnosis for diagnosis, _case in told]) if len(told) > 1 else "",
            "<main>\n",
            trial_section(trial, divs) if trial is not None else "",
            body,
            "</main>\n",
            sections.bottom(),
            f"<script>const gradfugaRamps = {json.dumps(theme)};</script>\n",
            f"<script>{_asset('page.js')}</script>\n" if models else "",
            script,
            "\n</body>\n</html>\n",
        ]
    )


def pair(told: Sequence[Diagnosis], trainings: Sequence[Readings]) -> Iterator[Readings | None]:
    """Yield the readings that each diagnosis is about, None where there are none.

    A diagnosis keeps no reference to its readings; the model, optimizer and number of steps tell
    them apart, and equal ones keep their order.
    """
    left = list(trainings)
    for diagnosis in told:
        found = max(left, key=lambda readings: _likeness(diagnosis, readings), default=None)
        if found is not None and _likeness(diagnosis, found) > 0:
            left.remove(found)
            yield found
        else:
            yield None


def _likeness(diagnosis: Diagnosis, readings: Readings) -> int:
    run, record = diagnosis.run, readings.record
    if run.optimizer != record.optimizer or run.steps != record.steps:
        return 0
    losses = readings.losses[1]
    same_start = len(losses) > 0 and run.loss_first == float(losses[0])
    return 1 + 2 * (diagnosis.model == record.model) + 4 * same_start


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")
