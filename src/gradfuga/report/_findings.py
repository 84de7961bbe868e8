"""Write what the rules found, with evidence and source."""

from __future__ import annotations

import math

from .._messages import _
from .._types import Diagnosis, Evidence, Finding, Role
from . import _words as words
from ._parts import card, code, safe
from ._statistics import statistic_word, unit_word

MOST_EVIDENCE = 5  # chosen: readings shown for each finding; the document has them all


def findings(diagnosis: Diagnosis) -> str:
    """Return every finding, evidence as observed against expected."""
    if not diagnosis.findings:
        return ""
    found = "".join(_finding(finding) for finding in diagnosis.findings)
    return card(_("What was found"), f"<div class='findings'>{found}</div>", "")


def _finding(finding: Finding) -> str:
    head = (
        f"<summary><span class='tag {finding.role.value}'>{safe(words.role_word(finding.role))}"
        f"</span> <span class='message'>{safe(finding.message)}</span> "
        f"<code>{safe(finding.code)} {safe(finding.name)}</code></summary>"
    )
    parts = []
    if finding.evidence:
        shown = finding.evidence[:MOST_EVIDENCE]
        units = any(each.unit for each in shown)
        rows = "".join(
            f"<tr><td><code>{safe(words.layer_name(each.path))}</code></td>"
            f"<td>{safe(statistic_word(each.statistic))}</td><td class='n'>{each.step}</td>"
            f"<td class='n'><b>{words.number_text(each.observed)}</b></td>"
            f"<td class='n'>{_expected(each)}</td>"
            + (f"<td>{safe(unit_word(each.unit))}</td></tr>" if units else "</tr>")
            for each in shown
        )
        heads = [_("at"), _("statistic"), _("step"), _("observed"), _("against")]
        heads += [_("unit")] if units else []
        head_row = "".join(f"<th>{safe(each)}</th>" for each in heads)
        left_out = len(finding.evidence) - MOST_EVIDENCE
        parts.append(
            f"<div class='scroll'><table><thead><tr>{head_row}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )
        if left_out > 0:
            more = _("{count} more").format(count=left_out)
            parts.append(f"<p class='where'>{safe(more)}</p>")
    if finding.log_gain:
        claim = _("Claims {decades} decades: {factor}.").format(
            decades=words.decades_text(finding.log_gain),
            factor=words.factor_words(finding.log_gain),
        )
        parts.append(f"<p>{safe(claim)}</p>")
    if finding.paths:
        parts.append(f"<p class='where'>{safe(words.names(finding.paths, most=12))}</p>")
    if finding.source:
        parts.append(code(finding.source))
    is_open = " open" if finding.role is not Role.NOTE else ""
    return f"<details{is_open}>{head}{''.join(parts)}</details>"


def _expected(evidence: Evidence) -> str:
    """What a healthy network would show, ``-`` where that is no number."""
    return words.number_text(None if math.isnan(evidence.expected) else evidence.expected)


def source(diagnosis: Diagnosis) -> str:
    """Return the user's lines that the findings point to."""
    lines = words.source_lines(diagnosis)
    return card(_("In your code"), code(lines), "") if lines else ""
