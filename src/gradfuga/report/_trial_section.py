"""Write a trial's section of the page: what was tried, the curves, the diff."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .._messages import _
from ..experiment import Arm, Trial
from . import _words as words
from ._parts import card, safe
from .trial_text import arm_title, cost_line, effect_lines, evidence_lines

_LINE_CLASSES = (("+++", "file"), ("---", "file"), ("@@", "place"), ("+", "new"), ("-", "old"))


def trial_section(trial: Trial, charts: Mapping[str, str]) -> str:
    """Return the section of `trial`; `charts` are the places of its charts by name."""
    parts = [
        _hero(trial),
        card(_("Paired losses"), charts.get("trial-loss", ""), _bands(trial)),
        _tried(trial),
        card(
            _("Reach before and after"),
            charts.get("trial-reach", ""),
            _("How much of the output's gradient arrives at each layer before the first step."),
        )
        if "trial-reach" in charts
        else "",
        _diff(trial),
    ]
    return f"<section class='training trial' id='trial'>\n{''.join(parts)}</section>\n"


def _hero(trial: Trial) -> str:
    tone = "tone-none" if trial.proven else "tone-unsure"
    who = _("trial")
    chip = _("proven") if trial.proven else _("not proven")
    title = trial.treated.treatment.title if trial.treated is not None else trial.because
    lines = [
        *([trial.because] if trial.treated is not None else []),
        *evidence_lines(trial),
        *effect_lines(trial),
        *trial.notes,
        cost_line(trial),
    ]
    told = "".join(f"<p class='because'>{safe(line)}</p>" for line in lines)
    return (
        f"<div class='hero {tone}'><p class='chips'><span class='chip first'>{safe(chip)}</span>"
        f"<span class='who'>{safe(who)}</span></p><h1>{safe(title)}</h1>{told}</div>\n"
    )


def _bands(trial: Trial) -> str:
    if trial.untreated is None:
        return ""
    return _("Mean over the seeds; the band reaches from the lowest to the highest of them.")


def _tried(trial: Trial) -> str:
    untreated = () if trial.untreated is None else (trial.untreated,)
    patched = () if trial.patched is None else (trial.patched,)
    arms = (*untreated, *trial.tried, *trial.controls, *patched)
    if not arms:
        return ""
    heads = (
        _("treatment"), _("loss"), _("score"), _("seeds"), _("reach"), _("step"), _("parameters"),
    )  # fmt: skip
    head_row = "".join(f"<th>{safe(each)}</th>" for each in heads)
    rows = "".join(_row(arm) for arm in arms)
    table = (
        f"<div class='scroll'><table><thead><tr>{head_row}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
    return card(_("What was tried"), table, "")


def _row(arm: Arm) -> str:
    title = f"<td>{safe(arm_title(arm))} <code>{safe(' '.join(arm.treatment.remedies))}</code>"
    if arm.failed or not arm.runs:
        why = arm.failed or _("not run")
        return f"<tr>{title}<p class='where'>{safe(why)}</p></td>" + "<td class='n'>-</td>" * 6
    losses = [run.loss for run in arm.runs]
    cells = (
        words.number_text(sum(losses) / len(losses)),
        "-" if math.isnan(arm.score) else f"{arm.score:.3f}",
        str(len(arm.runs)),
        words.decades_text(arm.reach),
        f"{1000 * arm.step_seconds:.3g} ms",
        str(arm.runs[0].parameters),
    )
    return f"<tr>{title}</td>" + "".join(f"<td class='n'>{safe(cell)}</td>" for cell in cells)


def _diff(trial: Trial) -> str:
    if not trial.diff:
        return ""
    lines = []
    for line in trial.diff.splitlines():
        kind = next((kind for mark, kind in _LINE_CLASSES if line.startswith(mark)), "same")
        lines.append(f"<div class='{kind}'><code>{safe(line) or '&nbsp;'}</code></div>")
    caption = "" if trial.diff_proven else _("Not proven as a diff: treat it as a sketch.")
    body = f"<div class='diff'>{''.join(lines)}</div>"
    return card(_("The change to your source"), body, caption)
