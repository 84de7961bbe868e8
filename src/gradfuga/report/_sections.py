"""Put one training's section of the page together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .._messages import _, _n
from .._sentences import sentence
from .._types import Axis, Diagnosis, Prescription, Severity, Verdict
from . import _words as words
from ._findings import findings, source
from ._layer_table import layer_table
from ._parts import card, safe
from ._reach import sum_up
from ._time import time_section

if TYPE_CHECKING:
    from ..analysis.case import Case

MOST_PATHS = 6  # chosen: paths named before they are only counted


def top(diagnosis: Diagnosis) -> str:
    """Return the bar above the page: whose report it is."""
    script = safe(words.short_file(diagnosis.run.script))
    return (
        "<header class='bar'><span class='brand'>gradfuga</span>"
        f"<span class='script'>{script}</span></header>\n"
    )


def contents(told: Sequence[Diagnosis]) -> str:
    """Return the list of a script's trainings, each a link to its section."""
    links = "".join(
        f"<a href='#training-{number}' class='{_tone(each)}'><b>{safe(words.training_name(each))}"
        f"</b> {safe(words.verdict_word(each.verdict))}</a>"
        for number, each in enumerate(told)
    )
    return f"<nav class='trainings'>{links}</nav>\n"


def bottom() -> str:
    """Return the foot of the page."""
    text = _("Written by gradfuga. One file, nothing is loaded from the network.")
    return f"<footer>{safe(text)}</footer>\n"


def training(
    diagnosis: Diagnosis, case: Case | None, number: int, charts: Mapping[str, str]
) -> str:
    """Return the section of one training; `charts` are the places of its charts by name."""
    parts = [
        _hero(diagnosis),
        _numbers(diagnosis, case),
        f"<div class='pair'>{_causes(diagnosis)}{_to_do(diagnosis)}</div>",
        card(_("Loss"), charts.get(f"loss-{number}", ""), _loss_caption(case)),
        _depth(number, charts),
        _account(case, charts.get(f"account-{number}", "")),
        time_section(case, number, charts),
        layer_table(case, number),
        findings(diagnosis),
        source(diagnosis),
        _facts(diagnosis),
    ]
    return f"<section class='training' id='training-{number}'>\n{''.join(parts)}</section>\n"


def _hero(diagnosis: Diagnosis) -> str:
    about = [words.verdict_word(diagnosis.verdict)]
    if diagnosis.severity is not Severity.NONE:
        about.append(words.severity_word(diagnosis.severity))
    if diagnosis.axis is not None:
        about.append(words.axis_word(diagnosis.axis))
    chips = "".join(
        f"<span class='chip{' first' if i == 0 else ''}'>{safe(each)}</span>"
        for i, each in enumerate(about)
    )
    because = diagnosis.inconclusive_because
    return (
        f"<div class='hero {_tone(diagnosis)}'><p class='chips'>{chips}"
        f"<span class='who'>{safe(words.training_name(diagnosis))}</span></p>"
        f"<h1>{safe(diagnosis.summary)}</h1>"
        + (f"<p class='because'>{safe(because)}</p>" if because else "")
        + "</div>\n"
    )


def _numbers(diagnosis: Diagnosis, case: Case | None) -> str:
    run, read = diagnosis.run, _read(diagnosis, case)
    tiles: list[tuple[str, str, str]] = []
    if read:
        exploding = diagnosis.verdict is Verdict.EXPLODING
        extreme, where = max(read) if exploding else min(read)
        title = _("strongest gradient") if exploding else _("weakest gradient")
        detail = _("{path}, {decades} decades").format(
            path=words.layer_name(where), decades=words.decades_text(extreme)
        )
        tiles.append((title, words.factor_words(extreme), detail))
        beyond = sum(abs(reach) > words.LIMIT for reach, _path in read)
        tiles.append(
            (
                _("layers beyond the limit"),
                _("{beyond} of {count}").format(beyond=beyond, count=len(read)),
                _("more than {limit} decades, a factor of 20").format(limit=words.LIMIT),
            )
        )
    detail = ""
    if case is not None and case.progress.known and math.isfinite(case.progress.baseline):
        baseline = words.number_text(case.progress.baseline)
        detail = _("a constant reaches {baseline}").format(baseline=baseline)
    if (run.loss_first, run.loss_last) != (None, None):
        tiles.append((_("loss"), words.losses_text(run, arrow="\u2192"), detail))
    sampled = _("{sampled} sampled").format(sampled=run.sampled_steps)
    if run.interrupted:
        sampled = ", ".join((sampled, _("interrupted")))
    tiles.append((_("steps"), f"{run.steps:,}".replace(",", "\u202f"), sampled))
    overhead = f"{100 * run.overhead:.1f} %" if math.isfinite(run.overhead) else "-"
    start = _("{seconds:.1f} s of it at the start").format(seconds=run.startup_seconds)
    tiles.append((_("overhead"), overhead, start))
    cells = "".join(
        f"<div><dt>{safe(title)}</dt><dd>{safe(value)}</dd><p>{safe(detail)}</p></div>"
        for title, value, detail in tiles
    )
    return f"<dl class='numbers'>{cells}</dl>\n"


def _read(diagnosis: Diagnosis, case: Case | None) -> list[tuple[float, str]]:
    """Return reach and path of every layer that was read; of the main line without a case."""
    if case is not None and case.layers:
        paths, reach = [layer.path for layer in case.layers], sum_up(case).late.tolist()
    else:
        paths, reach = list(diagnosis.depth.path), list(diagnosis.depth.reach)
    return [(r, p) for p, r in zip(paths, reach, strict=True) if not math.isnan(r)]


def _causes(diagnosis: Diagnosis) -> str:
    if not words.shared(diagnosis):
        return ""
    shares = [cause.share for cause in diagnosis.causes] + [diagnosis.unexplained]
    rows = []
    for index, percent in enumerate(words.percents(shares)):
        known = index < len(diagnosis.causes)
        cause = diagnosis.causes[index] if known else None
        name = words.cause_word(cause.name if cause else "")
        where = words.names(cause.paths, most=MOST_PATHS) if cause else ""
        code = f" <code>{safe(cause.code)}</code>" if cause else ""
        rows.append(
            f"<li{'' if known else ' class=rest'}><p><b>{safe(name)}</b>{code}"
            f"<span class='percent'>{percent} %</span></p>"
            f"<div class='meter'><i style='width:{percent}%'></i></div>"
            + (f"<p class='where'>{safe(where)}</p>" if where else "")
            + "</li>"
        )
    return card(
        _("Why: each cause's share"), f"<ul class='causes'>{''.join(rows)}</ul>", "", tag="div"
    )


def _to_do(diagnosis: Diagnosis) -> str:
    if not diagnosis.prescriptions:
        return ""
    items = "".join(_prescription(each) for each in diagnosis.prescriptions)
    return card(_("What to do"), f"<ol class='to-do'>{items}</ol>", "", tag="div")


def _prescription(each: Prescription) -> str:
    treats = ", ".join(words.cause_word(name) for name in each.treats)
    edits = "".join(
        f"<p class='where'><code>{safe(sentence(edit))}</code> "
        f"{safe(words.names(edit.paths, most=MOST_PATHS))}</p>"
        for edit in each.edits
    )
    against = _("against {causes}").format(causes=treats) if treats else ""
    return (
        f"<li><b>{safe(each.title)}</b><p class='where'>{safe(against)} "
        f"<span class='tag'>{safe(words.safety_word(each.safety))}</span> "
        f"<code>{safe(each.remedy)}</code></p>{edits}</li>"
    )


def _depth(number: int, charts: Mapping[str, str]) -> str:
    reach, heat = charts.get(f"reach-{number}", ""), charts.get(f"heat-{number}", "")
    left = card(
        _("Reach by layer"),
        reach,
        _(
            "How much of the output's gradient arrives at each layer, output on top. One decade is "
            "a factor of ten. The dashed lines are the limits of {limit} decades."
        ).format(limit=words.LIMIT),
        tag="div",
    )
    right = card(
        _("Reach over the training"),
        heat,
        _("The same over the sampled steps: cold shrinks, hot grows. Click a row to mark it."),
        tag="div",
    )
    return f"<div class='pair wide'>{left}{right if heat else ''}</div>" if reach else ""


def _loss_caption(case: Case | None) -> str:
    if case is None:
        return ""
    if case.progress.nonfinite_step is not None:
        return _("The loss is not finite from step {step} on.").format(
            step=case.progress.nonfinite_step
        )
    return ""


def accounted(diagnosis: Diagnosis, case: Case) -> bool:
    """Whether the account is shown.

    Below the limit there is nothing to explain, and bars would look like accusations. Where the
    gradient flow is not why it stalls, they would contradict the cause that is.
    """
    if diagnosis.verdict is Verdict.STALLED:
        return False
    symptom = diagnosis.verdict in (Verdict.VANISHING, Verdict.EXPLODING, Verdict.DEAD_UNITS)
    over_depth = symptom and diagnosis.axis is not Axis.TIME
    return over_depth or abs(case.blamed.total) > words.LIMIT


def _account(case: Case | None, chart: str) -> str:
    if case is None or not chart:
        return ""
    caption = _(
        "Log-gains add: from the output down to the deepest layer the gradient changes by "
        "{decades} decades ({factor}) at step {step}, and every cause claims its part."
    ).format(
        decades=words.decades_text(case.blamed.total),
        factor=words.factor_words(case.blamed.total),
        step=case.blamed.step,
    )
    return card(_("How the causes add up"), chart, caption)


def _facts(diagnosis: Diagnosis) -> str:
    skipped = "".join(
        f"<li><code>{safe(each.code)}</code> {safe(each.why)}</li>" for each in diagnosis.skipped
    )
    body = f"<p>{safe(words.run_line(diagnosis))}</p>"
    if diagnosis.run.warnings:
        body += f"<p>{safe(words.unseen(diagnosis.run))}</p>"
    if skipped:
        count = len(diagnosis.skipped)
        title = _n("{count} rule skipped", "{count} rules skipped", count).format(count=count)
        body += f"<details><summary>{safe(title)}</summary><ul>{skipped}</ul></details>"
    return card(_("The run"), body, "")


def _tone(diagnosis: Diagnosis) -> str:
    if diagnosis.verdict is Verdict.INCONCLUSIVE:
        return "tone-unsure"
    return f"tone-{diagnosis.severity.value}"
